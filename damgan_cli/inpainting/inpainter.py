"""The Python face: ``Inpainter()(image, mask)``."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from damgan_cli.errors import MaskError
from damgan_cli.inpainting.exemplar import Copying, copying_of
from damgan_cli.inpainting.network import Network
from damgan_cli.inpainting.plan import (
    BLUR,
    FITS,
    LARGE,
    LARGEST,
    NATIVE,
    NO_LIMIT,
    OCTAVE_BLUR,
    REFINED,
    Reach,
    plan,
    reach_of,
)
from damgan_cli.masks.read import MaskWarning, hole_of, read_mask
from damgan_cli.photos.color import image_of, rgb_of, upright_image
from damgan_cli.photos.fill import filled
from damgan_cli.photos.read import photo_in_memory, read_photo
from damgan_cli.weights.find import DEFAULT_WEIGHTS, load_weights
from damgan_cli.weights.hub import push_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from damgan_cli.inpainting.windows import Prepared, Window
    from damgan_cli.photos.photo import Photo
    from damgan_cli.weights.folder import Weights

_ABOUT = 1.05  # times a depth: a hole may be a little deeper once it is reduced
_PREPARED = 4  # windows at most that are prepared for pasting at once, each by a thread, all in memory
_WINDOW_PIXELS = 1 << 22  # of windows at once, 40 bytes each: a dusty scan has thousands of them


@dataclass(frozen=True)
class Fill:
    """A filled photo."""

    rgb: NDArray[np.uint8]
    """(H, W, 3): the photo's own pixels, the model's in the hole."""
    fakeness: NDArray[np.float32]
    """(H, W) in [0, 1]: the full-resolution fakeness map M_0, where the model itself expects its fill to be
    off; 0 outside the hole."""


@dataclass
class _Progress:
    pixels: int
    """Of all holes."""
    report: Callable[[float], None] | None
    threads: Callable[[], int] | None
    filled: int = 0

    def settle(self) -> None:
        """Take as many threads as there are for this one now."""
        if self.threads is not None:
            torch.set_num_threads(self.threads())

    def add(self, window: Window) -> None:
        if self.report is not None:
            self.filled += 0 if window.second else int(np.count_nonzero(window.part))
            self.report(min(1.0, self.filled / max(1, self.pixels)))  # windows may overlap


class Inpainter(Network):
    """A loaded model that fills holes in photos of any size.

    ``weights`` is a name, a folder or ``ORG/REPO[@REV]``; ``device`` is ``auto``, ``cpu``, ``cuda[:N]`` or
    ``mps``; ``dtype`` is ``auto``, ``float32``, ``bfloat16``, ``float16`` or ``int8``; ``batch_size`` counts
    windows of 128 x 128 px that go through the model at once (larger ones count by their area), None takes
    what suits the device. Where memory runs out, batches are halved. ``fit`` says how holes that are deeper
    than those trained on are brought in reach of the model: ``auto`` reduces them and copies fine detail from
    their surroundings (unless the weights' ``config.json`` says ``smooth``), ``smooth`` copies none,
    ``native`` does not reduce. ``offline`` never touches the network. Raises WeightsError and DeviceError.
    """

    def __init__(
        self,
        weights: str | Path | Weights = DEFAULT_WEIGHTS,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | None = None,
        fit: str = "auto",
        offline: bool = False,
    ) -> None:
        if fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        super().__init__(weights, device, dtype, batch_size, offline=offline)
        self.fit = fit

    @property
    def reach(self) -> Reach:
        """How deep (px) a hole may be before it is reduced, in a photo that is not `LARGE`."""
        return NO_LIMIT if self.fit == "native" else reach_of(self._trained)

    def _copies_all_detail(self, photo: NDArray[np.uint8]) -> bool:
        """Whether nothing that is finer than a reduced window's pixels comes from the model in ``photo``."""
        return self.copying is not None and photo.shape[0] * photo.shape[1] > LARGE

    @property
    def copying(self) -> Copying | None:
        """How detail is copied into what was reduced; None if it is not."""
        fit = self.weights.info.get("fit", "auto") if self.fit == "auto" else self.fit
        return copying_of(self._trained) if fit == "auto" else None

    @property
    def refines(self) -> bool:
        """Whether deep holes are refined from the fill of half the size: if the weights learned it."""
        return self._learned("refined_share") and self.fit != "native"

    @property
    def lightens(self) -> bool:
        """Whether shallow holes at full resolution take fewer operations (`Generator.forward`, ``light``).

        What is reduced, as an object is, gets all of the generator.
        """
        return self._learned("light_share")

    def _learned(self, share: str) -> bool:
        return bool(self.weights.info.get("training", {}).get(share, 0))

    @property
    def _trained(self) -> int:
        size: int = self.weights.info.get("training", {}).get("size", NATIVE)
        return size

    def __call__(self, image: Any, mask: Any) -> Any:
        """Fill the white part of ``mask`` in ``image``; returns the same kind of thing as ``image``.

        ``image`` is a PIL image of any mode that a photo can have, or an array (H, W), (H, W, 2), (H, W, 3)
        or (H, W, 4) of uint8 or uint16 (gray, gray and alpha, RGB, RGBA). ``mask`` is a PIL image, or an
        array (H, W[, C]) of bool or uint8, where True or more than 127 is hole. Neither is changed; known
        pixels come back bit-identical, alpha stays as it is. An EXIF orientation is not applied: mask and
        image are taken as their pixels lie.

        Both may also be paths. Files are read as `damgan inpaint` reads them, and turned upright; what comes
        back for a path is a PIL image, or an array of uint16 for 16-bit colours, which PIL does not have.

        Raises MaskError if the sizes differ, else ImageFileError.
        """
        hole = read_mask(Path(mask)) if isinstance(mask, (str, os.PathLike)) else hole_of(mask)
        if isinstance(image, (str, os.PathLike)):
            return upright_image(self._filled(read_photo(Path(image)), hole))
        done = self._filled(photo_in_memory(image), hole)
        if not isinstance(image, Image.Image):
            return np.array(done.pixels)
        if done.pixels.dtype == np.uint16:
            result = Image.fromarray(done.pixels)
            result.info = dict(image.info)
        else:
            result = image.copy()
            result.paste(image_of(done).convert(result.mode))
        return result

    def _filled(self, photo: Photo, hole: NDArray[np.bool_]) -> Photo:
        return filled(photo, self.fill_batch([rgb_of(photo)], [hole])[0].rgb, hole)

    def fill_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        holes: Sequence[NDArray[np.bool_]],
        report: Callable[[float], None] | None = None,
        threads: Callable[[], int] | None = None,
    ) -> list[Fill]:
        """Fill many photos at once: windows of the same size share batches, whichever photo they are of.

        ``images`` are (H, W, 3) uint8 RGB, ``holes`` (H, W) bool, True = hole. An empty hole costs nothing
        and gives the photo back; a photo without one known pixel draws a MaskWarning. ``report`` is told the
        share of the holes that is filled whenever it has grown; what it raises ends the work. ``threads`` is
        asked before each batch of windows how many torch may have in this thread, None leaves them as they
        are. Raises MaskError naming both sizes if a hole does not fit its photo.
        """
        progress = _Progress(int(sum(map(np.count_nonzero, holes))) if report else 0, report, threads)
        fills = [Fill(image.copy(), np.zeros(image.shape[:2], np.float32)) for image in images]
        waiting: list[tuple[Window, Fill]] = []
        pixels = 0
        for image, hole, fill in zip(images, holes, fills, strict=True):
            if image.shape[:2] != hole.shape:
                sizes = (f"{array.shape[1]}x{array.shape[0]}" for array in (hole, image))
                raise MaskError(
                    "The mask is {}, but its photo {}.".format(*sizes),
                    "Both must have the same width and height.",
                )
            if hole.size and hole.all():
                warnings.warn(
                    "the mask covers the whole photo: the fill is invented", MaskWarning, stacklevel=2
                )
            reach = self.reach.at_most(REFINED) if self._copies_all_detail(image) else self.reach
            for window in plan(image, hole, reach=reach):
                waiting.append((window, fill))
                pixels += self._pixels(window, image)
                if pixels > _WINDOW_PIXELS:
                    self._fill(waiting, progress)
                    waiting, pixels = [], 0
        self._fill(waiting, progress)
        return fills

    def _fill(self, windows: list[tuple[Window, Fill]], progress: _Progress) -> None:
        """Fill windows and paste them into the photos they are of."""
        alike: dict[tuple[tuple[int, ...], float | None, bool], list[int]] = {}
        for number, (window, _) in enumerate(windows):
            deep = (self.refines or self.lightens) and window.depth > REFINED
            blur = BLUR if self.refines and deep else None
            light = self.lightens and not deep and window.scale == 1
            alike.setdefault((window.hole.shape, blur, light), []).append(number)
        fills: dict[int, NDArray[np.float32]] = {}
        for (shape, blur, light), group in alike.items():
            at_once = max(1, self.batch_size * NATIVE**2 // (shape[0] * shape[1]))
            for start in range(0, len(group), at_once):
                numbers = group[start : start + at_once]
                batch = [windows[number][0] for number in numbers]
                progress.settle()
                fills |= zip(numbers, self.run(batch, blur, light=light), strict=True)
        for number, (window, photo) in enumerate(windows):
            progress.settle()
            if self._is_lone_object(window):
                (other,) = self.run([window.mirrored], None)
                fills[number] = np.float32(0.5) * (fills[number] + other[:, ::-1])
            while self._has_octave(window, photo.rgb):
                window = window.finer(fills[number], photo.rgb, OCTAVE_BLUR)  # noqa: PLW2901
                (fills[number],) = self.run([window], None)
            windows[number] = window, photo
        progress.settle()
        copying = self.copying
        at_once = min(torch.get_num_threads(), _PREPARED)

        def prepared(number: int) -> Prepared | None:
            window, photo = windows[number]
            return window.prepared(
                fills[number],
                photo.rgb,
                photo.fakeness,
                copying=copying,
                pieces=self._is_lone_object(window),
            )

        with ThreadPoolExecutor(at_once) as pool:
            each = pool.map if at_once > 1 else map  # a new thread would have to ask for its memory anew
            for group in _independent(windows):
                for start in range(0, len(group), at_once):
                    numbers = group[start : start + at_once]
                    for number, ready in zip(numbers, list(each(prepared, numbers)), strict=True):
                        window, photo = windows[number]
                        if ready is not None:
                            window.paste(ready, photo.rgb, photo.fakeness)
                        progress.add(window)

    def _pixels(self, window: Window, photo: NDArray[np.uint8]) -> int:
        """At most, also of its octaves."""
        return min(window.unknown.size, LARGEST**2) if self._has_octave(window, photo) else window.hole.size

    def _is_object(self, window: Window) -> bool:
        """Whether it is reduced as an object's outline."""
        compact = self.reach.compact
        return window.scale > 1 and window.depth <= _ABOUT * compact and compact < self.reach.first

    def _is_lone_object(self, window: Window) -> bool:
        """Whether large pieces of the surroundings fill it: what is behind an object goes on.

        They follow the mean of two fills, one mirrored: it weakens what a network invents there instead,
        each time anew (docs/experiments.md, sections 17 and 18).
        """
        return self._is_object(window) and window.alone

    def _has_octave(self, window: Window, photo: NDArray[np.uint8]) -> bool:
        """Whether the DAM stage refines its fill at twice the size: if it is reduced, but not for an object.

        There, and in large photos, known patches continue the surroundings better (docs/experiments.md,
        sections 16 and 28).
        """
        if not self.refines or self._copies_all_detail(photo) or window.scale == 1 or self._is_object(window):
            return False
        larger = window.scale / -(-window.scale // 2)
        return window.hole.size * larger**2 <= LARGEST**2

    @classmethod
    def from_pretrained(
        cls,
        repo_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | None = None,
        fit: str = "auto",
    ) -> Inpainter:
        """Load ``ORG/REPO`` from the Hub, a folder, or embedded weights, as with other Hub libraries.

        ``revision``, ``token``, ``cache_dir`` and ``local_files_only`` are those of huggingface_hub;
        the rest is as for the class. Strict: every name and shape and the digest must match. Raises
        WeightsError and DeviceError.
        """
        weights = load_weights(
            repo_or_path, offline=local_files_only, revision=revision, token=token, cache_dir=cache_dir
        )
        return cls(weights, device=device, dtype=dtype, batch_size=batch_size, fit=fit)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload DAM-GAN weights with damgan",
    ) -> str:
        """Publish the weights with their model card; makes the repository if there is none.

        Returns the web address of the commit. Raises WeightsError.
        """
        return push_loaded(
            self.weights, repo_id, create=True, private=private, token=token, message=commit_message
        )


def _independent(windows: Sequence[tuple[Window, Fill]]) -> Iterator[list[int]]:
    """Numbers of windows in an order for pasting, in groups of which none has to know what another pasted.

    Second windows come after first ones, and each after others that it overlaps: it reads their fakeness.
    """
    group: list[int] = []
    for number in sorted(range(len(windows)), key=lambda number: windows[number][0].second):
        window, photo = windows[number]
        others = (windows[other] for other in group) if window.second else ()
        if any(photo is of and window.overlaps(other) for other, of in others):
            yield group
            group = []
        group.append(number)
    if group:
        yield group
