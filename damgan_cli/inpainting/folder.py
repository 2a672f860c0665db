"""Fill many photos on all cores: each worker reads, fills and writes a batch of photos of its own.

So decoding, inference and encoding overlap, whatever each of them takes. On a CPU a network that runs once
on each core is faster than one spread over all cores, whose threads wait for each other at every layer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import DamganError
from damgan_cli.inpainting.holes import HoleOptions, HoleReader
from damgan_cli.photos.color import rgb_of
from damgan_cli.photos.extend import Margins, extended
from damgan_cli.photos.fill import filled
from damgan_cli.photos.limits import out_of_memory
from damgan_cli.photos.read import read_file, read_photo
from damgan_cli.photos.write import output_format, write_photo, write_png
from damgan_cli.runtime.atomic import write_atomically
from damgan_cli.runtime.processes import cores

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from damgan_cli.inpainting.inpainter import Fill, Inpainter
    from damgan_cli.inpainting.job import Job
    from damgan_cli.photos.photo import Photo

_MOST_WORKERS = 16  # of a GPU, which only wait for their turn beyond that
_AHEAD = 8  # batches of each worker at most whose results wait for those of an earlier one
PIXELS_PER_WORKER = 16_000_000  # photos in memory; a bigger one comes alone and takes the place of others


@dataclass(frozen=True)
class Options:
    """How holes are made and photos written."""

    holes: HoleOptions = field(default_factory=HoleOptions)
    margins: Margins | None = None
    """How far the canvas grows, all of which is hole."""
    quality: int | None = None
    """Of JPEG, WebP, AVIF and HEIC, 1-100; None keeps a JPEG's, else 95."""
    sync: bool = False
    """Whether each file is to be on the disk, safe from a crash of the machine, before it counts as done."""


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    job: Job
    status: str
    """``filled``, ``copied`` (its mask is empty) or ``failed``."""
    error: str | None = None
    hole_share: float | None = None
    seconds: float = 0.0
    """Reading, writing, and its share of the batch it was filled in."""


