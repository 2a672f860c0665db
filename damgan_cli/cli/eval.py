"""``damgan eval``: score results against the truth, or weights under a mask protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import WEIGHTS_METAVAR, complete_weights, device_option, dtype_option
from damgan_cli.collection.address import is_address
from damgan_cli.errors import ExitCode, ImageFileError, MaskError, did_you_mean
from damgan_cli.runtime.paths import check_file_can_be_written, check_folder_can_be_written, exists, is_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from damgan_cli.evaluation.file_scores import ScoreSettings
    from damgan_cli.evaluation.report import Report
    from damgan_cli.inpainting.inpainter import Inpainter

_EXTRA_METRICS = ("ms-ssim", "lpips-alex", "lpips-vgg", "fid", "kid")


def evaluate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESULTS... GROUND_TRUTH",
            help="Inpainted files, folders or addresses (s3://bucket/filled), and last the originals, paired "
            "by name.",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            "--masks",
            metavar="PATH",
            help="Masks of RESULTS, file, folder or address: adds the scores of the hole alone and by hole "
            "share. With --protocol bins or paper: a folder with one subfolder of masks per hole share.",
        ),
    ] = None,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Black is the hole in --mask.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="More than PSNR, SSIM and L1: any of ms-ssim, lpips-alex, lpips-vgg, fid, kid.",
        ),
    ] = None,
    ssim: Annotated[
        str,
        typer.Option(
            "--ssim",
            metavar="NAME",
            help="Its definition, gaussian-valid, skimage-uniform7 or edgeconnect-gray51: papers differ.",
        ),
    ] = "gaussian-valid",
    feature_weights: Annotated[
        Path | None,
        typer.Option(
            "--feature-weights",
            metavar="PATH",
            help="File or folder with the networks of LPIPS, FID and KID, for machines without network: "
            "lpips-alex.safetensors, lpips-vgg16.safetensors, torch-fidelity's Inception .pth.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Fill and score the photos of this folder, at 128x128."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar=WEIGHTS_METAVAR,
            autocompletion=complete_weights,
            help="Weights that fill --images.  [default: photos]",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="paper|bins|center|freeform|FILE",
            help="Holes for --images. paper: center and freeform, beside the paper's Table 1, then the bins "
            "of --mask; bins: six ranges of hole share, or those of --mask; FILE: JSON as "
            '{"size": 256, "masks": [{"kind": "thick"}]}.  [default: paper]',
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Take the first N of --images, sorted by name."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed of the masks for --images.")
    ] = 0,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Keep truths, masks and results of --images here."),
    ] = None,
    device: Annotated[str, device_option("Where the networks run.")] = "auto",
    dtype: Annotated[str, dtype_option("Number type the weights use.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Write DIR/index.html, one page of tables, plots and pictures, and the scores as JSON, CSV.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the scores of every image to FILE.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON document instead of the table.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, help="Processes that score files.", show_default="one per core"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table and errors only.")] = False,
) -> None:
    """Score inpainted photos against the originals.

    PSNR, SSIM, L1 and more, as defined below the table; several RESULTS are
    ranked and compared image by image. Or fill photos under the holes of a
    protocol and score that, beside OpenCV's Telea and Navier-Stokes.

    \b
    [bold]Examples[/]
      damgan eval results originals --mask masks
      damgan eval ours theirs originals --metrics lpips-alex,fid --report report
      damgan eval results originals --json > scores.json
      damgan eval --images photos --weights faces --protocol paper
      damgan eval --images photos --protocol paper --mask irregular_masks
    """  # noqa: D301
    if csv:
        check_file_can_be_written(csv)
    for option, place in {"--report": report, "--save": save}.items():
        if place:
            check_folder_can_be_written(place)
            if exists(place) and any(place.iterdir()):
                raise ImageFileError(f"{option} {place} is not empty.", "Give a new folder.")
    if images is not None:
        if paths:
            raise ImageFileError(
                "RESULTS and --images cannot be scored together.",
                "Give RESULTS and GROUND_TRUTH to score files, or --images to score weights.",
            )
        chosen = protocol or "paper"
        if mask is not None and chosen not in ("bins", "paper"):
            raise MaskError(
                f"--mask does not go with --protocol {chosen}.",
                "Use --protocol bins or paper, or leave it out.",
            )
        settings = _settings(metrics, ssim, feature_weights, device, workers, offline=offline)
        if mask is not None and is_address(mask):
            raise MaskError("With --images the masks are a folder of this machine.", "Copy them here first.")
        holes = {"folder": Path(mask) if mask else None, "seed": seed, "invert": invert_mask}
        engine = {"device": device, "dtype": dtype, "offline": offline}
        scored = _score_weights(
            images, weights, chosen, holes, settings, engine, limit=limit, save=save, quiet=quiet
        )
    else:
        for option, given in {
            "--weights": weights, "--protocol": protocol, "--limit": limit, "--save": save,
        }.items():  # fmt: skip
            if given is not None:
                raise ImageFileError(f"{option} needs photos to fill.", "Add --images DIR.")
        if not paths or len(paths) < 2:
            raise ImageFileError(
                "There is nothing to score.", "Give RESULTS and GROUND_TRUTH, or --images DIR (see --help)."
            )
        settings = _settings(metrics, ssim, feature_weights, device, workers, offline=offline)
        scored = _score_files(paths, mask, settings, invert_mask=invert_mask, quiet=quiet)
    written = _print(scored, csv, report, as_json=as_json, quiet=quiet)
    if scored.failed or not written:
        raise typer.Exit(ExitCode.SOME_FILES_FAILED)


def _settings(
    metrics: str | None, ssim: str, weights: Path | None, device: str, workers: int | None, *, offline: bool
) -> ScoreSettings:
    """What to score, with the networks loaded that it takes. Raises ImageFileError and WeightsError."""
    from damgan_cli.evaluation.file_scores import ScoreSettings
    from damgan_cli.evaluation.ssim import SSIM_KINDS

    names = [name.strip().lower() for name in (metrics or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in _EXTRA_METRICS]
    if unknown:
        raise ImageFileError(
            f"--metrics {', '.join(unknown)} is not known.",
            f"{did_you_mean(unknown[0], _EXTRA_METRICS)}Choose from {', '.join(_EXTRA_METRICS)}.",
        )
    if ssim not in SSIM_KINDS:
        raise ImageFileError(
            f"--ssim {ssim} is not known.",
            f"{did_you_mean(ssim, SSIM_KINDS)}Choose from {', '.join(SSIM_KINDS)}.",
        )
    learned = [name.replace("-", "_") for name in names if name != "ms-ssim"]
    if weights and not learned:
        raise ImageFileError("--feature-weights needs something to use them.", "Add --metrics lpips-alex.")
    features = None
    if learned:
        from damgan_cli.evaluation.features import FeatureMetrics
        from damgan_cli.runtime.device import choose_device

        features = FeatureMetrics(learned, weights=weights, device=choose_device(device), offline=offline)
    return ScoreSettings(ssim, "ms-ssim" in names, features, workers)


def _score_files(
    paths: list[str], masks: str | None, settings: ScoreSettings, *, invert_mask: bool, quiet: bool
) -> Report:
    from damgan_cli.evaluation.file_scores import score_files

    with console.warnings_on_stderr(), console.progress(quiet=quiet) as progress:
        return score_files(paths[:-1], paths[-1], masks, settings, progress.track, invert_mask=invert_mask)


def _score_weights(
    images: Path,
    weights: str | None,
    protocol: str,
    holes: dict[str, Any],
    settings: ScoreSettings,
    engine: dict[str, Any],
    *,
    limit: int | None,
    save: Path | None,
    quiet: bool,
) -> Report:
    from damgan_cli.evaluation.protocol import NAMES, read_protocol_file
    from damgan_cli.evaluation.protocol_scores import Masks, score_protocol
    from damgan_cli.runtime.imports import quick_imports
    from damgan_cli.weights.find import DEFAULT_WEIGHTS

    if protocol not in NAMES and not is_file(Path(protocol)):
        raise MaskError(
            f"There is no protocol {protocol}.",
            f"{did_you_mean(protocol, NAMES)}Choose from {', '.join(NAMES)}, or give a JSON file.",
        )
    masks = Masks(protocol if protocol in NAMES else read_protocol_file(Path(protocol)), protocol, **holes)

    def load_inpainter() -> Inpainter:
        with quick_imports():
            from damgan_cli.inpainting.inpainter import Inpainter

        return Inpainter(weights or DEFAULT_WEIGHTS, **engine)

    with console.warnings_on_stderr(), console.progress(quiet=quiet) as progress:

        def start(total: int) -> Callable[[], None]:
            task = progress.add_task("filling", total=total)
            return lambda: progress.advance(task)

        return score_protocol(
            images,
            load_inpainter,
            masks,
            settings,
            limit=limit,
            save=save,
            start=start,
            note=(lambda _: None) if quiet else console.note,
        )


def _print(scored: Report, csv: Path | None, page: Path | None, *, as_json: bool, quiet: bool) -> bool:
    """Write and print; returns whether all could be written."""
    from damgan_cli.evaluation.report import csv_text, json_document

    unwritten = False
    try:
        if csv:
            from damgan_cli.runtime.atomic import write_atomically

            write_atomically(csv, csv_text(scored.rows).encode())
        if page and scored.lines:
            from damgan_cli.evaluation.page import write_page

            with console.progress(quiet=quiet) as progress:
                write_page(page, scored, _title(scored), progress.track)
            if not quiet:
                console.note(f"The report is {page / 'index.html'}")
    except ImageFileError as problem:  # the scores are here all the same, and may have taken hours
        unwritten = True
        console.error(problem.message, problem.hint)
    for name, reason in scored.failed.items():
        console.error(f"{name}: {reason}")
    if as_json:
        console.print_json(json_document(scored))
    elif scored.lines:
        _print_table(scored, quiet=quiet)
    return not unwritten


def _title(scored: Report) -> str:
    methods = dict.fromkeys(row.method for row in scored.rows)
    return f"Inpainting scores: {', '.join(methods)}"


def _print_table(scored: Report, *, quiet: bool) -> None:
    from damgan_cli.evaluation.protocol import PRINTED
    from damgan_cli.evaluation.report import comparison_table, table

    out = console.stdout
    out.print(table(scored.lines))
    count = max(len(row.scores) for row in scored.rows)
    out.print(f"{count} image{'s' * (count != 1)}")
    for row in scored.rows:
        if row.identical:
            where = ", ".join(part for part in (row.method, row.masks) if part)
            out.print(f"{row.identical} identical to the truth, not part of the PSNR mean ({where})")
    compared = scored.document["comparisons"]
    if compared and scored.document["mode"] == "files":
        out.print()
        out.print(comparison_table(compared))
    if "published" in scored.document:
        out.print(PRINTED)
    if not quiet:
        for name, definition in scored.definitions.items():
            out.print(f"[dim]{name}: {definition}[/]")
