r"""A GPU that is lent for minutes, on a bare machine: what is made at home, and what each call does there.

The machine needs Python, torch >= 2.6 and the packages named in its lender's list; it downloads nothing. Each
call runs in a copy of the checkout and sends home what is in $OUT: 8 files, each of at most 16 MiB. With more
than 30 s between two calls the machine goes back, and the training with it. At home, before the first:

    python examples/gpu_session.py pack packs photos/ more-photos/
    mkdir lpips && cp ../shared/weights/lpips-alex.safetensors lpips/
    python -m pip download -d .whl --no-deps --only-binary=:all: --python-version 3.12 \
        --platform manylinux2014_x86_64 jsonschema jsonschema-specifications referencing rpds-py
    printf '%s\n' /packs/ /lpips/ /.whl/ /home/ >> .git/info/exclude
    mv weights/faces weights/scenes /tmp/    # of 64 MiB a call 24; after the session: git checkout weights

The first call (limit 300 s) carries .whl, lpips, packs/masks.npz and packs/photos-000.tar:

    python3 examples/gpu_session.py check --out $OUT --seconds 130
    python3 examples/gpu_session.py train --out $OUT --init photos --perceptual-weights lpips --minutes 7.5

That is for 15 minutes in all, 2 or 3 of which go to starting, loading and saving. Every further call carries
the next two of packs/photos-*.tar; the last carries none and waits, for a minute less than there is left:

    python3 examples/gpu_session.py bring --out $OUT
    python3 examples/gpu_session.py bring --out $OUT --wait 400

Home come the weights (the moving average; after the end as of `damgan train`), D.pt, sheet.png, stats.jsonl
and train.log: copy them into home/ after each call. The next session goes on from them: its first call
carries home instead of a pack and trains with `--init home/weights --discriminator home/D.pt`, the second
brings packs. Where `bring` says that the machine is new, the training is lost but for what is home.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PACK_BYTES = 22 << 20  # two of them and the checkout are 61 of the 64 MiB of a call
SHORT, SMALLEST, CROP = 9 / 8, 33 / 32, 11 / 8  # in sides of the images that are trained on
LONGEST = 800  # px
SEED = 77
PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
SIZES = (128, 512, 256, 1024, 2048)  # in this order, as time may be up before the last
LOG, ENDED = "train.log", "ended"
"""In the working folder: what gpu_train.py says; that it has ended, well or not."""
STARTING = 75.0  # seconds at most until it has laid out its first weights


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
    """Photos in tar files of at most 22 MiB, and ``masks`` masks of each kind of the preset gpu, as bits.

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


