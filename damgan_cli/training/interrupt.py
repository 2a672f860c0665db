"""Ctrl-C and SIGTERM as a wish that the training loop grants at the end of a step."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Interrupted:
    """True once SIGINT or SIGTERM came; the step in progress is finished and saved first.

    Signals reach the main thread alone: in another one it never turns true by itself.
    """

    def __init__(self) -> None:
        self._came = False

    def __bool__(self) -> bool:
        return self._came

    def set(self) -> None:
        """Another process was interrupted."""
        self._came = True

    def __enter__(self) -> Self:
        def handler(*_: object) -> None:
            if self._came:  # asked twice: leave at once, the last checkpoint is whole
                raise KeyboardInterrupt
            self._came = True

        signals = (signal.SIGINT, signal.SIGTERM)
        here = threading.current_thread() is threading.main_thread()
        self._previous = {number: signal.signal(number, handler) for number in (signals if here else ())}
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
