"""Fill shards with Ray again and again while its processes are killed at random; see docs/collections.md.

python examples/collection_chaos.py chaos --runs 20 --weights tiny

The folder ``chaos`` gets 100 shards of 200 small photos, what one undisturbed process makes of them, and a
line a run in ``runs.jsonl``. A run whose command ends early (with the GCS killed Ray ends it) goes on by the
same command. Each run must end with the files of the undisturbed one, to the byte, and no others.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

SHARDS, PHOTOS, SIZE = 100, 200, 24
KINDS = {"actor": b"ray::_Filler", "raylet": b"raylet/raylet", "gcs": b"gcs/gcs_server"}
STUCK = 600  # seconds without a new record, after which a run counts as stuck


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def make_shards(folder: Path) -> None:
    """Shards of noise, whose photos all have the same hole."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    hole = np.zeros((SIZE, SIZE), np.uint8)
    hole[SIZE // 3 : SIZE // 2, SIZE // 3 : SIZE // 2] = 255
    mask = encoded(hole)
    for number in range(SHARDS):
        with tarfile.open(folder / f"{number:03d}.tar", "w") as tar:
            for photo in range(number * PHOTOS, (number + 1) * PHOTOS):
                pixels = chance.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                for name, data in ((f"{photo:05d}.png", encoded(pixels)), (f"{photo:05d}.mask.png", mask)):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def digests(folder: Path) -> dict[str, str]:
    """Of all files, also such as should not be there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def ours(mark: str) -> dict[str, list[int]]:
    """The processes of a run, which have ``mark`` in their environment, by kind."""
    found: dict[str, list[int]] = {kind: [] for kind in (*KINDS, "other")}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal() and mark.encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes()
                kind = next((kind for kind, words in KINDS.items() if words in command), "other")
                found[kind].append(int(folder.name))
    return found


def command(root: Path, out: Path, weights: str, *more: str) -> list[str]:
    given = [root / f"in/{{000..{SHARDS - 1:03d}}}.tar", "-o", out, "--weights", weights, "--offline", "-q"]
    return [sys.executable, "-m", "damgan_cli", "inpaint", *map(str, given), *more]


def disturbed(root: Path, weights: str, chance: random.Random) -> dict[str, object]:
    """One run to its end; returns what was killed, how often the command was started, and what differs."""
    out, scratch, mark = root / "out", root / "tmp", f"DAMGAN_CHAOS={chance.random()}"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    name, value = mark.split("=")
    environment = os.environ | {name: value, "TMPDIR": str(scratch), "RAY_TMPDIR": "/tmp"}
    at = sorted(chance.sample(range(SHARDS - 5), chance.randint(5, 9)))  # records that are there by then
    kinds = ["raylet", *(["gcs"] if chance.random() < 0.3 else []), *["actor"] * len(at)][: len(at)]
    chance.shuffle(kinds)
    plan = list(zip(at, kinds, strict=True))
    killed: Counter[str] = Counter()
    codes: list[int] = []
    words: list[str] = []
    start = time.monotonic()
    while not codes or codes[-1] != 0:
        with (root / "stderr").open("w+") as errors:
            process = subprocess.Popen(
                command(root, out, weights, "--engine", "ray"), env=environment, stderr=errors
            )
            seen, changed = 0, time.monotonic()
            while process.poll() is None:
                records = len(list(out.glob("*.tar.json")))
                if records != seen:
                    seen, changed = records, time.monotonic()
                if time.monotonic() - changed > STUCK:
                    killed["stuck command"] += 1
                    process.kill()
                if plan and records >= plan[0][0]:
                    time.sleep(chance.uniform(0, 1))
                    if victims := ours(mark)[plan[0][1]]:
                        os.kill(chance.choice(victims), signal.SIGKILL)
                        killed[plan.pop(0)[1]] += 1
                time.sleep(0.05)
            codes.append(process.returncode)
            errors.seek(0)
            words += [line.strip() for line in errors if "rror" in line][-3:] if codes[-1] else []
        for pids in ours(mark).values():  # what Ray leaves where it was killed itself
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if len(codes) == 9:
            break
    wanted, made = digests(root / "alone"), digests(out)
    return {
        "killed": dict(killed),
        "codes": codes,
        "words": words,
        "seconds": round(time.monotonic() - start),
        "missing": sorted(wanted.keys() - made.keys()),
        "extra": sorted(made.keys() - wanted.keys()),
        "different": sorted(name for name in wanted.keys() & made.keys() if wanted[name] != made[name]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--weights", default="photos")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    root = given.folder.resolve()
    if not (root / "in").exists():
        make_shards(root / "in")
    if not (root / "alone").exists():
        start = time.monotonic()
        subprocess.run(command(root, root / "alone", given.weights), check=True)
        print(f"undisturbed, one process: {time.monotonic() - start:.0f} s", flush=True)
    for number in range(given.runs):
        result = disturbed(root, given.weights, random.Random(given.seed + number))
        line = json.dumps({"run": given.seed + number, **result})
        with (root / "runs.jsonl").open("a") as file:
            file.write(f"{line}\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
