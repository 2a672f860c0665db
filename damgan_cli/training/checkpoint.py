"""The state of a training on disk: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from damgan_cli.errors import TrainingError
from damgan_cli.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTS: dict[str, Any] = {
    "config": dict,
    "seed": int,
    "photos": int,
    "processes": int,
    "step": int,
    "seconds": (int, float),
    "G": dict,
    "D": dict,
    "ema": dict,
    "optimizer_G": dict,
    "optimizer_D": dict,
    "random": torch.Tensor,
}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to a temporary name, then rename.

    Raises TrainingError when the disk refuses.
    """
    try:
        with replacing(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as problem:  # torch wraps a full disk in RuntimeError
        raise TrainingError(
            f"Cannot write the checkpoint {path}: {problem}.", "Is the disk full?"
        ) from problem


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote, all of its parts.

    Raises TrainingError if there is none or it is damaged.
    """
    if not path.is_file():
        raise TrainingError(f"There is no checkpoint {path}.", "Start anew without --resume.")
    with damage_told(path):
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums in it
            whole = archive.testzip() is None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not whole or not all(isinstance(state[name], kind) for name, kind in _PARTS.items()):
            raise ValueError(path)
    return state


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Whatever goes wrong within this, which takes a checkpoint apart, is a TrainingError: it is damaged."""
    try:
        yield
    except (TrainingError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as problem:  # what damaged bytes can raise in zip, pickle and torch has no end
        raise TrainingError(
            f"The checkpoint {path} is damaged.", "Start anew, or from weights with --init."
        ) from problem
