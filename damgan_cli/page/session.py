"""One photo on the page: what was done to it, step by step, and what came out of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from damgan_cli.errors import DamganError, ImageFileError
from damgan_cli.page.actions import MOST_ACTIONS, Clear, Filled, Found, MalformedError
from damgan_cli.page.views import fakeness_view, mask_view, photo_view, profile_of
from damgan_cli.photos.color import alpha_of, rgb_of
from damgan_cli.photos.fill import filled
from damgan_cli.photos.read import read_photo
from damgan_cli.photos.write import output_format, write_photo, write_png
from damgan_cli.runtime.paths import exists

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.page.actions import Action, Paint
    from damgan_cli.photos.photo import Photo

    Hole = NDArray[np.bool_]


class StaleError(DamganError):
    """The page acts on a state that is no longer so: another page, or a job, has changed it."""


class ExistsError(DamganError):
    """What is to be saved would replace a file."""


@dataclass(frozen=True)
class Picture:
    """A photo after some fills. It never changes."""

    fills: tuple[Filled, ...]
    rgb: NDArray[np.uint8]
    """(H, W, 3), upright."""
    fakeness: NDArray[np.uint8]
    """(H, W), 0-255."""
    hole: Hole
    """(H, W): all that was filled."""


@dataclass
class Job:
    """Work that takes long, done by the page's worker."""

    kind: str
    """``fill`` or what is looked for."""
    share: float | None = None
    """How much of it is done; None before it began."""
    cancelled: bool = False
    began: int = 0
    """How many actions held when it began."""
    replaces: bool = False
    """Whether what it finds stands in place of the last action, which was of its kind."""


@dataclass
class _Pixels:
    """What is in memory while a photo is open."""

    photo: Photo
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    picture: Picture
    opacity: NDArray[np.uint8]
    drawn: int = 0
    """The revision that ``opacity`` shows."""


