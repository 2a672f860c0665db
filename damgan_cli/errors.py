"""Errors a user can cause, and the exit codes of the command line."""

from __future__ import annotations

import json
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes of every ``damgan`` command."""

    OK = 0
    SOME_FILES_FAILED = 1
    USAGE = 2
    """Wrong usage, or bad input found before any work began."""
    INTERRUPTED = 130


class DamganError(Exception):
    """A known problem: what is wrong, and what to do about it.

    ``cli.main`` prints ``message`` and ``hint`` on stderr and leaves with exit code 2; library callers
    catch it like any exception. Everything else that escapes is a bug and keeps its traceback.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


def failure_document(arguments: list[str], code: int, message: str, hint: str | None = None) -> str | None:
    """What ``--json`` prints for a command that ends before it has results; None if no JSON is asked for.

    ``arguments`` are those of the command line, without the program.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" not in options:
        return None
    words = [word for word in options if not word.startswith("-")]
    command = " ".join(words[: 2 if words[:1] == ["weights"] else 1])
    error = {"message": message, "hint": hint}
    return (
        json.dumps({"version": 1, "command": command, "exit_code": int(code), "error": error}, indent=2)
        + "\n"
    )


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """A question to begin a hint with, or nothing if ``given`` is like none of the ``names``."""
    alike = get_close_matches(given, list(names), n=1)
    return f"Did you mean {alike[0]}? " if alike else ""


class ImageFileError(DamganError):
    """A photo or mask cannot be read, is not what it should be, or cannot be written."""


class MaskError(DamganError):
    """A mask does not fit its photo, or a mask cannot be made as asked."""


class PairingError(DamganError):
    """Photos and masks (or results and truths) in two folders do not pair one to one."""


class StoreError(DamganError):
    """A place of a collection, mostly in object storage, cannot be listed, read or written."""


class WeightsError(DamganError):
    """Weights cannot be found, fetched, verified or written."""


class DeviceError(DamganError):
    """The device or number type asked for is not available."""


class TrainingError(DamganError):
    """A training cannot start or go on as asked."""
