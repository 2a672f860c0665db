"""``damgan inpaint`` of a collection: addresses in object storage, and tar shards."""

from __future__ import annotations

import contextlib
import hashlib
import re
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

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*", re.DOTALL)
_IN_A_ROW = 3  # units that storage or the disk fails, after which a run stops
_LISTED = 1000  # failures in the report; records hold all


Engine = Annotated[
    Literal["here", "ray"],
    typer.Option(
        "--engine",
        metavar="here|ray",
        help="Of a collection (addresses, tar shards): [bold]here[/] works in this process, [bold]ray[/] on "
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


def is_collection(sources: list[str], mask: str | None, out: str | None, engine: str) -> bool:
    """Whether a command is for this module: something is an address, INPUT is tar files, or Ray works."""
    if engine != "here":
        return True
    named = [text for text in (*sources, mask, out) if text]
    return any(map(ADDRESS.fullmatch, named)) or any(source.lower().endswith(".tar") for source in sources)


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
    from damgan_cli.collection.shards import is_shard, shards
    from damgan_cli.collection.work import Task
    from damgan_cli.inpainting.folder import Options
    from damgan_cli.inpainting.holes import ALPHA
    from damgan_cli.photos.limits import most_pixels

    sources, mask, out, settings = given.sources, given.mask, given.out, given.settings
    if out is None or out == "-":
        raise ImageFileError(
            "A collection needs a place for its results.", "Give an address or folder with -o."
        )
    tars = [is_shard(source) for source in sources]
    if len(sources) > 1 and not all(tars):
        raise ImageFileError("An address goes alone as INPUT.", "Give one address, or only tar shards.")
    inside = all(tars) and mask is None and given.margins is None and not any(given.drawn.values())
    place, photos, masks = Place.of(out), Place.of(sources[0]), None
    mask_for_all = None
    if mask is not None and mask != ALPHA:
        if _is_one_mask(mask):
            mask_for_all = _one_mask(mask)
        elif all(tars):
            raise ImageFileError(
                f"{mask} is no image file, and tar shards hold their masks themselves (key.mask.png).",
                "Leave out --mask, or give one image for all.",
            )
        else:
            masks = Place.of(mask)
    if not all(tars):
        _refuse_overlaps({"INPUT": photos, "OUT": place, **({"the mask": masks} if masks else {})})
    settings |= {
        "mask": "in the shards" if inside else mask if mask in {None, ALPHA} else "one for each photo"
    }
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
    options = Options(holes, given.margins, given.quality)
    task = Task(photos, masks, inside, mask_for_all, place, options, settings, most_pixels())
    if all(tars):
        return task, iter(list(shards(sources)))
    its_masks = None if masks is None else photos_of(masks.names(), masks.url)
    return task, slices(photos_of(photos.names(), photos.url), its_masks)


def _is_one_mask(mask: str) -> bool:
    from damgan_cli.photos.formats import EXTENSIONS

    if not ADDRESS.fullmatch(mask):
        return not is_folder(Path(mask))
    return Path(mask).suffix.lower() in {*EXTENSIONS, ".json"}


def _one_mask(mask: str) -> tuple[str, bytes]:
    from damgan_cli.collection.address import Place

    place, name = Place.around(mask)
    data = place.get(name)
    if data is None:
        raise ImageFileError(f"The mask {mask} does not exist.", "--mask is an image, or where masks lie.")
    return name, data


def _refuse_overlaps(places: dict[str, Any]) -> None:
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
        raise ImageFileError("There are no photos in INPUT.", "Tar shards are named with their .tar.")


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
