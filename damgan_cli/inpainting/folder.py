"""Fill many photos: decode ahead of the network, batch windows across photos, write behind it."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.errors import DamganError, MaskError
from damgan_cli.images.files import read_mask, write_atomically, write_png
from damgan_cli.images.mask_sources import grown
from damgan_cli.images.photo import Photo, output_format, read_photo, write_photo

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from damgan_cli.inpainting.inpainter import Fill, Inpainter
    from damgan_cli.inpainting.jobs import Job

_THREADS = 4
_PIXELS_AT_ONCE = 16_000_000  # photos held in memory for one batch; a bigger photo comes alone


@dataclass(frozen=True)
class Options:
    """How masks are read and photos written."""

    invert: bool = False
    dilate: int = 0
    """How far (px) the hole grows."""
    quality: int | None = None
    """Of JPEG and WebP, 1-100; None keeps the source's."""


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    job: Job
    status: str
    """``filled``, ``copied`` (its mask is empty) or ``failed``."""
    error: str | None = None
    hole_ratio: float | None = None
    seconds: float = 0.0
    """Reading, writing, and its share of the batch it was filled in."""


@dataclass(frozen=True)
class _Loaded:
    job: Job
    photo: Photo
    rgb: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    seconds: float


def load(job: Job, options: Options, read: Callable[..., NDArray[np.bool_]] = read_mask) -> _Loaded:
    """Read a job's photo and mask (by ``read``). Raises ImageFileError and MaskError."""
    start = time.perf_counter()
    photo = read_photo(job.photo)
    output_format(photo, job.output)  # an extension that cannot be written is better known now
    hole = photo.see_through() if job.mask is None else read(job.mask, invert=options.invert)
    rgb = photo.rgb
    if rgb.shape[:2] != hole.shape:
        raise MaskError(
            f"The mask is {hole.shape[1]}x{hole.shape[0]}, but its photo {rgb.shape[1]}x{rgb.shape[0]}.",
            "Both must have the same width and height.",
        )
    return _Loaded(job, photo, rgb, grown(hole, options.dilate), time.perf_counter() - start)


def fill_photos(jobs: list[Job], inpainter: Inpainter, options: Options) -> Generator[Result]:
    """Do ``jobs``, yielding each one's result once its files are written.

    What fails is a result too and does not stop the others. Leaving early (Ctrl-C) lets files that are being
    written be finished and leaves nothing half-written.
    """
    batches = list(_batches(jobs, inpainter.batch_size))
    read = lru_cache(maxsize=1)(read_mask)  # one mask for all is read once
    pool = ThreadPoolExecutor(_THREADS)
    try:
        loading = [pool.submit(_try_load, job, options, read) for job in batches[0]] if batches else []
        saving: list[Future[Result]] = []
        for number in range(len(batches)):
            loaded = [future.result() for future in loading]
            loading = [
                pool.submit(_try_load, job, options, read)
                for batch in batches[number + 1 : number + 2]
                for job in batch
            ]
            results, fills = _fill([item for item in loaded if isinstance(item, _Loaded)], inpainter)
            yield from (future.result() for future in saving)
            yield from (item for item in loaded if isinstance(item, Result))
            yield from results
            saving = [pool.submit(_try_save, item, fill, seconds, options) for item, fill, seconds in fills]
        yield from (future.result() for future in saving)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(jobs: list[Job], count: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    pixels = 0
    for job in jobs:
        size = job.size[0] * job.size[1] if job.size else 0
        if batch and (len(batch) >= count or pixels + size > _PIXELS_AT_ONCE):
            yield batch
            batch, pixels = [], 0
        batch.append(job)
        pixels += size
    if batch:
        yield batch


def _fill(
    items: list[_Loaded], inpainter: Inpainter
) -> tuple[list[Result], list[tuple[_Loaded, Fill, float]]]:
    """Run the model; if a batch fails, one photo at a time, so that only the culprit fails."""
    if not items:
        return [], []
    start = time.perf_counter()
    try:
        fills = inpainter.fill_batch([item.rgb for item in items], [item.hole for item in items])
    except Exception as problem:  # noqa: BLE001  # reported; one photo must not end a run over thousands
        if len(items) == 1:
            return [_failed(items[0].job, problem)], []
        parts = [_fill([item], inpainter) for item in items]
        return [r for results, _ in parts for r in results], [f for _, filled in parts for f in filled]
    share = (time.perf_counter() - start) / len(items)
    return [], [(item, fill, share) for item, fill in zip(items, fills, strict=True)]


def _try_load(job: Job, options: Options, read: Callable[..., NDArray[np.bool_]]) -> _Loaded | Result:
    try:
        return load(job, options, read)
    except Exception as problem:  # noqa: BLE001  # see _fill
        return _failed(job, problem)


def _try_save(item: _Loaded, fill: Fill, seconds: float, options: Options) -> Result:
    start = time.perf_counter()
    job, photo, hole = item.job, item.photo, item.hole
    try:
        if hole.any():
            write_photo(photo.filled(fill.rgb, hole, opaque=job.mask is None), job.output, options.quality)
        elif output_format(photo, job.output) == photo.format:
            write_atomically(job.output, photo.decoded.data)
        else:
            write_photo(photo, job.output, options.quality)
        if job.attention is not None:
            write_png(job.attention, np.rint(fill.attention * 255).astype(np.uint8))
    except Exception as problem:  # noqa: BLE001  # see _fill
        return _failed(job, problem)
    seconds += item.seconds + time.perf_counter() - start
    return Result(job, "filled" if hole.any() else "copied", None, float(hole.mean()), seconds)


def _failed(job: Job, problem: Exception) -> Result:
    if isinstance(problem, DamganError):
        error = str(problem)
    elif isinstance(problem, MemoryError):
        error = "There is too little free memory for it."
    else:
        error = f"unexpected {type(problem).__name__}: {problem} (please report this)"
    return Result(job, "failed", error)
