"""What a collection costs beside a plain folder, and a long listing's memory; see docs/collections.md.

python examples/collection_costs.py listing --names 1000000
python examples/collection_costs.py overhead photos masks --repeat 3 [--apart]
python examples/collection_costs.py shards shard.tar --weights photos
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SHARD = 64  # photos


class Endless(BaseHTTPRequestHandler):
    """Just so much of S3 that a bucket of ``count`` photos and as many masks can be listed, page by page."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        prefix, start = asked["prefix"][0], int(asked.get("continuation-token", ["0"])[0])
        names = (f"{prefix}{number:09d}.png" for number in range(start, min(start + 1000, self.count)))
        entries = "".join(
            f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>1</Size></Contents>"
            for name in names
        )
        more = start + 1000 < self.count
        token = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        text = f"<ListBucketResult>{truncated}{entries}{token}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def listing(count: int) -> None:
    """Cut a listing of so many photos and masks into slices; print time and how much memory came with it."""
    from damgan_cli.collection.address import Place
    from damgan_cli.collection.listing import photos_of, slices

    Endless.count = count
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    child = os.fork()
    if child == 0:  # a process of its own, whose memory does not count
        server.serve_forever()
    use_server(f"http://127.0.0.1:{server.server_port}")
    photos, masks = Place.of("s3://bucket/photos"), Place.of("s3://bucket/masks")
    next(photos.names())  # what obstore and its connection take however short a listing is
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    done = parts = 0
    for part in slices(photos_of(photos.names(), "photos"), photos_of(masks.names(), "masks")):
        assert part.problem is None
        done, parts = done + len(part.pairs), parts + 1
    seconds = time.perf_counter() - start
    os.kill(child, signal.SIGKILL)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{done} photos in {parts} slices, {seconds:.1f} s; "
        f"{most / 1024:.0f} MiB in all, {(most - before) / 1024:.0f} more than at its first page"
    )


def use_server(url: str) -> None:
    """Let obstore find this one, and credentials for it."""
    os.environ |= {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def overhead(photos: Path, masks: Path, repeat: int, *, apart: bool) -> None:
    """Fill a folder as it is, by its address, as shards, and from moto's S3; print medians of seconds.

    ``apart``: the server, which is elsewhere in real life, has the first core, the commands have the others.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").disabled = True  # a line for each request
    root = Path(tempfile.mkdtemp())
    first, *others = sorted(os.sched_getaffinity(0))
    if apart:
        os.sched_setaffinity(0, [first])
    names = sorted(path.name for path in photos.iterdir())
    by_stem = {path.stem: path for path in masks.iterdir()}
    tars = []
    for start in range(0, len(names), SHARD):
        tars.append(root / f"{start:06d}.tar")
        with tarfile.open(tars[-1], "w") as tar:
            for name in names[start : start + SHARD]:
                tar.add(photos / name, name)
                mask = by_stem[Path(name).stem]
                tar.add(mask, f"{mask.stem}.mask{mask.suffix}")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    use_server(f"http://{host}:{port}")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket="bucket")
    for name in names:
        mask = by_stem[Path(name).stem]
        client.put_object(Bucket="bucket", Key=f"photos/{name}", Body=(photos / name).read_bytes())
        client.put_object(Bucket="bucket", Key=f"masks/{mask.name}", Body=mask.read_bytes())
    address = (photos.resolve().as_uri(), "--mask", masks.resolve().as_uri())
    ways = {
        "folder": (photos, "--mask", masks),
        "address": address,
        "shards": tars,
        "s3 (moto)": ("s3://bucket/photos", "--mask", "s3://bucket/masks"),
        "shards, ray": (*tars, "--engine", "ray"),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeat):
        for way, arguments in ways.items():
            out = f"s3://bucket/out{turn}" if way.startswith("s3") else root / f"{turn} {way}"
            command = [sys.executable, "-m", "damgan_cli", "inpaint", *arguments, "-o", out, "--json", "-q"]
            if apart:
                command = ["taskset", "-c", ",".join(map(str, others)), *command]
            run = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
            took[way].append(json.loads(run.stdout)["seconds"])
    plain = statistics.median(took["folder"])
    for way, seconds in took.items():
        middle = statistics.median(seconds)
        each = 1000 * (middle - plain) / len(names)
        print(f"{way:12} {middle:6.1f} s, {middle / plain - 1:+.1%}, {each:+.1f} ms a photo; all: {seconds}")
    server.stop()


def shards(shard: Path, weights: str) -> None:
    """Fill 1 to 1,000 shards, all copies of one; print photos a second and the most memory so far."""
    root = Path(tempfile.mkdtemp())
    for number in range(1000):
        (root / f"{number:03d}.tar").symlink_to(shard.resolve())
    for count in (1, 10, 100, 1000):
        source, out = root / f"{{000..{count - 1:03d}}}.tar", root / f"out{count}"
        command = [sys.executable, "-m", "damgan_cli", "inpaint", source, "-o", out, "--json", "-q"]
        run = subprocess.run([*map(str, command), "--weights", weights], stdout=subprocess.PIPE, check=True)
        document = json.loads(run.stdout)
        filled, seconds = document["counts"]["filled"], document["seconds"]
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"{count:4d} shards: {filled} photos, {filled / seconds:.1f} a second, {most:.0f} MiB", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("listing")
    one.add_argument("--names", type=int, default=1_000_000)
    two = commands.add_parser("overhead")
    two.add_argument("photos", type=Path)
    two.add_argument("masks", type=Path)
    two.add_argument("--repeat", type=int, default=3)
    two.add_argument("--apart", action="store_true")
    three = commands.add_parser("shards")
    three.add_argument("shard", type=Path)
    three.add_argument("--weights", default="photos")
    given = parser.parse_args()
    if given.command == "shards":
        shards(given.shard, given.weights)
    elif given.command == "listing":
        listing(given.names)
    else:
        overhead(given.photos, given.masks, given.repeat, apart=given.apart)


if __name__ == "__main__":
    main()