def environment(args: argparse.Namespace) -> dict[str, str]:
    """One in which `damgan_cli` can be run, with the wheels there are in a folder of ours."""
    site, found = args.work / "site", sorted(map(str, args.wheels.glob("*.whl")))
    if found and not site.exists():
        options = ["--no-index", "--no-deps", "--no-cache-dir", "--quiet", "--target", str(site)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *found], check=True)
    paths = [str(ROOT), str(site), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def check(args: argparse.Namespace) -> None:
    """The bare generator, the tests marked cuda, folders: each goes on if another fails, all end in time."""
    python, env = [sys.executable, "-m"], environment(args)
    cpu = {"DAMGAN_TEST_DEVICE": "cpu"} if args.device == "cpu" else {}
    tests = [*python, "pytest", "tests/test_cuda.py", "-vv", "-rs", "--tb=short", "-p", "no:cacheprovider"]
    bench = [*python, "damgan_cli", "bench", "--device", args.device, "--seconds", "3"]
    sizes = [word for side in args.sizes for word in ("--size", str(side))]
    end = time.monotonic() + args.seconds
    plan = (  # and which share of the time that is left each may take
        ("bare.txt", [*bench, *sizes, "--bare"], 0.3),
        ("batches-of-256.txt", [*bench, "--size", "128", "--bare", "--batch-size", "256"], 0.2),
        ("tests.txt", tests, 0.8),
        ("folders.txt", [*bench, *sizes], 1.0),
    )
    for name, command, share in plan:
        left = share * (end - time.monotonic())
        with (args.out / name).open("w") as log:
            try:
                subprocess.run(
                    command, cwd=ROOT, env=env | cpu, stdout=log, stderr=log, timeout=left, check=False
                )
            except subprocess.TimeoutExpired:
                log.write(f"\nstopped after {left:.0f} s\n")
        print((args.out / name).read_text()[-3000:], flush=True)


def train(args: argparse.Namespace, options: list[str]) -> None:
    """Start gpu_train.py, whose ``options`` these are; it goes on when this ends.

    That is when it has laid out its first weights, or has failed, or has nothing to train on yet.
    """
    env = environment(args)
    take_packs(args)
    ended = args.work / ENDED
    if (args.work / LOG).exists() and not ended.exists():
        sys.exit(f"A training is running in {args.work}: see `bring`, or give another --work.")
    ended.unlink(missing_ok=True)
    first = args.work / "run" / "checkpoint.pt"  # comes after the first weights
    first.unlink(missing_ok=True)  # an earlier training's
    command = [sys.executable, str(ROOT / "examples" / "gpu_train.py"), str(args.work), *options]
    with (args.work / LOG).open("w") as log:
        subprocess.Popen(  # a session of its own, and no output that the call would wait for
            ["sh", "-c", '"$@"; touch "$0"', str(ended), *command],
            cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + (STARTING if any((args.work / "packs").glob("*.tar")) else 0)
    wait_for(ended, end, first)
    print((args.work / LOG).read_text()[-3000:])


def wait_for(path: Path, end: float, or_else: Path | None = None) -> None:
    while time.monotonic() < end and not path.exists() and not (or_else and or_else.exists()):
        time.sleep(0.5)


def take_packs(args: argparse.Namespace) -> None:
    """What has been carried goes where the training looks for it, each file whole or not at all."""
    there = args.work / "packs"
    there.mkdir(exist_ok=True)
    for path in sorted([*args.packs.glob("*.npz"), *args.packs.glob("*.tar")]):
        if not (there / path.name).exists():
            Path(shutil.copy(path, there / f".{path.name}")).rename(there / path.name)


def bring(args: argparse.Namespace) -> None:
    """Give the training what has been carried, and lay out what there is to take home, all the while."""
    if not (args.work / LOG).exists():
        sys.exit(f"There is no training in {args.work}: this is a new machine. Begin with check and train.")
    take_packs(args)
    end = time.monotonic() + args.wait
    while not (args.work / ENDED).exists() and time.monotonic() < end:
        lay_out(args)  # a call may be stopped before its time
        wait_for(args.work / ENDED, min(time.monotonic() + 20, end))
    lay_out(args)
    print((args.work / LOG).read_text()[-3000:])


def lay_out(args: argparse.Namespace) -> None:
    for path in (args.work / LOG, args.work / "run" / "stats.jsonl"):
        if path.exists():
            shutil.copy(path, args.out)
    if (args.work / "out").exists():
        whole = shutil.ignore_patterns(".*")  # not what is being written
        try:
            shutil.copytree(args.work / "out", args.out, ignore=whole, dirs_exist_ok=True)
        except shutil.Error as problem:  # replaced in that moment
            print(f"not all was copied: {problem}")


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
    there = argparse.ArgumentParser(add_help=False)
    there.add_argument("--work", type=Path, default=Path("/tmp/work"), help="stays from call to call")
    there.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "home")), help="goes home")
    there.add_argument("--wheels", type=Path, default=ROOT / ".whl")
    there.add_argument("--packs", type=Path, default=ROOT / "packs")
    checking = commands.add_parser("check", parents=[there], allow_abbrev=False)
    checking.add_argument("--device", default="cuda")
    checking.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    checking.add_argument("--seconds", type=float, default=130.0, help="at most, in all")
    commands.add_parser(
        "train", parents=[there], allow_abbrev=False, epilog="All other options are those of gpu_train.py."
    )
    bringing = commands.add_parser("bring", parents=[there], allow_abbrev=False)
    bringing.add_argument("--wait", type=float, default=0.0, help="so many seconds, or until it has ended")
    args, more = parser.parse_known_args()
    if more and args.command != "train":
        parser.error(f"unknown: {' '.join(more)}")
    if args.command == "pack":
        pack(args.out, args.folders, args.masks, args.size)
        return
    for folder in (args.out, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    if args.command == "check":
        check(args)
    elif args.command == "train":
        train(args, more)
    else:
        bring(args)


if __name__ == "__main__":
    main()
