"""Means over images, and reports of them: a table, a JSON document, CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table

from damgan_cli.evaluation.protocol import HOLE_SHARE_BINS
from damgan_cli.evaluation.statistics import Difference, holm, interval, paired_difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

VERSION = 2
"""Of the JSON document and of the CSV's columns."""

METRICS = (
    "psnr", "ssim", "ms_ssim", "l1", "lpips_alex", "lpips_vgg", "fid", "kid",
    "hole_psnr", "hole_ssim", "hole_ms_ssim", "hole_l1",
)  # fmt: skip
HIGHER_IS_BETTER = {"psnr", "ssim", "ms_ssim", "hole_psnr", "hole_ssim", "hole_ms_ssim"}
COMPARED = ("psnr", "ssim", "l1", "lpips_alex", "lpips_vgg")
COLUMNS = {  # the others are left to JSON and CSV: a line holds 80 characters
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 4),
    "ms_ssim": ("MS-SSIM", 4),
    "l1": ("L1 %", 2),
    "lpips_alex": ("LPIPS-A", 4),
    "lpips_vgg": ("LPIPS-V", 4),
    "fid": ("FID", 1),
    "kid": ("KID", 4),
    "hole_psnr": ("hole PSNR", 2),
    "hole_ssim": ("hole SSIM", 4),
}
_WITH_INTERVAL = ("psnr", "ssim")
_ROOM_FOR_INTERVALS = 5  # columns


class Line(NamedTuple):
    """Of a table."""

    masks: str
    method: str
    mean: dict[str, float]
    intervals: dict[str, tuple[float, float]] = {}  # noqa: RUF012  (never written to)


@dataclass(frozen=True)
class Row:
    """Scores of one method under one set of masks, image by image."""

    method: str
    masks: str
    names: list[str]
    scores: list[dict[str, float]]
    totals: dict[str, float] = field(default_factory=dict)
    """Scores of the set as a whole: fid, kid."""

    @property
    def mean(self) -> dict[str, float]:
        """Means over the images, see ``mean_scores``, and the totals."""
        both = mean_scores(self.scores) | self.totals
        return {metric: both[metric] for metric in METRICS if metric in both}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % confidence interval of each mean, where there are two finite values or more."""
        limits = {metric: interval(_finite(self.scores, metric)) for metric in METRICS}
        return {metric: limit for metric, limit in limits.items() if limit}

    @property
    def identical(self) -> int:
        """How many results equal the truth."""
        return sum(math.isinf(scores["psnr"]) for scores in self.scores)

    @property
    def line(self) -> Line:
        """The row in a table."""
        return Line(self.masks, self.method, self.mean, self.intervals)

    def by_hole_share(self) -> list[Row]:
        """Split by hole share into the NVIDIA bins (lowest < share <= highest), empty ones left out."""
        edges = [0.0, *(low for low, _ in HOLE_SHARE_BINS), HOLE_SHARE_BINS[-1][1], math.inf]
        names = ["0-1 %", *(bin_name(*limits) for limits in HOLE_SHARE_BINS), "over 60 %"]
        rows = []
        for name, low, high in zip(names, edges[:-1], edges[1:], strict=True):
            chosen = [
                i
                for i, scores in enumerate(self.scores)
                if low < scores.get("hole_ratio", -1) <= high or scores.get("hole_ratio") == low == 0
            ]
            if chosen:
                rows.append(
                    Row(
                        self.method,
                        name,
                        [self.names[i] for i in chosen],
                        [self.scores[i] for i in chosen],
                    )
                )
        return rows


@dataclass
class Pictures:
    """What a report shows of one image."""

    truth: NDArray[np.uint8]
    hole: NDArray[np.bool_] | None
    results: dict[str, NDArray[np.uint8]]
    """By method, (H, W, 3)."""
    fakeness: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The fakeness maps, (H, W) in [0, 1], of methods that make them."""


@dataclass
class Report:
    """What is printed, and written to files."""

    rows: list[Row]
    lines: list[Line]
    document: dict[str, Any]
    """The fields that this kind of report adds to the JSON document."""
    failed: dict[str, str]
    """What is wrong, by file."""
    definitions: dict[str, str] = field(default_factory=dict)
    pictures: Callable[[str, str], Pictures] | None = None
    """Load what belongs to masks and name."""


