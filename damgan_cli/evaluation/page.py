"""The report as one self-contained HTML page: tables, plots and a gallery, readable without a network."""

from __future__ import annotations

import base64
import io
import json
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from damgan_cli.evaluation.protocol import PRINTED
from damgan_cli.evaluation.report import COLUMNS, HIGHER_IS_BETTER, csv_text, json_document, value_text
from damgan_cli.runtime.atomic import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from damgan_cli.evaluation.file_scores import Track
    from damgan_cli.evaluation.report import Pictures, Report, Row

_TEMPLATE = Path(__file__).with_name("page.html")
_MOST_PICTURES = 120
_MOST_POINTS = 2000
_LONGEST_SIDE = 384
_GAIN = 4  # error and fakeness seldom pass a quarter of the range


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
    chosen = _worst(groups)
    gallery = [
        _entry(masks, name, rows, report)
        for masks, name, rows in track(chosen, total=len(chosen), description="pictures")
    ]
    known = {metric for row in report.rows for scores in row.scores for metric in scores}
    methods = list(dict.fromkeys(row.method for row in report.rows))
    data = {
        "methods": methods,
        "galleryMethods": sorted(methods, key=lambda name: name != _main_method(report.rows)),
        "metrics": [
            {"key": key, "label": name, "digits": digits, "higher": key in HIGHER_IS_BETTER}
            for key, (name, digits) in COLUMNS.items()
            if key in known
        ],
        "rows": [_points(masks, row, known) for masks, rows in groups.items() for row in rows],
        "gallery": gallery,
    }
    count = max((len(row.scores) for row in report.rows), default=0)
    parts = {
        "__TITLE__": escape(title),
        "__SUBTITLE__": escape(_subtitle(report, count)),
        "__TABLES__": _tables(report),
        "__DEFINITIONS__": "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in report.definitions.items()
        ),
        "__GALLERY_NOTE__": f"{len(gallery)} of {sum(len(rows[0].names) for rows in groups.values())} "
        "pictures, the worst of each range. Keys ← and → leaf through them.",
        "__FAILED__": _failed(report),
        "__DATA__": json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for place in list(parts)[:-1]:  # the data last: names in it must not be taken for a place
        page = page.replace(place, parts[place])
    return page.replace("__DATA__", parts["__DATA__"])


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


def _worst(groups: dict[str, list[Row]]) -> list[tuple[str, str, list[Row]]]:
    """Masks, name and rows of the images to show: the worst of each group by the main method's PSNR."""
    each = max(1, _MOST_PICTURES // max(1, len(groups)))
    chosen = []
    for masks, rows in groups.items():
        main = rows[-1 if rows[0].masks and len(rows) > 1 else 0]
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
    fakeness = pictures.maps.get(method)
    return {
        "result": _jpeg(result),
        "error": _jpeg(_heat(error)),
        "map": None if fakeness is None else _jpeg(_heat(fakeness)),
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


def _tables(report: Report) -> str:
    """Summary and comparisons, readable without scripts."""
    metrics = [metric for metric in COLUMNS if any(metric in line.mean for line in report.lines)]
    with_masks = any(line.masks for line in report.lines)
    head = [*(["masks"] if with_masks else []), "method", *(COLUMNS[metric][0] for metric in metrics)]
    rows = []
    before = None
    measured = {row.method for row in report.rows}  # not what was printed of other photos
    for line in report.lines:
        group = [one for one in report.lines if one.masks == line.masks and one.method in measured]
        cells = [(escape(line.masks if line.masks != before else ""), "")] if with_masks else []
        cells.append((escape(line.method), ""))
        for metric in metrics:
            values = [one.mean[metric] for one in group if metric in one.mean]
            best = (max if metric in HIGHER_IS_BETTER else min)(values, default=math.nan)
            mean, _, half = escape(value_text(line, metric, with_interval=True)).partition(" ")
            is_best = len(group) > 1 and line in group and line.mean.get(metric) == best
            cells.append((f"{mean}{f' <i>{half}</i>' if half else ''}", "best" if is_best else ""))
        kinds = (line.masks != before, "first"), (line.method not in measured, "printed")
        rows.append((" ".join(kind for applies, kind in kinds if applies), cells))
        before = line.masks
    html = f"<h2>Summary</h2>{_table(head, rows, len(head) - len(metrics))}"
    if "published" in report.document:
        html += f'<p class="faint">{escape(PRINTED)}. Bold is the best of what was measured here.</p>'
    entries = [entry for entry in report.document["comparisons"] if entry["difference"]]
    if not entries:
        return html
    compared = [metric for metric in COLUMNS if any(metric in entry["difference"] for entry in entries)]
    head = [*(["masks"] if with_masks else []), "method", "compared with"]
    first = len(head)
    for metric in compared:
        head += [COLUMNS[metric][0], "95 % interval", "p"]
    rows = []
    for entry in entries:
        cells = [(escape(entry["masks"] or "all"), "")] if with_masks else []
        cells += [(escape(entry["method"]), ""), (escape(entry["to"]), "")]
        for metric in compared:
            one, digits = entry["difference"].get(metric), COLUMNS[metric][1]
            if one:
                limits = f"{one['low']:+.{digits}f} to {one['high']:+.{digits}f}"
                texts = [f"{one['mean']:+.{digits}f}", f"<i>{limits}</i>", f"{one['p']:.3f}"]
            else:
                texts = ["–"] * 3
            cells += [(text, "") for text in texts]
        rows.append(("", cells))
    return f"{html}<h2>Differences, image by image</h2>{_table(head, rows, first)}"


def _table(head: list[str], rows: list[tuple[str, list[tuple[str, str]]]], left: int) -> str:
    """A panel with a table whose first ``left`` columns are text.

    Rows are a class and cells, cells HTML and a class. Where the screen is narrow a cell stands below its
    label, and ``head`` is not shown.
    """
    titles = "".join(
        f"<th{' class=n' if i >= left else ''}>{escape(name)}</th>" for i, name in enumerate(head)
    )
    body = ""
    for kind, cells in rows:
        body += f'<tr class="{kind}">'
        for i, (name, (html, emphasis)) in enumerate(zip(head, cells, strict=True)):
            label = "" if name in ("masks", "method") else f' data-label="{escape(name)}"'
            body += f'<td class="{"n " * (i >= left)}{emphasis}"{label}>{html}</td>'
        body += "</tr>"
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="panel scroll">{table}</div>'


def _failed(report: Report) -> str:
    if not report.failed:
        return ""
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in report.failed.items()
    )
    return f'<h2>Not scored</h2><div class="panel"><dl>{entries}</dl></div>'
