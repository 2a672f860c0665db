"""What ``damgan inpaint`` says: the list of a dry run, the last line, and the document of ``--json``."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from damgan_cli.cli import console
from damgan_cli.runtime.paths import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damgan_cli.inpainting.folder import Result
    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.inpainting.job import Job
    from damgan_cli.inpainting.jobs import Plan

NO_MODEL: dict[str, Any] = {"weights": None, "device": None, "dtype": None, "fit": None}
"""In place of `describe`, where no model was needed."""


def list_plan(plan: Plan, *, as_json: bool, quiet: bool) -> None:
    """Of ``--dry-run``."""
    if as_json:
        console.print_json(
            report(plan, [], NO_MODEL, Counter(planned=len(plan.jobs), skipped=len(plan.skipped)), 0.0)
        )
    else:
        for job in plan.jobs:
            typer.echo(console.printable(f"{job.photo} -> {job.output}"))
    if not quiet:
        console.note(
            f"{len(plan.jobs)} to fill, {len(plan.skipped)} exist already; nothing was written (--dry-run)"
        )


def summarise(plan: Plan, counts: Counter[str], seconds: float, *, interrupted: bool) -> None:
    """The line on stderr at the end."""
    parts = [
        f"{counts[status]} {status}" for status in ("filled", "copied", "skipped", "failed") if counts[status]
    ]
    line = f"{', '.join(parts) or 'nothing done'} in {seconds:.1f} s"
    if len(plan.jobs) == 1 and counts["filled"] + counts["copied"]:
        output = plan.jobs[0].output
        line += f": {'stdout' if output == STREAM else output}"
    if counts["skipped"]:
        line += " (skipped ones exist; --overwrite replaces them)"
    if interrupted:
        line = f"interrupted: {line}; the same command goes on from here"
    console.note(line)


def describe(inpainter: Inpainter) -> dict[str, Any]:
    """What has filled the holes, for `report`."""
    loaded = inpainter.weights
    return {
        "weights": {"name": loaded.name, "source": loaded.source, "revision": loaded.revision},
        "device": str(inpainter.device),
        "dtype": str(inpainter.dtype).removeprefix("torch."),
        "fit": inpainter.fit,
    }


def report(
    plan: Plan, results: list[Result], model: dict[str, Any], counts: Counter[str], seconds: float
) -> dict[str, Any]:
    """The document of ``--json``; jobs that an interruption kept from being done are ``planned``."""
    done = {result.job.name: result for result in results}

    def entry(job: Job, status: str) -> dict[str, Any]:
        result = done.get(job.name)
        return {
            "photo": str(job.photo),
            "mask": None if job.mask is None else str(job.mask),
            "output": str(job.output),
            "attention": None if job.fakeness is None else str(job.fakeness),
            "status": result.status if result else status,
            "error": result.error if result else None,
            "width": job.size[0] if job.size else None,
            "height": job.size[1] if job.size else None,
            "hole_ratio": result.hole_share if result else None,
            "seconds": round(result.seconds, 4) if result else None,
        }

    return {
        "version": 1,
        "command": "inpaint",
        **model,
        "seconds": round(seconds, 4),
        "counts": {status: counts[status] for status in ("filled", "copied", "skipped", "failed", "planned")},
        "files": [entry(job, "planned") for job in plan.jobs]
        + [entry(job, "skipped") for job in plan.skipped],
        "left_out": [str(path) for path in plan.left_out],
    }


@contextlib.contextmanager
def mask_warnings(*, quiet: bool) -> Iterator[None]:
    """Print the first MaskWarning of a run and count the others; silence those of libraries."""
    from damgan_cli.masks.read import MaskWarning

    caught: list[str] = []

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, MaskWarning):
            caught.append(str(message))
            if len(caught) == 1 and not quiet:
                console.warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield
    if len(caught) > 1 and not quiet:
        console.warn(f"{len(caught) - 1} more masks drew a warning of this kind")