@dataclass
class Session:
    """The history of one photo, and its pixels while it is open. Safe to use from several threads."""

    name: str
    path: Path
    output: Path
    mask_output: Path
    actions: list[Action] = field(default_factory=list)
    position: int = 0
    """How many of ``actions`` hold; the others are undone."""
    revision: int = 1
    """Grows with each change, so that a page knows whether it is up to date."""
    job: Job | None = None
    problem: DamganError | None = None
    """Why the last job failed."""
    size: tuple[int, int] | None = None
    """Width and height, once known."""
    saved: tuple[Filled, ...] = ()
    written: set[Path] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _pixels: _Pixels | None = None
    _stamp: tuple[int, int] | None = None

    # ------------------------------------------------------------------------------------ history
    def add(self, paint: Paint) -> None:
        """Paint. What was undone before is lost. Raises MalformedError for too many actions."""
        with self.lock:
            if self.position >= MOST_ACTIONS:
                raise MalformedError(
                    f"More than {MOST_ACTIONS} steps are not kept.", "Save, and start anew from the result."
                )
            pixels = self._pixels
            current = pixels is not None and pixels.drawn == self.revision
            self.actions[self.position :] = [paint]
            self.position += 1
            self._changed()
            if current and pixels is not None:  # draw on; else all is drawn anew when it is asked for
                paint.draw(pixels.opacity)
                pixels.drawn = self.revision

    def step(self, by: int, revision: int) -> None:
        """Undo (-1) or redo (1) one action. Raises StaleError."""
        with self.lock:
            self.check(revision)
            self.position = min(max(self.position + by, 0), len(self.actions))
            self._changed()

    def check(self, revision: int) -> None:
        """Raise StaleError if the state is not that of ``revision``, or while a job works on it."""
        if revision != self.revision:
            raise StaleError(
                "The photo was changed elsewhere, in another tab perhaps.", "Look, and try again."
            )
        if self.job is not None:
            raise StaleError("It is being worked on.", "Wait until that is done, or stop it.")

    def _changed(self) -> None:
        self.revision += 1
        self.problem = None

    # ------------------------------------------------------------------------------------ pixels
    @property
    def open(self) -> bool:
        """Whether its pixels are in memory."""
        return self._pixels is not None

    def release(self) -> None:
        """Let the pixels go; they are made again when they are needed."""
        with self.lock:
            self._pixels = None

    def picture(self) -> Picture:
        """The photo after the fills that hold. Raises ImageFileError if it cannot be read."""
        with self.lock:
            pixels = self._load()
            fills = fills_of(self.actions[: self.position])
            if pixels.picture.fills != fills:
                pixels.picture = self._composed(fills)
            return pixels.picture

    def hole(self) -> Hole:
        """(H, W): what is painted and not filled yet."""
        with self.lock:
            return self._opacity() > 127

    def _opacity(self) -> NDArray[np.uint8]:
        pixels = self._load()
        if pixels.drawn != self.revision:
            pixels.opacity[:] = 0
            for action in self._painted():
                action.draw(pixels.opacity)
            pixels.drawn = self.revision
        return pixels.opacity

    def _painted(self) -> list[Paint]:
        """What was painted since the last fill, or since all was cleared."""
        paints: list[Paint] = []
        for action in self.actions[: self.position]:
            if isinstance(action, (Filled, Clear)):
                paints = []
            else:
                paints.append(action)
        return paints

    def _composed(self, fills: tuple[Filled, ...]) -> Picture:
        pixels = self._load()
        known = pixels.picture
        start = len(known.fills) if known.fills == fills[: len(known.fills)] else 0
        if not start:
            shape = pixels.rgb.shape[:2]
            known = Picture((), pixels.rgb, np.zeros(shape, np.uint8), np.zeros(shape, bool))
        rgb, fakeness, hole = known.rgb.copy(), known.fakeness.copy(), known.hole.copy()
        for fill in fills[start:]:
            box, part = fill.hole.box, fill.hole.part
            rgb[box][part] = fill.rgb
            fakeness[box][part] = fill.fakeness
            hole[box] |= part
        return Picture(fills, rgb, fakeness, hole)

    def _load(self) -> _Pixels:
        if self._pixels is not None:
            return self._pixels
        try:
            status = self.path.stat()
        except OSError:
            raise ImageFileError(f"{self.path} does not exist any more.") from None
        stamp = status.st_mtime_ns, status.st_size
        if self.actions and self._stamp not in {None, stamp}:
            raise ImageFileError(
                f"{self.path} was changed since it was opened.", "Start damgan paint again to work on it."
            )
        photo = read_photo(self.path)
        rgb = rgb_of(photo)
        output_format(photo, self.output)  # an extension that cannot be written is better known now
        shape = rgb.shape[:2]
        empty = Picture((), rgb, np.zeros(shape, np.uint8), np.zeros(shape, bool))
        self._pixels = _Pixels(photo, rgb, alpha_of(photo), empty, np.zeros(shape, np.uint8))
        self._stamp, self.size = stamp, (shape[1], shape[0])
        return self._pixels

    # ------------------------------------------------------------------------------------ fills
    def to_fill(self, revision: int) -> tuple[Picture, Hole, bool]:
        """What is to be filled: the picture, the hole, and whether that is the last fill's hole again.

        Raises StaleError, and MalformedError if there is no hole.
        """
        with self.lock:
            self.check(revision)
            fills = self.picture().fills
            hole = self.hole()
            if hole.any():
                return self.picture(), hole, False
            if not fills or self._painted():
                raise MalformedError("Nothing is painted.", "Paint over what is to go.")
            hole[fills[-1].hole.box] = fills[-1].hole.part
            return self._composed(fills[:-1]), hole, True

    def finish(self, job: Job, action: Action | None, problem: DamganError | None = None) -> None:
        """A job is done: add what it gave, at the place where it began (painting may have gone on)."""
        with self.lock:
            self.job = None
            self._changed()
            self.problem = None if job.cancelled else problem
            if action is None or job.cancelled:
                return
            since = self.actions[job.began : self.position]
            self.actions[job.began - job.replaces :] = [action, *since]
            self.position = len(self.actions)

    def begin(self, kind: str, revision: int, *, replaces: bool = False) -> Job:
        """A job begins. Raises StaleError."""
        with self.lock:
            self.check(revision)
            last = self.actions[self.position - 1] if self.position else None
            alike = isinstance(last, Found) and last.what == kind
            self.job = Job(kind, began=self.position, replaces=replaces and alike)
            self._changed()
            return self.job

    # ------------------------------------------------------------------------------------ out
    def view(self, layer: str, box: tuple[int, int, int, int], longest: int) -> tuple[bytes, str]:
        """A part (left, top, right, bottom) of a layer, at most ``longest`` px a side: bytes, media type.

        ``layer`` is ``photo`` (as it was), ``result``, ``mask`` or ``fakeness``.
        """
        with self.lock:
            pixels = self._load()
            height, width = pixels.rgb.shape[:2]
            left, top = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
            part = (
                slice(top, max(top + 1, min(box[3], height))),
                slice(left, max(left + 1, min(box[2], width))),
            )
            if layer == "mask":
                opacity = self._opacity()[part].copy()
            else:
                picture = self.picture()
        if layer == "mask":
            return mask_view(opacity, (slice(None), slice(None)), longest), "image/png"
        if layer == "fakeness":
            return fakeness_view(picture.fakeness, part, longest), "image/png"
        rgb = pixels.rgb if layer == "photo" else picture.rgb
        return photo_view(rgb, pixels.alpha, part, longest, profile_of(pixels.photo)), "image/jpeg"

    def save_photo(self, revision: int, *, overwrite: bool) -> Path:
        """Write the filled photo as `damgan inpaint` does. Raises StaleError, ExistsError, ImageFileError."""
        with self.lock:
            self.check(revision)
            picture, photo = self.picture(), self._load().photo
            if not picture.fills:
                raise MalformedError("Nothing is filled yet.", "Paint, fill, then save.")
            self._refuse_existing(self.output, overwrite=overwrite)
        write_photo(filled(photo, picture.rgb, picture.hole), self.output)
        with self.lock:
            self.written.add(self.output)
            self.saved = picture.fills
            self.revision += 1
        return self.output

    def save_mask(self, revision: int, *, overwrite: bool) -> Path:
        """Write all that was painted and filled as a mask. Raises as `save_photo`."""
        with self.lock:
            self.check(revision)
            hole = self.picture().hole | self.hole()
            if not hole.any():
                raise MalformedError("Nothing is painted.", "Paint over what is to go.")
            self._refuse_existing(self.mask_output, overwrite=overwrite)
        write_png(self.mask_output, hole, sync=True)
        with self.lock:
            self.written.add(self.mask_output)
        return self.mask_output

    def _refuse_existing(self, target: Path, *, overwrite: bool) -> None:
        if exists(target) and not overwrite and target not in self.written:
            raise ExistsError(f"{target} exists already.")

    @property
    def unsaved(self) -> bool:
        """Whether fills would be lost if the server ended now."""
        fills = fills_of(self.actions[: self.position])
        return bool(fills) and fills != self.saved

    def state(self) -> dict[str, Any]:
        """All that the page needs to know. Raises ImageFileError if the photo cannot be read."""
        with self.lock:
            if self.size is None:
                self._load()
            assert self.size is not None  # noqa: S101
            fills = fills_of(self.actions[: self.position])
            return {
                "name": self.name,
                "width": self.size[0],
                "height": self.size[1],
                "revision": self.revision,
                "undo": self.position > 0,
                "redo": self.position < len(self.actions),
                "painted": bool(self._painted()),
                "picture": [fill.number for fill in fills],
                "last": {"weights": fills[-1].weights, "fit": fills[-1].fit} if fills else None,
                "job": {"kind": self.job.kind, "share": self.job.share} if self.job else None,
                "problem": error_document(self.problem) if self.problem else None,
                "unsaved": self.unsaved,
                "output": self.output.name,
                "mask_output": self.mask_output.name,
            }


def fills_of(actions: list[Action]) -> tuple[Filled, ...]:
    """The fills that show after ``actions``: one that was made again counts as the last made."""
    fills: list[Filled] = []
    for action in actions:
        if isinstance(action, Filled):
            if action.again:
                fills.pop()
            fills.append(action)
    return tuple(fills)


def error_document(problem: DamganError) -> dict[str, str | None]:
    """As the page shows it."""
    return {"message": problem.message, "hint": problem.hint}
