"""All units on the workers of a Ray cluster, or of this machine.

Each worker is an actor with a model of its own. Where one dies, a new one takes its place and its unit is
done again; a unit that was there three times when its worker died is put aside. What a unit writes is created
only where nothing is, so that a worker that was only thought dead does no harm.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter, deque
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from damgan_cli.collection.work import Outcome
from damgan_cli.errors import DamganError, DeviceError
from damgan_cli.runtime.imports import keep_memory
from damgan_cli.runtime.processes import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from damgan_cli.collection.listing import Slice
    from damgan_cli.collection.shards import Shard
    from damgan_cli.collection.work import Worker

_DEATHS = 3
_STARTS = 3  # of Ray on this machine, where it is so busy that Ray's processes have no 15 s to start
_PER_GPU = 2  # workers: while one fetches or delivers, the other fills
_GROWN = 15.0  # seconds between looks at whether the cluster has grown


def run_on_ray(
    units: Iterable[Slice | Shard], make_worker: Callable[[], Worker], address: str | None
) -> Generator[Outcome]:
    """Do all units, yielding what becomes of each, in any order.

    ``address`` is a cluster's; None starts Ray here, with all cores and GPUs, for this run. ``make_worker``
    is called in each actor and must be picklable. Raises DeviceError without Ray or cluster, and what a
    worker raises that no other unit could mend: WeightsError, StoreError of a listing.
    """
    if find_spec("ray") is None:
        raise DeviceError("--engine ray needs Ray, which is not installed.", "pip install 'damgan[ray]'")
    if address is not None:
        _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    pool = _Pool(ray, make_worker, iter(units), spare=address is not None)
    try:
        _join(ray, address)
        while not (yield from pool.outcomes()):  # until all is done
            if address is not None or pool.lost == _DEATHS:
                raise DeviceError("Ray has no machine left.", "The same command goes on from here.")
            ray.shutdown()  # its own process on this machine was killed
            _join(ray, None)
    finally:
        ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    """Join a cluster, or start Ray here. Raises DeviceError."""
    for start in range(1 if address else _STARTS):
        try:
            ray.init(
                address or "local",
                num_cpus=None if address else cores(),
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as problem:  # noqa: BLE001  # a start that is too slow is Exception itself
            reason = str(problem).splitlines()[0]
            if "timed out" in reason and not address and start + 1 < _STARTS:
                ray.shutdown()
                continue
            hint = None
            if "AF_UNIX" in reason:
                hint = "RAY_TMPDIR=/tmp helps where its files' paths are too long."
            elif address:
                hint = "Where it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
            raise DeviceError(f"Ray does not start ({reason}).", hint) from None
        return


def _check_reachable(address: str) -> None:
    """Raise DeviceError if nobody listens at HOST:PORT, which Ray itself would wait for for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise DeviceError(f"{address} is no address of a Ray cluster.", "Give HOST:PORT, mostly port 6379.")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as problem:
        raise DeviceError(
            f"The Ray cluster {address} cannot be reached ({problem}).",
            "Start it with `ray start --head`, or leave out --address to use this machine alone.",
        ) from None


