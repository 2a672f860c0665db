"""stdout and stderr that may be closed, full or read by nobody any more, and do not stop the work."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


class Guarded(io.RawIOBase):
    """The bytes of a standard stream. Writing never fails; what kept them from being written is kept."""

    def __init__(self, stream: TextIO | None) -> None:
        """``stream`` is what Python made of it: None if it is closed."""
        buffer: Any = getattr(stream, "buffer", None)
        self._target = getattr(buffer, "raw", buffer)
        self.problem: OSError | None = None
        """Why writing failed, if it did."""

    @property
    def reader_left(self) -> bool:
        """Whether ``problem`` is that nobody reads on, as in ``damgan ... | head``."""
        on_windows = os.name == "nt" and self.problem is not None and self.problem.errno == errno.EINVAL
        return on_windows or isinstance(self.problem, BrokenPipeError)

    def writable(self) -> bool:
        """It always seems so."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._target is not None and bool(self._target.isatty())

    def fileno(self) -> int:
        """Its file descriptor. Raises io.UnsupportedOperation if it was closed from the start."""
        if self._target is None:
            raise io.UnsupportedOperation("the stream is closed")
        return int(self._target.fileno())

    def write(self, data: Any) -> int:
        """Write bytes; returns how many of them are done with."""
        if self.problem is None:
            try:
                return int(self._target.write(data)) if self._target else os.write(-1, data)
            except OSError as problem:
                self.problem = problem
        return len(data)


@contextmanager
def guarded() -> Iterator[Guarded]:
    """Guard sys.stdout and sys.stderr in a program that is ours; gives what is behind sys.stdout.

    Characters that they cannot hold are printed as backslash and number: file names have any.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: else the next file that is opened would get what is printed
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    behind = [Guarded(stream) for stream in before]
    sys.stdout, sys.stderr = (
        _text(stream, raw) for stream, raw in zip(cast("list[TextIO | None]", before), behind, strict=True)
    )
    try:
        yield behind[0]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _text(stream: TextIO | None, raw: Guarded) -> TextIO:
    encoding = stream.encoding if stream is not None else "utf-8"
    buffered = stream is not None and not getattr(stream, "line_buffering", True)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=not buffered
    )
