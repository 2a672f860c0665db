"""Where output goes: results to stdout, everything else to stderr, progress bars only on a terminal."""

from __future__ import annotations

import json
import sys
import unicodedata
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from damgan_cli.errors import ImageFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

_WARNINGS_SHOWN = 3


def printable(text: str) -> str:
    """``text`` on one line: a file name may hold control characters and bytes that are no text."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in text
    )


def note(message: str) -> None:
    """Print one line of information on stderr."""
    stderr.print(escape(printable(message)), soft_wrap=True)


def warn(message: str) -> None:
    """Print one line of warning on stderr."""
    stderr.print(f"[yellow]warning:[/] {escape(printable(message))}", soft_wrap=True)


def error(message: str, hint: str | None = None) -> None:
    """Print an error on stderr: what is wrong, and below it what to do."""
    stderr.print(f"[bold red]error:[/] {escape(printable(message))}", soft_wrap=True)
    if hint:
        stderr.print(f"  {escape(printable(hint))}", soft_wrap=True)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout, plain (no colours, no wrapping)."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a file name with bytes that are no text: "\udcXX", which Python reads back
        text = json.dumps(document, indent=2) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()


def check_stdout_for_a_picture(*, as_json: bool) -> None:
    """Raise ImageFileError if stdout is no place for a picture (``-o -``)."""
    if as_json:
        raise ImageFileError("stdout cannot hold both a picture and --json.", "Give a file with -o.")
    if sys.stdout.isatty():
        raise ImageFileError("stdout is a terminal, which shows no pictures.", "Add > FILE, or -o FILE.")


def progress(*, quiet: bool = False) -> Progress:
    """A progress bar on stderr; silent when ``quiet`` or when stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=quiet or not stderr.is_terminal,
    )


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Print warnings (about masks, mostly) once the work is done, the first few of them."""
    from damgan_cli.masks.read import MaskWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MaskWarning)
        yield
    texts = list(dict.fromkeys(str(warning.message) for warning in caught))
    for text in texts[:_WARNINGS_SHOWN]:
        warn(text)
    if len(texts) > _WARNINGS_SHOWN:
        warn(f"{len(texts) - _WARNINGS_SHOWN} more warnings like these")
