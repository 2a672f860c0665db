"""Weights as one ONNX graph: uint8 photo and mask in, filled uint8 photo out, for use outside Python.

The graph is the generator with everything around it: scaling, blanking, padding, rounding
and compositing. What `damgan inpaint` does besides (colours matched at the seam, for large photos and deep
holes windows at the scale of the training, see inpainting/plan.py) is not in it: feed it photos, or parts
of photos, of about the size of the training, with holes of up to half their side.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from damgan_cli import __version__
from damgan_cli.errors import WeightsError
from damgan_cli.model import composite
from damgan_cli.runtime.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.model import Generator
    from damgan_cli.weights.folder import Weights

INPUTS, OUTPUT = ("image", "mask"), "filled"
TOLERANCE = 1
"""Levels of 255 by which runtimes may differ: sums in another order round to the neighbouring level."""
_CHECKED = ((1, 64, 64), (2, 45, 83))  # batch, height, width


class Inpainting(nn.Module):
    """The graph that is exported."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """``image`` (N, H, W, 3) uint8 RGB, ``mask`` (N, H, W) uint8, more than 127 is hole -> (N, H, W, 3).

        Known pixels come back as they are. The same as ``Generator.forward`` between two conversions, but
        padded with an index, because the exporter cannot follow a padding that depends on the size.
        """
        _, H, W, _ = image.shape
        hole = (mask > 127)[..., None]  # (N, H, W, 1)
        blanked = torch.where(hole, 0.0, image.float() / 127.5 - 1)  # (N, H, W, 3)
        x = torch.cat([blanked, hole.float()], dim=-1).permute(0, 3, 1, 2)  # (N, 4, H, W)
        multiple = self.generator.size_multiple
        rows, columns = (
            torch.arange((side + multiple - 1) // multiple * multiple).clamp(max=side - 1) for side in (H, W)
        )
        x = x[:, :, rows][:, :, :, columns]  # (N, 4, H', W'), the last row and column repeated
        x, m = x[:, :3], x[:, 3:]
        coarse = self.generator.coarse_result(x, m)
        result, _ = self.generator.dam_stage(composite(x, m, coarse), m)  # (N, 3, H', W')
        fill = ((result[:, :, :H, :W] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return torch.where(hole, fill.permute(0, 2, 3, 1), image)


@torch.inference_mode()
def reference(generator: Generator, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the graph must give, by ``Generator.forward`` itself; shapes as `Inpainting.forward`."""
    x = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1
    hole = torch.from_numpy(mask)[:, None] > 127
    result = generator(x, hole.float()).result
    fill = ((result + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return torch.where(hole.permute(0, 2, 3, 1), fill, torch.from_numpy(image)).numpy()


def export_onnx(weights: Weights, path: Path) -> int:
    """Write ``weights`` as an ONNX file, float32, batch, height and width of any size.

    The graph is checked in onnxruntime against PyTorch before it is written; returns the largest difference
    in levels, at most `TOLERANCE`. Raises WeightsError: the extra ``onnx`` is not installed, torch is too
    old, the file cannot be written, or the check failed.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        raise WeightsError(
            f"Exporting to ONNX needs {' and '.join(missing)}.",
            "Install them with pip install 'damgan[onnx]'.",
        )
    try:
        graph = _convert(weights).model_proto.SerializeToString()
    except torch.onnx.OnnxExporterError as problem:
        old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8)  # as seen with 2.6 and 2.7
        raise WeightsError(
            f"torch {torch.__version__} cannot export this generator.",
            "Install torch 2.8 or newer: pip install 'damgan[onnx]'."
            if old
            else f"Please report it: {str(problem).strip().splitlines()[0]}",
        ) from problem
    difference = _check(weights.generator, graph)
    if difference > TOLERANCE:
        raise WeightsError(
            f"The exported graph differs from PyTorch by {difference} levels: nothing was written.",
            f"This is a fault of the exporter (torch {torch.__version__}); please report it.",
        )
    try:
        with replacing(path) as file:
            file.write(graph)
    except OSError as problem:
        raise WeightsError(
            f"Cannot write {path}: {problem.strerror}.", "Choose another place with -o."
        ) from problem
    return difference


def _convert(weights: Weights) -> Any:
    image = torch.zeros((2, 45, 61, 3), dtype=torch.uint8)
    sizes = {axis: torch.export.Dim(name) for axis, name in enumerate(("batch", "height", "width"))}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program: Any = torch.onnx.export(
            Inpainting(weights.generator).eval(),
            (image, image[..., 0]),
            dynamo=True,
            input_names=INPUTS,
            output_names=[OUTPUT],
            dynamic_shapes=dict.fromkeys(INPUTS, sizes),
            verbose=False,
        )
    program.model.producer_name, program.model.producer_version = "damgan", __version__
    program.model.metadata_props.update(
        {
            "weights": weights.info.get("name", "") if weights.source == "folder" else weights.name,
            "revision": weights.revision or "",
            "sha256": weights.info["sha256"],
            "license": weights.info.get("license", ""),
        }
    )
    return program


def _check(generator: Generator, graph: bytes) -> int:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    largest = 0
    for batch, height, width in _CHECKED:
        image = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
        mask = np.zeros((batch, height, width), np.uint8)
        mask[:, height // 4 : -height // 4, width // 4 : -width // 4] = 255
        (filled,) = session.run(None, {"image": image, "mask": mask})
        wanted = reference(generator, image, mask)
        largest = max(largest, int(np.abs(filled.astype(int) - wanted).max()))
    return largest
