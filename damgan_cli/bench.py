"""How fast it is: ``python -m damgan_cli.bench``.

For photos of 128, 256, 512 and 2048 px, with irregular holes of 20-30 %, three figures: images/s of the bare
generator on the windows that those photos need (tensors at hand, all cores busy with it alone), images/s of
`damgan inpaint` on a folder of them, from JPEG files to PNG files, and their ratio. Runs for a few minutes.
"""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer

from damgan_cli.weights.find import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from damgan_cli.inpainting.inpainter import Inpainter
    from damgan_cli.inpainting.jobs import Job

SIZES = (128, 256, 512, 2048)
_RATIO = (0.2, 0.3)
_KINDS = 16  # different photos and masks; a folder repeats them


def bench(
    weights: Annotated[str, typer.Option(help="The model to measure.")] = DEFAULT_WEIGHTS,
    device: Annotated[str, typer.Option(help="As of damgan inpaint.")] = "auto",
    dtype: Annotated[str, typer.Option(help="As of damgan inpaint.")] = "auto",
    size: Annotated[list[int] | None, typer.Option(help="Side of the photos in px; may be repeated.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: as --batch-size auto.", min=1)] = None,
    seconds: Annotated[float, typer.Option(help="How long each figure is measured, about.")] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure images/s of the bare generator and of a folder run from JPEG to PNG."""
    from damgan_cli.inpainting.inpainter import Inpainter

    inpainter = Inpainter(weights, device=device, dtype=dtype, batch_size=batch_size)
    what = f"{inpainter.weights.name} on {_name(inpainter.device)}, {str(inpainter.dtype)[6:]}"
    if not as_json:
        typer.echo(f"{what}, batches of {inpainter.batch_size}\n  size   bare/s  folder/s   ratio")
    rows = []
    for side in size or SIZES:
        photos, holes = zip(*(_example(side, number) for number in range(_KINDS)), strict=True)
        bare = _bare_rate(inpainter, photos, holes, seconds)
        folder = _folder_rate(inpainter, photos, holes, max(inpainter.batch_size, int(bare * seconds)))
        rows.append({"size": side, "bare": bare, "folder": folder, "ratio": folder / bare})
        if not as_json:
            typer.echo(f"{side:6d} {bare:8.2f} {folder:9.2f} {folder / bare:7.1%}")
    if as_json:
        head = {"version": 1, "model": what, "batch_size": inpainter.batch_size, "hole_ratio": _RATIO}
        typer.echo(json.dumps({**head, "rows": rows}, indent=2))


def _example(side: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photo that compresses like one (noise of all scales), and its hole."""
    from damgan_cli.masks.generate import make_mask, mask_rng

    rng = np.random.default_rng(number)
    photo = np.full((side, side, 3), 128, np.float32)
    for octave in range(2, side.bit_length()):
        cells = rng.normal(size=(2**octave, 2**octave, 3)).astype(np.float32)
        photo += 60 / 2 ** (octave / 2) * cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    hole = make_mask("irregular", side, side, mask_rng(0, number), ratio=_RATIO) > 0
    return np.clip(photo, 0, 255).astype(np.uint8), hole


def _bare_rate(
    inpainter: Inpainter,
    photos: tuple[NDArray[np.uint8], ...],
    holes: tuple[NDArray[np.bool_], ...],
    seconds: float,
) -> float:
    """Images/s of the generator alone, in the batches in which a folder run asks for it, one on each core."""
    import torch

    from damgan_cli.inpainting.folder import parallelism

    count = min(inpainter.batch_size, len(photos))
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    generate = inpainter.generate

    def record(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batches.append((image, mask))
        return generate(image, mask)

    inpainter.generate = record  # type: ignore[method-assign]
    inpainter.fill_batch(photos[:count], holes[:count])  # warms up, too
    inpainter.generate = generate  # type: ignore[method-assign]
    workers, threads = parallelism(inpainter) if inpainter.device.type == "cpu" else (1, 1)
    start = time.perf_counter()

    def stream() -> int:
        torch.set_num_threads(threads // workers)  # as fill_photos does
        rounds = 0
        while not rounds or time.perf_counter() - start < seconds:
            for image, mask in batches:
                generate(image, mask)
            _wait(inpainter.device)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(workers) as pool:
        rounds = sum(run.result() for run in [pool.submit(stream) for _ in range(workers)])
    return count * rounds / (time.perf_counter() - start)


def _folder_rate(
    inpainter: Inpainter,
    photos: tuple[NDArray[np.uint8], ...],
    holes: tuple[NDArray[np.bool_], ...],
    count: int,
) -> float:
    """Images/s of a folder run over ``count`` photos, reading JPEG and writing PNG."""
    from damgan_cli.inpainting.folder import Options, fill_photos
    from damgan_cli.inpainting.jobs import Job
    from damgan_cli.photos.files import write_png

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, (photo, hole) in enumerate(zip(photos, holes, strict=True)):
            cv2.imwrite(str(root / f"{number}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
            write_png(root / f"{number}.png", hole)
        size = photos[0].shape[1::-1]
        jobs: list[Job] = []
        for number in range(count):
            source = root / f"{number % len(photos)}.jpg"
            output = root / "out" / f"{number:06}.png"
            jobs.append(Job(output.name, source, source.with_suffix(".png"), output, None, size))
        start = time.perf_counter()
        for result in fill_photos(jobs, inpainter, Options()):
            if result.error:
                raise RuntimeError(result.error)
        return count / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({torch.get_num_threads()} threads)"


if __name__ == "__main__":
    typer.run(bench)
