"""``damgan inpaint --watch``: photos are filled as they arrive in a folder, until Ctrl-C."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damgan_cli.cli import console
from damgan_cli.errors import DamganError, ImageFileError
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damgan_cli.inpainting.folder import Result
    from damgan_cli.inpainting.jobs import Plan


def check_watch(sources: Sequence[str], *, processes: int, dry_run: bool) -> None:
    """Raise ImageFileError if ``sources`` is no folder that can be watched."""
    if len(sources) > 1 or not is_folder(Path(sources[0])):
        raise ImageFileError("--watch needs one folder as INPUT.", "Give the folder that photos arrive in.")
    if dry_run or processes > 1:
        with_what = "--dry-run" if dry_run else "torchrun"
        raise ImageFileError(f"--watch does not go with {with_what}.", "Leave one of the two out.")


def watch_folder(
    folder: Path,
    mask: str | None,
    away: Sequence[str | Path],
    plan_of: Callable[[Sequence[Path]], Plan],
    fill: Callable[[Plan], list[Result]],
    *,
    quiet: bool,
) -> Iterator[tuple[Plan | None, list[Result]]]:
    """Fill what arrives in ``folder``; yields each plan with its results, None for a photo refused by then.

    ``mask`` may be a folder, then a photo waits for its mask; what lies in one of ``away`` is not looked at.
    Ends with KeyboardInterrupt, also when it is told to terminate.
    """
    from damgan_cli.inpainting.arrivals import arrivals

    masks = Path(mask) if mask is not None and is_folder(Path(mask)) else None
    with _terminating_as_interrupt():
        if not quiet:
            console.note(f"watching {folder}; Ctrl-C stops")
        for ready in arrivals(folder, masks, [Path(path) for path in away]):
            for plan in _plans(ready, plan_of):
                results = fill(plan) if plan else []
                for result in results:
                    if result.error is None and not quiet:
                        console.note(f"{result.job.name}: {result.status}")
                yield plan, results


def _plans(ready: list[Path], plan_of: Callable[[Sequence[Path]], Plan]) -> Iterator[Plan | None]:
    """One plan for all, or one for each if something is wrong with one of them."""
    if not ready:
        return
    try:
        yield plan_of(ready)
    except DamganError as problem:
        if len(ready) > 1:
            for path in ready:
                yield from _plans([path], plan_of)
        else:
            console.error(f"{ready[0]}: {problem}")
            yield None


@contextmanager
def _terminating_as_interrupt() -> Iterator[None]:
    """SIGTERM, as services and containers are stopped with, ends the watch as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
