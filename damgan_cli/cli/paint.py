"""``damgan paint``: a local page to paint over what is to go, fill it and save."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import DEVICE_METAVAR, WEIGHTS_METAVAR, complete_devices, complete_weights
from damgan_cli.errors import DamganError
from damgan_cli.weights.find import DEFAULT_WEIGHTS

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


def paint(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PHOTO|DIR]",
            help="A photo, or a folder of photos. Without one the page takes photos that are dropped on it, "
            "and gives the results back as downloads.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where results are saved, under the photos' names. By default photo.inpainted.png goes "
            "beside photo.png.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks",
            metavar="DIR",
            help="Where masks are saved, for `damgan inpaint DIR --mask MASKS`. By default photo.mask.png "
            "goes beside the result, those of a folder to a folder DIR-masks beside it.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            "-w",
            metavar=WEIGHTS_METAVAR,
            autocompletion=complete_weights,
            help="The model that the page begins with.",
        ),
    ] = DEFAULT_WEIGHTS,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar=DEVICE_METAVAR,
            autocompletion=complete_devices,
            help="auto takes a GPU if there is one.",
        ),
    ] = "auto",
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Others than this machine need --token.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Where it listens.", show_default="a free one"
        ),
    ] = 0,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TEXT",
            envvar="DAMGAN_TOKEN",
            help="The secret in the page's address: 16 letters, digits, - and _ at least.",
            show_default="a random one",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Paint over what is to go, on a page in the browser; fill, compare, save.

    Results are saved as `damgan inpaint` saves them: what is not painted stays as
    it is, to the bit where the file format is lossless, with size, depth and
    metadata. The page is for this machine alone, and needs nothing from elsewhere.
    Ctrl-C ends it. Needs the extra: pip install 'damgan\\[page]'.

    \b
    [bold]Examples[/]
      damgan paint photo.jpg
      damgan paint holiday -o filled --masks masks
      damgan paint --no-browser --port 7860
    """  # noqa: D301
    if token is not None and not _TOKEN.fullmatch(token):
        raise DamganError(
            "The token is too short, or has characters that an address cannot hold.",
            "Give at least 16 letters, digits, - and _; or none on this machine, for a random one.",
        )
    if token is None and host not in _LOOPBACK:
        raise DamganError(
            f"--host {host} lets other machines in, and needs a --token that they do not know.",
            "Set DAMGAN_TOKEN, which other users cannot see as they can a command line, or give --token.",
        )
    if source is None and (out or masks):
        raise DamganError("--out and --masks need a PHOTO or DIR.", "Without one results are downloads.")
    try:
        from damgan_cli.page.serve import serve
    except ModuleNotFoundError as problem:
        missing = str(problem.name).partition(".")[0]
        if missing not in {"starlette", "uvicorn", "anyio"}:
            raise
        raise DamganError(
            f"The page needs {missing}, which is not installed.",
            "Install it: pip install 'damgan[page]'",
        ) from None
    from damgan_cli.page.album import Album, album_of
    from damgan_cli.page.work import Worker
    from damgan_cli.weights.find import find_weights

    find_weights(weights, offline=offline)

    def ready(address: str) -> None:
        typer.echo(address)
        console.note("Ctrl-C ends it.")

    with contextlib.ExitStack() as stack:
        if source is None:
            album = Album([], Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="damgan-"))))
        else:
            album = album_of(source, out, masks)
        worker = Worker(weights, device, offline=offline)
        serve(album, worker, host=host, port=port, token=token, browser=not no_browser, ready=ready)
    if source is not None and album.unsaved:
        console.warn(f"not saved: {', '.join(album.unsaved)}")