def bin_name(low: float, high: float) -> str:
    """Name of a range of hole shares, such as ``10-20 %``."""
    return f"{low * 100:.0f}-{high * 100:.0f} %"


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over images; infinite PSNR and undefined values do not count.

    A metric without any finite value is left out.
    """
    means = {}
    for metric in METRICS:
        finite = _finite(scores, metric)
        if finite:
            means[metric] = sum(finite) / len(finite)
    return means


def _finite(scores: Iterable[dict[str, float]], metric: str) -> list[float]:
    return [one[metric] for one in scores if metric in one and math.isfinite(one[metric])]


def mean_over_sets(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each method the mean over its rows' means (each mask set weighs the same)."""
    methods = list(dict.fromkeys(row.method for row in rows))
    return {method: mean_scores([row.mean for row in rows if row.method == method]) for method in methods}


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Rows of the same masks, best PSNR first; without any finite PSNR all results are perfect."""
    return sorted(rows, key=lambda row: -row.mean.get("psnr", math.inf))


def comparisons(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Compare methods under the same masks with the best of them in PSNR, image by image.

    One entry per other method, best first: method, to, masks and, per metric, a ``statistics.Difference`` as
    a dict; p-values are corrected by Holm over the methods.
    """
    best, *others = ranked(rows)
    entries: list[dict[str, Any]] = [
        {"method": row.method, "to": best.method, "masks": row.masks, "difference": {}} for row in others
    ]
    for metric in COMPARED:
        found: list[tuple[dict[str, Any], Difference]] = []
        for entry, row in zip(entries, others, strict=True):
            difference = paired_difference(_by_name(row, metric), _by_name(best, metric))
            if difference:
                found.append((entry, difference))
        for (entry, difference), p in zip(found, holm([one.p for _, one in found]), strict=True):
            entry["difference"][metric] = {**asdict(difference), "p": p}
    return entries


def _by_name(row: Row, metric: str) -> dict[str, float]:
    return {
        name: scores[metric] for name, scores in zip(row.names, row.scores, strict=True) if metric in scores
    }


def table(lines: Sequence[Line]) -> Table:
    """Tabulate lines, at least one; those of the same masks stand together under one heading."""
    metrics = [metric for metric in COLUMNS if any(metric in line.mean for line in lines)]
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True, pad_edge=False)
    with_masks = any(line.masks for line in lines)
    if with_masks:
        result.add_column("masks", no_wrap=True)
    result.add_column("method", overflow="fold")
    for metric in metrics:
        result.add_column(COLUMNS[metric][0], justify="right", no_wrap=True)
    before = lines[0].masks
    for i, line in enumerate(lines):
        if line.masks != before:
            result.add_section()
        heading = [line.masks if i == 0 or line.masks != before else ""] if with_masks else []
        before = line.masks
        room = len(metrics) <= _ROOM_FOR_INTERVALS
        values = [value_text(line, metric, with_interval=room) for metric in metrics]
        result.add_row(*heading, line.method, *values)
    return result


def value_text(line: Line, metric: str, *, with_interval: bool) -> str:
    """A mean as printed, with half of its confidence interval where there is room."""
    if metric not in line.mean:
        return "–"
    digits = COLUMNS[metric][1]
    text = f"{line.mean[metric]:.{digits}f}"
    if with_interval and metric in _WITH_INTERVAL and metric in line.intervals:
        low, high = line.intervals[metric]
        text += f" ±{(high - low) / 2:.{digits - 1}f}".replace("±0.", "±.")
    return text


def comparison_table(entries: Sequence[dict[str, Any]]) -> Table:
    """Tabulate ``comparisons``, at least one."""
    metrics = [metric for metric in COMPARED if any(metric in entry["difference"] for entry in entries)]
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True, pad_edge=False)
    result.add_column(f"difference to {entries[0]['to']}", overflow="fold")
    for metric in metrics:
        result.add_column(COLUMNS[metric][0], justify="right", no_wrap=True)
        result.add_column("p", justify="right", no_wrap=True)
    for entry in entries:
        cells = []
        for metric in metrics:
            one = entry["difference"].get(metric)
            digits = COLUMNS[metric][1]
            cells += [f"{one['mean']:+.{digits}f}", f"{one['p']:.3f}"] if one else ["–", "–"]
        result.add_row(entry["method"], *cells)
    return result


def json_row(row: Row) -> dict[str, Any]:
    """Count, means, intervals and per-image scores of a row, ready for JSON (None: infinite or undefined)."""
    return {
        "method": row.method,
        "masks": row.masks or None,
        "count": len(row.scores),
        "identical": row.identical,
        "mean": row.mean,
        "interval": {metric: list(limits) for metric, limits in row.intervals.items()},
        "by_ratio": [
            {
                "masks": part.masks,
                "count": len(part.scores),
                "identical": part.identical,
                "mean": part.mean,
                "interval": {metric: list(limits) for metric, limits in part.intervals.items()},
            }
            for part in row.by_hole_share()
        ],
        "images": [
            {
                "name": name,
                "identical": math.isinf(scores["psnr"]),
                **{metric: value if math.isfinite(value) else None for metric, value in scores.items()},
            }
            for name, scores in zip(row.names, row.scores, strict=True)
        ],
    }


def json_document(report: Report) -> dict[str, Any]:
    """All of a report, ready for JSON."""
    return {
        "version": VERSION,
        "definitions": report.definitions,
        **report.document,
        "failed": [{"name": name, "error": problem} for name, problem in report.failed.items()],
    }


def csv_text(rows: Sequence[Row]) -> str:
    """One line per method, mask set and image; PSNR is ``inf`` if identical, undefined values are empty."""
    known = (*METRICS, "hole_ratio")
    metrics = [metric for metric in known if any(metric in scores for row in rows for scores in row.scores)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["version", "method", "masks", "name", *metrics])
    for row in rows:
        for name, scores in zip(row.names, row.scores, strict=True):
            values = [scores.get(metric, math.nan) for metric in metrics]
            cells = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
            writer.writerow([VERSION, row.method, row.masks, name, *cells])
    return text.getvalue()
