"""Where a collection lies: a prefix in object storage, or a folder here, through obstore.

Credentials are those that obstore finds (environment, instance and web identities); none is taken from an
address, and none is printed: of what a server answers only its status and error code are shown.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import mmap
import os
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from damgan_cli.errors import DamganError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = ("s3", "gs", "az", "file", "https", "http")
"""What an address may begin with; anything else is a path of this machine."""

WEB = ("https://", "http://")
"""Addresses of single files that can be read, and neither listed nor written."""

RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
"""Of requests that end in 429, 5xx or a broken connection, ever more slowly; obstore's own defaults."""

_HASTY: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
_AGENT = "damgan (https://pypi.org/project/damgan)"  # some servers turn away whoever does not say its name

# obstore's own limit, 30 s for a whole request, cuts off shards. These are for a whole request, and for the
# wait for its next bytes, or for the answer to what is written. As client_options they would replace all of
# those that stand in the environment.
_LIMITS = {"TIMEOUT": "1h", "READ_TIMEOUT": "5m"}
_NO_CREDENTIALS = ("//169.254.169.254/", "//metadata.google.internal", "Account must be specified")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")

_PLAIN = re.compile(r"(https?://[^/]+)/((?:[\w~-][\w.~-]*/)*[\w~-][\w.~-]*)", re.ASCII)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_GO_ON = "Once it can be reached, the same command goes on from here."
_DENIED = f"Check this machine's credentials and rights there; credentials may have expired. {_GO_ON}"


