"""One unit of work, a slice or a shard: fetched, filled, delivered, recorded.

A unit becomes files in a folder that is removed afterwards, and is filled as any folder is. Results are
created only where nothing is, first they and then the unit's record: whatever dies, and however many
processes work on one collection, each photo has one result, and a unit without a record is done again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from damgan_cli.collection import parquet, shards
from damgan_cli.collection.address import Place
from damgan_cli.collection.scratch import Scratch
from damgan_cli.collection.shards import Shard, file_name
from damgan_cli.errors import DamganError, ImageFileError, StoreError
from damgan_cli.inpainting.folder import fill_photos
from damgan_cli.inpainting.holes import check_readable
from damgan_cli.inpainting.job import Job
from damgan_cli.inpainting.record import changes
from damgan_cli.photos.limits import limit_pixels, most_bytes
from damgan_cli.photos.read import displayed_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damgan_cli.collection.listing import Slice
    from damgan_cli.inpainting.folder import Options, Result
    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.inpainting.record import Settings

_Done = TypeVar("_Done")

SETTINGS = ".damgan/settings.json"
"""In OUT: what made the results there."""

_TRANSFERS = 16  # of small objects at once: each waits for the network most of its time
_LITTLE = 64 << 20  # bytes of free disk, with which a failure to write is not the photo's fault


@dataclass(frozen=True)
class Task:
    """What all units of a run share. It can be pickled."""

    source: Place | None
    """Where the photos of slices lie; None if a list says so."""
    masks: Place | None
    """Where their masks lie; None if each photo needs none of its own."""
    masks_inside: bool
    """Whether shards hold masks."""
    mask_for_all: tuple[str, bytes] | None
    """Name and content of one mask for all."""
    out: Place
    options: Options
    settings: Settings
    most_pixels: int
    columns: tuple[str, ...] = ()
    """Of Parquet files: that of photos and that of masks, where they do not have the usual names."""


@dataclass(frozen=True)
class Outcome:
    """What became of a unit. It can be pickled."""

    unit: str
    status: str
    """``done``, ``skipped`` (done by an earlier run) or ``failed`` (no record: a later run tries anew)."""
    filled: int = 0
    copied: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    """Photos that cannot be filled, each with the reason."""
    problem: str | None = None
    """Why the unit failed."""
    unreachable: bool = False
    """Whether that was storage or the disk, not the photos."""


@dataclass(frozen=True)
class Fetched:
    """A unit on this machine."""

    unit: Slice | Shard
    folder: Path
    jobs: list[Job]
    keys: dict[str, str]
    """Of a shard: the key of each photo, by its name."""
    missing: dict[str, str]
    """Photos of a list that could not be had, or whose mask could not, with the reason."""


def begin(out: Place, settings: Settings) -> None:
    """Note in OUT which settings make its results. ImageFileError if it holds others; StoreError."""
    data = out.get(SETTINGS)
    if data is None:
        empty = (out.folder is not None and not out.folder.exists()) or next(out.names(), None) is None
        if empty:
            out.create(SETTINGS, _json({"version": 1, "settings": settings}))
        data = out.get(SETTINGS)  # perhaps another process's, which was first
    if data is None:
        raise ImageFileError(
            f"{out.url} holds files that are not results of this command.", "Give an empty place with -o OUT."
        )
    try:
        made: Settings = dict(json.loads(data)["settings"])
    except (ValueError, LookupError, TypeError):
        raise ImageFileError(f"{out.at(SETTINGS)} is damaged.", "Give another place with -o OUT.") from None
    if others := changes(made, settings):
        raise ImageFileError(
            f"The results in {out.url} were made with other settings: {'; '.join(others)}.",
            "Choose another -o, or go on with their settings.",
        )


class Worker:
    """Does units, with a model that is loaded when the first one needs it."""

    def __init__(self, task: Task, load: Callable[[], Inpainter]) -> None:
        """MaskError or ImageFileError if one mask for all cannot be read."""
        limit_pixels(task.most_pixels)
        self.task = task
        self._load = load
        self._inpainter: Inpainter | None = None
        self._scratch = Scratch()
        self._mask: Path | None = None
        if task.mask_for_all is not None:
            self._mask = self._scratch.folder / file_name(0, task.mask_for_all[0])
            self._mask.write_bytes(task.mask_for_all[1])
            try:
                check_readable(self._mask, task.options.holes)
            except DamganError:
                self.close()
                raise

    @property
    def loaded(self) -> bool:
        """Whether the model was needed."""
        return self._inpainter is not None

    @property
    def inpainter(self) -> Inpainter:
        """The loaded model. Raises WeightsError and DeviceError."""
        if self._inpainter is None:
            self._inpainter = self._load()
        return self._inpainter

    def close(self) -> None:
        """Remove what is on the disk."""
        self._scratch.close()

    def do(self, unit: Slice | Shard) -> Outcome:
        """All of a unit; what goes wrong with it is in the outcome."""
        if earlier := self.earlier(unit):
            return earlier
        fetched = attempt(unit, lambda: self.fetch(unit))
        if isinstance(fetched, Outcome):
            return fetched
        with self.removed(fetched):
            inpainter = self.inpainter
            results = attempt(unit, lambda: self.fill(fetched, inpainter))
            return results if isinstance(results, Outcome) else self.deliver(fetched, results)

    def earlier(self, unit: Slice | Shard) -> Outcome | None:
        """What the record of a unit says, or why it cannot be done; None if it is to be done."""
        if unit.problem is not None:
            return Outcome(unit.name, "failed", problem=unit.problem)
        data = attempt(unit, lambda: self.task.out.get(unit.record))
        if data is None or isinstance(data, Outcome):
            return data
        return attempt(unit, lambda: _outcome(unit.name, "skipped", json.loads(data)))

    def fetch(self, unit: Slice | Shard) -> Fetched:
        """Bring a unit to this machine. Raises StoreError, ImageFileError, PairingError and OSError."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch.folder))
        try:
            (folder / "out").mkdir()
            if isinstance(unit, Shard):
                return self._unpacked(unit, folder)
            return self._downloaded(unit, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _downloaded(self, part: Slice, folder: Path) -> Fetched:
        (folder / "masks").mkdir()
        jobs, wanted = [], []
        for number, pair in enumerate(part.pairs):
            photo, mask = folder / file_name(number, pair.photo), self._mask
            places = [Place.around(url) for url in pair.urls]
            wanted.append((pair.photo, *(places[0] if places else (self.task.source, pair.photo)), photo))
            if pair.mask is not None:
                mask = folder / "masks" / file_name(number, pair.mask)
                wanted.append((pair.photo, *(places[1] if places else (self.task.masks, pair.mask)), mask))
            jobs.append(Job(pair.photo, photo, mask, folder / "out" / photo.name, None))

        def download(photo: str, place: Place, name: str, path: Path) -> tuple[str, str] | None:
            listed = self.task.source is None
            try:
                place.download(name, path, most_bytes(), hasty=listed)
            except StoreError as problem:
                if not listed:
                    raise
                return photo, str(problem)  # a list has dead links, which must not keep the others waiting
            return None

        missing = dict(filter(None, _each(download, wanted)))
        if len(missing) == len(jobs):
            raise StoreError(f"No photo of it can be had: {next(iter(missing.values()))}")
        return Fetched(part, folder, [job for job in jobs if job.name not in missing], {}, missing)

    def _unpacked(self, shard: Shard, folder: Path) -> Fetched:
        file, where, inside = folder / "in", shard.place.at(shard.name), self.task.masks_inside
        shard.place.download(shard.name, file)
        if shard.is_parquet:
            photos = parquet.unpack(file, folder, where, with_masks=inside, columns=self.task.columns)
        else:
            photos = shards.unpack(file, folder, where, with_masks=inside)
        jobs = [
            Job(one.member, one.photo, one.mask or self._mask, folder / "out" / one.photo.name, None)
            for one in photos
        ]
        return Fetched(shard, folder, jobs, {one.member: one.key for one in photos}, {})

    def fill(self, fetched: Fetched, inpainter: Inpainter) -> list[Result]:
        """Fill the photos of a unit. Raises OSError if the disk is full."""
        sized = [replace(job, size=_size(job.photo)) for job in fetched.jobs]
        with contextlib.closing(fill_photos(sized, inpainter, self.task.options)) as finished:
            results = list(finished)
        failed = any(result.error for result in results)
        if failed and shutil.disk_usage(fetched.folder).free < _LITTLE:
            raise OSError(errno.ENOSPC, "No space left on device")
        return results

    def deliver(self, fetched: Fetched, results: list[Result]) -> Outcome:
        """Create a unit's results where nothing is, then its record."""
        return attempt(fetched.unit, lambda: self._delivered(fetched, results))

    def _delivered(self, fetched: Fetched, results: list[Result]) -> Outcome:
        unit, out = fetched.unit, self.task.out
        failed = fetched.missing | {
            result.job.name: _reason(result) for result in results if result.error is not None
        }
        done = {result.job.name: result.job.output for result in results if result.error is None}
        record: dict[str, Any] = {
            "version": 1,
            "photos": len(results) + len(fetched.missing),
            "filled": sum(result.status == "filled" for result in results),
            "copied": sum(result.status == "copied" for result in results),
            "failed": failed,
            "settings": self.task.settings,
            "weights": self.inpainter.weights.info.get("sha256"),
        }
        if isinstance(unit, Shard):
            file, target = fetched.folder / "in", fetched.folder / "result"
            left_out = {fetched.keys[name] for name in failed}
            if unit.is_parquet:
                parquet.pack(file, target, done, left_out, self.task.columns)
            else:
                shards.pack(file, target, done, left_out)
            record["sha256"] = _created(out, unit.name, target)
        else:
            digests = _each(lambda name, path: _created(out, name, path), list(done.items()))
            record["sha256"] = dict(zip(done, digests, strict=True))
        out.create(unit.record, _json(record))
        return _outcome(unit.name, "done", record)

    @contextlib.contextmanager
    def removed(self, fetched: Fetched) -> Iterator[None]:
        """Remove a unit from this machine at the end of this."""
        try:
            yield
        finally:
            shutil.rmtree(fetched.folder, ignore_errors=True)


def attempt(unit: Slice | Shard, work: Callable[[], _Done]) -> _Done | Outcome:
    """What ``work`` returns; if it raises, an outcome that says why: one unit must not end a run."""
    try:
        return work()
    except StoreError as problem:
        return Outcome(unit.name, "failed", problem=str(problem), unreachable=True)
    except DamganError as problem:
        return Outcome(unit.name, "failed", problem=str(problem))
    except OSError as problem:
        place = tempfile.gettempdir()
        text = f"{place}: {problem.strerror or problem}. Free space there, or set TMPDIR to another folder."
        return Outcome(unit.name, "failed", problem=text, unreachable=True)
    except Exception as problem:  # noqa: BLE001
        text = f"unexpected {type(problem).__name__}: {problem} (please report this)"
        return Outcome(unit.name, "failed", problem=text)


def _each(work: Callable[..., _Done], arguments: list[tuple[Any, ...]]) -> list[_Done]:
    """``work`` for all ``arguments``, several at once; raises what the first that fails raises."""
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        futures = [pool.submit(work, *some) for some in arguments]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


def _created(out: Place, name: str, path: Path) -> str:
    """Create a result; returns the digest of what is there, ours or that of who came first."""
    if not out.create(name, path):
        return out.sha256(name)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _outcome(unit: str, status: str, record: dict[str, Any]) -> Outcome:
    failed = tuple((str(name), str(reason)) for name, reason in record["failed"].items())
    return Outcome(unit, status, int(record["filled"]), int(record["copied"]), failed)


def _reason(result: Result) -> str:
    """Why a photo failed, with its name instead of that of the file it was here."""
    job = result.job
    text = (result.error or "").replace(str(job.photo), job.name).replace(str(job.output), job.name)
    return text.replace(str(job.mask), f"of {job.name}") if job.mask is not None else text


def _size(photo: Path) -> tuple[int, int] | None:
    try:
        return displayed_size(photo)
    except ImageFileError:  # filling it will say why
        return None


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
