"""COCO files and labelled images give the hole that is meant."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.masks.labels import CocoFile, decode_rle, read_labels

HOLE = np.zeros((30, 41), bool)
HOLE[5:20, 7:30] = True
HOLE[25, 40] = True


def runs(hole):
    """Uncompressed run lengths of COCO's: column by column, from False on."""
    flat = np.concatenate([[False], hole.T.ravel(), [not hole.T.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges])).tolist()


def compressed(counts):
    """``rleToString`` of cocoapi's maskApi.c."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != -1 if bits & 16 else value != 0
            text += chr((bits | 32 if more else bits) + 48)
    return text


def test_run_lengths_are_read_compressed_or_not():
    assert np.array_equal(decode_rle(runs(HOLE), *HOLE.shape), HOLE)
    assert np.array_equal(decode_rle(compressed(runs(HOLE)), *HOLE.shape), HOLE)
    noise = np.random.default_rng(0).random((37, 53)) > 0.7
    assert np.array_equal(decode_rle(compressed(runs(noise)), *noise.shape), noise)
    for damaged in ([3], [-1, 2000], "~~", compressed(runs(HOLE))[:-1]):
        with pytest.raises(ValueError):
            decode_rle(damaged, *HOLE.shape)


def test_the_string_of_pycocotools_is_understood():
    """`pycocotools.mask.encode` of 2.0.11, of a box of rows 2-4 and columns 1-3 in 6x5."""
    box = np.zeros((6, 5), bool)
    box[2:5, 1:4] = True
    assert compressed(runs(box)) == "8330004"
    assert np.array_equal(decode_rle("8330004", 6, 5), box)


def coco(**more):
    return {
        "images": [
            {"id": 7, "file_name": "sub/a.jpg", "width": 41, "height": 30},
            {"id": 8, "file_name": "b.jpg"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 1, "segmentation": {"size": [30, 41], "counts": runs(HOLE)}},
            {"image_id": 7, "category_id": 2, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
        ],
        **more,
    }


def read(tmp_path, document, name="a.png", categories=()):
    path = tmp_path / "masks.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return CocoFile(path).hole(name, 30, 41, categories)


def test_a_coco_file_has_masks_of_many_photos(tmp_path):
    both = read(tmp_path, coco())
    assert np.array_equal(both[5:], HOLE[5:])
    assert both[:4, :4].all()
    assert np.array_equal(read(tmp_path, coco(), "sub/a.png", {1}), HOLE)
    assert not read(tmp_path, coco(), "b.jpg").any()
    assert np.array_equal(read(tmp_path, coco()["annotations"][0]), HOLE)
    assert np.array_equal(read(tmp_path, {"size": [30, 41], "counts": compressed(runs(HOLE))}), HOLE)
    assert np.array_equal(read(tmp_path, coco()["annotations"]), both)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is no JSON"),
        ({"a": 1}, "holds no masks"),
        ([1], "holds no masks"),
        (coco(images=[]), "does not list the photo a.png"),
        (coco(images=[{"id": 7, "file_name": "a.jpg", "width": 5, "height": 5}]), "is 5x5, but it is 41x30"),
        (coco(images=[{"id": i, "file_name": f"{i}/a.png"} for i in (1, 2)]), "lists several photos a.png"),
        ({"segmentation": {"size": [30, 41], "counts": [5]}}, "is damaged"),
        ({"segmentation": {"size": [3, 4], "counts": [12]}}, "not of 41x30"),
        ({"segmentation": [[1, 2, 3]]}, "is damaged"),
        ({"segmentation": 5}, "is damaged"),
    ],
)
def test_what_is_wrong_with_a_coco_file_is_told(tmp_path, document, words):
    with pytest.raises((MaskError, ImageFileError), match=words):
        read(tmp_path, document)


def test_labels_are_palette_indices_or_gray_levels(tmp_path):
    labels = HOLE * np.uint8(3) + np.uint8(1)
    path = tmp_path / "labels.png"
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([0, 0, 0] * 256)  # colours do not matter
    palette.putdata(labels.ravel().tolist())
    for image in (Image.fromarray(labels), palette, Image.fromarray(labels.astype(np.uint16) * 300)):
        image.save(path)
        value = 1200 if image.mode.startswith("I") else 4
        assert np.array_equal(read_labels(path, [value]), HOLE)
    with pytest.raises(MaskError, match="no pixel of the value 9; it has 300, 1200"):
        read_labels(path, [9])
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    with pytest.raises(ImageFileError, match="has colours"):
        read_labels(path, [1])
