"""The report as one self-contained HTML page: tables, plots and a gallery, readable without a network."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from damgan_cli.evaluation.protocol import PRINTED
from damgan_cli.evaluation.report import COLUMNS, HIGHER_IS_BETTER, csv_text, json_document, value_text
from damgan_cli.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from damgan_cli.evaluation.file_scores import Track
    from damgan_cli.evaluation.report import Pictures, Report, Row

_MOST_PICTURES = 120
_MOST_POINTS = 2000
_LONGEST_SIDE = 384
_GAIN = 4  # error and fakeness seldom pass a quarter of the range


class Cell(NamedTuple):
    """Of a table: text, what stands faintly behind it, and whether it is the best of its column."""

    text: str
    faint: str = ""
    best: bool = False


class Table(NamedTuple):
    """A table of the page, whose first ``left`` columns are text.

    Rows are a CSS class and cells; ``kind`` is a CSS class too.
    """

    title: str
    head: list[str]
    left: int
    rows: list[tuple[str, list[Cell]]]
    note: str = ""
    kind: str = ""


def write_page(folder: Path, report: Report, title: str, track: Track) -> None:
    """Write ``index.html``, ``scores.json`` and ``scores.csv`` into ``folder``.

    The gallery holds the 120 worst images, as many of each range of hole shares. Raises ImageFileError.
    """
    document = json_document(report)
    write_atomically(
        folder / "scores.json", (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
    )
    write_atomically(folder / "scores.csv", csv_text(report.rows).encode())
    write_atomically(folder / "index.html", _page(report, title, track).encode())


def _page(report: Report, title: str, track: Track) -> str:
    groups = _groups(report.rows)
    main = _main_method(report.rows)
    chosen = _worst(groups, main)
    gallery = [
        _entry(masks, name, rows, report)
        for masks, name, rows in track(chosen, total=len(chosen), description="pictures")
    ]
    known = {metric for row in report.rows for scores in row.scores for metric in scores}
    methods = list(dict.fromkeys(row.method for row in report.rows))
    data = {
        "methods": methods,
        "galleryMethods": sorted(methods, key=lambda name: name != main),
        "metrics": [
            {"key": key, "label": name, "digits": digits, "higher": key in HIGHER_IS_BETTER}
            for key, (name, digits) in COLUMNS.items()
            if key in known
        ],
        "rows": [_points(masks, row, known) for masks, rows in groups.items() for row in rows],
        "gallery": gallery,
    }
    count = max((len(row.scores) for row in report.rows), default=0)
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return page.get_template("page.html").render(
        title=title,
        subtitle=_subtitle(report, count),
        tables=[_summary(report), *_differences(report)],
        pictures=sum(len({name for row in rows for name in row.names}) for rows in groups.values()),
        definitions=report.definitions,
        failed=report.failed,
        data=data,
    )


def _main_method(rows: Sequence[Row]) -> str:
    """Whose pictures are shown first: the weights of a protocol, or the best-ranked results."""
    return rows[-1 if rows[0].masks else 0].method


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by masks; rows of all masks are split by hole share, if they have more than one range."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        split = row.by_hole_share() if not row.masks else []
        for part in split if len(split) > 1 else [row]:
            parts.setdefault(part.masks, []).append(part)
    return parts


def _worst(groups: dict[str, list[Row]], main_method: str) -> list[tuple[str, str, list[Row]]]:
    """Masks, name and rows of the images to show: the worst of each group by the main method's PSNR."""
    each = max(1, _MOST_PICTURES // max(1, len(groups)))
    chosen = []
    for masks, rows in groups.items():
        main = next((row for row in rows if row.method == main_method), rows[0])
        worst = sorted(zip(main.scores, main.names, strict=True), key=lambda pair: pair[0]["psnr"])
        chosen += [(masks, name, rows) for _, name in worst[:each]]
    return chosen


def _points(masks: str, row: Row, known: set[str]) -> dict[str, Any]:
    """Scores for the plots, at most 2,000 of a row, evenly taken."""
    scores = row.scores[:: max(1, math.ceil(len(row.scores) / _MOST_POINTS))]
    values = {key: [_number(one.get(key, math.nan)) for one in scores] for key in COLUMNS if key in known}
    shares = [round(one["hole_ratio"], 4) for one in scores] if "hole_ratio" in known else None
    return {"method": row.method, "masks": masks, "values": values, "holeShare": shares}


def _entry(masks: str, name: str, rows: list[Row], report: Report) -> dict[str, Any]:
    if report.pictures is None:
        raise TypeError("a report without pictures has no gallery")
    pictures = report.pictures(masks, name)
    own = {row.method: row.scores[row.names.index(name)] for row in rows if name in row.names}
    share = next(iter(own.values())).get("hole_ratio")
    return {
        "name": name,
        "masks": masks,
        "holeShare": share,
        "truth": _jpeg(pictures.truth),
        "hole": None if pictures.hole is None else _overlay(pictures.hole),
        "methods": {method: _shown(method, pictures, scores) for method, scores in own.items()},
    }


def _shown(method: str, pictures: Pictures, scores: dict[str, float]) -> dict[str, Any]:
    result = pictures.results[method]
    error = np.abs(result.astype(np.float32) - pictures.truth).mean(axis=2) / 255
    fakeness = pictures.fakeness.get(method)
    return {
        "result": _jpeg(result),
        "error": _jpeg(_heat(error)),
        "fakeness": None if fakeness is None else _jpeg(_heat(fakeness)),
        "scores": {key: _number(scores[key]) for key in COLUMNS if key in scores},
    }


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _heat(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a map in [0, 1]: black, red, yellow, white at a quarter."""
    bright = (np.clip(values * _GAIN, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(bright, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB), np.uint8)


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return image


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    _small(Image.fromarray(np.ascontiguousarray(pixels))).save(buffer, "JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _overlay(hole: NDArray[np.bool_]) -> str:
    """Gray where the hole is, transparent elsewhere."""
    alpha = _small(Image.fromarray(hole.astype(np.uint8) * 255))
    layer = Image.merge("LA", (Image.new("L", alpha.size, 128), alpha))
    buffer = io.BytesIO()
    layer.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _subtitle(report: Report, count: int) -> str:
    document = report.document
    images = f"{count} image{'s' * (count != 1)}"
    if document["mode"] == "files":
        return f"{images} against {document['ground_truth']}, SSIM {document['ssim']}"
    return (
        f"{images} of {document['images']} at {document['size']} px, protocol {document['protocol']}, seed "
        f"{document['seed']}, SSIM {document['ssim']}"
    )


def _summary(report: Report) -> Table:
    """The mean of each method; readable without scripts."""
    metrics = [metric for metric in COLUMNS if any(metric in line.mean for line in report.lines)]
    with_masks = any(line.masks for line in report.lines)
    head = [*(["masks"] if with_masks else []), "method", *(COLUMNS[metric][0] for metric in metrics)]
    rows = []
    before = None
    measured = {row.method for row in report.rows}  # not what was printed of other photos
    for line in report.lines:
        group = [one for one in report.lines if one.masks == line.masks and one.method in measured]
        cells = [Cell(line.masks if line.masks != before else "")] if with_masks else []
        cells.append(Cell(line.method))
        for metric in metrics:
            values = [one.mean[metric] for one in group if metric in one.mean]
            best = (max if metric in HIGHER_IS_BETTER else min)(values, default=math.nan)
            mean, _, half = value_text(line, metric, with_interval=True).partition(" ")
            is_best = len(group) > 1 and line in group and line.mean.get(metric) == best
            cells.append(Cell(mean, half, is_best))
        kinds = (line.masks != before, "first"), (line.method not in measured, "printed")
        rows.append((" ".join(kind for applies, kind in kinds if applies), cells))
        before = line.masks
    note = f"{PRINTED}. Bold is the best of what was measured here." if "published" in report.document else ""
    return Table("Summary", head, len(head) - len(metrics), rows, note)


def _differences(report: Report) -> list[Table]:
    """Comparisons image by image; none without a second method."""
    entries = [entry for entry in report.document["comparisons"] if entry["difference"]]
    if not entries:
        return []
    with_masks = any(line.masks for line in report.lines)
    compared = [metric for metric in COLUMNS if any(metric in entry["difference"] for entry in entries)]
    head = [*(["masks"] if with_masks else []), "method", "compared with"]
    left = len(head)
    for metric in compared:
        head += [COLUMNS[metric][0], "95 % interval", "p"]
    rows = []
    for entry in entries:
        cells = [Cell(entry["masks"] or "all")] if with_masks else []
        cells += [Cell(entry["method"]), Cell(entry["to"])]
        for metric in compared:
            one, digits = entry["difference"].get(metric), COLUMNS[metric][1]
            if one:
                limits = f"{one['low']:+.{digits}f} to {one['high']:+.{digits}f}"
                cells += [Cell(f"{one['mean']:+.{digits}f}"), Cell("", limits), Cell(f"{one['p']:.3f}")]
            else:
                cells += [Cell("–")] * 3
        rows.append(("", cells))
    return [Table("Differences, image by image", head, left, rows, kind="differences")]