@dataclass(frozen=True)
class _Loaded:
    job: Job
    photo: Photo
    rgb: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    copied: bytes | None
    """The photo's file, where it is to be copied as it is."""
    seconds: float
    spare: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, right and bottom px of hole that are filled beyond it, and cut off.

    As much as the canvas grew: what a fill is worst at is its edge where nothing is known any more."""

    def given(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """What the model gets."""
        left, top, right, bottom = self.spare
        around = ((top, bottom), (left, right))
        return np.pad(self.rgb, (*around, (0, 0)), "edge"), np.pad(self.hole, around, constant_values=True)

    def cut(self, fill: Fill) -> Fill:
        """A fill of what was ``given``, of the size that is wanted."""
        left, top, _, _ = self.spare
        place = slice(top, top + self.hole.shape[0]), slice(left, left + self.hole.shape[1])
        return replace(fill, rgb=fill.rgb[place], fakeness=fill.fakeness[place])


class _Cores:
    """Threads of torch, shared out among the batches that are at work or wait for a worker.

    Where there are fewer of them than workers, as there are few photos or huge ones or the run nears its end,
    those that are left get more.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self._workers, self._threads, self._batches = workers, threads, 0
        self._turn = threading.Lock()

    def begin(self) -> None:
        """A batch comes."""
        with self._turn:
            self._batches += 1

    def end(self, _batch: object) -> None:
        """It is done, or will never be."""
        with self._turn:
            self._batches -= 1

    def share(self) -> int:
        """Threads for each."""
        return max(1, self._threads // max(1, min(self._workers, self._batches)))


def load(job: Job, options: Options, holes: HoleReader | None = None) -> _Loaded:
    """Read a job's photo and its hole. Raises ImageFileError and MaskError."""
    start = time.perf_counter()
    data = read_file(job.photo)
    photo = read_photo(job.photo, data)
    form = output_format(photo, job.output)  # an extension that cannot be written is better known now
    rgb = rgb_of(photo)
    hole = (holes or HoleReader([job], options.holes)).hole(job, photo, *rgb.shape[:2])
    spare = (0, 0, 0, 0)
    if options.margins is not None:
        spare = options.margins.px(*hole.shape)
        photo, hole = extended(photo, hole, options.margins)
        rgb = rgb_of(photo)
    copied = data if form.name == photo.format and not hole.any() else None
    return _Loaded(job, photo, rgb, hole, copied, time.perf_counter() - start, spare)


def fill_photos(jobs: list[Job], inpainter: Inpainter, options: Options) -> Generator[Result]:
    """Do ``jobs``, yielding each one's result, in their order, once its files are written.

    What fails is a result too and does not stop the others. Leaving early (Ctrl-C) lets files that are being
    written be finished and leaves nothing half-written.
    """
    workers, threads = parallelism(inpainter)
    batches = list(_batches(jobs, min(inpainter.batch_size, -(-len(jobs) // workers))))
    workers = max(1, min(workers, len(batches)))
    leaving = threading.Event()
    cores = _Cores(workers, threads)
    work = partial(
        _work,
        inpainter=inpainter,
        options=options,
        holes=HoleReader(jobs, options.holes),
        cores=cores,
        leaving=leaving,
    )
    pool = ThreadPoolExecutor(workers)
    running: deque[tuple[Future[list[Result]], int]] = deque()
    room = PIXELS_PER_WORKER * workers
    try:
        for batch in batches:
            pixels = sum(map(_pixels, batch))
            while running:
                if running[0][0].done():
                    yield from running.popleft()[0].result()
                    continue
                going = {future: size for future, size in running if not future.done()}
                few = len(going) <= workers and len(running) < _AHEAD * workers
                if few and sum(going.values()) + pixels <= room:
                    break
                wait(going, return_when=FIRST_COMPLETED)  # if the first alone, others would have no work
            cores.begin()
            future = pool.submit(work, batch)
            future.add_done_callback(cores.end)
            running.append((future, pixels))
        while running:
            yield from running.popleft()[0].result()
    finally:
        leaving.set()
        pool.shutdown(wait=True, cancel_futures=True)


def parallelism(inpainter: Inpainter) -> tuple[int, int]:
    """How many batches to work on at once, and how many threads torch has for all of them."""
    import torch

    threads = torch.get_num_threads()
    if inpainter.device.type == "cpu":
        return threads, threads
    return min(_MOST_WORKERS, max(2, cores())), threads


def _pixels(job: Job) -> int:
    return job.size[0] * job.size[1] if job.size else 0


def _batches(jobs: list[Job], count: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    for job in jobs:
        if batch and (len(batch) >= count or sum(map(_pixels, [*batch, job])) > PIXELS_PER_WORKER):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _work(
    batch: list[Job],
    *,
    inpainter: Inpainter,
    options: Options,
    holes: HoleReader,
    cores: _Cores,
    leaving: threading.Event,
) -> list[Result]:
    """Read, fill and write a batch; stops early when ``leaving``."""
    import torch

    threads = cores.share()
    torch.set_num_threads(threads)  # for this thread alone, and those that are started later
    if inpainter.device.type == "cpu":
        cv2.setNumThreads(threads)  # for all: what it shares out would wait for cores that others use
    loaded = [_try_load(job, options, holes) for job in batch if not leaving.is_set()]
    results = [item for item in loaded if isinstance(item, Result)]
    if not leaving.is_set():
        failed, fills = _fill([item for item in loaded if isinstance(item, _Loaded)], inpainter, cores)
        results += failed
        for item, fill, seconds in fills:
            if not leaving.is_set():
                results.append(_try_save(item, fill, seconds, options))
    place = {job: number for number, job in enumerate(batch)}
    return sorted(results, key=lambda result: place[result.job])


def _fill(
    items: list[_Loaded], inpainter: Inpainter, cores: _Cores
) -> tuple[list[Result], list[tuple[_Loaded, Fill, float]]]:
    """Run the model; if a batch fails, one photo at a time, so that only the culprit fails."""
    if not items:
        return [], []
    start = time.perf_counter()
    fills = None
    try:
        given = [item.given() if any(item.spare) else (item.rgb, item.hole) for item in items]
        images, masks = [rgb for rgb, _ in given], [hole for _, hole in given]
        fills = inpainter.fill_batch(images, masks, threads=cores.share)
        fills = [item.cut(fill) if any(item.spare) else fill for item, fill in zip(items, fills, strict=True)]
    except Exception as problem:  # noqa: BLE001  # reported; one photo must not end a run over thousands
        if len(items) == 1:
            return [_failed(items[0].job, problem)], []
    if fills is None:  # not in the handler: there the failed pass still holds its memory
        parts = [_fill([item], inpainter, cores) for item in items]
        return [r for results, _ in parts for r in results], [f for _, filled in parts for f in filled]
    share = (time.perf_counter() - start) / len(items)
    return [], [(item, fill, share) for item, fill in zip(items, fills, strict=True)]


def _try_load(job: Job, options: Options, holes: HoleReader) -> _Loaded | Result:
    try:
        return load(job, options, holes)
    except Exception as problem:  # noqa: BLE001  # see _fill
        return _failed(job, problem)


def _try_save(item: _Loaded, fill: Fill, seconds: float, options: Options) -> Result:
    start = time.perf_counter()
    job, photo, hole = item.job, item.photo, item.hole
    try:
        if hole.any():
            photo = filled(photo, fill.rgb, hole, opaque=options.holes.alpha)
            write_photo(photo, job.output, options.quality, sync=options.sync)
        elif item.copied is not None:
            write_atomically(job.output, item.copied, sync=options.sync)
        else:
            write_photo(photo, job.output, options.quality, sync=options.sync)
        if job.fakeness is not None:
            write_png(job.fakeness, np.rint(fill.fakeness * 255).astype(np.uint8), sync=options.sync)
    except Exception as problem:  # noqa: BLE001  # see _fill
        return _failed(job, problem)
    seconds += item.seconds + time.perf_counter() - start
    return Result(job, "filled" if hole.any() else "copied", None, float(hole.mean()), seconds)


def _failed(job: Job, problem: Exception) -> Result:
    if isinstance(problem, DamganError):
        error = str(problem)
    elif out_of_memory(problem):
        error = "There is too little free memory for it."
    else:
        error = f"unexpected {type(problem).__name__}: {problem} (please report this)"
    return Result(job, "failed", error)
