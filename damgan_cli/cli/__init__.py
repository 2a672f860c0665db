"""The command line: ``damgan inpaint | mask | eval | train | weights | export``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from damgan_cli.cli import console
from damgan_cli.errors import DamganError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _ctrl_c_is_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.note("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


class _Commands(TyperGroup):
    """Where a command has no answer of its own to Ctrl-C, Typer would give the exit code alone."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _ctrl_c_is_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _ctrl_c_is_one_line():
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
    """Run the command line; known errors become a message and exit code 2, never a traceback."""
    console.escape_what_cannot_be_encoded()
    try:
        app()
    except DamganError as problem:
        console.error(problem.message, problem.hint)
        sys.exit(ExitCode.USAGE)
    except BrokenPipeError:  # `damgan eval ... | head` is not an error
        sys.stderr.close()
        sys.exit(ExitCode.OK)


def _register_commands() -> None:
    from damgan_cli.cli import eval as eval_command
    from damgan_cli.cli import export, inpaint, mask, train, weights

    app.command("inpaint")(inpaint.inpaint)
    app.command("mask")(mask.mask)
    app.command("eval")(eval_command.evaluate)
    app.command("train")(train.train)
    app.add_typer(weights.app, name="weights")
    app.command("export")(export.export)


_register_commands()
