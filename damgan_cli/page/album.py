"""The photos on the page: those it was started with, or those that came by it; nothing else."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import DamganError, ImageFileError, PairingError
from damgan_cli.inpainting.jobs import RESULT_MARK
from damgan_cli.page.actions import MalformedError
from damgan_cli.page.session import Session
from damgan_cli.page.views import photo_view, profile_of
from damgan_cli.photos.color import alpha_of, rgb_of
from damgan_cli.photos.files import list_images
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.read import read_photo
from damgan_cli.runtime.paths import check_folder_can_be_written, exists, is_folder, is_stream, same

if TYPE_CHECKING:
    from typing import Any

MASK_MARK = ".mask"
_OPEN = 2  # photos whose pixels are in memory
_MOST_UPLOADS = 100
_THUMBNAIL = 320  # px
_WHOLE = slice(None), slice(None)


class UnknownError(DamganError):
    """There is no photo of this number, or nothing of this name."""

    def __init__(self) -> None:
        super().__init__("There is no such thing here.")


class Album:
    """Photos by number. Safe to use from several threads."""

    def __init__(self, sessions: list[Session], uploads: Path | None = None) -> None:
        """``uploads`` is a folder of our own where photos that are sent go; None takes none."""
        self.sessions = sessions
        self.uploads = uploads
        self._open: OrderedDict[int, Session] = OrderedDict()
        self._thumbnails: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._decoding = threading.Lock()

    def session(self, number: int) -> Session:
        """A photo to work on. Raises UnknownError."""
        with self._lock:
            if not 0 <= number < len(self.sessions):
                raise UnknownError
            session = self.sessions[number]
            self._open[number] = session
            self._open.move_to_end(number)
            for other in [key for key in self._open if key != number][: len(self._open) - _OPEN]:
                if self._open[other].job is None:
                    self._open.pop(other).release()
            return session

    def thumbnail(self, number: int) -> bytes:
        """A small JPEG of a photo as it was. Raises UnknownError, ImageFileError."""
        with self._lock:
            if not 0 <= number < len(self.sessions):
                raise UnknownError
            path = self.sessions[number].path
        with self._decoding:  # one at a time: each may be large
            if number not in self._thumbnails:
                photo = read_photo(path)
                self._thumbnails[number] = photo_view(
                    rgb_of(photo), alpha_of(photo), _WHOLE, _THUMBNAIL, profile_of(photo)
                )
        return self._thumbnails[number]

    def listing(self) -> list[dict[str, Any]]:
        """Name of each photo, and whether it is ``done``, in ``work`` or ``new``."""
        with self._lock:
            sessions = list(self.sessions)
        return [{"name": session.name, "state": _state(session)} for session in sessions]

    def add(self, name: str, data: bytes) -> int:
        """Keep a photo that was sent; returns its number. Raises MalformedError, ImageFileError."""
        if self.uploads is None:
            raise MalformedError("This page takes no photos but those it was started with.")
        name = re.sub(r"[^\w.() -]", "_", Path(name).name)[-100:].lstrip(".")
        if Path(name).suffix.lower() not in EXTENSIONS:
            raise ImageFileError(
                f"{name} is no photo by its name.", f"Send one of {', '.join(sorted(EXTENSIONS))}."
            )
        read_photo(Path(name), data)  # what cannot be filled is not kept
        with self._lock:
            number = len(self.sessions)
            if number >= _MOST_UPLOADS:
                raise MalformedError(f"{_MOST_UPLOADS} photos are all this page takes.", "Start it anew.")
            path = self.uploads / str(number) / name
            path.parent.mkdir()
            path.write_bytes(data)
            self.sessions.append(_beside(path, name))
            return number

    @property
    def unsaved(self) -> list[str]:
        """Names of photos whose fills would be lost if the server ended now."""
        return [session.name for session in self.sessions if session.unsaved]


def album_of(source: Path, out: Path | None = None, masks: Path | None = None) -> Album:
    """The photo ``source``, or all in the folder ``source``, but for results (``x.inpainted.png``).

    Results go to the folder ``out`` under their relative paths, by default beside the photos; masks to
    ``masks``, by default beside the result of a single photo, else to a folder beside ``source``. Raises
    ImageFileError and PairingError.
    """
    if not exists(source):
        raise ImageFileError(f"{source} does not exist.", "Give a photo, or a folder of photos.")
    if is_stream(source):
        raise ImageFileError(f"{source} is a pipe.", "Give a photo's file, or a folder of photos.")
    for folder in (out, masks):
        if folder is not None:
            check_folder_can_be_written(folder)
            if same(folder, source if is_folder(source) else source.parent):
                raise ImageFileError(f"{folder} holds the photos themselves.", "Choose another folder.")
    if not is_folder(source):
        session = _beside(source, source.name)
        if out is not None:
            session.output = out / source.name
            session.mask_output = out / f"{source.stem}{MASK_MARK}.png"
        if masks is not None:
            session.mask_output = masks / f"{source.stem}.png"
        session.picture()  # a photo that cannot be read is better known now
        return Album([session])
    masks = masks or source.absolute().with_name(f"{source.absolute().name}-masks")
    listed = list_images(source, [path for path in (out, masks) if path])
    photos = [path for path in listed if not _is_result(path)]
    if not photos:
        raise PairingError(
            f"There are no photos in {source}.", f"Known extensions: {', '.join(sorted(EXTENSIONS))}."
        )
    sessions = []
    for path in photos:
        place = path.relative_to(source)
        session = _beside(path, place.as_posix())
        session.mask_output = masks / place.with_suffix(".png")
        if out is not None:
            session.output = out / place
        sessions.append(session)
    return Album(sessions)


def _beside(path: Path, name: str) -> Session:
    output = path.with_name(f"{path.stem}{RESULT_MARK}{path.suffix}")
    return Session(name, path, output, path.with_name(f"{path.stem}{MASK_MARK}.png"))


def _is_result(path: Path) -> bool:
    stem = path.stem.removesuffix(RESULT_MARK)
    return stem != path.stem and exists(path.with_name(stem + path.suffix))


def _state(session: Session) -> str:
    if session.unsaved or (session.position and not session.saved):
        return "work"
    return "done" if session.saved or exists(session.output) else "new"
