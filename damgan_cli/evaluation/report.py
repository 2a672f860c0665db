"""Means over images, and reports of them: a table, a JSON document, CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = tuple[str, str, dict[str, float]]
"""Of a table: masks, method, means."""

METRICS = ("psnr", "ssim", "l1", "hole_psnr", "hole_ssim", "hole_l1")
_COLUMNS = {  # hole_l1 is left to JSON and CSV: a line holds 80 characters
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 4),
    "l1": ("L1 %", 2),
    "hole_psnr": ("hole PSNR", 2),
    "hole_ssim": ("hole SSIM", 4),
}


@dataclass(frozen=True)
class Row:
    """Scores of one method under one set of masks, image by image."""

    method: str
    masks: str
    names: list[str]
    scores: list[dict[str, float]]

    @property
    def mean(self) -> dict[str, float]:
        """Means over the images, see ``mean_scores``."""
        return mean_scores(self.scores)

    @property
    def identical(self) -> int:
        """How many results equal the truth."""
        return sum(math.isinf(scores["psnr"]) for scores in self.scores)


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over images; infinite PSNR and undefined values do not count.

    A metric without any finite value is left out.
    """
    means = {}
    for metric in METRICS:
        finite = [one[metric] for one in scores if metric in one and math.isfinite(one[metric])]
        if finite:
            means[metric] = sum(finite) / len(finite)
    return means


def mean_over_sets(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each method the mean over its rows' means (each mask set weighs the same)."""
    methods = list(dict.fromkeys(row.method for row in rows))
    return {method: mean_scores([row.mean for row in rows if row.method == method]) for method in methods}


def table(lines: Sequence[Line]) -> Table:
    """Tabulate lines, at least one; those of the same masks stand together under one heading."""
    metrics = [metric for metric in _COLUMNS if any(metric in means for _, _, means in lines)]
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True, pad_edge=False)
    with_masks = any(masks for masks, _, _ in lines)
    if with_masks:
        result.add_column("masks", no_wrap=True)
    result.add_column("method", overflow="fold")
    for metric in metrics:
        result.add_column(_COLUMNS[metric][0], justify="right")
    before = lines[0][0]
    for i, (masks, method, means) in enumerate(lines):
        if masks != before:
            result.add_section()
        heading = [masks if i == 0 or masks != before else ""] if with_masks else []
        before = masks
        values = [f"{means[m]:.{_COLUMNS[m][1]}f}" if m in means else "–" for m in metrics]
        result.add_row(*heading, method, *values)
    return result


def json_images(row: Row) -> dict[str, Any]:
    """Count, means and per-image scores of a row, ready for JSON (None where infinite or undefined)."""
    return {
        "count": len(row.scores),
        "identical": row.identical,
        "mean": row.mean,
        "images": [
            {
                "name": name,
                "identical": math.isinf(scores["psnr"]),
                **{metric: value if math.isfinite(value) else None for metric, value in scores.items()},
            }
            for name, scores in zip(row.names, row.scores, strict=True)
        ],
    }


def csv_text(rows: Sequence[Row]) -> str:
    """One line per method, mask set and image; PSNR is ``inf`` if identical, undefined values are empty."""
    metrics = [metric for metric in METRICS if any(metric in scores for row in rows for scores in row.scores)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "masks", "name", *metrics])
    for row in rows:
        for name, scores in zip(row.names, row.scores, strict=True):
            values = ["" if math.isnan(scores[metric]) else f"{scores[metric]:.6f}" for metric in metrics]
            writer.writerow([row.method, row.masks, name, *values])
    return text.getvalue()