def is_address(text: str) -> bool:
    """Whether it is written as an address, of any kind, and not as a path."""
    return _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket, of a web server, or a folder here. What lies in it is named relative to it."""

    url: str
    """As given, without a slash at the end."""
    folder: Path | None
    """None in object storage and on the web."""
    query: str = ""
    """What follows the question mark in the address of a file on the web; it may be secret."""

    @classmethod
    def of(cls, text: str) -> Place:
        """The place that an address or path means. Raises StoreError for one that damgan does not take."""
        found = _ADDRESS.fullmatch(text)
        if found is None:
            return cls(text.rstrip("/") or "/", Path(text).absolute())
        if found[1] not in SCHEMES:
            raise StoreError(
                f"{found[1]}:// is no kind of address that is known here.",
                f"Known are {', '.join(f'{scheme}://' for scheme in SCHEMES)}, and paths.",
            )
        parts = urlsplit(text)
        if "@" in parts.netloc or (parts.query and not text.startswith(WEB)):
            raise StoreError(
                "An address must hold neither credentials nor a question mark.",
                "Credentials come from the environment; see docs/collections.md.",
            )
        if parts.scheme == "file":
            from urllib.request import url2pathname

            return cls(text.rstrip("/"), Path(url2pathname(parts.path)))
        if not parts.netloc:
            raise StoreError(
                f"{text} names no {'server' if text.startswith(WEB) else 'bucket'}.",
                f"Give {parts.scheme}://{'HOST' if text.startswith(WEB) else 'BUCKET'}/PATH.",
            )
        return cls(text.partition("?")[0].rstrip("/"), None)

    @classmethod
    def around(cls, text: str) -> tuple[Place, str]:
        """The place that an object or file lies in, and its name there. Raises StoreError."""
        query = ""
        if text.startswith(WEB):
            text, _, query = text.partition("#")[0].partition("?")
        parent, _, name = text.rpartition("/")
        if not name or parent.endswith(":/"):
            raise StoreError(f"{text} names no file.", None)
        place = cls.of(parent or ("/" if text.startswith("/") else "."))
        return replace(place, query=query), name

    @property
    def on_the_web(self) -> bool:
        """Whether it can only be read, file by file."""
        return self.url.startswith(WEB)

    def overlaps(self, other: Place) -> bool:
        """Whether one of the two lies in the other, or both are one."""
        if (self.folder is None) != (other.folder is None):
            return False
        mine, its = (str(place.folder.resolve()) if place.folder else place.url for place in (self, other))
        return f"{mine}/".startswith(f"{its}/") or f"{its}/".startswith(f"{mine}/")

    def at(self, name: str) -> str:
        """The address of what is called ``name`` here, for messages."""
        return f"{self.url}/{name}"

    def get(self, name: str) -> bytes | None:
        """The whole of a small object; None if there is none. Raises StoreError."""
        if self.folder is not None and not self.folder.is_dir():
            return None
        with told(self.at(name)):
            try:
                return bytes(self._read(name, RETRY).bytes())
            except FileNotFoundError as problem:
                if any(code in str(problem) for code in _NO_BUCKET):
                    raise
                return None

    def download(self, name: str, target: Path, most: int | None = None, *, hasty: bool = False) -> None:
        """Copy an object into a file, in pieces. StoreError, also if it has more than ``most`` bytes.

        ``hasty`` gives up sooner on a web server that does not answer.
        """
        with told(self.at(name)):
            answer = self._read(name, _HASTY if hasty else RETRY)
            size = answer.meta["size"]
            if most is not None and size > most:
                raise StoreError(f"{self.at(name)} has {size:,} bytes: no image is that large.", None)
            with target.open("wb") as file:
                for piece in answer.stream():
                    file.write(piece)
            if target.stat().st_size != size:
                raise StoreError(f"{self.at(name)} was cut off while it was read.", _GO_ON)

    def create(self, name: str, data: bytes | mmap.mmap | Path) -> bool:
        """Write an object, whole or not at all, unless there is one (If-None-Match: *): then False.

        ``data`` may be a file of this machine, which is mapped, not read into memory: obstore has conditions
        for single requests only, and holds all of what they send. Raises StoreError.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with told(self.at(name)):
            if isinstance(data, Path):
                with data.open("rb") as file:  # which the mapping does not need open
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            try:
                open_store(self, writing=True).put(name, data, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def sha256(self, name: str) -> str:
        """The digest of an object, read in pieces. Raises StoreError."""
        digest = hashlib.sha256()
        with told(self.at(name)):
            for piece in self._read(name, RETRY).stream():
                digest.update(piece)
        return digest.hexdigest()

    def _read(self, name: str, retry: dict[str, Any]) -> Any:
        """Begin to read an object."""
        if not self.on_the_web:
            return open_store(self).get(name)
        url = f"{self.url}/{name}"
        if plain := None if self.query else _PLAIN.fullmatch(url):
            return _web_store(plain[1], hasty=retry is _HASTY).get(plain[2])
        # A store of its own, so that its query and its %-codes reach the server as they are.
        whole = f"{url}?{self.query}" if self.query else url
        return _web_store.__wrapped__(whole, hasty=retry is _HASTY).get("")

    def names(self) -> Iterator[str]:
        """The names of all objects, sorted by code point, streamed a thousand at a time. Raises StoreError.

        Of a folder here all are listed first, as files come in any order.
        """
        if self.on_the_web:
            raise StoreError(
                f"{self.url} is on the web, where nothing can be listed.",
                "Give a list of URLs (a .txt file, one a line), or shards.",
            )
        if self.folder is not None and not self.folder.is_dir():
            raise StoreError(f"The folder {self.url} does not exist.", None)
        with told(self.url):
            listed = (entry["path"] for part in open_store(self).list(chunk_size=1000) for entry in part)
            yield from listed if self.folder is None else sorted(listed)


def require_obstore() -> None:
    """Raise StoreError if obstore is not installed."""
    if importlib.util.find_spec("obstore") is None:
        raise StoreError(
            "Addresses and shards need obstore, which is not installed.", "pip install 'damgan[cloud]'"
        )


@lru_cache(maxsize=8)
def open_store(place: Place, *, writing: bool = False) -> Any:
    """The obstore store of a place; a folder that is written to is made. Raises StoreError."""
    from obstore.store import LocalStore, from_url

    with told(place.url):
        if place.folder is not None:
            return LocalStore(prefix=place.folder, mkdir=writing)
        for cloud in ("AWS", "AZURE", "GOOGLE"):
            for limit, duration in _LIMITS.items():
                os.environ.setdefault(f"{cloud}_{limit}", duration)
        connect: Any = from_url  # whose overloads name one cloud each
        return connect(place.url, retry_config=RETRY)


@lru_cache(maxsize=64)
def _web_store(url: str, *, hasty: bool) -> Any:
    """The obstore store of a web server, whose connections serve many files."""
    from obstore.store import HTTPStore

    connect: Any = HTTPStore.from_url
    options = {"allow_http": True, "user_agent": _AGENT, "read_timeout": "30s"}
    return connect(
        url,
        client_options=options | {"timeout": "1m" if hasty else "1h"},
        retry_config=_HASTY if hasty else RETRY,
    )


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """What obstore raises becomes a StoreError that names ``where`` and says what to do."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except DamganError:
        raise
    except FileNotFoundError as problem:
        raise StoreError(f"{where} does not exist ({_answer(problem) or '404'}).", _GO_ON) from None
    except BaseError as problem:
        answer = _answer(problem)
        if any(words in str(problem) for words in _NO_CREDENTIALS):
            raise StoreError(f"{where}: no credentials were found.", _DENIED) from None
        denied = isinstance(problem, (PermissionDeniedError, UnauthenticatedError))
        if denied or answer.startswith(("401", "403")):
            raise StoreError(f"{where}: access is denied ({answer or '403'}).", _DENIED) from None
        if "Expired" in answer:
            raise StoreError(f"{where}: the credentials have expired ({answer}).", _DENIED) from None
        reason = f"the server answered {answer}" if answer else _reason(problem)
        raise StoreError(f"{where} cannot be used: {reason}.", _GO_ON) from None
    except OSError as problem:
        raise StoreError(f"{where}: {problem.strerror or problem}.", "Free space, or see to it.") from None


def _answer(problem: Exception) -> str:
    """The status and error code in what a server answered; nothing else of it, which might be secret."""
    text = str(problem)
    number = re.search(r"\b(?:status|error|code)\W{0,12}([45]\d\d)\b", text)
    code = re.search(r"<Code>(\w{1,60})</Code>", text)
    return " ".join(found[1] for found in (number, code) if found)


def _reason(problem: Exception) -> str:
    """Why there was no answer: the connection, or the system's own words about a file."""
    kind = re.search(r"kind: (Timeout|Connect|Request|Body|Decode|Interrupted)\b", str(problem))
    if kind is not None:
        return "no answer in time" if kind[1] == "Timeout" else "the connection failed"
    local = re.search(r"([A-Za-z ]{3,60}) \(os error \d+\)", str(problem))
    return local[1].strip() if local is not None else f"{type(problem).__name__} of obstore"
