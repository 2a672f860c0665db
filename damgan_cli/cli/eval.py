"""``damgan eval``: score results against the truth, or weights under a mask protocol."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.errors import DamganError, ExitCode, ImageFileError, MaskError

if TYPE_CHECKING:
    from damgan_cli.evaluation.protocol import Filler, Hole, Image, MaskSet, Photos
    from damgan_cli.evaluation.report import Line, Row


class Protocol(Enum):
    """Which masks the photos of ``--images`` get."""

    PAPER = "paper"
    BINS = "bins"
    CENTER = "center"
    FREEFORM = "freeform"


@dataclass
class Report:
    """What is printed, and written to ``--csv``."""

    rows: list[Row]
    lines: list[Line]
    document: dict[str, Any]
    """The fields that this kind of report adds to the JSON document."""
    failed: dict[str, str]
    """What is wrong, by file."""


def evaluate(
    results: Annotated[
        Path | None, typer.Argument(help="Inpainted file or folder to score.", show_default=False)
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Argument(help="Original file or folder, paired by name.", show_default=False)
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            "--masks",
            metavar="PATH",
            help="Masks of RESULTS, file or folder: adds the scores of the hole alone. "
            "With --protocol bins: a folder with one subfolder of masks per hole ratio.",
        ),
    ] = None,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Black is the hole in --mask.")] = False,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Fill and score the photos of this folder, at 128x128."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME|PATH|ORG/REPO[@REV]",
            help="Weights that fill --images.  [default: faces]",
        ),
    ] = None,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            "--protocol",
            help="Holes for --images. paper: center and freeform, beside the paper's Table 1; "
            "bins: six ranges of hole ratio.  [default: paper]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Take the first N of --images, sorted by name.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the masks for --images.")] = 0,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Keep truths, masks and results of --images here."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where the weights run.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option("--dtype", metavar="auto|float32|bfloat16|float16", help="Number type they run in."),
    ] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the scores of every image to FILE.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON document instead of the table.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table and errors only.")] = False,
) -> None:
    """Score inpainted photos against the originals: PSNR, SSIM and L1, as defined below the table.

    Or fill the photos of a folder under the holes of a protocol and score that, beside OpenCV's Telea.

    \b
    [bold]Examples[/]
      damgan eval results originals --mask masks
      damgan eval results originals --json > scores.json
      damgan eval --images photos --weights faces --protocol paper
      damgan eval --images photos --protocol bins --mask irregular_masks
    """  # noqa: D301
    if csv and csv.is_dir():
        raise ImageFileError(f"--csv {csv} is a folder.", "Give a file name.")
    if images is not None:
        if results is not None:
            raise ImageFileError(
                "RESULTS and --images cannot be scored together.",
                "Give RESULTS and GROUND_TRUTH to score files, or --images to score weights.",
            )
        chosen = (protocol or Protocol.PAPER).value
        if mask is not None and chosen != "bins":
            raise MaskError(
                f"--mask does not go with --protocol {chosen}.", "Use --protocol bins, or leave it out."
            )
        if save and save.exists() and (save.is_file() or any(save.iterdir())):
            raise ImageFileError(f"--save {save} is not empty.", "Give a new folder.")
        masks = _Masks(chosen, seed, mask, invert_mask)
        engine = {"device": device, "dtype": dtype, "offline": offline}
        report = _score_weights(images, weights, masks, engine, limit=limit, save=save, quiet=quiet)
    else:
        for option, given in {
            "--weights": weights, "--protocol": protocol, "--limit": limit, "--save": save,
        }.items():  # fmt: skip
            if given is not None:
                raise ImageFileError(f"{option} needs photos to fill.", "Add --images DIR.")
        if results is None or ground_truth is None:
            raise ImageFileError(
                "There is nothing to score.", "Give RESULTS and GROUND_TRUTH, or --images DIR (see --help)."
            )
        report = _score_files(results, ground_truth, mask, invert_mask=invert_mask, quiet=quiet)
    _print(report, csv, as_json=as_json, quiet=quiet)
    if report.failed:
        raise typer.Exit(ExitCode.SOME_FILES_FAILED)


def _score_files(
    results: Path, truths: Path, masks: Path | None, *, invert_mask: bool, quiet: bool
) -> Report:
    from damgan_cli.evaluation.pairs import find_pairs
    from damgan_cli.evaluation.report import Row, json_images

    pairs = find_pairs(results, truths, masks)
    row = Row(results.name, "", [], [])
    failed: dict[str, str] = {}
    with console.warnings_on_stderr(), console.progress(quiet=quiet) as progress:
        for pair in progress.track(pairs, description="scoring"):
            try:
                scores = pair.score(invert_mask=invert_mask)
            except DamganError as problem:
                failed[pair.name] = str(problem)
                continue
            row.names.append(pair.name)
            row.scores.append(scores)
    document = {
        "mode": "files",
        "results": str(results),
        "ground_truth": str(truths),
        "mask": str(masks) if masks else None,
        **json_images(row),
    }
    return Report([row], [("", row.method, row.mean)] if row.scores else [], document, failed)


@dataclass(frozen=True)
class _Masks:
    protocol: str
    seed: int
    folder: Path | None
    invert: bool


def _score_weights(
    images: Path,
    weights: str | None,
    masks: _Masks,
    engine: dict[str, Any],
    *,
    limit: int | None,
    save: Path | None,
    quiet: bool,
) -> Report:
    from damgan_cli.evaluation.protocol import PAPER_TABLE_1, SIZE, load_photos, mask_sets, telea
    from damgan_cli.evaluation.report import json_images, mean_over_sets
    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.weights import DEFAULT_WEIGHTS

    weights = weights or DEFAULT_WEIGHTS
    photos = load_photos(images, limit)
    with console.warnings_on_stderr():
        sets = mask_sets(
            masks.protocol, photos.count, seed=masks.seed, folder=masks.folder, invert=masks.invert
        )
    inpainter = Inpainter(weights, **engine)

    def network(pictures: list[Image], holes: list[Hole]) -> list[Image]:
        return [fill.rgb for fill in inpainter.fill_batch(pictures, holes)]

    if photos.fitted and not quiet:
        console.note(
            f"{len(photos.fitted)} of {len(photos.names)} photos are not {SIZE}x{SIZE}: scaled and cut"
        )
    methods: dict[str, Filler] = {"Telea": telea, Path(weights).name: network}
    rows = _fill_and_score(photos, sets, methods, save, quiet=quiet)
    document = {
        "mode": "protocol",
        "protocol": masks.protocol,
        "size": SIZE,
        "images": str(images),
        "fitted": photos.fitted,
        "mask": str(masks.folder) if masks.folder else None,
        "seed": masks.seed,
        "weights": {
            "name": inpainter.weights.name,
            "source": inpainter.weights.source,
            "revision": inpainter.weights.revision,
        },
        "device": str(inpainter.device),
        "dtype": str(inpainter.dtype).removeprefix("torch."),
        "rows": [{"method": row.method, "masks": row.masks, **json_images(row)} for row in rows],
    }
    lines: list[Line] = []
    for masked in sets:
        if masks.protocol == "paper":
            printed = PAPER_TABLE_1[masked.name]
            lines += [(masked.name, f"{name}, paper", scores) for name, scores in printed.items()]
        lines += [(row.masks, row.method, row.mean) for row in rows if row.masks == masked.name]
    if masks.protocol == "paper":
        document["published"] = PAPER_TABLE_1
    if masks.protocol == "bins":
        means = document["mean_over_bins"] = mean_over_sets(rows)
        lines += [("mean of bins", method, mean) for method, mean in means.items()]
    return Report(rows, lines, document, photos.failed)


def _fill_and_score(
    photos: Photos, sets: list[MaskSet], methods: dict[str, Filler], save: Path | None, *, quiet: bool
) -> list[Row]:
    """One row per mask set and method, in this order; pictures go below ``save``, if given."""
    from damgan_cli.evaluation.protocol import run_protocol, telea
    from damgan_cli.evaluation.report import Row

    keep = _Keeper(save, photos.names)
    keep.all("truth", photos.pixels)
    rows = []
    with console.warnings_on_stderr(), console.progress(quiet=quiet) as progress:
        task = progress.add_task("filling", total=len(sets) * len(methods) * len(photos.names))
        for masked in sets:
            holes = [masked.holes[i % len(masked.holes)] for i in photos.positions]
            keep.all(f"{masked.folder}/masks", holes)
            for method, fill in methods.items():
                place = f"{masked.folder}/{'telea' if fill is telea else 'weights'}"

                def each(index: int, result: Image, place: str = place) -> None:
                    keep.one(place, index, result)
                    progress.advance(task)

                scores = run_protocol(fill, photos.pixels, holes, each)
                rows.append(Row(method, masked.name, photos.names, scores))
    return rows


class _Keeper:
    """Writes pictures below ``--save``, if there is one."""

    def __init__(self, root: Path | None, names: list[str]) -> None:
        self.root = root
        self.paths = [Path(name).with_suffix(".png") for name in names]
        if root and len(set(self.paths)) < len(names):
            raise ImageFileError(
                "Some photos differ only in their extension, their results would share a file.",
                "Rename them, or leave --save out.",
            )

    def one(self, place: str, index: int, picture: Any) -> None:
        from damgan_cli.images.files import write_png

        if self.root:
            write_png(self.root / place / self.paths[index], picture)

    def all(self, place: str, pictures: list[Any]) -> None:
        for index, picture in enumerate(pictures):
            self.one(place, index, picture)


def _print(report: Report, csv: Path | None, *, as_json: bool, quiet: bool) -> None:
    from damgan_cli.evaluation.metrics import METRIC_DEFINITIONS
    from damgan_cli.evaluation.report import csv_text, table

    for name, problem in report.failed.items():
        console.error(f"{name}: {problem}")
    if as_json:
        failed = [{"name": name, "error": problem} for name, problem in report.failed.items()]
        console.print_json({"version": 1, "metrics": METRIC_DEFINITIONS, **report.document, "failed": failed})
    elif report.lines:
        console.stdout.print(table(report.lines))
        scored = report.rows[0].scores
        console.stdout.print(f"{len(scored)} image{'s' * (len(scored) != 1)}")
        for row in report.rows:
            if row.identical:
                where = f" ({row.method}, {row.masks})" if row.masks else ""
                console.stdout.print(
                    f"{row.identical} identical to the truth, not part of the PSNR mean{where}"
                )
        if "published" in report.document:
            console.stdout.print(
                "paper: as printed in Table 1 of Cha & Kim; CelebA-HQ, on their own photos and masks"
            )
        if not quiet:
            for name, definition in METRIC_DEFINITIONS.items():
                console.stdout.print(f"[dim]{name}: {definition}[/]")
    if csv:
        from damgan_cli.images.files import write_atomically

        write_atomically(csv, csv_text(report.rows).encode())
