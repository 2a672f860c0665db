"""The page's addresses, below its token: static files, and what they ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from damgan_cli.errors import DamganError
from damgan_cli.inpainting.plan import FITS
from damgan_cli.page.actions import MalformedError, number, paint_from, sides
from damgan_cli.page.album import UnknownError
from damgan_cli.page.session import ExistsError, Session, StaleError, error_document
from damgan_cli.page.views import LARGEST_VIEW

if TYPE_CHECKING:
    from starlette.requests import Request

    from damgan_cli.page.album import Album
    from damgan_cli.page.work import Worker

_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_LARGEST_REQUEST = 1 << 20  # bytes: a stroke of 20,000 points
_LARGEST_UPLOAD = 1 << 27


class _TooLargeError(DamganError):
    """More bytes than are taken."""


_STATUS = {UnknownError: 404, _TooLargeError: 413, StaleError: 409, ExistsError: 409, MalformedError: 400}


def make_app(album: Album, worker: Worker) -> Starlette:
    """The page for the photos of ``album``, worked on by ``worker``; to be wrapped in a `Guard`."""
    page = _Page(album, worker)
    photo = "/api/photos/{number:int}"
    routes = [
        Route("/", page.index),
        Route("/static/{name}", page.static),
        Route("/api/photos", page.listing),
        Route("/api/photos", page.upload, methods=["PUT"]),
        Route(photo, page.state),
        Route(f"{photo}/thumbnail", page.thumbnail),
        Route(f"{photo}/view", page.view),
        Route(f"{photo}/saved", page.saved),
        Route(f"{photo}/paint", page.paint, methods=["POST"]),
        Route(f"{photo}/step", page.step, methods=["POST"]),
        Route(f"{photo}/find", page.find, methods=["POST"]),
        Route(f"{photo}/fill", page.fill, methods=["POST"]),
        Route(f"{photo}/stop", page.stop, methods=["POST"]),
        Route(f"{photo}/save", page.save, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={DamganError: _tell})


class _Page:
    def __init__(self, album: Album, worker: Worker) -> None:
        self.album = album
        self.worker = worker
        # read once: only these names are served, whatever is asked for
        self.files = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _TYPES}

    async def index(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self.files["index.html"], media_type="text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.files:
            raise UnknownError
        return Response(self.files[name], media_type=_TYPES[Path(name).suffix])

    async def listing(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(
            {
                "photos": await run_in_threadpool(self.album.listing),
                "uploads": self.album.uploads is not None,
                "weights": self.worker.weights,
                "fits": list(FITS),
                "finders": self.worker.finders,
            }
        )

    async def upload(self, request: Request) -> Response:
        data = await _body(request, "application/octet-stream", _LARGEST_UPLOAD)
        name = request.query_params.get("name", "")
        return JSONResponse({"number": await run_in_threadpool(self.album.add, name, data)})

    async def state(self, request: Request) -> Response:
        return await self._state(self._session(request))

    async def thumbnail(self, request: Request) -> Response:
        number = request.path_params["number"]
        return Response(await run_in_threadpool(self.album.thumbnail, number), media_type="image/jpeg")

    async def view(self, request: Request) -> Response:
        query = request.query_params
        try:
            given = [int(side) for side in query.get("box", "").split(",")]
            longest = int(query.get("longest", ""))
        except ValueError:
            raise MalformedError("box and longest must be numbers.") from None
        left, top, right, bottom = (round(side) for side in sides({"box": given}))
        layer = query.get("layer", "")
        if layer not in {"photo", "result", "mask", "fakeness"} or not 1 <= longest <= LARGEST_VIEW:
            raise MalformedError("There is no such layer, or none of this size.")
        session = self._session(request)
        data, kind = await run_in_threadpool(session.view, layer, (left, top, right, bottom), longest)
        self.worker.warm_up()
        return Response(data, media_type=kind)

    async def saved(self, request: Request) -> Response:
        """What was saved, for a browser that is to keep it: of a photo that came by the page."""
        session = self._session(request)
        mask = request.query_params.get("what") == "mask"
        target = session.mask_output if mask else session.output
        if self.album.uploads is None or target not in session.written:
            raise UnknownError
        return FileResponse(target, media_type="application/octet-stream", filename=target.name)

    async def paint(self, request: Request) -> Response:
        session, document = self._session(request), await _json(request)
        await run_in_threadpool(session.add, paint_from(document))
        return await self._state(session)

    async def step(self, request: Request) -> Response:
        session, document = self._session(request), await _json(request)
        by = 1 if document.get("by") == 1 else -1
        await run_in_threadpool(session.step, by, _revision(document))
        return await self._state(session)

    async def find(self, request: Request) -> Response:
        session, document = self._session(request), await _json(request)
        await run_in_threadpool(self.worker.find, session, _revision(document), document)
        return await self._state(session)

    async def fill(self, request: Request) -> Response:
        session, document = self._session(request), await _json(request)
        settings = str(document.get("weights")), str(document.get("fit"))
        await run_in_threadpool(self.worker.fill, session, _revision(document), *settings)
        return await self._state(session)

    async def stop(self, request: Request) -> Response:
        session = self._session(request)
        await _json(request)
        if session.job is not None:
            session.job.cancelled = True
        return await self._state(session)

    async def save(self, request: Request) -> Response:
        session, document = self._session(request), await _json(request)
        save = session.save_mask if document.get("what") == "mask" else session.save_photo
        overwrite = document.get("overwrite") is True
        path = await run_in_threadpool(save, _revision(document), overwrite=overwrite)
        return await self._state(session, saved=str(path) if self.album.uploads is None else path.name)

    def _session(self, request: Request) -> Session:
        return self.album.session(request.path_params["number"])

    async def _state(self, session: Session, **more: Any) -> Response:
        return JSONResponse({**await run_in_threadpool(session.state), **more})


async def _tell(request: Request, problem: Exception) -> Response:  # noqa: ARG001
    """Errors of a user, or of a hostile program, as a short JSON document."""
    assert isinstance(problem, DamganError)  # noqa: S101
    status = next((code for kind, code in _STATUS.items() if isinstance(problem, kind)), 422)
    document = {"error": error_document(problem) | {"exists": isinstance(problem, ExistsError)}}
    return JSONResponse(document, status)


def _revision(document: dict[str, Any]) -> int:
    return int(number(document, "revision", 0, 1 << 53))


async def _json(request: Request) -> dict[str, Any]:
    """The object that was sent. Raises MalformedError, and _TooLargeError."""
    try:
        document = json.loads(await _body(request, "application/json", _LARGEST_REQUEST))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MalformedError("This is no JSON object.")
    return document


async def _body(request: Request, kind: str, limit: int) -> bytes:
    """All bytes that were sent, of media type ``kind``. Raises MalformedError, and _TooLargeError."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise MalformedError(f"What is sent must be {kind}.")
    too_large = _TooLargeError(f"More than {limit >> 20} MiB are not taken.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise too_large
    parts, count = [], 0
    async for part in request.stream():  # the length may be missing, or a lie
        count += len(part)
        if count > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)
