"""Mask files: many at once on all cores, and their manifest."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from damgan_cli.errors import DamganError
from damgan_cli.masks.derive import hole_from
from damgan_cli.masks.find import FOUND_KINDS, found_hole
from damgan_cli.masks.generate import Boxes, make_mask, mask_rng, touches_border
from damgan_cli.masks.shapes import draw_shapes
from damgan_cli.photos.limits import memory_for
from damgan_cli.photos.write import write_png
from damgan_cli.runtime.atomic import write_atomically
from damgan_cli.runtime.processes import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from damgan_cli.masks.shapes import Shape

MANIFEST = "manifest.csv"
VERSION = 1
"""Of the manifest's columns and of the JSON document."""


@dataclass(frozen=True)
class MaskJob:
    """One mask to make: drawn with the random stream of ``index``, or read from ``sources``."""

    path: Path
    kind: str
    index: int = 0
    width: int = 0
    height: int = 0
    sources: tuple[Path, ...] = ()

    @property
    def what(self) -> str:
        """For messages: what it is made from, or where it goes."""
        return str(self.sources[0] if self.sources else self.path)


@dataclass(frozen=True)
class MaskSettings:
    """What all masks of a run have in common."""

    seed: int = 0
    hole_share: tuple[float, float] | None = None
    boxes: Boxes = field(default_factory=Boxes)
    source_options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of `derive.hole_from`, or of `find.found_hole`."""
    shapes: tuple[Shape, ...] = ()
    """What is drawn instead of a random mask."""


@dataclass(frozen=True)
class Record:
    """One line of the manifest."""

    version: int
    file: str
    """Relative to the folder of the manifest."""
    kind: str
    source: str | None
    """File or files that the mask was made from."""
    seed: int | None
    index: int | None
    width: int
    height: int
    ratio: float
    """The hole share achieved, 0 to 1."""
    touches_border: bool
    sha256: str
    """Of the pixels, row by row, a byte each, 0 or 255: PNG files of other programs keep it."""


def make_files(
    jobs: Sequence[MaskJob], settings: MaskSettings, root: Path, workers: int | None = None
) -> Iterator[Record | DamganError]:
    """Write the masks of ``jobs``; yields, in their order, what was written or what is wrong.

    The files do not depend on the number of ``workers``, see `processes.in_order`.
    """
    return in_order(partial(_make, settings=settings, root=root), jobs, workers)


def _make(job: MaskJob, settings: MaskSettings, root: Path) -> Record | DamganError:
    try:
        with memory_for(job.sources[0] if job.sources else job.path):
            return _make_one(job, settings, root)
    except DamganError as problem:
        return problem


def _make_one(job: MaskJob, settings: MaskSettings, root: Path) -> Record:
    if job.sources:
        found = job.kind in {usage.split()[0] for usage in FOUND_KINDS}
        make = found_hole if found else hole_from
        pixels = make(job.kind, job.sources, **settings.source_options).astype(np.uint8) * 255
    elif settings.shapes:
        pixels = draw_shapes(settings.shapes, job.height, job.width).astype(np.uint8) * 255
    else:
        rng = mask_rng(settings.seed, job.index)
        hole_share, boxes = settings.hole_share, settings.boxes
        pixels = make_mask(job.kind, job.height, job.width, rng, hole_share=hole_share, boxes=boxes)
    write_png(job.path, pixels)
    return Record(
        version=VERSION,
        file=job.path.relative_to(root).as_posix(),
        kind=job.kind,
        source=" ".join(map(str, job.sources)) or None,
        seed=None if job.sources or settings.shapes else settings.seed,
        index=None if job.sources or settings.shapes else job.index,
        width=pixels.shape[1],
        height=pixels.shape[0],
        ratio=round(np.count_nonzero(pixels) / pixels.size, 6),
        touches_border=touches_border(pixels),
        sha256=hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
    )


def manifest_text(records: Sequence[Record]) -> str:
    """The records as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Record.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for record in records:
        row: dict[str, Any] = asdict(record)
        writer.writerow(
            row | {"ratio": f"{record.ratio:.6f}", "touches_border": str(record.touches_border).lower()}
        )
    return text.getvalue()


def write_manifest(path: Path, records: Sequence[Record]) -> None:
    """Write the records as CSV. Raises ImageFileError."""
    write_atomically(path, manifest_text(records).encode())
