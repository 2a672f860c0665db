"""``damgan mask``: seeded masks, of a given size or one for each photo of a folder."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.errors import ExitCode, ImageFileError, MaskError

MANIFEST = "manifest.csv"
_MOST_PIXELS = 178_956_970  # what Pillow reads back without taking it for a decompression bomb
_SHOWN = 10


@dataclass(frozen=True)
class Job:
    """One mask to make."""

    path: Path
    kind: str
    index: int
    width: int
    height: int


@dataclass(frozen=True)
class Record:
    """One line of the manifest; ``file`` is relative to OUT, ``ratio`` is the hole fraction achieved."""

    file: str
    kind: str
    seed: int
    index: int
    width: int
    height: int
    ratio: float
    touches_border: bool


def mask(
    kinds: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND",
            help="One or more of the kinds above; each mask takes the next in turn.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the masks, or one .png file.", show_default=False),
    ],
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIDE|WxH", help="Size in pixels.", show_default="256"),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="PHOTOS",
            help="Make one mask for each photo of this folder, or for this photo: same size, same name.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="How many masks to make.", show_default="1")
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "--ratio",
            metavar="LOW-HIGH",
            help="Fraction of the image that is hole, drawn evenly from this range, such as 0.2-0.3. "
            "Without it: freeform 0.15 on average, irregular 0.01-0.6, outpaint 0.1-0.5.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed makes the same masks.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Make masks: white is the hole, black is kept.

    Strokes and boxes scale with the image: masks of 128 and 1024 pixels look alike.
    The hole ratio of every mask is recorded in OUT/manifest.csv.

    \b
    [bold]Examples[/]
      damgan mask irregular -o masks --size 512x384 --count 100 --ratio 0.2-0.3
      damgan mask freeform -o masks --like photos --seed 7
      damgan mask center -o center.png --size 128

    \b
    [bold]Kinds[/]
      center     a centred rectangle of half the sides (25 %)
      freeform   brush strokes as in DeepFillv2
      irregular  strokes, outlines and specks, as the NVIDIA irregular masks
      box        one to four random rectangles
      outpaint   a strip along one random side
    """  # noqa: D301
    from damgan_cli.images.masks import make_mask, mask_rng

    limits = _parse_ratio(ratio) if ratio is not None else None
    single = out.suffix.lower() == ".png" and not out.is_dir()
    failed: dict[str, str] = {}
    if like is None:
        jobs = _numbered_jobs(kinds, out, single, size, count or 1)
    else:
        if size is not None or count is not None:
            raise MaskError(
                f"--like takes size and number from the photos, so {'--size' if size else '--count'} "
                "cannot be given too.",
                "Leave one of the two out.",
            )
        jobs = _jobs_like(kinds, out, single, like, failed)
    manifest = None if single else out / MANIFEST
    _refuse_existing([job.path for job in jobs] + ([manifest] if manifest else []), overwrite)
    largest = max(jobs, key=lambda job: job.width * job.height)
    for kind in kinds:  # what cannot be made at all shows before anything is written
        make_mask(kind, largest.height, largest.width, mask_rng(seed, largest.index), ratio=limits)

    records = []
    with console.progress(quiet=quiet) as progress:
        for job in progress.track(jobs, description="masks"):
            try:
                records.append(_make(job, seed, limits, out.parent if single else out))
            except MaskError as problem:
                failed[str(job.path)] = str(problem)
    if manifest:
        _write_manifest(manifest, records)
    for path, message in failed.items():
        console.error(f"{path}: {message}")
    if as_json:
        console.print_json(
            {
                "version": 1,
                "masks": [asdict(record) for record in records],
                "failed": [{"file": path, "error": message} for path, message in failed.items()],
            }
        )
    if records and not quiet:
        ratios = [record.ratio for record in records]
        console.note(
            f"{len(records)} mask{'s' * (len(records) > 1)} in {out}, hole ratio "
            f"{min(ratios):.3f} to {max(ratios):.3f}, {sum(ratios) / len(ratios):.3f} on average"
        )
    if failed:
        raise typer.Exit(ExitCode.SOME_FILES_FAILED)