class _Filler:
    """The actor: a worker, made where it is to work."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        keep_memory()
        self._worker = make_worker()

    def begin(self) -> None:
        """Returns once the actor is there."""

    def do(self, unit: Slice | Shard) -> Outcome:
        return self._worker.do(unit)

    def close(self) -> None:
        self._worker.close()


class _Pool:
    """As many actors as there is room for, and which unit each of them has.

    An actor gets units once it has begun: one for which no room comes free must not keep a unit waiting.
    """

    def __init__(
        self, ray: Any, make_worker: Callable[[], Worker], units: Iterator[Slice | Shard], *, spare: bool
    ) -> None:
        """``spare`` asks for twice the workers there is room for, which makes a cluster grow that can."""
        self._ray = ray
        self._make_worker = make_worker
        self._units = units
        self._spare = spare
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Slice | Shard | None, Any]] = {}  # by what is waited for; None begins
        self._again: deque[Slice | Shard] = deque()
        self._deaths: Counter[str] = Counter()
        self._looked = -_GROWN
        self.lost = 0
        """How often all machines were lost since the last unit that was done."""

    def outcomes(self) -> Generator[Outcome, None, bool]:
        """Hand out units; no more are listed than there are workers.

        Ends with False if all machines are lost, then Ray may be started anew for another call.
        """
        listed = False
        while True:
            if self._again or not listed:
                self._grow()
            while self._idle and (self._again or not listed):
                unit = self._again.popleft() if self._again else next(self._units, None)
                if unit is None:
                    listed = True
                    break
                actor = self._idle.pop()
                self._running[actor.do.remote(unit)] = (unit, actor)
            at_work = any(unit is not None for unit, _ in self._running.values())
            if listed and not self._again and not at_work:
                break
            if listed and not self._again:
                self._dismiss()
            ready = self._ray.wait(list(self._running), timeout=_GROWN)[0]
            if not ready and not any(node["Alive"] for node in self._ray.nodes()):
                self._forget()
                return False
            for finished in ready:
                outcome = self._outcome(finished, *self._running.pop(finished))
                if outcome is not None:
                    self.lost = 0
                    yield outcome
        closing = [actor.close.remote() for actor in self._idle]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=30)
        return True

    def _dismiss(self) -> None:
        """Do without the workers that have not begun: there is nothing left for them."""
        for begun, (unit, actor) in list(self._running.items()):
            if unit is None:
                self._ray.kill(actor)
                del self._running[begun]

    def _forget(self) -> None:
        """All workers are gone; their units are to be done again."""
        self.lost += 1
        self._again.extend(unit for unit, _ in self._running.values() if unit is not None)
        self._running.clear()
        self._idle.clear()
        self._looked = -_GROWN

    def _outcome(self, finished: Any, unit: Slice | Shard | None, actor: Any) -> Outcome | None:
        """What became of a unit; None if its worker died and it is to be done again, or has only begun."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome | None = self._ray.get(finished)
        except errors.RayTaskError as problem:  # raised in the worker, by no fault of the unit
            if isinstance(problem.cause, DamganError):
                raise problem.cause from None
            raise
        except errors.RayError as problem:
            # A new actor rather than max_restarts: what is handed to one that restarts may fail at once.
            self._start()
            self._deaths[unit.record if unit else ""] += 1
            if self._deaths[""] == _DEATHS:
                raise DeviceError(
                    f"Workers do not start: {str(problem).strip().splitlines()[-1]}",
                    "Each node needs damgan with the extra cloud, and the paths and weights of this command.",
                ) from None
            if unit is None:
                return None
            if self._deaths[unit.record] < _DEATHS:
                self._again.append(unit)
                return None
            text = f"put aside: its worker died {_DEATHS} times ({str(problem).strip().splitlines()[0]})"
            return Outcome(unit.name, "failed", problem=text)
        if unit is None:
            self._deaths[""] = 0
        self._idle.append(actor)
        return outcome

    def _grow(self) -> None:
        """Start workers for what the cluster has; again now and then, as it may grow."""
        if time.monotonic() - self._looked < _GROWN:
            return
        self._looked = time.monotonic()
        have = self._ray.cluster_resources()
        room = int(have.get("GPU", 0)) * _PER_GPU or max(1, int(have.get("CPU", 0)))
        for _ in range(room * (2 if self._spare else 1) - len(self._idle) - len(self._running)):
            self._start()

    def _start(self) -> None:
        gpus = self._ray.cluster_resources().get("GPU", 0)
        needs = {"num_gpus": 1 / _PER_GPU, "num_cpus": 0} if gpus else {"num_cpus": 1}
        actor = self._ray.remote(**needs)(_Filler).remote(self._make_worker)
        self._running[actor.begin.remote()] = (None, actor)
