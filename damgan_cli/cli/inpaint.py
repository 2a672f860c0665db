"""``damgan inpaint``: fill the holes of a photo, or of a folder of photos."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from damgan_cli.cli import console
from damgan_cli.cli.hole_options import Boxes, Circles, Extend, MaskValues, Polygons, hole_options
from damgan_cli.cli.inpaint_collection import Cluster, Columns, Engine, Given, fill_collection, is_collection
from damgan_cli.cli.inpaint_report import NO_MODEL, describe, list_plan, mask_warnings, report, summarise
from damgan_cli.cli.inpaint_watch import check_watch, watch_folder
from damgan_cli.cli.options import device_option, dtype_option, weights_option
from damgan_cli.errors import ExitCode, ImageFileError
from damgan_cli.runtime.paths import STREAM, is_stream
from damgan_cli.weights.find import DEFAULT_WEIGHTS, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damgan_cli.inpainting.folder import Options, Result
    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.inpainting.job import Job
    from damgan_cli.inpainting.jobs import Plan
    from damgan_cli.inpainting.record import Record, Settings
    from damgan_cli.runtime.distributed import World


def inpaint(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="A photo, several photos, a folder of photos, an address such as s3://bucket/photos, tar or "
            "Parquet shards, or a list of URLs (.txt); - is a photo on stdin.",
            show_default=False,
        ),
    ],
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            "-m",
            metavar="MASK",
            help="White is filled. One image for all photos, a folder with one mask for each photo (same "
            "relative path, any extension), a COCO file (.json), - for stdin, or the word [bold]alpha[/]: "
            "fill what is transparent.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="Output file or folder; what ends in a slash is a folder; - is stdout. A folder as INPUT "
            "needs one and is mirrored in it; without it photo.png gives photo.inpainted.png.",
            show_default=False,
        ),
    ] = None,
    boxes: Boxes = None,
    polygons: Polygons = None,
    circles: Circles = None,
    extend: Extend = None,
    weights: Annotated[str, weights_option("The model to use.")] = DEFAULT_WEIGHTS,
    device: Annotated[str, device_option("auto takes a GPU if there is one.")] = "auto",
    dtype: Annotated[str, dtype_option("Number type; auto takes what the device is fast at.")] = "auto",
    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size",
            metavar="N|auto",
            help="Windows of 128x128 px that are filled at once; halved where memory runs out.",
        ),
    ] = "auto",
    fit: Annotated[
        Literal["auto", "smooth", "native"],
        typer.Option(
            "--fit",
            metavar="auto|smooth|native",
            help="How holes deeper than the model learned are filled: [bold]auto[/] fills them in a reduced "
            "copy and copies fine detail from their surroundings (not with faces), [bold]smooth[/] copies "
            "none, [bold]native[/] does not reduce. Thin strokes are always filled at full resolution.",
        ),
    ] = "auto",
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Black is filled.")] = False,
    mask_value: MaskValues = None,
    dilate: Annotated[
        int, typer.Option("--dilate", metavar="PX", min=0, help="Grow the hole, to cover an object's rim.")
    ] = 0,
    resize_mask: Annotated[
        bool, typer.Option("--resize-mask", help="Stretch masks of another size over their photos.")
    ] = False,
    attention: Annotated[
        Path | None,
        typer.Option(
            "--attention",
            metavar="DIR",
            help="Also save the fakeness maps: the brighter, the less the model trusts its fill.",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="N",
            min=1,
            max=100,
            help="Of JPEG, WebP, AVIF and HEIC. By default a JPEG is coded as its source was, else 95.",
            show_default=False,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="COUNT",
            min=1,
            help="Refuse larger photos and masks, as a small file may unpack to fill all memory. "
            "[default: 178956970]",
            show_default=False,
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync",
            help="In a folder, wait for the disk after each file, so that a crash of the machine damages and "
            "loses none. One photo is always waited for.",
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on filling what arrives in the folder INPUT, until Ctrl-C: each photo once it is "
            "completely written, and has its mask if --mask is a folder.",
        ),
    ] = False,
    engine: Engine = "here",
    address: Cluster = None,
    columns: Columns = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list, but write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on stdout.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Fill holes in photos, or in every photo of a folder: a mask's white part, boxes, a larger canvas.

    Known pixels stay as they are, to the bit where the file format is lossless.
    Size, mode, format and metadata are kept. Outputs that exist are skipped:
    the same command goes on where an earlier run stopped.

    \b
    [bold]Examples[/]
      damgan inpaint photo.jpg --mask mask.png
      damgan inpaint *.jpg --mask watermark.png --resize-mask -o filled
      damgan inpaint photos --mask masks -o filled
      damgan inpaint photos --box right=2%,bottom=2%,25%,6% -o filled
      damgan inpaint photo.jpg --extend top=30%
      damgan inpaint --watch incoming --mask logo.png -o filled
      damgan inpaint cutout.png --mask alpha -o whole.png
      damgan inpaint s3://bucket/photos --mask s3://bucket/masks -o s3://bucket/filled
      torchrun --nproc-per-node 8 -m damgan_cli inpaint photos --mask masks -o filled
    """  # noqa: D301
    from damgan_cli.inpainting.holes import mask_settings
    from damgan_cli.inpainting.jobs import plan_jobs
    from damgan_cli.inpainting.record import Record
    from damgan_cli.photos.extend import parse_margins
    from damgan_cli.photos.limits import MAX_PIXELS, limit_pixels
    from damgan_cli.runtime.atomic import remove_strays
    from damgan_cli.runtime.distributed import World

    drawn = {"box": boxes or [], "polygon": polygons or [], "circle": circles or []}
    margins = parse_margins(extend) if extend is not None else None
    at_once = _batch_size(batch_size)
    limit_pixels(max_pixels or MAX_PIXELS)

    def load_model() -> Inpainter:
        return _load_inpainter(weights, device, dtype, at_once, fit, offline=offline)

    made_with: Settings = {
        "weights": fingerprint(weights),
        "fit": fit,
        "invert_mask": invert_mask,
        "dilate": dilate,
        "resize_mask": resize_mask,
        "quality": quality,
        "extend": extend,
        "mask_value": " ".join(map(str, mask_value or [])) or None,
        **{kind: " ".join(texts) or None for kind, texts in drawn.items()},
    }
    if is_collection(sources, mask, out, engine):
        unfit = {"--watch": watch, "--overwrite": overwrite, "--attention": attention}
        given = Given(sources, mask, out, drawn, margins, quality, made_with, engine, address, columns)
        fill_collection(given, load_model, unfit, dry_run=dry_run, as_json=as_json, quiet=quiet)
        return
    holes = hole_options(
        mask, drawn, mask_value or [], dilate, extend, invert=invert_mask, resize=resize_mask
    )
    to_stdout = out == str(STREAM) or (out is None and is_stream(Path(sources[0])))
    if to_stdout and not dry_run:
        console.check_stdout_for_a_picture(as_json=as_json)
    start = time.perf_counter()
    world = World.join()
    quiet = quiet or not world.first

    if watch:
        check_watch(sources, processes=world.size, dry_run=dry_run)

    def plan_of(only: Sequence[Path] | None) -> Plan:
        return plan_jobs(
            sources,
            mask,
            out,
            fakeness=attention,
            overwrite=overwrite,
            holes=holes,
            margins=margins,
            only=only,
            settings=lambda: made_with | mask_settings(mask),
        )

    plan = world.broadcast(lambda: plan_of([] if watch else None))
    if plan.earlier_results and not quiet:
        console.note(f"{plan.earlier_results} earlier results (*.inpainted.*) are left out")
    if plan.left_out and not quiet:
        kinds = sorted({path.suffix.lower() for path in plan.left_out})
        console.warn(f"left out, as these kinds are not read: {len(plan.left_out)} of {', '.join(kinds)}")
    if dry_run:
        if world.first:
            list_plan(plan, as_json=as_json, quiet=quiet)
        world.leave()
        return
    from damgan_cli.inpainting.folder import Options

    if world.first:  # the others do not write before it has loaded the model
        remove_strays(plan.folders)
    options = Options(holes, margins, quality, sync or plan.single)
    record, replaced = Record(), []
    results: list[Result] = []
    refused = 0
    model = NO_MODEL
    code = ExitCode.OK
    with mask_warnings(quiet=quiet):

        def load() -> Inpainter:
            if plan.single and world.first:
                _check_readable(plan.jobs[0], options)
            return load_model()

        if watch:
            try:
                inpainter = load()
                model = describe(inpainter)
                folder, away = Path(sources[0]), [path for path in (out, attention) if path]
                fill = partial(_fill_arrived, inpainter=inpainter, options=options, quiet=quiet)
                for arrived, done in watch_folder(folder, mask, away, plan_of, fill, quiet=quiet):
                    results += done
                    refused += arrived is None
                    if arrived:
                        plan.jobs.extend(arrived.jobs)
                        plan.skipped.extend(arrived.skipped)
            except KeyboardInterrupt:
                code = ExitCode.INTERRUPTED
        elif plan.jobs:
            try:
                inpainter = _load_after_the_first(world, load)
                model = describe(inpainter)
                if world.first:
                    replaced = record.begin(plan.targets, plan.settings)
                _run(world.share(plan.jobs), inpainter, options, results, quiet=quiet)
            except KeyboardInterrupt:
                code = ExitCode.INTERRUPTED
    if code is ExitCode.OK:
        results = world.gather(results)
        world.leave()
    _note_replaced(record, replaced, results, plan.settings)
    seconds = time.perf_counter() - start
    counts = Counter(result.status for result in results)
    counts["skipped"] = len(plan.skipped)
    counts["failed"] += refused
    if counts["failed"] and code is ExitCode.OK and world.first:
        code = ExitCode.SOME_FILES_FAILED
    if as_json and world.first:
        console.print_json(report(plan, results, model, counts, seconds))
    if not quiet:
        summarise(plan, counts, seconds, interrupted=code is ExitCode.INTERRUPTED)
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _note_replaced(record: Record, replaced: list[Path], results: list[Result], settings: Settings) -> None:
    """Note which of the outputs that existed are made anew."""
    if not replaced:
        return
    done = {target for result in results if result.error is None for target in result.job.targets}
    try:
        record.end([path for path in replaced if path in done], settings)
    except ImageFileError as problem:  # the photos are there; the next run will ask for --overwrite
        console.warn(str(problem))


