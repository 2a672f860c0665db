"""How fast photos are filled: the bare generator, all but the generator, and a folder end to end."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from damgan_cli.errors import ImageFileError
from damgan_cli.inpainting.folder import PIXELS_PER_WORKER, Options, fill_photos, parallelism
from damgan_cli.inpainting.job import Job
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.photos.files import list_images
from damgan_cli.photos.read import displayed_size, read_rgb
from damgan_cli.photos.write import write_png

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.model import Generator

    _Batch = tuple[Tensor, Tensor, float | None, Tensor | None, bool, bool]  # what `generate` is asked for

HOLE_SHARE = (0.2, 0.3)


def squares(folder: Path, side: int) -> list[NDArray[np.uint8]]:
    """The middle of photos below ``folder``, reduced to (side, side, 3), of the first large enough.

    Raises ImageFileError where none is, one cannot be read, or ``folder`` is none.
    """
    large = (path for path in list_images(folder) if min(displayed_size(path)) >= side)
    found: list[NDArray[np.uint8]] = []
    for path in itertools.islice(large, _kinds(side)):
        photo = read_rgb(path)
        height, width = photo.shape[:2]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        middle = photo[top : top + short, left : left + short]
        small = cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA)
        found.append(small.astype(np.uint8, copy=False))
    if not found:
        raise ImageFileError(
            f"No photo below {folder} has {side} px in both directions.",
            "Give larger photos, or a smaller --size.",
        )
    return found


def _kinds(side: int) -> int:
    """How many photos and masks a folder has, which it repeats: all are in memory."""
    return max(1, min(16, (1 << 25) // side**2))


class Bench:
    """Photos of ``side`` px with irregular holes of 20-30 %, and ``inpainter`` at work on them.

    ``seconds`` is how long each figure is measured, about; all figures are images/s. ``output`` is the
    extension of what a folder run writes. ``photos`` are (side, side, 3), RGB, see `squares`; noise without.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        side: int,
        seconds: float,
        output: str = ".png",
        photos: list[NDArray[np.uint8]] | None = None,
    ) -> None:
        self.inpainter, self.side, self.seconds, self.output = inpainter, side, seconds, output
        self.photos = photos or [_noise(side, number) for number in range(_kinds(side))]
        self.holes = [
            make_mask("irregular", side, side, mask_rng(0, number), hole_share=HOLE_SHARE) > 0
            for number in range(len(self.photos))
        ]

    def bare(self) -> float:
        """The generator alone, with the batches in which a folder run asks for it, one on each core."""
        inpainter, photos, at_once = self.inpainter, len(self.photos), self._at_once
        batches: list[_Batch] = []

        def record(
            image: Tensor, mask: Tensor, blur: float | None, given: Tensor | None, light: bool, near: bool
        ) -> Tensor:
            batches.append((image, mask, blur, given, light, near))
            return _gray(image, mask)

        asked: list[list[_Batch]] = []
        with _replaced(inpainter, record) as generate:
            for start in range(0, max(photos, at_once), at_once):
                numbers = [number % photos for number in range(start, start + at_once)]
                inpainter.fill_batch([self.photos[n] for n in numbers], [self.holes[n] for n in numbers])
                asked.append(batches.copy())
                batches.clear()
        for batch in {(b[0].shape, b[2], b[4]): b for each in asked for b in each}.values():
            generate(*batch)  # warms up
        workers, threads = parallelism(inpainter) if inpainter.device.type == "cpu" else (1, 1)
        _wait(inpainter.device)
        turn = itertools.count()
        start_time = time.perf_counter()

        def stream() -> int:
            torch.set_num_threads(threads // workers)  # as fill_photos does
            rounds = 0
            while not rounds or time.perf_counter() - start_time < self.seconds:
                for batch in asked[next(turn) % len(asked)]:
                    generate(*batch)
                _wait(inpainter.device)
                rounds += 1
            return rounds

        with ThreadPoolExecutor(workers) as pool:
            rounds = sum(run.result() for run in [pool.submit(stream) for _ in range(workers)])
        return at_once * rounds / (time.perf_counter() - start_time)

    @property
    def _at_once(self) -> int:
        """Photos of a batch in a folder run."""
        return min(self.inpainter.batch_size, max(1, PIXELS_PER_WORKER // self.side**2))

    def folder(self, rate: float) -> float:
        """A folder run from JPEG, over as many photos as ``rate`` (images/s) makes of the seconds."""
        full = self._at_once * parallelism(self.inpainter)[0]  # all workers busy to the end
        count = full * max(1, round(rate * self.seconds / full))
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for number, (photo, hole) in enumerate(zip(self.photos, self.holes, strict=True)):
                bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(root / f"{number}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
                write_png(root / f"{number}.png", hole)
            jobs: list[Job] = []
            for number in range(count):
                source = root / f"{number % len(self.photos)}.jpg"
                output = root / "out" / f"{number:06}{self.output}"
                size = (self.side, self.side)
                jobs.append(Job(output.name, source, source.with_suffix(".png"), output, None, size))
            start = time.perf_counter()
            for result in fill_photos(jobs, self.inpainter, Options()):
                if result.error:
                    raise RuntimeError(result.error)
            return count / (time.perf_counter() - start)

    def all_else(self, rate: float) -> float:
        """The same with a generator that gives gray at once: reading, windows, exemplars, writing."""
        with _replaced(self.inpainter, _gray):
            return self.folder(rate)


def _gray(image: Tensor, mask: Tensor, *_: object) -> Tensor:
    return torch.cat([torch.zeros_like(image), mask], dim=1)


def limit(bare: float, all_else: float) -> str:
    """What a folder run spends its time on, in words, from the rates (images/s) of its two parts."""
    share = (1 / bare) / (1 / bare + 1 / all_else)
    slower = "the generator" if share >= 0.5 else "reading, reducing, enlarging and writing photos"
    return f"{slower} ({max(share, 1 - share):.0%} of the work)"


def layers(inpainter: Inpainter, side: int = 128, rounds: int = 5) -> list[dict[str, Any]]:
    """What a window of ``side`` px costs by stage and level: ``megaflop`` and ``milliseconds`` an image.

    All of the generator is run, also where weights fill shallow holes with less. Counted are the convolutions
    (two operations for each multiplication), level 0 being full resolution and each further one half as many
    px a side. The shortest of ``rounds`` batches of the inpainter's size.
    """
    device, batch = inpainter.device, inpainter.batch_size
    cost: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    spent: list[dict[tuple[str, int], float]] = []
    begun: dict[str, float] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: tuple[Tensor, ...]) -> None:
            _wait(device)
            begun[name] = time.perf_counter()

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
            _wait(device)
            level = (side // min(given[-1].shape[-1], side)).bit_length() - 1
            key = (name.partition(".")[0], level)
            spent[-1][key] = spent[-1].get(key, 0.0) + time.perf_counter() - begun[name]
            if len(spent) == 1:
                pixels = [x[0, 0].numel() for x in given] if len(given) > 1 else [output[0, 0].numel()]
                taps = module.in_channels * math.prod(module.kernel_size) / len(pixels)
                cost[key][0] += 2 * sum(pixels) * output.shape[1] * taps / 1e6

        return hook

    generator: Generator = inpainter.generator
    hooks = [
        hook
        for name, module in generator.named_modules()
        if isinstance(module, nn.Conv2d)
        for hook in (
            module.register_forward_pre_hook(before(name)),
            module.register_forward_hook(after(name)),
        )
    ]
    try:
        image = torch.rand(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
        mask = (torch.rand(batch, 1, side, side, device=device) < 0.25).float()
        for _ in range(rounds + 1):
            spent.append({})
            inpainter.generate(image, mask)
    finally:
        for hook in hooks:
            hook.remove()
    for key, found in cost.items():
        found[1] = min(one[key] for one in spent[1:]) * 1000 / batch
    return [
        {"stage": stage, "level": level, "megaflop": flop, "milliseconds": milliseconds}
        for (stage, level), (flop, milliseconds) in sorted(cost.items())
    ]


@contextmanager
def _replaced(inpainter: Inpainter, generate: Callable[..., Tensor]) -> Iterator[Any]:
    """Another ``generate`` for a while; gives the inpainter's own."""
    own = inpainter.generate
    inpainter.generate = generate  # type: ignore[method-assign]
    try:
        yield own
    finally:
        del inpainter.generate  # what is its class's shows again


def _noise(side: int, number: int) -> NDArray[np.uint8]:
    """What compresses like a photo: noise of all scales, (side, side, 3)."""
    rng = np.random.default_rng(number)
    photo = np.full((side, side, 3), 128, np.float32)
    for octave in range(2, side.bit_length()):
        cells = rng.normal(size=(2**octave, 2**octave, 3)).astype(np.float32)
        photo += 60 / 2 ** (octave / 2) * cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(photo, 0, 255).astype(np.uint8)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
