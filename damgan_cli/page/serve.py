"""``damgan paint``: the page's server, from its first request to Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

import uvicorn

from damgan_cli.errors import DamganError
from damgan_cli.page.app import make_app
from damgan_cli.page.guard import LOOPBACK, Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from damgan_cli.page.album import Album
    from damgan_cli.page.work import Worker


def serve(
    album: Album,
    worker: Worker,
    *,
    host: str,
    port: int,
    token: str | None,
    browser: bool,
    ready: Callable[[str], None],
) -> None:
    """Serve the page until it is stopped; ``ready`` is told its address once it can be opened.

    ``port`` 0 takes a free one. Raises DamganError if the address cannot be had.
    """
    code = secrets.token_urlsafe(24) if browser else None
    token = token or secrets.token_urlsafe(24)
    # a Space of Hugging Face shows its page in a frame
    frames = "https://huggingface.co" if os.environ.get("SPACE_ID") else "'none'"
    app = Guard(make_app(album, worker), token, host in LOOPBACK, frames, code)
    listening = _bound(host, port)
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        app, lifespan="off", ws="none", access_log=False, log_level="error", server_header=False,
        proxy_headers=False, limit_concurrency=64, timeout_graceful_shutdown=5,
    )  # fmt: skip
    name = f"[{host}]" if ":" in host else host
    ready(f"http://{name}:{port}/{token}/")
    if code and _has_screen():
        address = f"http://{name}:{port}/start/{code}"
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # how it is meant to end
        pass
    finally:
        worker.stop()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # where it does not let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(64)
    except (OSError, OverflowError) as problem:
        listening.close()
        raise DamganError(
            f"The page cannot be served at {host}:{port} ({getattr(problem, 'strerror', None) or problem}).",
            "Choose another --port, or leave it out: a free one is taken.",
        ) from None
    return listening


def _has_screen() -> bool:
    """Whether there is a desktop to show a browser on, which else might be one of the terminal."""
    named = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in {"win32", "darwin"} or bool(named)
