"""``damgan mask`` from photos and masks at hand, through the command line."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.cli.mask_files import manifest
from tests.files import pixels, save

SPOT = np.zeros((30, 40), bool)
SPOT[10:15, 20:30] = True


def flat(text):
    """Without the line breaks of a terminal."""
    return " ".join(text.split())


@pytest.fixture
def painted():
    """A photo with a red spot."""
    photo = np.random.default_rng(0).integers(0, 200, (30, 40, 3), np.uint8)
    photo[SPOT] = (255, 0, 0)
    return photo


def test_from_color(damgan, tmp_path, painted):
    painted[12, 22] = (250, 5, 0)
    photo = save(tmp_path / "photo.png", painted)
    assert damgan("mask", "from-color", photo, "--color", "red", "-o", tmp_path / "exact.png").code == 0
    run = ("mask", "from-color", photo, "--color", "#ff0000", "--tolerance", 5)
    assert damgan(*run, "-o", tmp_path / "near.png").code == 0
    np.testing.assert_array_equal(pixels(tmp_path / "near.png") > 0, SPOT)
    assert (pixels(tmp_path / "exact.png") > 0).sum() == SPOT.sum() - 1


def test_from_alpha_of_a_paint_layer_marks_the_paint_and_says_so(damgan, tmp_path):
    for name, colours in {
        "red": np.dstack([np.full((*SPOT.shape, 3), (255, 0, 0), np.uint8), SPOT * np.uint8(255)]),
        "cutout": np.dstack(
            [np.random.default_rng(0).integers(0, 256, (*SPOT.shape, 3), np.uint8), SPOT * np.uint8(255)]
        ),
    }.items():
        layer = save(tmp_path / f"{name}.png", colours)
        ran = damgan("mask", "from-alpha", layer, "-o", tmp_path / "mask.png", "--overwrite")
        assert ran.code == 0
        inverse = damgan(
            "mask", "from-alpha", layer, "-o", tmp_path / "inverse.png", "--overwrite", "--invert-mask"
        )
        assert inverse.code == 0
        assert ("is a paint layer" in " ".join(ran.err.split())) == (name == "red")
        marked = SPOT if name == "red" else ~SPOT
        np.testing.assert_array_equal(pixels(tmp_path / "mask.png") > 0, marked)
        np.testing.assert_array_equal(pixels(tmp_path / "inverse.png") > 0, ~marked)


def test_from_alpha_of_a_folder(damgan, tmp_path, painted):
    alpha = np.where(SPOT, 100, 255).astype(np.uint8)
    save(tmp_path / "photos" / "sub" / "a.png", np.dstack([painted, alpha]))
    save(tmp_path / "photos" / "b.png", painted)
    ran = damgan("mask", "from-alpha", tmp_path / "photos", "-o", tmp_path / "masks")
    assert ran.code == 1
    assert "b.png has no transparency" in " ".join(ran.err.split())
    np.testing.assert_array_equal(pixels(tmp_path / "masks" / "sub" / "a.png") > 0, SPOT)
    (row,) = manifest(tmp_path / "masks")
    assert (row["kind"], row["seed"], row["width"], row["height"]) == ("from-alpha", "", "40", "30")
    assert row["source"].endswith("a.png")
    assert float(row["ratio"]) == pytest.approx(SPOT.mean(), abs=1e-6)


def test_from_diff(damgan, tmp_path, painted):
    after = painted.copy()
    after[SPOT] = 7
    after[0, 0] += 3
    pair = (save(tmp_path / "before.png", painted), save(tmp_path / "after.bmp", after))
    assert damgan("mask", "from-diff", *pair, "-o", tmp_path / "m.png", "--tolerance", 3).code == 0
    np.testing.assert_array_equal(pixels(tmp_path / "m.png") > 0, SPOT)
    assert damgan("mask", "from-diff", *pair, "-o", tmp_path / "all.png").code == 0
    assert (pixels(tmp_path / "all.png") > 0).sum() == SPOT.sum() + 1
    same = damgan("mask", "from-diff", pair[0], pair[0], "-o", tmp_path / "none.png")
    assert (same.code, "have no hole" in same.err) == (0, True)


def test_from_diff_of_two_different_photos_is_doubted_or_refused(damgan, tmp_path, painted):
    before = save(tmp_path / "before.png", painted)
    other = save(tmp_path / "other.png", np.roll(painted, 7, axis=1) ^ 1)
    ran = damgan("mask", "from-diff", before, other, "-o", tmp_path / "m.png")
    assert (ran.code, (tmp_path / "m.png").exists()) == (1, False)
    assert re.search(
        r"differ in (9\d\.\d|100\.0)% of their pixels by more than 0\. Are they the same", flat(ran.err)
    )
    changed = painted.copy()
    changed[:20] ^= 255
    ran = damgan(
        "mask", "from-diff", before, save(tmp_path / "c.png", changed), "-o", tmp_path / "c-mask.png"
    )
    assert ran.code == 0
    assert "differ in 66.7% of their pixels" in flat(ran.err)


def test_a_region_limits_what_is_looked_for(damgan, tmp_path, painted):
    box = np.zeros(SPOT.shape, bool)
    box[8:12, 18:24] = True
    photo = np.where(SPOT[..., None], np.uint8([255, 0, 0]), painted)
    files = {
        "from-color": [save(tmp_path / "photo.png", photo), "--color", "red"],
        "from-alpha": [
            save(tmp_path / "alpha.png", np.dstack([painted, np.where(SPOT, 0, 255).astype(np.uint8)]))
        ],
        "from-diff": [
            save(tmp_path / "before.png", painted ^ SPOT[..., None]),
            save(tmp_path / "after.png", photo),
        ],
    }
    for kind, arguments in files.items():
        mask = tmp_path / f"{kind}.png"
        assert damgan("mask", kind, *arguments, "-o", mask, "--region", "6x4+18+8").code == 0
        np.testing.assert_array_equal(pixels(mask) > 0, SPOT & box)
        ran = damgan("mask", kind, *arguments, "-o", mask, "--overwrite", "--region", "6x4+40+0")
        assert ran.code == 1
        assert "The region 6x4+40+0 lies outside of" in flat(ran.err)


def test_from_diff_of_folders_pairs_by_name(damgan, tmp_path, painted):
    changed = np.where(SPOT[..., None], 255 - painted, painted)
    for name in ("a", "b"):
        save(tmp_path / "before" / f"{name}.png", painted)
        save(tmp_path / "after" / f"{name}.png", painted[:20] if name == "b" else changed)
    ran = damgan("mask", "from-diff", tmp_path / "before", tmp_path / "after", "-o", tmp_path / "m")
    assert ran.code == 1
    assert "is 40x30 but" in ran.err
    assert [row["file"] for row in manifest(tmp_path / "m")] == ["a.png"]
    save(tmp_path / "after" / "c.png", painted)
    ran = damgan("mask", "from-diff", tmp_path / "before", tmp_path / "after", "-o", tmp_path / "n")
    assert (ran.code, "c" in ran.err, (tmp_path / "n").exists()) == (2, True, False)


def test_expand_and_contract(damgan, tmp_path):
    spot = save(tmp_path / "spot.png", SPOT)
    for kind, width in (("expand", 3), ("contract", 2)):
        assert damgan("mask", kind, spot, "--dilate", width, "-o", tmp_path / f"{kind}.png").code == 0
    rows, columns = np.mgrid[:30, :40]
    # Distance to the 5x10 rectangle: within 3 px of it outside, more than 2 px from its outside within.
    away = np.hypot(np.maximum(0, abs(rows - 12) - 2), np.maximum(0, abs(columns - 24.5) - 4.5))
    np.testing.assert_array_equal(pixels(tmp_path / "expand.png") > 0, away <= 3)
    inner = (abs(rows - 12) < 1) & (abs(columns - 24.5) < 3)
    np.testing.assert_array_equal(pixels(tmp_path / "contract.png") > 0, inner)


def test_masks_from_files_keep_their_sources(damgan, tmp_path):
    spot = save(tmp_path / "masks" / "spot.png", SPOT)
    before = spot.read_bytes()
    ran = damgan("mask", "expand", spot.parent, "--dilate", 3, "-o", spot.parent, "--overwrite")
    assert (ran.code, "replace the photos" in ran.err) == (2, True)
    assert spot.read_bytes() == before


def test_jpeg_masks_warn_from_every_process(damgan, tmp_path):
    for name in "abcd":
        save(tmp_path / "masks" / f"{name}.png", SPOT.astype(np.uint8) * 200)
    run = ("mask", "expand", tmp_path / "masks", "--dilate", 1, "-o", tmp_path / "out", "--workers", 2)
    ran = damgan(*run)
    assert ran.code == 0
    assert ran.err.count("not black and white only") == 3
    assert "1 more warnings like these" in ran.err
