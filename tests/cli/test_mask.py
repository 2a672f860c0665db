"""``damgan mask`` through the command line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from damgan_cli.masks.derive import SOURCE_KINDS
from damgan_cli.masks.generate import MASK_KINDS, make_mask, mask_rng
from tests.cli.mask_files import manifest, tree
from tests.files import pixels


def photo(path, width, height, **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 120, 30)).save(path, **save)
    return path


def test_makes_masks_of_the_size_and_hole_share_asked_for(damgan, tmp_path):
    out = tmp_path / "masks"
    ran = damgan(
        "mask", "irregular", "-o", out, "--size", "60x40", "--count", 3, "--ratio", "0.2-0.3", "--seed", 5
    )
    assert (ran.code, ran.out) == (0, "")
    assert "3 masks" in ran.err
    assert sorted(tree(out)) == ["00000.png", "00001.png", "00002.png", "manifest.csv"]
    for index, row in enumerate(manifest(out)):
        mask = pixels(out / row["file"])
        expected = make_mask("irregular", 40, 60, mask_rng(5, index), hole_share=(0.2, 0.3))
        np.testing.assert_array_equal(mask, expected)
        assert (row["kind"], row["seed"], row["index"]) == ("irregular", "5", str(index))
        assert (row["width"], row["height"]) == ("60", "40")
        assert float(row["ratio"]) == pytest.approx((mask > 0).mean(), abs=1e-6)
        assert 0.2 <= float(row["ratio"]) <= 0.3
        border = mask[[0, -1]].any() or mask[:, [0, -1]].any()
        assert row["touches_border"] == str(bool(border)).lower()


def test_same_seed_same_files(damgan, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert (
            damgan(
                "mask", "freeform", "box", "-o", tmp_path / name, "--size", 64, "-n", 4, "--seed", seed
            ).code
            == 0
        )
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a") != tree(tmp_path / "c")


def test_several_kinds_take_turns(damgan, tmp_path):
    damgan("mask", "center", "box", "-o", tmp_path / "m", "--size", 64, "-n", 5)
    assert [row["kind"] for row in manifest(tmp_path / "m")] == ["center", "box", "center", "box", "center"]


def test_one_file(damgan, tmp_path):
    ran = damgan("mask", "center", "-o", tmp_path / "center.png", "--size", 128, "-q")
    assert (ran.code, ran.out, ran.err.strip()) == (0, "", "")
    assert list(tree(tmp_path)) == ["center.png"]
    mask = pixels(tmp_path / "center.png")
    assert mask.dtype == np.uint8
    assert mask.sum() == 64 * 64 * 255


def test_json(damgan, tmp_path):
    ran = damgan("mask", "box", "-o", tmp_path / "m", "--size", 32, "-n", 2, "--json", "-q")
    document = json.loads(ran.out)
    assert document["version"] == 1
    assert document["failed"] == []
    for row, line in zip(document["masks"], manifest(tmp_path / "m"), strict=True):
        assert float(line.pop("ratio")) == row.pop("ratio")
        assert line == {key: "" if value is None else str(value).lower() for key, value in row.items()}
        mask = pixels(tmp_path / "m" / row["file"])
        assert row["sha256"] == hashlib.sha256(mask.tobytes()).hexdigest()
        assert row["version"] == 1


def test_same_files_on_any_number_of_processes(damgan, tmp_path):
    for workers in (1, 2, 3):
        run = ("mask", "irregular", "thin", "large", "--size", 48, "-n", 70, "--ratio", "0.1-0.4")
        assert damgan(*run, "-o", tmp_path / str(workers), "--workers", workers).code == 0
    assert len(tree(tmp_path / "1")) == 71
    assert tree(tmp_path / "1") == tree(tmp_path / "2") == tree(tmp_path / "3")


def test_number_and_size_of_boxes(damgan, tmp_path):
    run = ("mask", "box", "--size", 100, "-n", 3, "--box-count", "1-1", "--box-size", "0.2-0.2")
    assert damgan(*run, "-o", tmp_path / "m").code == 0
    assert {row["ratio"] for row in manifest(tmp_path / "m")} == {"0.040000"}


def test_preview_is_a_contact_sheet(damgan, tmp_path):
    sheet = tmp_path / "sheet.png"
    run = ("mask", "center", "box", "--size", "64x32", "-n", 6, "-o", tmp_path / "m")
    assert damgan(*run, "--preview", sheet).code == 0
    shown = pixels(sheet)
    assert shown.shape[0] >= 2 * 80
    assert shown.shape[1] >= 3 * 160
    assert (shown[8 + 20 : 8 + 60, 8 + 40 : 8 + 120] == 255).all()  # the centre mask, scaled to 160x80
    assert (shown[8 : 8 + 19, 8 : 8 + 160] == 0).all()
    again = damgan(*run, "--preview", sheet)
    assert (again.code, "sheet.png" in again.err) == (2, True)
    inside = damgan(*run, "--preview", tmp_path / "m" / "sheet.png", "--overwrite")
    assert (inside.code, "count as, a mask" in inside.err) == (2, True)


def test_like_a_folder_takes_size_and_path_of_each_photo(damgan, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "masks"
    turned = Image.Exif()
    turned[0x0112] = 6
    photo(photos / "a.jpg", 40, 30)
    photo(photos / "sub" / "b.PNG", 50, 20)
    photo(photos / "turned.jpg", 40, 30, exif=turned)
    photo(photos / "turned.tif", 60, 30, exif=turned).rename(photos / "also turned.tif")
    (photos / "notes.txt").write_text("no photo")
    assert damgan("mask", "box", "-o", out, "--like", photos).code == 0
    sizes = {name: pixels(out / name).shape for name in tree(out) if name.endswith(".png")}
    assert sizes == {
        "a.png": (30, 40),
        "sub/b.png": (20, 50),
        "turned.png": (40, 30),
        "also turned.png": (60, 30),
    }
    assert [row["file"] for row in manifest(out)] == ["a.png", "also turned.png", "sub/b.png", "turned.png"]


def test_like_one_photo(damgan, tmp_path):
    one = photo(tmp_path / "one.jpg", 40, 30)
    assert damgan("mask", "box", "-o", tmp_path / "hole.png", "--like", one).code == 0
    assert damgan("mask", "box", "-o", tmp_path / "masks", "--like", one).code == 0
    assert pixels(tmp_path / "hole.png").shape == (30, 40)
    assert sorted(tree(tmp_path / "masks")) == ["manifest.csv", "one.png"]


def test_like_reports_unreadable_photos_and_goes_on(damgan, tmp_path):
    photo(tmp_path / "photos" / "good.jpg", 40, 30)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"not a photo")
    ran = damgan("mask", "box", "-o", tmp_path / "masks", "--like", tmp_path / "photos", "--json")
    assert ran.code == 1
    assert "bad.jpg" in ran.err
    assert "good" not in ran.err
    document = json.loads(ran.out)
    assert [row["file"] for row in document["masks"]] == ["good.png"]
    assert [row["file"].endswith("bad.jpg") for row in document["failed"]] == [True]


def test_existing_masks_are_kept_unless_told(damgan, tmp_path):
    out = tmp_path / "masks"
    damgan("mask", "box", "-o", out, "--size", 32, "-n", 2)
    before = tree(out)
    ran = damgan("mask", "box", "-o", out, "--size", 32, "-n", 3, "--seed", 9)
    assert ran.code == 2
    assert "00000.png" in ran.err
    assert "--overwrite" in ran.err
    assert tree(out) == before
    assert damgan("mask", "box", "-o", out, "--size", 32, "-n", 3, "--seed", 9, "--overwrite").code == 0
    assert len(manifest(out)) == 3


def test_photos_are_never_replaced(damgan, tmp_path):
    one = photo(tmp_path / "photos" / "one.png", 40, 30)
    before = one.read_bytes()
    for like, out in ((one.parent, one.parent), (one, one), (one, one.parent)):
        ran = damgan("mask", "box", "--like", like, "-o", out, "--overwrite")
        assert ran.code == 2
        assert "replace the photos" in ran.err
    assert one.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["blob"], "no mask kind 'blob'"),
        (["box", "blob"], "no mask kind 'blob'"),
        (["box", "--size", "0"], "--size 0 is no size"),
        (["box", "--size", "12x"], "--size 12x is no size"),
        (["box", "--size", "large"], "--size large is no size"),
        (["box", "--size", "100000x100000"], "million pixels"),
        (["box", "--ratio", "0.3-0.2"], "--ratio 0.3-0.2 is no range"),
        (["box", "--ratio", "0.5-1.5"], "is no range"),
        (["box", "--ratio", "0.5"], "is no range"),
        (["box", "--ratio", "20-30%"], "is no range"),
        (["box", "center", "--ratio", "0.2-0.3"], "fixed hole share"),
        (["box", "--size", "8", "--ratio", "0.001-0.002"], "less than one of 64 pixels"),
        (["box", "--region", "2x2+0+0"], "--region is for masks made from files"),
        (["expand", "PHOTOS", "--dilate", "1", "--region", "2x2+0+0"], "--region does not go with expand"),
        (["from-alpha", "PHOTOS", "--region", "2x2"], "--region 2x2 is no region"),
        (["from-alpha", "PHOTOS", "--region", "0x2+0+0"], "--region 0x2+0+0 is no region"),
        (["box", "--count", "0"], "--count"),
        (["box", "--seed", "-1"], "--seed"),
        (["box", "--box-count", "0-3"], "--box-count 0-3 is no range of numbers of boxes"),
        (["box", "--box-count", "1.5-3"], "--box-count 1.5-3 is no range"),
        (["box", "--box-size", "0.1-3"], "--box-size 0.1-3 is no range of fractions"),
        (["box", "--dilate", "3"], "--dilate is for masks made from files"),
        (["box", "--preview", "sheet.jpg"], "must be a .png"),
        (["from-alpha"], "takes 1 file or folder, but 0"),
        (["from-diff", "PHOTOS"], "takes 2 files or folders, but 1"),
        (["from-diff", "PHOTOS", "PHOTOS/a.jpg"], "one is a file and one a folder"),
        (["from-alpha", "MISSING"], "does not exist"),
        (["from-alpha", "EMPTY"], "no images in"),
        (["from-alpha", "PHOTOS", "--ratio", "0.1-0.2"], "--ratio does not go with from-alpha"),
        (["from-alpha", "PHOTOS", "--color", "red"], "takes no --color"),
        (["from-color", "PHOTOS"], "needs --color"),
        (["from-color", "PHOTOS", "--color", "colour"], "is no colour"),
        (["expand", "PHOTOS"], "needs --dilate"),
        (["from-alpha", "TWINS"], "differ only in their extension"),
        (["box", "--like", "PHOTOS", "--size", "64"], "--size cannot be given too"),
        (["box", "--like", "PHOTOS", "--count", "2"], "--count cannot be given too"),
        (["box", "--like", "EMPTY"], "no photos in"),
        (["box", "--like", "MISSING"], "does not exist"),
        (["box", "--like", "TWINS"], "differ only in their extension"),
    ],
)
def test_wrong_usage_is_one_message_and_writes_nothing(damgan, tmp_path, arguments, words):
    photo(tmp_path / "PHOTOS" / "a.jpg", 40, 30)
    photo(tmp_path / "TWINS" / "a.jpg", 40, 30)
    photo(tmp_path / "TWINS" / "a.png", 40, 30)
    (tmp_path / "EMPTY").mkdir()
    arguments = [tmp_path / a if a.split("/")[0].isupper() else a for a in arguments]
    ran = damgan("mask", *arguments, "-o", tmp_path / "out")
    assert ran.code == 2
    assert words in " ".join(ran.err.split())
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_several_masks_do_not_fit_one_file(damgan, tmp_path):
    photo(tmp_path / "photos" / "a.jpg", 40, 30)
    for arguments in (["-n", 2], ["--like", tmp_path / "photos"]):
        ran = damgan("mask", "box", "-o", tmp_path / "one.png", *arguments)
        assert ran.code == 2
        assert "one file" in ran.err


def test_a_file_in_the_place_of_the_folder(damgan, tmp_path):
    (tmp_path / "taken").write_text("mine")
    ran = damgan("mask", "box", "-o", tmp_path / "taken", "-n", 2)
    assert ran.code == 2
    assert "taken" in ran.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_help_names_every_kind_and_shows_examples(damgan):
    ran = damgan("mask", "--help")
    assert ran.code == 0
    for kind in MASK_KINDS:
        family, _, detail = kind.partition("-")
        assert family in ran.out
        assert f"-{detail}" in ran.out
    assert all(usage in ran.out for usage in SOURCE_KINDS)
    assert ran.out.count("damgan mask ") >= 3


def test_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['damgan', 'mask', 'irregular', '-o', sys.argv[1], '--size', '32'];\n"
        "from damgan_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'torchvision'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "m"], check=True, timeout=60)
    assert (tmp_path / "m" / "00000.png").exists()
