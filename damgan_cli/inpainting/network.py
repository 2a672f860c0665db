"""Loaded weights on their device, and windows through them, in batches and a number type."""

from __future__ import annotations

import contextlib
import copy
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from damgan_cli.errors import DeviceError, WeightsError
from damgan_cli.inpainting.plan import LARGEST, NATIVE
from damgan_cli.inpainting.windows import SEEN, SEEN_OF_GIVEN
from damgan_cli.model.conv import with_convolutions_in
from damgan_cli.model.int8 import in_int8
from damgan_cli.runtime import speed
from damgan_cli.runtime.device import choose_device, choose_dtype
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import Weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.inpainting.windows import Window

_CPU_BATCH = 8  # more is no faster
_GPU_BATCH = 64  # a few GB; halved where that is too much


class Network:
    """A generator that is ready to fill windows; what it is made from is that of `Inpainter`."""

    def __init__(
        self,
        weights: str | Path | Weights,
        device: str,
        dtype: str,
        batch_size: int | None,
        *,
        offline: bool,
    ) -> None:
        self.device = choose_device(device)
        self.weights = weights if isinstance(weights, Weights) else load_weights(weights, offline=offline)
        self.dtype = self._base = choose_dtype(dtype, self.device)
        self.batch_size = batch_size or (_CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH)
        self._turn = threading.Lock()  # of threads that share a GPU: its memory is for one batch at a time
        if self.dtype == torch.int8:  # some of its convolutions
            generator, self._base = in_int8(self.weights.generator), speed.fastest(training=False, int8=False)
        else:
            generator = copy.deepcopy(self.weights.generator)  # which may be used again as it is
        generator = with_convolutions_in(generator, self._base)
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last).eval()

    def run(
        self, windows: list[Window], blur: float | None, *, light: bool = False
    ) -> list[NDArray[np.float32]]:
        """One batch of windows of the same size through the model: (h, w, 4) each."""
        try:
            images, holes = zip(*((window.image, window.hole) for window in windows), strict=True)
            given = [window.given for window in windows if window.given is not None]  # all or none
            near = all(window.scale == 1 for window in windows)
            filled = self._forward(
                np.stack(images), np.stack(holes), blur, np.stack(given) if given else None, light, near
            )
            if not np.isfinite(filled).all():
                raise WeightsError(
                    f"The weights {self.weights.name} give NaN or infinite values in {self.dtype}.",
                    "Use --dtype float32, or other weights.",
                )
            return list(filled)
        except RuntimeError as problem:
            if not _out_of_memory(problem):
                raise
        # not in the handler above: there the failed pass still holds its memory
        if len(windows) == 1:
            raise DeviceError(
                f"{self.device} has too little free memory for one window of {LARGEST} px at most.",
                "Free some of it, or use --device cpu.",
            )
        half = len(windows) // 2
        area = windows[0].hole.size / NATIVE**2
        self.batch_size = max(1, min(self.batch_size, int(half * area)))  # for the batches that follow
        halves = windows[:half], windows[half:]
        return [fill for part in halves for fill in self.run(part, blur, light=light)]

    def _forward(
        self,
        images: NDArray[np.float32],
        holes: NDArray[np.bool_],
        blur: float | None,
        given: NDArray[np.float32] | None,
        light: bool,
        near: bool,
    ) -> NDArray[np.float32]:
        """(B, h, w, 3) in [-1, 1] and (B, h, w) -> (B, h, w, 4): the result and M_0."""
        arrays = [torch.from_numpy(images), torch.from_numpy(holes)]
        if given is not None:
            arrays.append(torch.from_numpy(given))
        if self.device.type == "cuda":  # from pinned memory a copy need not be waited for
            arrays = [array.pin_memory() for array in arrays]
        with contextlib.nullcontext() if self.device.type == "cpu" else self._turn:
            image, hole, *start = (array.to(self.device, non_blocking=True) for array in arrays)
            mask = hole[:, None].float()  # (B, 1, h, w)
            first = start[0].permute(0, 3, 1, 2) if start else None
            rgb = image.permute(0, 3, 1, 2)  # channels last already
            filled = self.generate(rgb, mask, blur, first, light, near)
            return filled.permute(0, 2, 3, 1).cpu().numpy()

    @torch.inference_mode()
    def generate(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        blur: float | None = None,
        given: torch.Tensor | None = None,
        light: bool = False,
        near: bool = True,
    ) -> torch.Tensor:
        """(B, 3, h, w) in [-1, 1] and (B, 1, h, w) on the device -> (B, 4, h, w): the bare result and M_0.

        With ``blur`` the DAM stage refines the fill of half the size, blurred by so many px; with ``given``
        (B, 3, h, w) it refines that. ``light`` is for windows without a blur, see `Generator.forward`. On a
        CPU only what windows look at is computed if they do so ``near`` the hole alone, that is at full
        resolution: in a reduced one pixels that are filled may count as known. The rest means nothing.
        """
        h, w = mask.shape[2:]
        margin = None  # on a GPU whole pictures are as fast, and the host need not wait for the mask
        if self.device.type == "cpu" and near:
            margin = SEEN if given is None else SEEN_OF_GIVEN
        low = self._base != torch.float32
        autocast: Any = torch.autocast(self.device.type, self._base) if low else contextlib.nullcontext()
        with autocast:
            if blur is None:
                last = len(image) if light else 0
                output = self.generator(image, mask, given=given, light=last, margin=margin)
            else:
                output = self.generator(image, mask, len(image), blur, margin=margin)
        return torch.cat([output.result, output.fakeness[0][..., :h, :w].float()], dim=1)


def _out_of_memory(problem: RuntimeError) -> bool:
    # torch has no type of its own for the memory of the CPU, of cuDNN and cuBLAS, and of a card that is full
    words = ("can't allocate memory", "out of memory", "alloc_failed")
    return isinstance(problem, torch.OutOfMemoryError) or any(word in str(problem).lower() for word in words)
