"""Ctrl-C and SIGTERM as a wish that the training loop grants at the end of a step."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Interrupted:
    """True once SIGINT or SIGTERM came; the step in progress is finished and saved first."""

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

        self._previous = {
            number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
