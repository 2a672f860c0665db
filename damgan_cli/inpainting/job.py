"""One photo that `damgan inpaint` fills: where it, its mask and its results are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damgan_cli.runtime.paths import STREAM, exists

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One photo to fill."""

    name: str
    """For people: the path relative to INPUT."""
    photo: Path
    mask: Path | None
    """None if the hole comes from elsewhere: transparent pixels, shapes, a larger canvas."""
    output: Path
    fakeness: Path | None
    """Where the fakeness map goes, if it is wanted."""
    size: tuple[int, int] | None = None
    """Displayed width and height of the result; None if the header cannot be read (the job will
    fail and say why)."""

    @property
    def targets(self) -> tuple[Path, ...]:
        """All that this job writes."""
        return (self.output,) if self.fakeness is None else (self.output, self.fakeness)

    @property
    def done(self) -> bool:
        """Whether all that this job would write is there already (a crash may leave empty files)."""
        return all(
            target != STREAM and exists(target) and target.stat().st_size > 0 for target in self.targets
        )
