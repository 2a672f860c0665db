"""Fill the photos of a folder under a mask protocol and score that: the second half of ``damgan eval``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from damgan_cli.errors import ImageFileError
from damgan_cli.evaluation.protocol import (
    BASELINES,
    PAPER_TABLE_1,
    SIZE,
    MaskSet,
    Photos,
    ProtocolFile,
    load_photos,
    mask_sets,
    run_protocol,
)
from damgan_cli.evaluation.report import Line, Pictures, Report, Row, comparisons, json_row, mean_over_sets
from damgan_cli.photos.write import write_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from damgan_cli.evaluation.file_scores import ScoreSettings
    from damgan_cli.evaluation.protocol import Filler, Hole, Image
    from damgan_cli.inpainting.inpainter import Inpainter


@dataclass(frozen=True)
class Masks:
    """Which masks the photos get."""

    protocol: str | ProtocolFile
    name: str
    """Of the protocol, or its file."""
    seed: int = 0
    folder: Path | None = None
    invert: bool = False


def score_protocol(
    images: Path,
    load_inpainter: Callable[[], Inpainter],
    masks: Masks,
    settings: ScoreSettings,
    *,
    limit: int | None = None,
    save: Path | None = None,
    start: Callable[[int], Callable[[], None]] = lambda _total: lambda: None,
    note: Callable[[str], None] = lambda _text: None,
) -> Report:
    """Score an inpainter, loaded once photos and masks are known to be fit, and the baselines.

    ``limit`` takes the first photos only; truths, masks and results are kept below ``save``. ``start`` is
    told the number of fills and returns what is called after each. Raises ImageFileError and MaskError.
    """
    size = masks.protocol.size if isinstance(masks.protocol, ProtocolFile) else SIZE
    photos = load_photos(images, limit, size)
    sets = mask_sets(masks.protocol, photos.count, seed=masks.seed, folder=masks.folder, invert=masks.invert)
    if photos.fitted:
        note(f"{len(photos.fitted)} of {len(photos.names)} photos are not {size}x{size}: scaled and cut")
    inpainter = load_inpainter()
    fakeness: dict[int, Any] = {}

    def network(pictures: list[Image], holes: list[Hole]) -> list[Image]:
        fills = inpainter.fill_batch(pictures, holes)
        fakeness.update({i: fill.fakeness for i, fill in enumerate(fills)})
        return [fill.rgb for fill in fills]

    own = Path(inpainter.weights.name).name
    methods: dict[str, Filler] = {**BASELINES, own: network}
    folders = {method: method.lower() for method in BASELINES} | {own: "weights"}
    keep = _Keeper(save, photos.names)
    keep.all("truth", photos.pixels)
    advance = start(len(sets) * len(methods) * len(photos.names))
    rows = []
    for masked in sets:
        holes = _holes(masked, photos)
        keep.all(f"{masked.folder}/masks", holes)
        for method, fill in methods.items():
            results: list[Image] = []
            place = f"{masked.folder}/{folders[method]}"

            def each(index: int, result: Image, place: str = place, results: list[Image] = results) -> None:
                keep.one(place, index, result)
                if settings.features:
                    results.append(result)
                advance()

            scores = run_protocol(
                fill,
                photos.pixels,
                holes,
                each,
                ssim_kind=settings.ssim_kind,
                multi_scale=settings.multi_scale,
            )
            totals: dict[str, float] = {}
            if settings.features:
                more, totals = settings.features.score(zip(results, photos.pixels, strict=True))
                for one, added in zip(scores, more, strict=True):
                    one.update(added)
            for one, hole in zip(scores, holes, strict=True):
                one["hole_ratio"] = float(np.count_nonzero(hole)) / hole.size
            rows.append(Row(method, masked.name, photos.names, scores, totals))

    def pictures(masks_name: str, name: str) -> Pictures:
        (masked,) = (one for one in sets if one.name == masks_name)
        index = photos.names.index(name)
        truth, hole = photos.pixels[index], _holes(masked, photos)[index]
        blanked = np.where(hole[..., None], np.uint8(0), truth)
        fills = {method: fill([blanked], [hole])[0] for method, fill in methods.items()}
        shown = {method: np.where(hole[..., None], fill, truth) for method, fill in fills.items()}
        return Pictures(truth, hole, shown, {own: fakeness[0]})

    document, lines = _document(masks, sets, photos, rows)
    document |= {
        "images": str(images),
        "size": size,
        "ssim": settings.ssim_kind,
        "weights": {
            "name": inpainter.weights.name,
            "source": inpainter.weights.source,
            "revision": inpainter.weights.revision,
        },
        "device": str(inpainter.device),
        "dtype": str(inpainter.dtype).removeprefix("torch."),
    }
    return Report(rows, lines, document, photos.failed, settings.definitions(), pictures)


def _document(
    masks: Masks, sets: list[MaskSet], photos: Photos, rows: list[Row]
) -> tuple[dict[str, Any], list[Line]]:
    """What the JSON document and the table say about the rows."""
    by_set = {masked.name: [row for row in rows if row.masks == masked.name] for masked in sets}
    document: dict[str, Any] = {
        "mode": "protocol",
        "protocol": masks.name,
        "fitted": photos.fitted,
        "mask": str(masks.folder) if masks.folder else None,
        "seed": masks.seed,
        "masks_sha256": {masked.name: _checksum(_holes(masked, photos)) for masked in sets},
        "rows": [json_row(row) for row in rows],
        "comparisons": [entry for group in by_set.values() for entry in comparisons(group)],
    }
    lines: list[Line] = []
    for name, group in by_set.items():
        if masks.protocol == "paper":
            published = PAPER_TABLE_1.get(name, {})
            lines += [Line(name, f"{other}, paper", mean) for other, mean in published.items()]
        lines += [row.line for row in group]
    if masks.protocol == "paper":
        document["published"] = PAPER_TABLE_1
    bins = [row for row in rows if masks.protocol != "paper" or row.masks not in PAPER_TABLE_1]
    if len({row.masks for row in bins}) > 1:
        means = document["mean_over_bins"] = mean_over_sets(bins)
        lines += [Line("mean", method, mean) for method, mean in means.items()]
    return document, lines


def _holes(masked: MaskSet, photos: Photos) -> list[Hole]:
    return [masked.holes[i % len(masked.holes)] for i in photos.positions]


def _checksum(holes: list[Hole]) -> str:
    """SHA-256 of the masks' pixels, 0 or 255, in the order of the photos."""
    digest = hashlib.sha256()
    for hole in holes:
        digest.update((hole.astype(np.uint8) * 255).tobytes())
    return digest.hexdigest()


class _Keeper:
    """Writes pictures below a folder, if there is one."""

    def __init__(self, root: Path | None, names: list[str]) -> None:
        self.root = root
        self.paths = [Path(name).with_suffix(".png") for name in names]
        if root and len(set(self.paths)) < len(names):
            raise ImageFileError(
                "Some photos differ only in their extension, their results would share a file.",
                "Rename them, or leave --save out.",
            )

    def one(self, place: str, index: int, picture: Any) -> None:
        if self.root:
            write_png(self.root / place / self.paths[index], picture)

    def all(self, place: str, pictures: list[Any]) -> None:
        for index, picture in enumerate(pictures):
            self.one(place, index, picture)
