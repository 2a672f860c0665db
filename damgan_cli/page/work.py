"""The page's worker: one thread that loads models, fills and looks for things, one job after another."""

from __future__ import annotations

import contextlib
import queue
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from damgan_cli.errors import DamganError
from damgan_cli.inpainting.plan import FITS
from damgan_cli.page.actions import Filled, Found, MalformedError, number, points, sides
from damgan_cli.photos.limits import out_of_memory
from damgan_cli.weights.find import DEFAULT_WEIGHTS, available_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.page.actions import Action
    from damgan_cli.page.session import Job, Picture, Session

_NOTHING = {
    "object": "No object was found there: draw a box around it, or use the brush.",
    "text": "No text was found there: draw a box around it, or use the brush.",
    "scratches": "No scratches were found there: let fainter ones count, or use the brush.",
    "fakeness": "The model doubts nothing of its fill.",
}
FINDERS = tuple(_NOTHING)
_SOON = 1.5  # s


class _StoppedError(Exception):
    """The user does not want to wait for it any more."""


class Worker:
    """Queues jobs of photos; the model is loaded once, when it is first wanted."""

    def __init__(
        self, weights: str = DEFAULT_WEIGHTS, device: str = "auto", *, offline: bool = False
    ) -> None:
        self.weights = list(dict.fromkeys([weights, *available_weights()]))
        """Names of the weights to choose from; the first is the default."""
        self._device = device
        self._offline = offline
        self._models: dict[str, Inpainter] = {}
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._job: Job | None = None
        self._warm = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def finders(self) -> list[str]:
        """What can be looked for with what is installed."""
        return [name for name in FINDERS if name != "text" or find_spec("rapidocr")]

    def warm_up(self) -> None:
        """Load the default model soon, so that the first fill does not wait for it.

        Not at once: importing torch holds up all else that Python does.
        """
        if not self._warm:
            self._warm = True
            soon = threading.Timer(_SOON, self._queue.put, [lambda: self._load_quietly(self.weights[0])])
            soon.daemon = True
            soon.start()

    def fill(self, session: Session, revision: int, weights: str, fit: str) -> None:
        """Fill what is painted, or once more what was filled last. Raises StaleError, MalformedError."""
        if weights not in self.weights or fit not in FITS:
            raise MalformedError("There are no such weights, or no such fit.")
        with session.lock:
            picture, hole, again = session.to_fill(revision)
            job = session.begin("fill", revision)

        def act() -> Action:
            inpainter = self._model(weights)
            inpainter.fit = fit

            def report(share: float) -> None:
                if job.cancelled:
                    raise _StoppedError
                job.share = share

            report(0)
            (fill,) = inpainter.fill_batch([picture.rgb], [hole], report)
            fakeness = np.rint(255 * fill.fakeness[hole]).astype(np.uint8)
            return Filled(Found.of(hole), fill.rgb[hole], fakeness, weights, fit, again)

        self._submit(session, job, act)

    def find(self, session: Session, revision: int, document: dict[str, Any]) -> None:
        """Look for something and paint it. Raises StaleError, MalformedError."""
        kind = document.get("kind")
        if kind not in self.finders:
            raise MalformedError("Nothing of this kind is looked for here.")
        search = _search(kind, document)
        with session.lock:
            picture = session.picture()
            job = session.begin(kind, revision, replaces=document.get("replace") is True)

        def act() -> Action | None:
            hole = _worst(picture, search["share"]) if kind == "fakeness" else _found(picture.rgb, search)
            if not hole.any():
                raise DamganError(_NOTHING[kind])
            return Found.of(hole, kind)

        self._submit(session, job, act)

    def stop(self) -> None:
        """Stop what is being done, and the thread."""
        if self._job is not None:
            self._job.cancelled = True
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _submit(self, session: Session, job: Job, act: Callable[[], Action | None]) -> None:
        def work() -> None:
            self._job = job
            action, problem = None, None
            try:
                action = None if job.cancelled else act()
            except _StoppedError:
                pass
            except DamganError as refused:
                problem = refused
            except Exception as failed:  # noqa: BLE001  # told on the page; the worker goes on
                problem = DamganError(
                    "There is too little free memory for it."
                    if out_of_memory(failed)
                    else f"unexpected {type(failed).__name__}: {failed} (please report this)"
                )
            self._job = None
            session.finish(job, action, problem)

        self._queue.put(work)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    def _load_quietly(self, weights: str) -> None:
        with contextlib.suppress(Exception):  # the first fill will tell
            self._model(weights)

    def _model(self, weights: str) -> Inpainter:
        if weights not in self._models:
            from damgan_cli.runtime.imports import quick_imports

            with quick_imports():
                from damgan_cli.inpainting.inpainter import Inpainter

            self._models[weights] = Inpainter(weights, device=self._device, offline=self._offline)
        return self._models[weights]


def _search(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    """What is asked for, checked. Raises MalformedError."""
    search: dict[str, Any] = {"kind": kind, "box": None}
    if document.get("box") is not None:
        left, top, right, bottom = (round(side) for side in sides(document))
        search["box"] = left, top, max(1, right - left), max(1, bottom - top)
    if kind == "fakeness":
        search["share"] = number(document, "share", 0, 1)
    elif kind == "scratches":
        search["strength"] = number(document, "strength", 0, 1)
    elif kind == "object":
        for name in ("points", "not_points"):
            search[name] = points(document, 1, name).tolist() if document.get(name) else []
    return search


def _worst(picture: Picture, share: float) -> NDArray[np.bool_]:
    """(H, W): the ``share`` of what was filled that the model doubts most."""
    if not picture.hole.any():
        return picture.hole
    least = np.quantile(picture.fakeness[picture.hole], 1 - share)
    return picture.hole & (picture.fakeness >= max(1, least))


def _found(photo: NDArray[np.uint8], search: dict[str, Any]) -> NDArray[np.bool_]:
    if search["kind"] == "text":
        from damgan_cli.masks.text import text_mask

        return text_mask(photo, search["box"])
    if search["kind"] == "scratches":
        from damgan_cli.masks.scratches import scratch_mask

        return scratch_mask(photo, search["strength"], search["box"])
    from damgan_cli.masks.objects import object_mask

    return object_mask(photo, search["box"], search["points"], search["not_points"])
