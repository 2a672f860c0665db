"""A training from its first step to its weights: ticks, checkpoints, interruptions, and what is exported."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

import torch

from damgan_cli.errors import TrainingError
from damgan_cli.photos.write import write_png
from damgan_cli.training.card import model_card
from damgan_cli.training.checkpoint import save_checkpoint
from damgan_cli.training.config import CHECKPOINT, WEIGHTS
from damgan_cli.training.interrupt import Interrupted
from damgan_cli.training.ticks import (
    STATS,
    append_stats,
    drop_later_stats,
    gained,
    read_stats,
    status_line,
)
from damgan_cli.weights.folder import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from damgan_cli.training.loop import Trainer
    from damgan_cli.training.validation import Validation

_ASKED_EVERY = 0.25  # seconds
_TICK_SHARE = 0.1 - 1e-9  # of the budget; less, as shares are sums of floats


def run(
    trainer: Trainer,
    out: Path,
    validation: Validation,
    info: dict[str, Any],
    say: Callable[[str], None],
) -> bool:
    """Train until the budget is spent or the user interrupts; True when finished.

    Before the first step and per tick (``config.tick_images``, or a tenth of the budget): a line through
    ``say``, one JSON line in ``stats.jsonl``, TensorBoard events, a sample sheet in ``sheets/``, the
    checkpoint. At the end ``weights/``, which ``--weights`` takes. ``info`` (preset, data) goes into the
    weights' ``config.json``.
    """
    first = trainer.world.first
    scores: dict[str, float] = {}

    def tick(stats: dict[str, float]) -> None:
        scores.clear()
        scores.update(validation.score(trainer.ema, trainer.device, trainer.dtype))
        stats |= scores
        say(status_line(stats, trainer.progress))
        append_stats(out / STATS, stats)
        for name, value in stats.items() if board else ():
            board.add_scalar(name, value, trainer.images)
        sheet = validation.sheet(trainer.ema, trainer.device, trainer.dtype)
        write_png(out / "sheets" / f"{trainer.images:09d}.png", sheet)
        save_checkpoint(out / CHECKPOINT, trainer.state())

    if first:
        (out / "sheets").mkdir(parents=True, exist_ok=True)
        damaged = drop_later_stats(out / STATS, trainer.images)
        if damaged:
            say(f"{damaged} lines of {out / STATS} could not be read and are left out.")
    with (
        _tensorboard(out / "tensorboard", trainer.images, say, first=first) as board,
        Interrupted() as interrupted,
    ):
        if first and not trainer.step:
            tick({"images": 0, "seconds": 0.0})
        while trainer.progress < 1:
            stats = _train_one_tick(trainer, interrupted)
            if first:
                tick(stats)
            # while the first validates, the others wait here: all leave, or all go on
            if trainer.world.all_reduce([float(bool(interrupted))], "max")[0]:
                break
    if trainer.progress < 1:
        return False
    if not first:
        return True
    if not scores:  # resumed when all was done
        scores.update(validation.score(trainer.ema, trainer.device, trainer.dtype))
    ticks, _ = read_stats(out / STATS)
    change = gained(ticks[0], scores) if ticks and not ticks[0]["images"] else None
    if change:
        say(change)
    info = {
        **info,
        "training": trainer.config.to_dict(),
        "images_seen": trainer.images,
        "hours": round(trainer.seconds / 3600, 2),
        "validation": scores,
    }
    save_weights(out / WEIGHTS, trainer.ema, info, model_card(info))
    return True


def _tensorboard(folder: Path, images: int, say: Callable[[str], None], *, first: bool) -> Any:
    """An event writer as a context manager; it gives None without TensorBoard and in further processes."""
    if not first:
        return contextlib.nullcontext()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed: no events are written (pip install 'damgan[train]').")
        return contextlib.nullcontext()
    return SummaryWriter(str(folder), purge_step=images)


def _train_one_tick(trainer: Trainer, interrupted: Interrupted) -> dict[str, float]:
    """Train one tick (less at the end or when interrupted); returns mean losses and speed.

    Clock, Ctrl-C and divergence are asked a few times a second, by all processes at the same step: it makes
    them, and a GPU, wait for each other. Raises TrainingError if the training has diverged.
    """
    first, begun, first_step = trainer.images, trainer.progress, trainer.step
    started, spent = time.perf_counter(), trainer.seconds
    sums: dict[str, tuple[Tensor, int]] = {}
    ask_at = trainer.step + 1
    last = False
    while not last:
        for name, value in trainer.train_step().items():
            total, count = sums.get(name, (torch.zeros_like(value), 0))
            sums[name] = (total + value, count + 1)
        last = trainer.images - first >= trainer.config.tick_images or trainer.progress - begun >= _TICK_SHARE
        last = last or trainer.progress >= 1
        if not last and trainer.step < ask_at:
            continue
        finite = all(math.isfinite(total) for total, _ in sums.values())
        seconds, asked, diverged = trainer.world.all_reduce(
            [time.perf_counter() - started, float(bool(interrupted)), float(not finite)], "max"
        )
        if diverged:
            raise TrainingError(
                f"The training diverged: a loss or gradient is not finite after {trainer.images:,} images.",
                "Go on from the last checkpoint with a lower learning_rate or gradient_clip (--set).",
            )
        if asked:
            interrupted.set()
        trainer.seconds = spent + seconds
        ask_at = trainer.step + max(1, int(_ASKED_EVERY * (trainer.step - first_step) / seconds))
        last = last or bool(interrupted) or trainer.progress >= 1 or trainer.progress - begun >= _TICK_SHARE
    means = trainer.world.all_reduce([float(total) / count for total, count in sums.values()])
    return {
        "images": trainer.images,
        "seconds": trainer.seconds,
        "images_per_second": (trainer.images - first) / seconds,
        "learning_rate": float(trainer.optimizer_G.param_groups[0]["lr"]),
        **dict(zip(sums, means, strict=True)),
    }
