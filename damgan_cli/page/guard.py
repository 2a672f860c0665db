"""Who may talk to the page: those who have its token, from the page itself, under a name of this machine.

The token is the first part of every address. Host is checked, as a foreign site may make its own name mean
127.0.0.1 (DNS rebinding) and would then count as the page itself to a browser; Origin, as a browser lets any
site send requests here. Both are refused before anything is read.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "
)


_DOOR = """<!doctype html><html lang="en"><meta charset="utf-8"><title>damgan paint</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<p>Open the address that damgan paint printed, or enter its token:</p>
<form action="/enter"><input name="token" type="password" aria-label="Token" autofocus>
<button>Open</button></form>
"""


@dataclass
class Guard:
    """Wraps the page: refuses what is not from it, and adds the headers that keep browsers strict."""

    app: ASGIApp
    token: str
    loopback: bool = True
    """Whether only names of loopback are served; else any name, as a proxy may stand before us."""
    frames: str = "'none'"
    """Sites that may show the page in a frame."""
    code: str | None = None
    """``/start/CODE`` leads to the page, once: a browser is opened with it, whose command line others see."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":  # no websockets here, and nothing to do at start and end
            return

        async def strict_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY + self.frames
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = self._problem(scope)
        if problem:
            await PlainTextResponse(f"{problem}\n", 403)(scope, receive, strict_send)
            return
        first, _, rest = str(scope["path"]).lstrip("/").partition("/")
        started = first == "start" and self.code is not None and _equal(rest, self.code)
        if started:
            self.code = None
        if started or (first == "enter" and _equal(_given(scope), self.token)):
            await RedirectResponse(f"/{self.token}/", 303)(scope, receive, strict_send)
        elif _equal(first, self.token):
            inner = {**scope, "root_path": f"/{self.token}", "path": f"/{self.token}/{rest}"}
            await self.app(inner, receive, strict_send)
        else:
            await HTMLResponse(_DOOR, 404)(scope, receive, strict_send)

    def _problem(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is not."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = _name(hosts[0]) if len(hosts) == 1 else None
        if not name or (self.loopback and name not in LOOPBACK):
            return "This page is not served under that name."
        origins = headers.getlist("origin")
        own = {f"http://{hosts[0]}"} if self.loopback else {f"http://{hosts[0]}", f"https://{hosts[0]}"}
        if any(origin not in own for origin in origins):
            return "This page answers itself only, not other sites."
        if scope["method"] not in {"GET", "HEAD"} and len(origins) != 1:
            return "This page answers itself only: there is no Origin."
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "This page answers itself only, not other sites."
        return None


def _equal(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), secret.encode())


def _given(scope: Scope) -> str:
    query = parse_qs(str(scope["query_string"], "latin-1"))
    return query.get("token", [""])[0]


def _name(host: str) -> str | None:
    """The name in a Host header, without the port."""
    try:
        parts = urlsplit(f"//{host}")
        valid = parts.netloc == host and "@" not in host and parts.port != 0
    except ValueError:
        return None
    return parts.hostname if valid else None
