"""``--segmenter``: prompts reach the graph in its own pixels, and its best mask comes back in the photo's."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from damgan_cli.errors import MaskError
from damgan_cli.masks.derive import dilated
from damgan_cli.masks.segmenter import load_segmenter, segmented_object
from tests.masks.segmenter_graphs import INPUTS, OUTPUTS, RED_OR_NOT, graph, red_disc

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def box_graph(path):
    """For 48x32 px and four points: the box of the first two, or everything if labels are not as wanted."""
    inputs = INPUTS.replace("H,W", "32,48").replace("N", "4")
    x, y = (", ".join(f"{i}.5" for i in range(side)) for side in (48, 32))
    names = ["left", "top", "right", "bottom"]
    weights = (
        f"float[48] x = {{{x}}}, float[32,1] y = {{{y}}}, int64[1] flat = {{-1}}, "
        "float[1,1,4] want = {2, 3, 1, -1}, int64[5] shape = {1, 1, 1, 32, 48}, float thousand = {1000}, "
        + ", ".join(f"int64 at_{name} = {{{i}}}" for i, name in enumerate(names))
    )
    corners = "".join(f"{name} = Gather(numbers, at_{name})\n" for name in names)
    body = f"""{{
        numbers = Reshape(batched_point_coords, flat)
        {corners}
        a = Sub(x, left)  b = Sub(right, x)  c = Sub(y, top)  d = Sub(bottom, y)
        inside = Min(a, b, c, d)
        difference = Sub(batched_point_labels, want)
        size = Abs(difference)
        sum = ReduceSum<keepdims = 0>(size)
        wrong = Mul(sum, thousand)
        marked = Add(inside, wrong)
        output_masks = Reshape(marked, shape)
    }}"""
    return graph(path, body, inputs, "float[1,1,1,32,48] output_masks", weights)


def test_of_several_masks_the_one_that_agrees_with_the_points_then_the_best(tmp_path):
    network = graph(tmp_path / "red.onnx", RED_OR_NOT)
    photo, disc = red_disc()
    near = dilated(disc, 2)
    found = segmented_object(photo, points=[(30, 30)], segmenter=network)
    assert found.dtype == bool
    assert np.array_equal(found, near)  # with its rim
    away = segmented_object(photo, (0, 0, 90, 60), not_points=[(80, 50)], segmenter=network)
    assert np.array_equal(away, near)
    best = segmented_object(photo, (0, 0, 90, 60), segmenter=network)
    assert np.array_equal(best, dilated(~disc, 2))


def test_a_large_photo_is_seen_reduced_and_its_mask_is_as_large_as_the_photo(tmp_path):
    network = graph(tmp_path / "red.onnx", RED_OR_NOT)
    photo, disc = red_disc(1600, 2400)
    found = segmented_object(photo, points=[(800.5, 800)], segmenter=network)
    assert not (disc & ~found).any()
    assert not (found & ~dilated(disc, 10 + 3)).any()  # the rim, and what was lost in reducing


@pytest.mark.parametrize("box", [(30, 20, 45, 24), (-9, 40, 39, 99)])
def test_a_fixed_size_and_number_of_points_are_met(tmp_path, box):
    network = box_graph(tmp_path / "box.onnx")
    photo = np.zeros((64, 144, 3), np.uint8)  # 2 and 3 times the graph's height and width
    found = segmented_object(photo, box, [(20, 50)], segmenter=network)
    there = np.zeros((64, 144), bool)
    there[box[1] : box[1] + box[3], max(0, box[0]) : box[0] + box[2]] = True
    assert not (there & ~found).any()
    assert not (found & ~dilated(there, 4)).any()


def test_more_points_than_the_graph_takes_and_points_outside_are_told(tmp_path):
    network = box_graph(tmp_path / "box.onnx")
    photo = np.zeros((64, 144, 3), np.uint8)
    with pytest.raises(MaskError, match=r"box\.onnx takes at most 4 points .* 5 are given"):
        segmented_object(photo, (0, 0, 9, 9), [(1, 1), (2, 2)], [(8, 8)], segmenter=network)
    with pytest.raises(MaskError, match="lies outside"):
        segmented_object(photo, points=[(1, 300)], segmenter=network)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("batched_images", "image_embeddings", "image_embeddings (1, 3, H, W), "),  # a decoder alone
        ("float[1,1,N] batched", "float[1,N] batched", "batched_point_labels (1, N) to"),
        ("float[1,1,N] batched", "int64[1,1,N] batched", "(1, 1, N) tensor(int64) to"),
        ("float[1,3,H,W]", "float[1,H,W,3]", "batched_images (1, H, W, 3)"),
        (") => (", ", float[2] orig_im_size) => (", "orig_im_size (2) to output_masks"),
        ("output_masks", "masks", "to masks ("),
    ],
)
def test_another_graph_is_named_with_what_it_has_and_what_is_needed(tmp_path, old, new, shown):
    inputs, outputs = f"{INPUTS}) => ({OUTPUTS}".replace(old, new).split(") => (")
    network = graph(tmp_path / "sam.onnx", RED_OR_NOT.replace(old, new), inputs, outputs)
    with pytest.raises(MaskError) as told:
        load_segmenter(network)
    assert "sam.onnx is another graph: " in told.value.message
    assert shown in told.value.message
    assert "batched_point_coords (1, 1, N, 2)" in told.value.hint


def test_what_is_no_graph_at_all_is_told(tmp_path, monkeypatch):
    with pytest.raises(MaskError, match=r"away\.onnx is no file"):
        load_segmenter(tmp_path / "away.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(MaskError, match=r"text\.onnx cannot be read by onnxruntime: .*rotobuf"):
        load_segmenter(tmp_path / "text.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MaskError, match="pip install onnxruntime"):
        load_segmenter(tmp_path / "text.onnx")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{ output_masks = Reshape(batched_images, seven) iou_predictions = Identity(batched_point_labels) }",
         "failed in onnxruntime: .*Reshape"),
        ("{ output_masks = Identity(batched_images) iou_predictions = Identity(batched_point_labels) }",
         r"gives output_masks of shape \(1, 3, 60, 90\)"),
    ],
)  # fmt: skip
def test_a_graph_that_fails_or_gives_something_else_is_told(tmp_path, capfd, body, words):
    outputs = "float[A,B,C,D] output_masks, float[1,1,N] iou_predictions"
    network = graph(tmp_path / "odd.onnx", body, outputs=outputs, weights="int64[4] seven = {7, 7, 7, 7}")
    with pytest.raises(MaskError, match=rf"odd\.onnx {words}"):
        segmented_object(red_disc()[0], points=[(30, 30)], segmenter=network)
    assert capfd.readouterr().err == ""  # onnxruntime's own log
