"""What a GPU lent for minutes needs beside gpu_train.py: packs of photos and masks, and tests and speeds.

At home, make packs of at most 30 MiB from folders of photos, and masks:

    python examples/gpu_session.py pack packs photos/ more-photos/

On the machine, which needs Python and torch >= 2.6 and downloads nothing (what else is missing
comes as wheels):

    python examples/gpu_session.py check --work /tmp/work --out $OUT [--wheels .whl]

`check` runs the tests marked cuda (46 s on an H100) and `damgan bench`, size by size: a minute and more.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PACK_BYTES = 30 << 20
SHORT, SMALLEST, CROP = 9 / 8, 33 / 32, 11 / 8  # in sides of the images that are trained on
LONGEST = 800  # px
SEED = 77
PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
SIZES = (128, 256, 512, 1024, 2048)


def cropped(number: int, path: Path, side: int) -> Any:
    """A photo at a scale between its own and one that just fits, cut to little more than a crop: WebP.

    Native pixels come as often as whole scenes; larger photos than 800 px are not sharp at their own scale.
    """
    least, smallest, most = (round(share * side) for share in (SHORT, SMALLEST, CROP))
    rng = np.random.default_rng([SEED, number])
    image: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        print(f"left out: {path}", file=sys.stderr)
        return None
    short = min(image.shape[:2])
    wanted = least * (min(short, LONGEST) / least) ** rng.random() if short > least else max(short, smallest)
    size = [max(smallest, round(length * wanted / short)) for length in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if wanted < short else cv2.INTER_CUBIC)
    top, left = (int(rng.random() * (max(length - most, 0) + 1)) for length in image.shape[:2])
    _, data = cv2.imencode(
        ".webp", image[top : top + most, left : left + most], [cv2.IMWRITE_WEBP_QUALITY, 86]
    )
    return data.tobytes()


def pack(out: Path, folders: list[Path], masks: int, side: int) -> None:
    """Photos in tar files of at most 30 MiB, and ``masks`` masks of each kind of the preset gpu, as bits.

    ``side``: of the images that are trained on.
    """
    sys.path.insert(0, str(ROOT))  # it may not be installed
    from damgan_cli.masks.generate import numbered_hole
    from damgan_cli.training.config import GPU

    out.mkdir(parents=True, exist_ok=True)
    paths = [
        path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in PHOTOS
    ]
    order = np.random.default_rng(SEED).permutation(len(paths))  # a training begins with the first pack
    count, size, archive = 0, PACK_BYTES, None
    for number in order.tolist():
        data = cropped(number, paths[number], side)
        if data is None:
            continue
        padded = 1024 + len(data)  # a tar's header, and the rest of its last block
        if archive is None or size + padded > PACK_BYTES - 20_480:  # a tar's end
            if archive:
                archive.close()
            archive = tarfile.open(out / f"photos-{count:03}.tar", "w")  # noqa: SIM115
            count, size = count + 1, 0
        member = tarfile.TarInfo(f"{number:06}.webp")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        size += padded
    if archive is None:
        sys.exit("There are no photos in these folders.")
    archive.close()
    bank = {}
    for kind in GPU.masks:
        shares = GPU.irregular_ratio if kind == "irregular" else None
        wanted = 1 if kind == "center" else masks  # that one never varies
        bank[kind] = np.stack(
            [np.packbits(numbered_hole(kind, side, shares, SEED, i)) for i in range(wanted)]
        )
    np.savez_compressed(out / "masks.npz", **bank)
    print(f"{count} packs in {out}")


def install(work: Path, wheels: Path | None) -> dict[str, str]:
    """Wheels into a folder of ours; returns the environment in which `damgan_cli` can be run."""
    site = work / "site"
    if wheels:
        found = sorted(map(str, wheels.glob("*.whl")))
        options = ["--no-index", "--no-deps", "--no-cache-dir", "--quiet", "--upgrade", "--target", str(site)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *found], check=True)
    paths = [str(ROOT), str(site), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def check(args: argparse.Namespace, environment: dict[str, str]) -> None:
    """Tests and bench; each goes on if another fails, for there is one chance."""
    python = [sys.executable, "-m"]
    cpu = {"DAMGAN_TEST_DEVICE": "cpu"} if args.device == "cpu" else {}
    tests = [*python, "pytest", "tests/test_cuda.py", "-rs", "-p", "no:cacheprovider"]
    with (args.out / "tests.txt").open("w") as log:
        subprocess.run(tests, cwd=ROOT, env=environment | cpu, stdout=log, stderr=log, check=False)
    print((args.out / "tests.txt").read_text()[-3000:])
    for side in args.sizes:  # one by one: what is measured when the time is up has been written
        bench = [*python, "damgan_cli", "bench", "--device", args.device, "--seconds", str(args.seconds)]
        with (args.out / f"bench-{side}.json").open("w") as report:
            command = [*bench, "--size", str(side), "--json"]
            subprocess.run(command, env=environment, stdout=report, check=False)
        print((args.out / f"bench-{side}.json").read_text(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("out", type=Path)
    packing.add_argument("folders", type=Path, nargs="+")
    packing.add_argument("--masks", type=int, default=2500, help="of each kind")
    packing.add_argument("--size", type=int, default=256, help="side of the images that are trained on")
    checking = commands.add_parser("check")
    checking.add_argument("--work", type=Path, required=True)
    checking.add_argument("--out", type=Path, required=True)
    checking.add_argument("--wheels", type=Path)
    checking.add_argument("--device", default="cuda")
    checking.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    checking.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    if args.command == "pack":
        pack(args.out, args.folders, args.masks, args.size)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    check(args, install(args.work, args.wheels))
    print(f"check: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