def _fill_arrived(plan: Plan, *, inpainter: Inpainter, options: Options, quiet: bool) -> list[Result]:
    """Fill what has arrived in a folder that is watched."""
    from damgan_cli.inpainting.record import Record

    results: list[Result] = []
    if plan.jobs:
        record = Record()
        replaced = record.begin(plan.targets, plan.settings)
        _run(plan.jobs, inpainter, options, results, quiet=quiet)
        _note_replaced(record, replaced, results, plan.settings)
    return results


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither auto nor a number from 1.", param_hint="--batch-size")
    return int(text)


def _load_after_the_first(world: World, load: Callable[[], Inpainter]) -> Inpainter:
    """Every process loads the model, once the first one could: one error message, one download."""
    loaded: list[Inpainter] = []
    world.broadcast(lambda: loaded.append(load()))
    return loaded[0] if loaded else load()


def _check_readable(job: Job, options: Options) -> None:
    """Read a single photo and its mask: what is wrong with them is bad input, not a run with failures."""
    from damgan_cli.inpainting.folder import load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the work is done
        load(job, options)


def _load_inpainter(
    weights: str,
    device: str,
    dtype: str,
    batch_size: int | None,
    fit: str,
    *,
    offline: bool,
) -> Inpainter:
    from damgan_cli.runtime.imports import quick_imports

    with quick_imports():
        from damgan_cli.inpainting.inpainter import Inpainter

    return Inpainter(weights, device=device, dtype=dtype, batch_size=batch_size, fit=fit, offline=offline)


def _run(
    jobs: list[Job], inpainter: Inpainter, options: Options, results: list[Result], *, quiet: bool
) -> None:
    from damgan_cli.inpainting.folder import fill_photos

    with (
        console.progress(quiet=quiet) as bar,
        contextlib.closing(fill_photos(jobs, inpainter, options)) as finished,
    ):
        task = bar.add_task("filling", total=len(jobs))
        for result in finished:
            results.append(result)
            bar.advance(task)
            if result.status == "failed":
                console.error(f"{result.job.name}: {result.error}")
            elif result.status == "copied" and not quiet:
                console.note(f"{result.job.name}: the mask is empty, copied as it is")
