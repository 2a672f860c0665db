"""Score folders of results against one folder of truths: the first half of ``damgan eval``."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from damgan_cli.collection.address import is_address
from damgan_cli.collection.shards import is_shard
from damgan_cli.errors import DamganError
from damgan_cli.evaluation.metrics import definitions
from damgan_cli.evaluation.pairs import find_pairs, score_pairs
from damgan_cli.evaluation.report import Pictures, Report, Row, comparisons, json_row, ranked
from damgan_cli.evaluation.ssim import DEFAULT_SSIM
from damgan_cli.evaluation.statistics import COMPARISON_DEFINITION, INTERVAL_DEFINITION
from damgan_cli.evaluation.stored import stored_pairs
from damgan_cli.masks.read import MaskWarning, read_mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damgan_cli.evaluation.features import FeatureMetrics
    from damgan_cli.evaluation.pairs import Image, Scored

_T = TypeVar("_T")


class Track(Protocol):
    """Show progress while iterating."""

    def __call__(self, items: Iterable[_T], /, *, total: int, description: str) -> Iterable[_T]:
        """Yield ``items``."""


@dataclass(frozen=True)
class ScoreSettings:
    """Which scores are wanted."""

    ssim_kind: str = DEFAULT_SSIM
    multi_scale: bool = False
    features: FeatureMetrics | None = None
    workers: int | None = None

    def definitions(self) -> dict[str, str]:
        """Of all scores."""
        spelt = definitions(self.ssim_kind, multi_scale=self.multi_scale)
        if self.features:
            from damgan_cli.evaluation.features import DEFINITIONS

            spelt |= {name: DEFINITIONS[name] for name in self.features.names}
        return spelt | {"±": f"half of the {INTERVAL_DEFINITION}", "difference": COMPARISON_DEFINITION}


def score_files(
    results: list[str],
    truths: str,
    masks: str | None,
    settings: ScoreSettings,
    track: Track,
    *,
    invert_mask: bool = False,
) -> Report:
    """Score each of ``results``, files, folders or addresses, against ``truths``; rank several.

    Pairs that fail are in ``Report.failed``. Raises what ``find_pairs`` and ``stored_pairs`` raise, before
    any work, and ImageFileError from LPIPS for images under 32 px.
    """
    several = len(results) > 1
    short = Counter(Path(path).name for path in results)
    names = {path: Path(path).name if short[Path(path).name] == 1 else path for path in results}
    if any(is_address(text) or is_shard(text) for text in (*results, truths, masks or "")):
        pairs = {path: stored_pairs(path, truths, masks) for path in results}
    else:
        mask = None if masks is None else Path(masks)
        pairs = {path: find_pairs(Path(path), Path(truths), mask) for path in results}
    total = sum(len(found) for found in pairs.values())
    failed: dict[str, str] = {}
    rows: dict[str, Row] = {}
    jobs = [(path, pair) for path, found in pairs.items() for pair in found]
    scored = score_pairs(
        [pair for _, pair in jobs],
        invert_mask=invert_mask,
        ssim_kind=settings.ssim_kind,
        multi_scale=settings.multi_scale,
        workers=settings.workers,
    )
    for (path, pair), scores in zip(jobs, track(scored, total=total, description="scoring"), strict=True):
        row = rows.setdefault(path, Row(names[path], "", [], []))
        if isinstance(scores, DamganError):
            failed[f"{names[path]}/{pair.name}" if several else pair.name] = str(scores)
        else:
            row.names.append(pair.name)
            row.scores.append(scores)
    if settings.features:
        for path, row in rows.items():
            good = set(row.names)
            chosen = [pair for pair in pairs[path] if pair.name in good]
            streamed = (_read(pair) for pair in track(chosen, total=len(chosen), description="features"))
            each, totals = settings.features.score(streamed)
            for scores, more in zip(row.scores, each, strict=True):
                scores.update(more)
            row.totals.update(totals)
    order = ranked([row for row in rows.values() if row.scores])
    lines = [row.line for row in order]
    if masks:
        parts = [part for row in order for part in row.by_hole_share()]
        bins = sorted({part.masks for part in parts}, key=_bin_order)
        if len(bins) > 1:
            lines = [line._replace(masks="all") for line in lines]
            lines += [part.line for name in bins for part in parts if part.masks == name]
    document = {
        "mode": "files",
        "ground_truth": truths,
        "mask": masks,
        "ssim": settings.ssim_kind,
        "rows": [{"results": path, **json_row(row)} for path, row in rows.items()],
        "ranking": [row.method for row in order],
        "comparisons": comparisons(order) if len(order) > 1 else [],
    }
    files = {(names[path], pair.name): pair for path, found in pairs.items() for pair in found}

    def pictures(_masks: str, name: str) -> Pictures:
        found = {row.method: files[row.method, name] for row in order if name in row.names}
        with next(iter(found.values())).here() as first, warnings.catch_warnings():
            warnings.simplefilter("ignore", MaskWarning)  # said when the pair was scored
            hole = read_mask(first.mask, invert=invert_mask) if first.mask else None
            truth = first.read()[1]
        return Pictures(truth, hole, {method: _read(pair)[0] for method, pair in found.items()})

    return Report(order, lines, document, failed, settings.definitions(), pictures)


def _read(pair: Scored) -> tuple[Image, Image]:
    with pair.here() as files:
        return files.read()


def _bin_order(name: str) -> tuple[bool, int]:
    """Lowest hole share first: ``0-1 %``, ``1-10 %``, ..., ``over 60 %``."""
    return name.startswith("over"), 0 if name.startswith("over") else int(name.partition("-")[0])
