"""``damgan inpaint`` of a collection: addresses in object storage, tar and Parquet shards."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from damgan_cli.cli import console
from damgan_cli.cli.hole_options import hole_options
from damgan_cli.cli.inpaint_report import NO_MODEL, describe, mask_warnings
from damgan_cli.collection.address import is_address
from damgan_cli.errors import ExitCode, ImageFileError, StoreError
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from damgan_cli.collection.listing import Slice
    from damgan_cli.collection.shards import Shard
    from damgan_cli.collection.work import Outcome, Task
    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.inpainting.record import Settings
    from damgan_cli.photos.extend import Margins

_IN_A_ROW = 3  # units that storage or the disk fails, after which a run stops
_LISTED = 1000  # failures in the report; records hold all


Engine = Annotated[
    Literal["here", "ray"],
    typer.Option(
        "--engine",
        metavar="here|ray",
        help="Of a collection (addresses, shards): [bold]here[/] works in this process, [bold]ray[/] on "
        "all of a Ray cluster, or on this machine's cores and GPUs.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster of --engine ray; without it one is started here, for this run.",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="PHOTOS[,MASKS]",
        help="Of Parquet files.",
        show_default="image, or img, photo, jpg; mask, or mask_image",
    ),
]


@dataclass(frozen=True)
class Given:
    """What the command line gives, as typed."""

    sources: list[str]
    mask: str | None
    out: str | None
    drawn: dict[str, list[str]]
    margins: Margins | None
    quality: int | None
    settings: Settings
    """Without the mask."""
    engine: str = "here"
    address: str | None = None
    """Of a Ray cluster."""
    columns: str | None = None
    """Of Parquet files."""


def is_collection(sources: list[str], mask: str | None, out: str | None, engine: str) -> bool:
    """Whether a command is for this module: something is an address, INPUT is shards, or Ray works."""
    from damgan_cli.collection.shards import is_shard
    from damgan_cli.collection.urls import is_list

    if engine != "here":
        return True
    named = [text for text in (*sources, mask, out) if text]
    return any(map(is_address, named)) or any(is_shard(source) or is_list(source) for source in sources)


def fill_collection(
    given: Given,
    load: Callable[[], Inpainter],
    unfit: dict[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do what the command says, and leave with its exit code. ``unfit`` are options that do not go here.

    Raises DamganError for what is wrong before any work is done.
    """
    from damgan_cli.collection.address import require_obstore
    from damgan_cli.collection.engine import run_here
    from damgan_cli.collection.ray_engine import run_on_ray
    from damgan_cli.collection.work import Worker, begin

    require_obstore()
    for option, value in unfit.items():
        if value:
            raise ImageFileError(f"{option} does not go with a collection.", "See docs/collections.md.")
    if given.address is not None and given.engine != "ray":
        raise ImageFileError("--address is that of a Ray cluster.", "Add --engine ray.")
    start = time.perf_counter()
    task, units = _planned(given)
    if dry_run:
        _list(units)
        return
    counts: Counter[str] = Counter()
    failures: list[dict[str, str | None]] = []
    code = ExitCode.OK
    worker = Worker(task, load)
    try:
        begin(task.out, task.settings)
        on_ray = given.engine == "ray"
        run = (
            run_on_ray(units, partial(Worker, task, load), given.address)
            if on_ray
            else run_here(units, worker)
        )
        with mask_warnings(quiet=quiet), contextlib.closing(run) as outcomes:
            _follow(outcomes, counts, failures, quiet=quiet)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except StoreError as problem:
        if not counts:
            raise
        console.error(problem.message, problem.hint)
        failures.append({"unit": None, "photo": None, "reason": str(problem)})
        code = ExitCode.SOME_FILES_FAILED
    finally:
        worker.close()
    if code is ExitCode.OK and (counts["failed"] or counts["units failed"]):
        code = ExitCode.SOME_FILES_FAILED
    seconds = time.perf_counter() - start
    if as_json:
        model = describe(worker.inpainter) if worker.loaded else NO_MODEL
        console.print_json(_report(model, counts, failures, seconds))
    if not quiet:
        _summarise(counts, seconds, task.out.url, interrupted=code is ExitCode.INTERRUPTED)
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _planned(given: Given) -> tuple[Task, Iterator[Slice | Shard]]:
    """What all units share, and the units, which are listed as they are asked for. Raises DamganError."""
    from damgan_cli.collection.address import Place
    from damgan_cli.collection.listing import photos_of, slices
    from damgan_cli.collection.parquet import require_pyarrow
    from damgan_cli.collection.shards import is_shard, shards
    from damgan_cli.collection.urls import is_list, slices_of_list
    from damgan_cli.collection.work import Task
    from damgan_cli.inpainting.folder import Options
    from damgan_cli.inpainting.holes import ALPHA
    from damgan_cli.photos.limits import most_pixels

    sources, mask, out, settings = given.sources, given.mask, given.out, given.settings
    if out is None or out == "-":
        raise ImageFileError(
            "A collection needs a place for its results.", "Give an address or folder with -o."
        )
    sharded, listed = all(map(is_shard, sources)), len(sources) == 1 and is_list(sources[0])
    if len(sources) > 1 and not sharded:
        raise ImageFileError("An address goes alone as INPUT.", "Give one address, or only shards.")
    inside = (sharded or listed) and mask is None and given.margins is None and not any(given.drawn.values())
    place, masks = Place.of(out), None
    photos = None if sharded or listed else Place.of(sources[0])
    if place.on_the_web:
        raise ImageFileError(f"{place.url} cannot be written to.", "OUT is a folder, s3://, gs:// or az://.")
    mask_for_all = None
    if mask is not None and mask != ALPHA:
        if _is_one_mask(mask):
            mask_for_all = _one_mask(mask)
        elif photos is None:
            what = "lists name" if listed else "shards hold"
            raise ImageFileError(
                f"{mask} is no image file, and {what} their masks themselves.",
                "Leave out --mask, or give one image for all.",
            )
        else:
            masks = Place.of(mask)
    if photos is not None:
        refuse_overlaps({"INPUT": photos, "OUT": place, **({"the mask": masks} if masks else {})})
    each = "in the shards" if inside and sharded else "one for each photo"
    settings |= {"mask": mask if mask in {None, ALPHA} and not inside else each, "columns": given.columns}
    if mask_for_all is not None:
        digest = hashlib.sha256(mask_for_all[1]).hexdigest()
        settings |= {"mask": f"{mask_for_all[0]} {digest[:12]}"}
    holes = hole_options(
        "inside" if inside else mask,
        given.drawn,
        [int(value) for value in (settings["mask_value"] or "").split()],
        settings["dilate"],
        settings["extend"],
        invert=settings["invert_mask"],
        resize=settings["resize_mask"],
    )
    options, columns = Options(holes, given.margins, given.quality), _columns(given.columns)
    task = Task(photos, masks, inside, mask_for_all, place, options, settings, most_pixels(), columns)
    if sharded:
        units = list(shards(sources))
        if any(unit.is_parquet for unit in units):
            require_pyarrow()
        elif columns:
            raise ImageFileError("--columns is for Parquet files.", "INPUT has none.")
        return task, iter(units)
    if columns:
        raise ImageFileError("--columns is for Parquet files.", "INPUT has none.")
    if photos is None:
        return task, slices_of_list(sources[0], with_masks=inside)
    its_masks = None if masks is None else photos_of(masks.names(), masks.url)
    return task, slices(photos_of(photos.names(), photos.url), its_masks)


