"""All that half an hour with a GPU can yield: tests, speeds, then training in slices.

At home, make packs of at most 30 MiB from folders of photos (short side 256 px):

    python examples/gpu_session.py pack packs photos/ more-photos/

On the machine, which needs Python and torch >= 2.6 and downloads nothing (what else is missing
comes as wheels):

    python examples/gpu_session.py check --work /tmp/work --out $OUT [--wheels .whl]
    python examples/gpu_session.py slice --work /tmp/work --out $OUT --packs packs \\
        --perceptual-weights lpips --total-minutes 25 [--wheels .whl]
    python examples/gpu_session.py parts --work /tmp/work --out $OUT --first 2

`check` runs the tests marked cuda (46 s on an H100) and `damgan bench`, size by size: a minute and more.
`slice` trains nine minutes, or goes on: from the run in --work or, on a fresh machine, from --from FOLDER
with the parts of its checkpoint (of which all must have come; `parts` may be called several times while the
machine is warm). It leaves in --out stats.jsonl with the training's images/s, the weights, and the first two
parts (16 MiB each) of the checkpoint: 64 MiB and 8 files come back from one call, and these are eight, so
put nothing else there. Packs may come over several calls (60 MiB take some 5 s): those unpacked in --work
stay, but all must be there before the first slice, as a training goes on with its photos only.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACK_BYTES = 30 << 20
PART_BYTES = 16 << 20
PARTS_BESIDE_WEIGHTS = 2  # of 64 MiB and 8 files that come back from one call
PARTS_ALONE = 4
SIDE = 256
PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
SIZES = (128, 256, 512, 1024, 2048)


def pack(out: Path, folders: list[Path]) -> None:
    """Photos as WebP with a short side of at most 256 px, in tar files of at most 30 MiB."""
    from PIL import Image, ImageOps

    out.mkdir(parents=True, exist_ok=True)
    number, size, archive = -1, PACK_BYTES, None
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTOS):
            try:
                with Image.open(path) as opened:
                    image = ImageOps.exif_transpose(opened).convert("RGB")
            except (OSError, ValueError) as problem:
                print(f"left out: {path} ({problem})", file=sys.stderr)
                continue
            scale = SIDE / min(image.size)
            if scale < 1:
                image = image.resize(
                    [round(length * scale) for length in image.size], Image.Resampling.LANCZOS
                )
            buffer = io.BytesIO()
            image.save(buffer, "webp", quality=90)
            data = buffer.getvalue()
            padded = 1024 + len(data)  # a tar's header, and the rest of its last block
            if archive is None or size + padded > PACK_BYTES - 20_480:  # a tar's end
                if archive:
                    archive.close()
                number, size = number + 1, 0
                archive = tarfile.open(out / f"photos-{number:03}.tar", "w")  # noqa: SIM115
            member = tarfile.TarInfo(f"{folder.name}/{'_'.join(path.relative_to(folder).parts)}.webp")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            size += padded
    if archive is None:
        sys.exit("There are no photos in these folders.")
    archive.close()
    print(f"{number + 1} packs in {out}")


def install(work: Path, wheels: Path | None) -> dict[str, str]:
    """Wheels into a folder of ours; returns the environment in which `damgan_cli` can be run."""
    site = work / "site"
    if wheels:
        found = sorted(map(str, wheels.glob("*.whl")))
        options = ["--no-index", "--no-deps", "--no-cache-dir", "--quiet", "--upgrade", "--target", str(site)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *found], check=True)
    paths = [str(ROOT), str(site), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def unpack(packs: Path, photos: Path) -> None:
    """Photos of packs that are not there yet."""
    for path in sorted(packs.glob("*.tar")):
        mark = photos / f".{path.name}"
        if not mark.exists():
            with tarfile.open(path) as archive:
                archive.extractall(photos, filter="data")
            mark.touch()
    print(f"{sum(1 for path in photos.rglob('*') if path.suffix in PHOTOS):,} photos")


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


def train(args: argparse.Namespace, environment: dict[str, str]) -> None:
    """One slice, then checkpoint and weights in --out."""
    photos, run = args.work / "photos", args.work / "run"
    photos.mkdir(parents=True, exist_ok=True)
    if args.packs:
        unpack(args.packs, photos)
    checkpoint = run / "checkpoint.pt"
    if args.begin and not checkpoint.exists():
        join(args.begin, run)
    command = [sys.executable, "-m", "damgan_cli", "train", str(photos), "--out", str(run)]
    command += ["--device", args.device, "--preset", args.preset, "--minutes", str(args.total_minutes)]
    command += ["--compile"] if args.compile else []
    command += [word for setting in args.set for word in ("--set", setting)]
    if args.perceptual_weights:
        command += ["--perceptual-weights", str(args.perceptual_weights)]
    if args.init:
        command += ["--init", args.init]
    if args.val:
        command += ["--val", str(args.val)]
    if checkpoint.exists():
        command.append("--resume")
    process = subprocess.Popen(command, env=environment)
    try:
        process.wait(args.minutes * 60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it saves and leaves
        process.wait()
    print(f"the training left with {process.returncode} (0: finished, 130: to be continued)")
    if not checkpoint.exists():
        sys.exit(1)
    weights_of(checkpoint, args.out)
    for name in ("stats.jsonl", "config.json"):
        if (run / name).exists():
            shutil.copy(run / name, args.out / name)
    shutil.rmtree(args.work / "parts", ignore_errors=True)
    count = split(checkpoint, args.work / "parts")
    hand_out(args.work / "parts", args.out, 0, PARTS_BESIDE_WEIGHTS)
    print(f"the checkpoint has {count} parts")


def weights_of(checkpoint: Path, out: Path) -> None:
    """The moving average in a checkpoint as weights that --weights takes."""
    from damgan_cli.model import Generator, GeneratorConfig
    from damgan_cli.training.checkpoint import load_checkpoint
    from damgan_cli.weights.folder import save_weights

    state = load_checkpoint(checkpoint)
    generator = Generator(GeneratorConfig.from_dict(state["config"]["generator"]))
    generator.load_state_dict(state["ema"])
    info = {"training": state["config"], "steps": state["step"], "hours": round(state["seconds"] / 3600, 3)}
    save_weights(out / "weights", generator, info, "Weights of an unfinished training.\n")


def split(path: Path, folder: Path) -> int:
    """Cut a file into parts of at most 16 MiB; returns how many."""
    folder.mkdir(parents=True)
    count = 0
    with path.open("rb") as file:
        while data := file.read(PART_BYTES):
            (folder / f"checkpoint.{count:02}").write_bytes(data)
            count += 1
    (folder / "parts.json").write_text(json.dumps({"parts": count, "bytes": path.stat().st_size}))
    return count


def hand_out(folder: Path, out: Path, first: int, count: int) -> None:
    """Copy some parts to ``out``."""
    for path in [folder / "parts.json", *sorted(folder.glob("checkpoint.*"))[first : first + count]]:
        shutil.copy(path, out / path.name)


def join(folder: Path, run: Path) -> None:
    """A checkpoint from all of its parts, wherever in ``folder`` they lie."""
    described = next(folder.rglob("parts.json"), None)
    if described is None:
        sys.exit(f"There is no parts.json in {folder}.")
    wanted = json.loads(described.read_text())
    parts = {path.name: path for path in folder.rglob("checkpoint.[0-9][0-9]")}
    names = [f"checkpoint.{number:02}" for number in range(wanted["parts"])]
    missing = [name for name in names if name not in parts]
    if missing:
        sys.exit(f"Missing in {folder}: {', '.join(missing)}.")
    data = b"".join(parts[name].read_bytes() for name in names)
    if len(data) != wanted["bytes"]:
        sys.exit(f"The parts in {folder} are of different checkpoints.")
    run.mkdir(parents=True, exist_ok=True)
    (run / "checkpoint.pt").write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("out", type=Path)
    packing.add_argument("folders", type=Path, nargs="+")
    for name in ("check", "slice", "parts"):
        command = commands.add_parser(name)
        command.add_argument("--work", type=Path, required=True)
        command.add_argument("--out", type=Path, required=True)
        if name == "parts":
            command.add_argument("--first", type=int, default=PARTS_BESIDE_WEIGHTS)
            continue
        command.add_argument("--wheels", type=Path)
        command.add_argument("--device", default="cuda")
        if name == "check":
            command.add_argument("--sizes", type=int, nargs="+", default=SIZES)
            command.add_argument("--seconds", type=float, default=5.0)
            continue
        command.add_argument("--packs", type=Path)
        command.add_argument("--from", dest="begin", type=Path, help="folder with parts of a checkpoint")
        command.add_argument("--minutes", type=float, default=9.0, help="of this slice")
        command.add_argument("--total-minutes", type=float, default=25.0, help="of all slices")
        command.add_argument("--preset", default="gpu")
        command.add_argument("--init")
        command.add_argument("--compile", action="store_true")
        command.add_argument("--val", type=Path, help="folder of photos; else some are held out")
        command.add_argument("--perceptual-weights", type=Path)
        command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    if args.command == "pack":
        pack(args.out, args.folders)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.command == "parts":
        hand_out(args.work / "parts", args.out, args.first, PARTS_ALONE)
        return
    environment = install(args.work, args.wheels)
    sys.path[:0] = [str(ROOT), str(args.work / "site")]
    begun = time.monotonic()
    (check if args.command == "check" else train)(args, environment)
    print(f"{args.command}: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
