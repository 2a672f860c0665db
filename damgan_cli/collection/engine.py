"""All units in this process: while one is filled, the next is fetched and the one before is delivered."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from damgan_cli.collection.work import Outcome, attempt

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Future

    from damgan_cli.collection.listing import Slice
    from damgan_cli.collection.shards import Shard
    from damgan_cli.collection.work import Fetched, Worker
    from damgan_cli.inpainting.folder import Result

_CHECKS = 16  # records that are asked for ahead, so that a rerun does not wait for each


def run_here(units: Iterable[Slice | Shard], worker: Worker) -> Generator[Outcome]:
    """Do all units, yielding what becomes of each; StoreError if they cannot be listed.

    Of three units at most there are files on this machine's disk.
    """
    pools = [ThreadPoolExecutor(size) for size in (_CHECKS, 1, 1)]
    checks, fetches, deliveries = pools
    fetching: deque[tuple[Slice | Shard, Future[Fetched | Outcome]]] = deque()
    delivering: deque[Future[Outcome]] = deque()

    def filled() -> Iterator[Outcome]:
        unit, future = fetching.popleft()
        fetched = future.result()
        if isinstance(fetched, Outcome):
            while delivering:  # whoever reads this may stop at a failure
                yield delivering.popleft().result()
            yield fetched
            return
        inpainter = worker.inpainter  # not attempted: without a model there is no unit to go on with
        results = attempt(unit, partial(worker.fill, fetched, inpainter))
        if delivering:
            yield delivering.popleft().result()
        delivering.append(deliveries.submit(_deliver, worker, fetched, results))

    try:
        for unit, earlier in _checked(units, worker, checks):
            if earlier is not None:
                yield earlier
                continue
            fetching.append((unit, fetches.submit(attempt, unit, partial(worker.fetch, unit))))
            if len(fetching) > 1:
                yield from filled()
        while fetching:
            yield from filled()
        while delivering:
            yield delivering.popleft().result()
    finally:
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _deliver(worker: Worker, fetched: Fetched, results: list[Result] | Outcome) -> Outcome:
    with worker.removed(fetched):
        return results if isinstance(results, Outcome) else worker.deliver(fetched, results)


def _checked(
    units: Iterable[Slice | Shard], worker: Worker, pool: ThreadPoolExecutor
) -> Iterator[tuple[Slice | Shard, Outcome | None]]:
    """Each unit with what an earlier run has to say of it."""
    waiting: deque[tuple[Slice | Shard, Future[Outcome | None]]] = deque()
    for unit in units:
        waiting.append((unit, pool.submit(worker.earlier, unit)))
        if len(waiting) > _CHECKS:
            first, future = waiting.popleft()
            yield first, future.result()
    for unit, future in waiting:
        yield unit, future.result()
