"""Small graphs in place of a promptable network, and a photo for them."""

from __future__ import annotations

import numpy as np

HEAD = '<ir_version: 8, opset_import: ["" : 17]> segmenter '
INPUTS = (
    "float[1,3,H,W] batched_images, float[1,1,N,2] batched_point_coords, float[1,1,N] batched_point_labels"
)
OUTPUTS = "float[1,1,M,h,w] output_masks, float[1,1,M] iou_predictions"

RED_OR_NOT = """{
    channel = Constant<value_int = 0>()
    axes = Constant<value_ints = [1, 2]>()
    half = Constant<value_float = 0.5>()
    red = Gather<axis = 1>(batched_images, channel)
    more = Sub(red, half)
    red_part = Unsqueeze(more, axes)
    other_part = Neg(red_part)
    output_masks = Concat<axis = 2>(red_part, other_part)
    iou_predictions = Constant<value = float[1,1,2] {0.2, 0.9}>()
}"""
"""What is red, and, thought to be better, what is not."""


def graph(path, body, inputs=INPUTS, outputs=OUTPUTS, weights=""):
    """Write a graph in ONNX's own text form to ``path``."""
    import onnx

    text = f"{HEAD}({inputs}) => ({outputs}) <{weights}> {body}"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def red_disc(height=60, width=90):
    y, x = np.indices((height, width))
    disc = np.hypot(y - height / 2, x - width / 3) < height / 4
    return np.where(disc[..., None], np.uint8([200, 30, 40]), np.uint8([40, 120, 50])), disc
