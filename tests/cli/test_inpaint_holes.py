"""``damgan inpaint`` without a mask image: shapes, labels, COCO files and a larger canvas."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import pixels, save
from tests.photos.photo_kinds import HEIGHT, WIDTH, noise

BOX = np.zeros((HEIGHT, WIDTH), bool)
BOX[HEIGHT - 10 : HEIGHT - 2, WIDTH - 15 : WIDTH - 3] = True


def changed(before, after):
    difference = pixels(before) != pixels(after)
    return difference.any(axis=2) if difference.ndim == 3 else difference


def test_a_box_is_filled_and_nothing_else(inpaint, photo):
    assert inpaint("photo.png", "--box", "right=3,bottom=2,12,8", "-o", "out.png").code == 0
    where = changed("photo.png", "out.png")
    assert where[BOX].mean() > 0.9
    assert not where[~BOX].any()


def test_shapes_and_mask_are_filled_together(inpaint, tree):
    shapes = ("--box", "right=3,bottom=2,12,8", "--circle", "3,3,2", "--polygon", "0,20,4,20,0,28")
    result = inpaint("photos", "--mask", "masks", *shapes, "-o", "out", "--json")
    assert result.code == 0
    for name in ("a", "sub/b", "sub/deep/c"):
        where = changed(f"photos/{name}.png", f"out/{name}.png")
        assert where[BOX | HOLE].mean() > 0.9
        assert where[3, 3]
        assert where[22, 1]
        assert not where[0, 6:].any()
    again = inpaint("photos", "--mask", "masks", *shapes, "-o", "out")
    assert "3 skipped" in again.err
    one_error(inpaint("photos", "--mask", "masks", "-o", "out"), "--box right=3,bottom=2,12,8, now not given")


def test_a_box_in_a_photo_from_stdin(inpaint, photo, monkeypatch):
    with photo.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert inpaint("-", "--box", "3,3,9,9", "-o", "out.png").code == 0
    assert changed("photo.png", "out.png")[5, 5]


def test_coco_files_and_labels(inpaint, tree):
    segmentation = {"size": [HEIGHT, WIDTH], "counts": [5, 10, HEIGHT * WIDTH - 15]}
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(("a.png", "b.png", "c.png"))],
        "annotations": [{"image_id": 0, "category_id": 3, "segmentation": segmentation}],
    }
    (tree / "masks.json").write_text(json.dumps(document))
    result = inpaint("photos", "--mask", "masks.json", "-o", "out", "--json")
    assert result.code == 0
    assert json.loads(result.out)["counts"] | {"filled": 1, "copied": 2} == json.loads(result.out)["counts"]
    where = changed("photos/a.png", "out/a.png")
    assert where[5:15, 0].any()
    assert not where[:, 1:].any()
    save("labels.png", HOLE * np.uint8(7))
    assert inpaint("photos/a.png", "--mask", "labels.png", "--mask-value", 7, "-o", "l.png").code == 0
    assert not changed("photos/a.png", "l.png")[~HOLE].any()
    one_error(
        inpaint("photos/a.png", "--mask", "labels.png", "--mask-value", 5, "-o", "m.png"), "it has 0, 7"
    )
    (tree / "masks.json").write_text("[")
    one_error(inpaint("photos", "--mask", "masks.json", "-o", "o"), "masks.json is no JSON")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Nothing says what is to be filled"),
        (["--box", "1,2,3"], "'1,2,3' is no box"),
        (["--box", "500,0,5,5"], "lies outside of the photo"),
        (["--box", "1,1,5,5", "--invert-mask"], "--invert-mask is for masks, but there is none"),
        (["--mask", "alpha", "--mask-value", 3], "--mask-value does not go with --mask alpha"),
        (["--extend", "up=3"], "--extend up=3 is not understood"),
        (["--extend", "left=0"], "is not understood"),
        (["--extend", "all=3,left=2"], "names a side twice"),
        (["--extend", "all=300%", "--max-pixels", 5000], "has more than 5000 pixels"),
    ],
)
def test_what_cannot_be_filled_is_told(inpaint, photo, arguments, words):
    one_error(inpaint("photo.png", *arguments, "-o", "out.png"), words)
    assert files(".") == ["photo.png"]


# ------------------------------------------------------------------------------------------ a larger canvas
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("deep", [False, True])
def test_extend_keeps_known_pixels_depth_and_alpha(inpaint, channels, deep, tmp_path):
    cv2 = pytest.importorskip("cv2")
    picture = noise(channels).astype(np.uint16) * 257 if deep else noise(channels)
    cv2.imwrite("photo.png", picture)
    assert inpaint("photo.png", "--extend", "left=20%,top=7", "-o", "out.png").code == 0
    out = cv2.imread("out.png", cv2.IMREAD_UNCHANGED)
    left = round(WIDTH * 0.2)
    assert out.dtype == picture.dtype
    assert out.shape[:2] == (HEIGHT + 7, WIDTH + left)
    assert np.array_equal(out[7:, left:], picture)
    assert not (out[:7] == 0).all()


def test_extend_goes_by_the_displayed_photo_and_keeps_metadata(inpaint, tmp_path):
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a house"  # turned by 90 degrees, description
    image = Image.fromarray(noise())
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88
    image.save("photo.png", exif=tags, dpi=(300, 300), icc_profile=profile)
    assert inpaint("photo.png", "--extend", "top=5", "--box", "0,0,9,9", "-o", "out.png").code == 0
    out = Image.open("out.png")
    assert out.size == (WIDTH + 5, HEIGHT)  # what is displayed on top is stored at the left
    assert np.array_equal(np.asarray(out)[:20, 14:], noise()[:20, 9:])
    assert out.getexif()[0x010E] == "a house"
    assert round(out.info["dpi"][0]) == 300
    assert out.info["icc_profile"] == profile


def test_extend_a_folder_with_palette_and_transparency(inpaint, tmp_path):
    save("photos/a.png", noise())
    Image.fromarray(noise()).quantize(16).save("photos/b.png")
    clear = noise(4)
    clear[..., 3] = 0
    save("photos/c.png", clear)
    assert inpaint("photos", "--extend", "all=3", "-o", "out").code == 0
    assert files("out") == ["a.png", "b.png", "c.png"]
    for name in "abc":
        image = Image.open(f"out/{name}.png")
        assert image.size == (WIDTH + 6, HEIGHT + 6)
        assert image.mode == Image.open(f"photos/{name}.png").mode
    assert np.array_equal(pixels("out/c.png")[3:-3, 3:-3], clear)
    assert (pixels("out/c.png")[..., 3] == 0).all()  # opacity goes on as it was at the border