def _columns(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if len(names) > 2 or (text is not None and not names):
        raise ImageFileError(f"--columns {text} is not one name, or two.", "Give PHOTOS,MASKS.")
    return names


def _is_one_mask(mask: str) -> bool:
    from damgan_cli.photos.formats import EXTENSIONS

    if not is_address(mask):
        return not is_folder(Path(mask))
    return Path(mask.partition("?")[0]).suffix.lower() in {*EXTENSIONS, ".json"}


def _one_mask(mask: str) -> tuple[str, bytes]:
    from damgan_cli.collection.address import Place

    place, name = Place.around(mask)
    data = place.get(name)
    if data is None:
        raise ImageFileError(f"The mask {mask} does not exist.", "--mask is an image, or where masks lie.")
    return name, data


def refuse_overlaps(places: dict[str, Any]) -> None:
    """Raise ImageFileError if one of some places, by their roles, lies in another."""
    names = list(places)
    for number, role in enumerate(names):
        for other in names[:number]:
            if places[role].overlaps(places[other]):
                raise ImageFileError(
                    f"{other} ({places[other].url}) and {role} ({places[role].url}) lie in each other.",
                    "Photos, masks and results each need a place of their own.",
                )


def _follow(
    outcomes: Iterable[Outcome], counts: Counter[str], failures: list[dict[str, str | None]], *, quiet: bool
) -> None:
    """Count and tell what becomes of units. Raises StoreError where storage or the disk is out of reach."""
    in_a_row = 0
    with console.progress(quiet=quiet) as bar:
        shown = bar.add_task("filling", total=None)
        for outcome in outcomes:
            counts[f"units {outcome.status}"] += 1
            earlier = outcome.status == "skipped"
            done = outcome.filled + outcome.copied
            counts.update(
                {"skipped": done} if earlier else {"filled": outcome.filled, "copied": outcome.copied}
            )
            counts["failed"] += len(outcome.failed)
            bar.advance(shown, done)
            for name, reason in outcome.failed:
                console.error(f"{name}: {reason}" + " (in an earlier run)" * earlier)
                failures.append({"unit": outcome.unit, "photo": name, "reason": reason})
            if outcome.problem is not None:
                console.error(f"{outcome.unit}: {outcome.problem}")
                failures.append({"unit": outcome.unit, "photo": None, "reason": outcome.problem})
            del failures[_LISTED:]
            in_a_row = in_a_row + 1 if outcome.unreachable else 0
            if in_a_row == _IN_A_ROW:
                raise StoreError(
                    f"Stopped, as {_IN_A_ROW} units in a row failed like this.",
                    "What is done is kept; the same command goes on from here.",
                )
    if not counts:
        raise ImageFileError("There are no photos in INPUT.", "Shards are named with their .tar or .parquet.")


def _list(units: Iterable[Slice | Shard]) -> None:
    from damgan_cli.collection.listing import Slice

    for unit in units:
        photos = f": {len(unit.pairs)} photos" if isinstance(unit, Slice) else ""
        typer.echo(
            console.printable(f"{unit.name}{photos}" + f": {unit.problem}" * (unit.problem is not None))
        )


def _report(
    model: dict[str, Any], counts: Counter[str], failures: list[dict[str, str | None]], seconds: float
) -> dict[str, Any]:
    return {
        "version": 1,
        "command": "inpaint",
        **model,
        "seconds": round(seconds, 4),
        "counts": {status: counts[status] for status in ("filled", "copied", "skipped", "failed")},
        "units": {status: counts[f"units {status}"] for status in ("done", "skipped", "failed")},
        "failures": failures,
    }


def _summarise(counts: Counter[str], seconds: float, out: str, *, interrupted: bool) -> None:
    parts = [
        f"{counts[status]} {status}" for status in ("filled", "copied", "skipped", "failed") if counts[status]
    ]
    if counts["units failed"]:
        parts.append(f"{counts['units failed']} units failed")
    line = f"{', '.join(parts) or 'nothing done'} in {seconds:.1f} s: {out}"
    console.note(f"interrupted: {line}; the same command goes on from here" if interrupted else line)
