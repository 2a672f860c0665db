"""The command line: ``damgan inpaint | paint | mask | eval | train | weights | export | bench``."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damgan_cli.cli import console, streams
from damgan_cli.cli.options import Command, Group
from damgan_cli.errors import DamganError, ExitCode, did_you_mean, failure_document

if TYPE_CHECKING:
    from collections.abc import Iterator


_LOCAL = (
    "--attention",
    "--csv",
    "--feature-weights",
    "--images",
    "--preview",
    "--protocol",
    "--report",
    "--save",
    "--segmenter",
    "--weights",
)
"""Options that mean files of this machine also where photos may lie elsewhere."""

_complaints: list[str] = []
"""Why the command line was refused: what Typer prints by itself, for --json too."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.note("interrupted")
        _complaints.append("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as problem:
        if hasattr(problem, "format_message"):  # of Typer's own copy of click, which is not to be imported
            _suggest(problem)
            _complaints.append(problem.format_message())
        raise


def _refuse_addresses(arguments: list[str]) -> None:
    """Raise DamganError for s3://bucket/photos and the like, which as a path would be a folder here."""
    taking = arguments[:1] in (["inpaint"], ["eval"], ["mask"])
    for before, argument in pairwise(["", *arguments]):
        found = re.fullmatch(r"(--?[\w-]+=)?([A-Za-z][A-Za-z0-9+.-]+://.*)", argument, re.DOTALL)
        if found and not (taking and (found[1] or before).rstrip("=") not in _LOCAL):
            raise DamganError(
                f"{found[2]} is an address, which is not taken here.",
                "`damgan inpaint`, `eval` and `mask` take those of photos, masks and results. Copy other "
                "files here first. --weights takes ORG/REPO.",
            )


def _suggest(problem: Any) -> None:
    """Say in plain words what a value that is none of an option's choices may have meant."""
    match = re.fullmatch(r"Value error, '(.*)' is not one of (.*)\.", str(getattr(problem, "message", "")))
    if match:
        names = re.findall(r"'([^']*)'", match[2])
        hint = f"{did_you_mean(match[1], names)}Choose from {', '.join(names)}."
        problem.message = f"{match[1]!r} is none of its values. {hint}"


class _Commands(Group):
    """Where a command has no answer of its own to Ctrl-C, Typer would give the exit code alone."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> Any:
        with _told():
            _refuse_addresses(args)
            return super().make_context(info_name, args, *more, **options)

    def invoke(self, ctx: Any) -> Any:
        with _told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    name="damgan",
    help="Fill holes in photographs with DAM-GAN, make masks, score results, train on your own photos.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from damgan_cli import __version__

        typer.echo(f"damgan {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; known errors become a message and exit code 2, never a traceback.

    What was asked for is done whatever becomes of stdout. That it is read no further, as in ``| head``, is
    no error; that it is full or closed is one, if there was something to print.
    """
    with streams.guarded() as stdout:
        code = _run()
        sys.stdout.flush()
        if stdout.problem and not stdout.reader_left:
            console.error(
                f"The result cannot be written to stdout ({stdout.problem.strerror}).",
                "All else is done. Send stdout to another place.",
            )
            code = code or ExitCode.SOME_FILES_FAILED
    sys.exit(code)


def _run() -> int:
    _complaints.clear()
    try:
        app()
    except DamganError as problem:
        console.error(problem.message, problem.hint)
        return _refused(ExitCode.USAGE, problem.message, problem.hint)
    except SystemExit as stop:
        code = int(stop.code or 0)
        return _refused(code, _complaints[-1]) if _complaints else code
    return ExitCode.OK


def _refused(code: int, message: str, hint: str | None = None) -> int:
    """Say so in JSON too, where that is asked for; of several processes the first speaks for all."""
    document = failure_document(sys.argv[1:], code, message, hint)
    if document and os.environ.get("RANK", "0") == "0":
        sys.stdout.write(document)
    return code


def _register_commands() -> None:
    from damgan_cli.cli import bench, export, inpaint, mask, paint, train, weights
    from damgan_cli.cli import eval as eval_command

    app.command("inpaint", cls=Command)(inpaint.inpaint)
    app.command("paint", cls=Command)(paint.paint)
    app.command("mask", cls=Command)(mask.mask)
    app.command("eval", cls=Command)(eval_command.evaluate)
    app.command("train", cls=Command)(train.train)
    app.add_typer(weights.app, name="weights")
    app.command("export", cls=Command)(export.export)
    app.command("bench", cls=Command)(bench.bench)


_register_commands()
