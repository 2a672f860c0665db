"""``damgan mask`` with shapes, and with what is found in photos."""

from __future__ import annotations

import numpy as np
import pytest

from damgan_cli.masks.derive import dilated
from damgan_cli.masks.segmenter import load_segmenter
from tests.cli.mask_files import manifest, tree
from tests.files import pixels, save
from tests.masks.segmenter_graphs import RED_OR_NOT, graph, red_disc


def flat(text):
    """Without the line breaks of a terminal."""
    return " ".join(text.split())


def test_shapes_are_drawn_like_photos(damgan, tmp_path):
    save(tmp_path / "photos/a.jpg", np.full((40, 60, 3), 90, np.uint8))
    save(tmp_path / "photos/sub/b.png", np.full((20, 30, 3), 90, np.uint8))
    words = ("box", "right=10%,bottom=10%,20%,10%", "0,0,5,5", "circle", "50%,50%,3")
    ran = damgan("mask", *words, "--like", tmp_path / "photos", "-o", tmp_path / "masks")
    assert ran.code == 0, ran.err
    large, small = pixels(tmp_path / "masks/a.png"), pixels(tmp_path / "masks/sub/b.png")
    assert large.shape == (40, 60)
    assert (large[32:36, 42:54] == 255).all()
    assert (small[16:18, 21:27] == 255).all()
    assert (large[:5, :5] == 255).all()
    assert large[20, 30] == 255
    assert (large == 255).sum() < 48 + 25 + 49
    row = manifest(tmp_path / "masks")[0]
    assert (row["kind"], row["seed"]) == ("box", "")
    ran = damgan("mask", "polygon", "0,0,9,0,0,9", "--size", "20x10", "-o", tmp_path / "p.png")
    assert (ran.code, pixels(tmp_path / "p.png").shape) == (0, (10, 20))


def test_found_masks_pair_with_their_photos(damgan, tmp_path):
    disc = np.hypot(*(np.indices((80, 120)) - np.array([[[40]], [[60]]]))) < 15
    for name in ("a.jpg", "sub/b.png"):
        shown = np.where(disc[..., None], np.uint8([210, 30, 30]), np.uint8([40, 130, 60]))
        save(tmp_path / "photos" / name, shown)
    out, look = tmp_path / "masks", tmp_path / "look.png"
    run = ("mask", "object", tmp_path / "photos", "-o", out, "--box", "35%,20%,30%,60%", "--preview", look)
    ran = damgan(*run)
    assert ran.code == 0, ran.err
    assert sorted(tree(out)) == ["a.png", "manifest.csv", "sub/b.png"]
    assert ((pixels(out / "a.png") > 0) == disc).mean() > 0.96  # and its rim
    sheet = pixels(look)
    assert sheet.ndim == 3
    assert sheet[20, 20, 1] > sheet[20, 20, 0]  # the meadow
    ran = damgan("mask", "scratches", tmp_path / "photos/a.jpg", tmp_path / "photos/sub/b.png", "-o", out,
                 "--overwrite", "--strength", 0)  # fmt: skip
    assert (ran.code, "no hole: a.png, sub/b.png" in flat(ran.err)) == (0, True)


def test_an_object_may_be_marked_by_a_network(damgan, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    photo, disc = red_disc()
    save(tmp_path / "a.png", photo)
    network, out = graph(tmp_path / "red.onnx", RED_OR_NOT), tmp_path / "mask.png"
    run = ("mask", "object", tmp_path / "a.png", "-o", out, "--point", "30,30", "--segmenter")
    ran = damgan(*run, network)
    assert ran.code == 0, ran.err
    assert np.array_equal(pixels(out) > 0, dilated(disc, 2))
    network.write_bytes(b"no graph")
    load_segmenter.cache_clear()
    ran = damgan(*run, network, "--overwrite")
    assert (ran.code, "red.onnx cannot be read by onnxruntime" in flat(ran.err)) == (2, True)
    assert out.exists()


def test_a_preview_may_lie_beside_its_one_mask(damgan, tmp_path):
    photo, out = save(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8)), tmp_path / "mask.png"
    run = ("mask", "scratches", photo, "-o", out, "--preview")
    assert damgan(*run, tmp_path / "look.png").code == 0
    assert pixels(tmp_path / "look.png").shape == (8 + 40 + 18 + 8, 8 + 60 + 8, 3)
    assert damgan(*run, out, "--overwrite").code == 2


def test_same_makes_one_mask_of_a_folder(damgan, tmp_path):
    for seed in range(8):
        shown = np.random.default_rng(seed).integers(0, 120, (60, 90, 3), np.uint8)
        shown[20:40, 30:34] = 250
        save(tmp_path / f"photos/{seed}.png", shown)
    save(tmp_path / "photos/other.png", np.full((20, 30, 3), 90, np.uint8))
    ran = damgan("mask", "same", tmp_path / "photos", "-o", tmp_path / "logo.png")
    assert ran.code == 0, ran.err
    assert "left out are 1 of other sizes: other.png" in flat(ran.err)
    mask = pixels(tmp_path / "logo.png") > 0
    assert mask[20:40, 30:34].all()
    assert mask.sum() < 40 * 20
    assert damgan("mask", "same", tmp_path / "photos", "-o", tmp_path / "folder").code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["box", "1,2,3", "--size", "9"], "'1,2,3' is no box"),
        (["circle", "--size", "9"], "circle needs numbers"),
        (["box", "1,2,3,4", "polygon", "--size", "9"], "polygon needs numbers"),
        (["box", "1,2,3,4"], "box needs the size of the photo"),
        (["box", "1,2,3,4", "--size", "9", "--ratio", "0.1-0.2"], "--ratio does not go with shapes"),
        (["object", "PHOTOS"], "An object needs a box or a point"),
        (["object", "PHOTOS", "--box", "1,2,3,4", "--strength", "0.3"], "--strength does not go with object"),
        (["text", "PHOTOS", "--segmenter", "a.onnx"], "--segmenter does not go with text"),
        (["text", "PHOTOS", "--point", "1,2"], "--point does not go with text"),
        (["text", "PHOTOS", "--color", "red"], "--color is for masks made from files, which text is not"),
        (["center", "--point", "1,2"], "--point is for masks found in photos, which center is not"),
        (["text"], "text takes 1 file or folder"),
        (["text", "PHOTOS", "PHOTOS"], "goes alone"),
    ],
)
def test_what_cannot_be_found_or_drawn_is_told(damgan, tmp_path, arguments, words):
    save(tmp_path / "photos/a.png", np.full((40, 60, 3), 90, np.uint8))
    given = [str(tmp_path / "photos") if word == "PHOTOS" else word for word in arguments]
    ran = damgan("mask", *given, "-o", tmp_path / "masks")
    assert (ran.code, ran.out) == (2, "")
    assert words in flat(ran.err)
    assert not (tmp_path / "masks").exists()
