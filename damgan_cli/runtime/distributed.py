"""Several processes that share a run: ``torchrun --nproc-per-node 8 -m damgan_cli inpaint ...`` or train."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from damgan_cli.errors import DamganError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

_T = TypeVar("_T")
_PATIENCE = timedelta(days=30)  # the first process may finish hours before the last


@dataclass(frozen=True)
class World:
    """The processes of this run; usually there is one.

    The first plans and reports, all do their share. They talk over gloo, which needs no GPU; what is on
    GPUs goes over NCCL.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> World:
        """Join the processes that torchrun started (RANK, WORLD_SIZE), each with a GPU of its own."""
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        import torch
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            backend = "cpu:gloo,cuda:nccl"
        # torchrun (torch 2.14) keeps one store for all its restarts: without names of their own, processes
        # would look for those that have died.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store, _, _ = next(rendezvous("env://", rank, size, timeout=_PATIENCE))
        store = PrefixStore(f"{restart} of {size}", store)
        torch.distributed.init_process_group(
            backend, timeout=_PATIENCE, store=store, rank=rank, world_size=size
        )
        return cls(rank, size)

    @property
    def restarts(self) -> bool:
        """Whether torchrun starts the processes again when one dies or their number changes."""
        return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def share(self, items: Sequence[_T]) -> list[_T]:
        """Every ``size``-th item: neighbours, often alike in size, go to different processes."""
        return list(items[self.rank :: self.size])

    def broadcast(self, work: Callable[[], _T]) -> _T:
        """What ``work`` returns in the first process, for all; if it raises, the others leave quietly."""
        if self.size == 1:
            return work()
        box: list[Any] = [None, False]
        try:
            if self.first:
                box = [work(), True]
        except DamganError:
            self._send(box)
            raise
        self._send(box)
        if not box[1]:
            raise SystemExit(ExitCode.USAGE)
        value: _T = box[0]
        return value

    def gather(self, items: list[_T]) -> list[_T]:
        """The items of all processes in the first one, only their own in the others."""
        if self.size == 1:
            return items
        from torch import distributed

        everyone: list[list[_T]] | None = [[] for _ in range(self.size)] if self.first else None
        distributed.gather_object(items, everyone)
        return [item for part in everyone for item in part] if everyone else items

    def all_reduce(self, values: list[float], operation: str = "mean") -> list[float]:
        """Each value's ``mean`` or ``max`` over all processes, in every one of them."""
        if self.size == 1 or not values:
            return values
        import torch
        from torch import distributed

        together = torch.tensor(values, dtype=torch.float64)
        if operation == "max":
            distributed.all_reduce(together, distributed.ReduceOp.MAX)
        else:
            distributed.all_reduce(together)
            together /= self.size
        return [float(value) for value in together]

    def parallel(self, module: nn.Module) -> nn.Module:
        """``module`` with gradients that are, in every process, the mean over the processes.

        For its calls alone: parameters and ``state_dict`` stay with ``module`` itself.
        """
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        # Buffers (of spectral norms) are functions of parameters, which are the same everywhere.
        return DistributedDataParallel(module, broadcast_buffers=False)

    def leave(self) -> None:
        """Part in peace, together; to be called by all when nothing is left to be said.

        Parallel modules keep gloo's threads beyond their group (torch 2.14). One that still had a tensor of
        the last message to let go of, while Python ended, would abort the process: waiting for the others
        gives it the time.
        """
        if self.size > 1:
            from torch import distributed

            with contextlib.suppress(RuntimeError):  # if one has died now, the work is done all the same
                distributed.barrier()
            distributed.destroy_process_group()

    def _send(self, box: list[Any]) -> None:
        from torch import distributed

        distributed.broadcast_object_list(box, src=0)
