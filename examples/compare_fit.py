"""Compare ways of filling holes larger than the model learned, as docs/fit.md reports them.

    python examples/compare_fit.py PHOTOS --weights NAME --features LPIPS_FOLDER --side 1024 -o sheets

Each photo (reduced to --side px, never enlarged) gets a square hole and an irregular one; --masks takes the
irregular ones from a folder. Prints a table and writes one sheet of pictures a hole: masked photo, then the
candidates in the table's order, then the truth.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from seam import seam_step

from damgan_cli import Inpainter
from damgan_cli.evaluation.features import FeatureMetrics
from damgan_cli.evaluation.metrics import psnr, ssim
from damgan_cli.evaluation.protocol import telea
from damgan_cli.inpainting import windows
from damgan_cli.inpainting.plan import plan
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.masks.read import read_mask
from damgan_cli.model import composite
from damgan_cli.photos.files import list_images
from damgan_cli.photos.read import read_rgb
from damgan_cli.photos.write import write_png

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = np.ndarray[Any, Any]
COLUMNS = ("PSNR", "SSIM", "LPIPS", "seam", "seconds")


def fill(inpainter: Inpainter, rgb: Array, hole: Array, fit: str, *, seam: bool = True) -> Array:
    """What is shipped; without ``seam`` the model's fill as it comes."""
    inpainter.fit = fit
    if seam:
        return inpainter.fill_batch([rgb], [hole])[0].rgb
    with patch.object(windows, "match_seam", lambda fill, *_: fill.copy()):
        return inpainter.fill_batch([rgb], [hole])[0].rgb


@torch.inference_mode()
def stages(inpainter: Inpainter, image: Array, hole: Array, guide: Array | None = None) -> Array:
    """Both stages over a window (h, w, 3), or only the DAM stage over ``guide`` in place of G_C(x)."""
    pad = [(0, -side % inpainter.generator.size_multiple) for side in hole.shape]

    def tensor(array: Array) -> torch.Tensor:
        return torch.from_numpy(np.pad(array, pad + [(0, 0)] * (array.ndim - 2), mode="edge"))

    x, m = tensor(image), tensor(hole.astype(np.float32))
    x, m = x.permute(2, 0, 1)[None] * (1 - m), m[None, None]
    coarse = (
        inpainter.generator.coarse_result(x, m) if guide is None else tensor(guide).permute(2, 0, 1)[None]
    )
    result, _ = inpainter.generator.dam_stage(composite(x, m, coarse), m)
    return result[0].permute(1, 2, 0).numpy()[: hole.shape[0], : hole.shape[1]]


def pyramid(inpainter: Inpainter, rgb: Array, hole: Array) -> Array:
    """Coarse to fine: at each doubling the enlarged fill takes the place of the coarse stage's result."""
    result, fakeness = rgb.copy(), np.zeros(hole.shape, np.float32)
    inpainter.fit = "smooth"  # deep holes are reduced
    for window in plan(rgb, hole, reach=inpainter.reach):
        if window.second:
            continue
        scales = [window.scale]
        while scales[-1] > 1:
            scales.append(-(-scales[-1] // 2))
        fill = None
        for scale in scales:
            image, mask = windows.reduced(rgb[window.box], hole[window.box], scale)
            guide = (
                None if fill is None else cv2.resize(fill, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
            )
            fill = np.where(mask[..., None], stages(inpainter, image, mask, guide), image)
        here = replace(window, scale=1, image=image, hole=mask)
        whole = np.dstack([fill, np.zeros(mask.shape, np.float32)])
        here.paste(windows.Prepared(whole, None, None), result, fakeness)
    return result


CANDIDATES = {
    "OpenCV Telea": lambda _inpainter, rgb, hole: telea([rgb], [hole])[0],
    "native": lambda inpainter, rgb, hole: fill(inpainter, rgb, hole, "native", seam=False),
    "pyramid": pyramid,
    "reduce": lambda inpainter, rgb, hole: fill(inpainter, rgb, hole, "smooth", seam=False),
    "native + seam": lambda inpainter, rgb, hole: fill(inpainter, rgb, hole, "native"),
    "reduce + seam": lambda inpainter, rgb, hole: fill(inpainter, rgb, hole, "smooth"),
    "reduce + seam + exemplars": lambda inpainter, rgb, hole: fill(inpainter, rgb, hole, "auto"),
}


def cases(
    photos: Path, side: int, masks: Path | None, limit: int | None
) -> Iterator[tuple[str, Array, Array]]:
    """Names, photos and holes: a square of 0.4 of the shorter side, and an irregular hole."""
    for number, path in enumerate(list_images(photos)[:limit]):
        rgb = read_rgb(path)
        if (scale := side / max(rgb.shape[:2])) < 1:
            rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = rgb.shape[:2]
        length = round(0.4 * min(height, width))
        top, left = round(0.58 * height - length / 2), round(0.42 * width - length / 2)
        square = np.zeros((height, width), bool)
        square[top : top + length, left : left + length] = True
        yield f"{path.stem}-square", rgb, square
        if masks:
            irregular = read_mask(list_images(masks)[number]).astype(np.uint8)
            irregular = cv2.resize(irregular, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        else:
            irregular = make_mask("irregular", height, width, mask_rng(0, number), hole_share=(0.2, 0.4)) > 0
        yield f"{path.stem}-irregular", rgb, irregular


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="scenes")
    parser.add_argument("--features", type=Path, help="folder with lpips-alex.safetensors")
    parser.add_argument("--masks", type=Path, help="folder of irregular masks, white is the hole")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("-o", "--out", type=Path, help="folder for sheets of pictures")
    options = parser.parse_args()
    inpainter = Inpainter(options.weights, device="cpu", dtype="float32")
    lpips = FeatureMetrics(["lpips_alex"], weights=options.features)
    scores: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for name, truth, hole in cases(options.photos, options.side, options.masks, options.limit):
        blanked = np.where(hole[..., None], np.uint8(0), truth)
        sheet = [np.where(hole[..., None], np.uint8(128), truth)]
        for candidate, method in CANDIDATES.items():
            start = time.perf_counter()
            result = np.where(hole[..., None], method(inpainter, blanked, hole), truth)
            seconds = time.perf_counter() - start
            across, natural = seam_step(result, hole)
            distance = lpips.score([(result, truth)])[0][0]["lpips_alex"]
            row = (psnr(result, truth, hole), ssim(result, truth, hole), distance, across / natural, seconds)
            scores.setdefault((name.rsplit("-", 1)[1], candidate), []).append(row)
            sheet.append(result)
        if options.out:
            sheet.append(truth)
            sheet += [np.zeros_like(truth)] * (-len(sheet) % 3)
            small = [cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in sheet]
            rows = [np.hstack(small[start : start + 3]) for start in range(0, len(small), 3)]
            write_png(options.out / f"{name}.png", np.vstack(rows))
    print(f"| hole | candidate | {' | '.join(COLUMNS)} |\n|{' --- |' * (2 + len(COLUMNS))}")
    for (kind, candidate), rows in sorted(scores.items(), key=lambda item: item[0][0]):
        values = (f"{x:.{digits}f}" for x, digits in zip(np.mean(rows, axis=0), (2, 3, 4, 2, 1), strict=True))
        print(f"| {kind} ({len(rows)}) | {candidate} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
