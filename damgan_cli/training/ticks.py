"""What a training tells on every tick: the status line, ``stats.jsonl``, and in the end what was gained."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from damgan_cli.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

STATS = "stats.jsonl"
KINDS = ("center", "irregular")
"""Of the validation's masks."""


def status_line(stats: dict[str, float], progress: float) -> str:
    """One line a tick, for the terminal; that of a training's start has the scores alone."""
    parts = [f"{progress:6.1%}", f"{stats['images']:,} images"]
    if "images_per_second" in stats:
        losses = [f"{name[5:]} {value:.4f}" for name, value in stats.items() if name.startswith("loss_")]
        parts += [f"{stats['images_per_second']:.1f}/s", f"lr {stats['learning_rate']:.1e}", " ".join(losses)]
    else:
        parts.append("before any step")
    scores = " ".join(
        f"{kind} {stats.get(f'val_{kind}_psnr', math.inf):.2f} dB {stats[f'val_{kind}_ssim']:.3f}"
        for kind in KINDS
    )
    return f"{'  '.join(parts)}  |  {scores}"


def gained(start: dict[str, float], end: dict[str, float]) -> str | None:
    """How the validation scores have changed, in words; None without scores of the start."""
    texts = []
    for kind in KINDS:
        psnr, ssim = (f"val_{kind}_{metric}" for metric in ("psnr", "ssim"))
        if {psnr, ssim} <= start.keys() & end.keys():
            texts.append(
                f"{kind} {end[psnr] - start[psnr]:+.2f} dB ({start[psnr]:.2f} to {end[psnr]:.2f}), "
                f"SSIM {end[ssim] - start[ssim]:+.4f}"
            )
    return f"Change of the validation scores since the start: {'; '.join(texts)}" if texts else None


def append_stats(path: Path, stats: dict[str, float]) -> None:
    """Add a line. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(stats) + "\n")


def read_stats(path: Path) -> tuple[list[dict[str, float]], int]:
    """The ticks in ``stats.jsonl``, and how many lines are none: cut off by a crash, or damaged."""
    ticks: list[dict[str, float]] = []
    damaged = 0
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            tick = json.loads(line)
        except (ValueError, RecursionError):
            tick = None
        if (
            isinstance(tick, dict)
            and all(type(value) in (int, float) for value in tick.values())
            and type(tick.get("images")) is int
        ):
            ticks.append(tick)
        else:
            damaged += 1
    return ticks, damaged


def drop_later_stats(path: Path, images: int) -> int:
    """Remove the lines of ticks after ``images``, which a resumed training writes again, and damaged ones.

    Returns how many were damaged. Raises ImageFileError if it cannot be written.
    """
    ticks, damaged = read_stats(path)
    kept = [json.dumps(tick) + "\n" for tick in ticks if tick["images"] <= images]
    write_atomically(path, "".join(kept).encode())
    return damaged
