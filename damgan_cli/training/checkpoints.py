"""The state of a training on disk: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import torch

from damgan_cli.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to a temporary name, then rename.

    Raises TrainingError when the disk refuses.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as problem:  # torch wraps a full disk in RuntimeError
        temporary.unlink(missing_ok=True)
        raise TrainingError(
            f"Cannot write the checkpoint {path}: {problem}.", "Is the disk full?"
        ) from problem


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote. Raises TrainingError if there is none or it is damaged."""
    if not path.is_file():
        raise TrainingError(f"There is no checkpoint {path}.", "Start anew without --resume.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as problem:
        raise TrainingError(
            f"The checkpoint {path} is damaged.", "Start anew, or from weights with --init."
        ) from problem
    return state
