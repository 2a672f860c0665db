"""The object that a box or points mean, by a promptable network in an ONNX file of the user's.

The graph is a whole model, from photo to masks, as the authors of EfficientSAM export theirs (Xiong et al.,
CVPR 2024; github.com/yformer/EfficientSAM, export_to_onnx.py). Prompts are SAM's (Kirillov et al. 2023):

    batched_images        (1, 3, H, W) RGB, 0 to 1
    batched_point_coords  (1, 1, N, 2) x and y in px of that image
    batched_point_labels  (1, 1, N)    1 on the object, 0 beside it, 2 and 3 the upper left and lower right
                                       corner of a box, -1 to be ignored
    output_masks          (1, 1, M, h, w) M proposals, each above 0 on the object, of any size
    iou_predictions       (1, 1, M)    how good each of them is likely to be; may be missing

All are float32; H, W and N may be fixed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import MaskError
from damgan_cli.masks.derive import dilated
from damgan_cli.masks.objects import check_prompts
from damgan_cli.runtime.paths import is_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.masks.objects import Box, Hole, Pixels, Point

_IMAGES, _COORDS, _LABELS = "batched_images", "batched_point_coords", "batched_point_labels"
_MASKS, _SCORES = "output_masks", "iou_predictions"
_INPUTS = {_IMAGES: (1, 3, None, None), _COORDS: (1, 1, None, 2), _LABELS: (1, 1, None)}
_EXPECTED = (
    f"It must be one graph like EfficientSAM's: {_IMAGES} (1, 3, H, W), {_COORDS} (1, 1, N, 2) and {_LABELS} "
    f"(1, 1, N) to {_MASKS} (1, 1, M, h, w), all float32; see docs/masks.md."
)
_LONGEST = 1024  # px of the longer side where the graph does not say: what SAM and its kin work at
_RIM = 0.004  # of the photo's longer side: a cell of the 256 px masks that they make


def segmented_object(
    photo: Pixels,
    box: Box | None = None,
    points: Sequence[Point] = (),
    not_points: Sequence[Point] = (),
    *,
    segmenter: Path,
) -> Hole:
    """Mark an object of ``photo`` (H, W, 3) uint8 RGB: (H, W) bool, True = object, grown by its rim.

    Prompts are as those of `objects.object_mask`. Of the proposals of ``segmenter`` those come first that
    agree with most of the points, among them the one of the highest ``iou_predictions``. Raises MaskError
    as `load_segmenter`, if the graph fails, and for prompts outside of the photo or more than it takes.
    """
    height, width = photo.shape[:2]
    check_prompts(box, points, not_points, height, width)
    session = load_segmenter(segmenter)
    shapes = {node.name: node.shape for node in session.get_inputs()}
    scale = min(1.0, _LONGEST / max(height, width))
    tall, wide = (
        side if isinstance(side, int) else max(1, round(scale * whole))
        for side, whole in zip(shapes[_IMAGES][2:], (height, width), strict=True)
    )
    image = cv2.resize(photo, (wide, tall), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    prompts = [(x, y, 1) for x, y in points] + [(x, y, 0) for x, y in not_points]
    if box is not None:
        left, top = max(0, box[0]), max(0, box[1])
        right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
        prompts = [(left, top, 2), (right, bottom, 3), *prompts]
    room = next((side for side in (shapes[_COORDS][2], shapes[_LABELS][2]) if isinstance(side, int)), 0)
    if room and len(prompts) > room:
        raise MaskError(
            f"{segmenter} takes at most {room} points of an object, but {len(prompts)} are given.",
            "Give fewer --point and --not-point; a box takes two.",
        )
    prompts += [(0, 0, -1)] * (room - len(prompts))
    table = np.array(prompts, np.float32)  # (N, 3)
    feed = {
        _IMAGES: np.ascontiguousarray(image.transpose(2, 0, 1))[None],
        _COORDS: (table[:, :2] * np.array([wide / width, tall / height], np.float32))[None, None],
        _LABELS: table[None, None, :, 2],
    }
    logits = _best(*_run(session, feed, segmenter), table / [width, height, 1])
    hole = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    return dilated(hole, max(2, round(_RIM * max(height, width))))


@lru_cache(maxsize=1)
def load_segmenter(path: Path) -> Any:
    """The onnxruntime session of a graph as this module's head has it.

    Raises MaskError if onnxruntime is not installed, and if the file is missing, no ONNX or another graph.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MaskError(
            "--segmenter needs onnxruntime, which is not installed.", "Install it: pip install onnxruntime"
        ) from None
    if not is_file(path):
        raise MaskError(f"The segmenter {path} is no file.", "Give the .onnx file of a promptable network.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is in the exception
    options.intra_op_num_threads = cv2.getNumThreads()  # one where there are several processes
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001  onnxruntime's have no class in common
        raise MaskError(f"{path} cannot be read by onnxruntime: {_reason(problem)}", _EXPECTED) from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = {node.name for node in inputs} == _INPUTS.keys() and all(map(_fits, inputs))
    if not fits or (_MASKS, "tensor(float)") not in {(node.name, node.type) for node in outputs}:
        raise MaskError(f"{path} is another graph: {_listed(inputs)} to {_listed(outputs)}.", _EXPECTED)
    return session


def _fits(node: Any) -> bool:
    wanted = _INPUTS[node.name]
    return (
        node.type == "tensor(float)"
        and len(node.shape) == len(wanted)
        and all(
            side == (want or max(side, 1)) if isinstance(side, int) else want in {1, None}
            for side, want in zip(node.shape, wanted, strict=True)
        )
    )


def _listed(nodes: Sequence[Any]) -> str:
    return ", ".join(
        f"{node.name} ({', '.join(str(side or '?') for side in node.shape)})"
        + ("" if node.type == "tensor(float)" else f" {node.type}")
        for node in nodes
    )


def _reason(problem: Exception) -> str:
    """What onnxruntime says, without its error codes and stack."""
    return (str(problem).splitlines() or ["?"])[0].split(" : ", 3)[-1][:200]


def _run(
    session: Any, feed: dict[str, NDArray[np.float32]], path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Proposals (M, h, w) and their scores (M,)."""
    named = {node.name for node in session.get_outputs()}
    try:
        masks, *rest = session.run([_MASKS, *({_SCORES} & named)], feed)
    except Exception as problem:  # noqa: BLE001  as above
        raise MaskError(f"{path} failed in onnxruntime: {_reason(problem)}", _EXPECTED) from None
    scores = rest[0] if rest else np.zeros(masks.shape[:3], np.float32)
    if masks.ndim != 5 or masks.shape[:2] != (1, 1) or not masks.size or scores.shape != masks.shape[:3]:
        raise MaskError(
            f"{path} gives {_MASKS} of shape {masks.shape} and {_SCORES} of {scores.shape}.", _EXPECTED
        )
    return masks[0, 0], scores[0, 0]


def _best(
    proposals: NDArray[np.float32], scores: NDArray[np.float32], prompts: NDArray[np.float64]
) -> NDArray[np.float32]:
    """One of ``proposals`` (M, h, w): ``prompts`` (N, 3) are x and y, 0 to 1, and labels.

    EfficientSAM, for one, does not know the label 0: that a point is not meant shows only here.
    """
    height, width = proposals.shape[1:]
    wrong = np.zeros(len(proposals))
    for x, y, label in prompts:
        if label in {0, 1}:
            at = min(int(y * height), height - 1), min(int(x * width), width - 1)
            wrong += (proposals[:, at[0], at[1]] > 0) != label
    return np.asarray(proposals[np.lexsort((-scores, wrong))[0]])