def _parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``256`` or ``512x384``."""
    match = re.fullmatch(r"(\d{1,9})(?:[xX×](\d{1,9}))?", text.strip())
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if width < 1 or height < 1:
        raise MaskError(
            f"--size {text} is no size in pixels.", "Give one side, as 256, or width and height, as 512x384."
        )
    if width * height > _MOST_PIXELS:
        raise MaskError(
            f"--size {text} is {width * height / 1e6:.0f} million pixels.",
            "At most 178 million are supported.",
        )
    return width, height


def _parse_ratio(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split("-"))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise MaskError(
            f"--ratio {text} is no range of hole ratios.", "Give LOW-HIGH within 0 and 1, such as 0.2-0.3."
        )
    return low, high


def _numbered_jobs(kinds: list[str], out: Path, single: bool, size: str | None, count: int) -> list[Job]:
    width, height = _parse_size(size or "256")
    if single and count > 1:
        raise MaskError(f"{count} masks do not fit into the one file {out}.", "Give a folder with -o.")
    if single:
        return [Job(out, kinds[0], 0, width, height)]
    digits = max(5, len(str(count - 1)))
    return [Job(out / f"{i:0{digits}}.png", kinds[i % len(kinds)], i, width, height) for i in range(count)]


def _jobs_like(kinds: list[str], out: Path, single: bool, like: Path, failed: dict[str, str]) -> list[Job]:
    """One job per photo; photos that cannot be read are noted in ``failed`` and keep their index."""
    from damgan_cli.images.files import displayed_size, list_images

    root = like if like.is_dir() else like.parent
    photos = list_images(like) if like.is_dir() else [like]
    if not photos:
        raise ImageFileError(
            f"There are no photos in {like}.", "Give --like a folder with photos, or a photo."
        )
    if single and like.is_dir():
        raise MaskError(
            f"Masks for the folder {like} do not fit into the one file {out}.", "Give a folder with -o."
        )
    targets = [out if single else out / photo.relative_to(root).with_suffix(".png") for photo in photos]
    twins = [str(path) for path, number in Counter(targets).items() if number > 1]
    if twins:
        raise MaskError(
            f"Photos that differ only in their extension would share a mask: {_some(twins)}.",
            "Rename or separate them.",
        )
    sources = {photo.resolve() for photo in photos}
    if any(target.resolve() in sources for target in targets):
        raise MaskError(
            f"Masks in {out} would replace the photos themselves.", "Give another folder with -o."
        )
    jobs = []
    for index, (photo, target) in enumerate(zip(photos, targets, strict=True)):
        try:
            width, height = displayed_size(photo, exact=True)
        except ImageFileError as problem:
            failed[str(photo)] = str(problem)
            continue
        jobs.append(Job(target, kinds[index % len(kinds)], index, width, height))
    if not jobs:
        raise ImageFileError(f"None of the photos in {like} can be read.", next(iter(failed.values())))
    return jobs


def _refuse_existing(paths: list[Path], overwrite: bool) -> None:
    existing = [] if overwrite else [str(path) for path in paths if path.exists()]
    if existing:
        raise MaskError(
            f"{len(existing)} of the files to write exist already: {_some(existing)}.",
            "Add --overwrite to replace them, or choose another place with -o.",
        )


def _make(job: Job, seed: int, limits: tuple[float, float] | None, root: Path) -> Record:
    import numpy as np

    from damgan_cli.images.files import write_png
    from damgan_cli.images.masks import make_mask, mask_rng

    pixels = make_mask(job.kind, job.height, job.width, mask_rng(seed, job.index), ratio=limits)
    write_png(job.path, pixels)
    return Record(
        file=job.path.relative_to(root).as_posix(),
        kind=job.kind,
        seed=seed,
        index=job.index,
        width=job.width,
        height=job.height,
        ratio=round(np.count_nonzero(pixels) / pixels.size, 6),
        touches_border=bool(pixels[[0, -1]].any() or pixels[:, [0, -1]].any()),
    )


def _write_manifest(path: Path, records: list[Record]) -> None:
    from damgan_cli.images.files import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, list(Record.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for record in records:
        row: dict[str, Any] = asdict(record)
        writer.writerow(
            row | {"ratio": f"{record.ratio:.6f}", "touches_border": str(record.touches_border).lower()}
        )
    write_atomically(path, text.getvalue().encode())


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
