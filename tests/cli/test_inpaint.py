"""``damgan inpaint`` as a user runs it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from damgan_cli.inpainting.inpainter import Inpainter
from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import pixels, save
from tests.photos.photo_kinds import HEIGHT, LOSSLESS, WIDTH, mode_of, noise, stored_pixels


# ------------------------------------------------------------------------------------------ one photo
def test_one_photo_without_out(inpaint, photo, mask):
    result = inpaint("photo.png", "--mask", "mask.png")
    assert result.code == 0, result.err
    assert result.out == ""
    assert "1 filled in" in result.err
    assert "photo.inpainted.png" in result.err
    after = pixels("photo.inpainted.png")
    assert np.array_equal(after[~HOLE], noise()[~HOLE])
    assert not np.array_equal(after[HOLE], noise()[HOLE])
    assert np.array_equal(pixels("photo.png"), noise())


def test_out_may_be_a_file_a_folder_or_another_format(inpaint, photo, mask):
    for out, made in (
        ("x/y.png", "x/y.png"),
        ("new", "new/photo.png"),
        ("x", "x/photo.png"),
        ("z.webp", "z.webp"),
    ):
        assert inpaint("photo.png", "--mask", "mask.png", "-o", out).code == 0
        assert np.array_equal(pixels(made)[~HOLE], noise()[~HOLE])
    assert Image.open("z.webp").format == "WEBP"


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_kind_of_photo_keeps_its_known_pixels_and_mode(inpaint, mask, tmp_path, name):
    LOSSLESS[name](tmp_path / name)
    assert inpaint(name, "--mask", "mask.png", "-o", f"out/{name}").code == 0
    before, after = stored_pixels(tmp_path / name), stored_pixels(tmp_path / "out" / name)
    assert np.array_equal(after[~HOLE], before[~HOLE])
    assert not np.array_equal(after[HOLE], before[HOLE])
    assert mode_of(tmp_path / "out" / name) == mode_of(tmp_path / name)


def test_metadata_of_a_jpeg_survives(inpaint, mask, tmp_path):
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags[0x0112] = 8
    save(tmp_path / "p.jpg", noise(), exif=tags.tobytes(), icc_profile=b"profile", dpi=(200, 200))
    turned = save(tmp_path / "turned.png", np.rot90(HOLE))
    assert inpaint("p.jpg", "--mask", turned).code == 0
    with Image.open("p.inpainted.jpg") as after:
        assert after.getexif()[0x010F] == "Maker"
        assert after.getexif()[0x0112] == 8
        assert after.info["icc_profile"] == b"profile"
        assert after.info["dpi"] == (200, 200)
        assert after.size == (WIDTH, HEIGHT)
        assert after.quantization == Image.open("p.jpg").quantization
    result = inpaint("p.jpg", "--mask", "mask.png", "--overwrite")  # sizes are those one sees
    assert result.code == 2
    assert f"photo {HEIGHT}x{WIDTH}, mask {WIDTH}x{HEIGHT}" in result.err


def test_alpha_as_mask(inpaint, tmp_path):
    rgba = noise(4)
    rgba[..., 3] = np.where(HOLE, 0, 255)
    save(tmp_path / "cutout.png", rgba)
    assert inpaint("cutout.png", "--mask", "alpha").code == 0
    after = pixels("cutout.inpainted.png")
    assert (after[..., 3] == 255).all()
    assert np.array_equal(after[~HOLE], rgba[~HOLE])
    assert not np.array_equal(after[HOLE][:, :3], rgba[HOLE][:, :3])
    save(tmp_path / "opaque.png", noise())
    result = inpaint("opaque.png", "--mask", "alpha")
    assert result.code == 2
    assert "no transparency" in result.err
    assert inpaint("cutout.png", "--mask", "alpha", "--invert-mask").code == 2


def test_invert_and_dilate(inpaint, photo, tmp_path):
    save(tmp_path / "inverted.png", ~HOLE)
    assert inpaint("photo.png", "--mask", "inverted.png", "--invert-mask").code == 0
    assert np.array_equal(pixels("photo.inpainted.png")[~HOLE], noise()[~HOLE])
    assert not np.array_equal(pixels("photo.inpainted.png")[HOLE], noise()[HOLE])
    save(tmp_path / "dot.png", np.pad([[True]], ((14, HEIGHT - 15), (20, WIDTH - 21))))
    assert inpaint("photo.png", "--mask", "dot.png", "--dilate", 3, "-o", "dilated.png", "--json").code == 0
    rows, columns = np.indices((HEIGHT, WIDTH))
    near = np.hypot(rows - 14, columns - 20) <= 3
    changed = (pixels("dilated.png") != noise()).any(-1)
    assert not (changed & ~near).any()
    assert changed[near].mean() > 0.9


def test_attention_map(inpaint, photo, mask):
    assert inpaint("photo.png", "--mask", "mask.png", "--attention", "maps").code == 0
    fakeness = pixels("maps/photo.png")
    assert fakeness.shape == (HEIGHT, WIDTH)
    assert (fakeness[~HOLE] == 0).all()
    assert fakeness[HOLE].any()


def test_empty_mask_is_copied_with_a_note_and_a_full_one_filled_with_a_warning(inpaint, tmp_path):
    photo = save(tmp_path / "p.jpg", noise())
    save(tmp_path / "none.png", np.zeros_like(HOLE))
    save(tmp_path / "all.png", np.ones_like(HOLE))
    result = inpaint("p.jpg", "--mask", "none.png", "-o", "copy.jpg")
    assert result.code == 0
    assert "the mask is empty, copied as it is" in result.err
    assert Path("copy.jpg").read_bytes() == photo.read_bytes()
    result = inpaint("p.jpg", "--mask", "all.png", "-o", "all.jpg")
    assert result.code == 0
    assert "covers the whole photo" in result.err
    assert Image.open("all.jpg").size == (WIDTH, HEIGHT)


def test_soft_masks_warn_once(inpaint, photo, tmp_path):
    soft = noise(1)
    save(tmp_path / "soft.png", soft)
    result = inpaint("photo.png", "--mask", "soft.png")
    assert result.code == 0
    assert result.err.count("not black and white") == 1
    assert np.array_equal(pixels("photo.inpainted.png")[soft <= 127], noise()[soft <= 127])


# ------------------------------------------------------------------------------------------ folders
def test_a_folder_is_mirrored(inpaint, tree):
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    assert result.code == 0, result.err
    assert "3 filled in" in result.err
    assert files("out") == ["a.png", "sub/b.png", "sub/deep/c.png"]
    for number, name in enumerate(files("out")):
        before, after = noise(seed=number), pixels(Path("out", name))
        assert np.array_equal(after[~HOLE], before[~HOLE])
        assert not np.array_equal(after[HOLE], before[HOLE])


def test_one_mask_for_all(inpaint, tree, mask):
    assert inpaint("photos", "--mask", "mask.png", "-o", "out").code == 0
    assert len(files("out")) == 3


def test_a_run_is_resumed_by_the_same_command(inpaint, tree):
    assert inpaint("photos", "--mask", "masks", "-o", "out").code == 0
    Path("out/sub/b.png").unlink()
    Path("out/a.png").write_bytes(b"mine")
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    assert result.code == 0
    assert "1 filled, 2 skipped" in result.err
    assert Path("out/a.png").read_bytes() == b"mine"
    result = inpaint("photos", "--mask", "masks", "-o", "out", "--overwrite")
    assert "3 filled in" in result.err
    assert np.array_equal(pixels("out/a.png")[~HOLE], noise()[~HOLE])


def test_folders_inside_input_are_no_input(inpaint, tree):
    Path("masks").rename("photos/masks")
    arguments = ("photos", "--mask", "photos/masks", "-o", "photos/out", "--attention", "photos/maps")
    for overwrite in ([], ["--overwrite"]):
        result = inpaint(*arguments, *overwrite)
        assert result.code == 0, result.err
        assert "3 filled" in result.err
    assert files("photos/out") == files("photos/maps") == ["a.png", "sub/b.png", "sub/deep/c.png"]
    Path("photos/masks/a.bmp").rename("photos/mask.bmp")
    result = inpaint("photos", "--mask", "photos/mask.bmp", "-o", "photos/out2", "--attention", "photos/maps")
    assert "out/a.png" in files("photos/out2")  # an OUT of another run is INPUT like any folder
    assert "mask.bmp" not in files("photos/out2")


def test_earlier_single_results_are_not_filled_again(inpaint, tree, mask):
    assert inpaint("photos/a.png", "--mask", "mask.png").code == 0
    result = inpaint("photos", "--mask", "mask.png", "-o", "out")
    assert "1 earlier results" in result.err
    assert files("out") == ["a.png", "sub/b.png", "sub/deep/c.png"]


def test_earlier_results_without_a_mask_of_their_own_are_left_out(inpaint, tree):
    for name in ("photos/a", "photos/sub/b"):
        assert inpaint(f"{name}.png", "--mask", f"{name.replace('photos', 'masks')}.bmp").code == 0
    save("masks/a.inpainted.png", HOLE)
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    assert result.code == 0
    assert "1 earlier results" in result.err
    assert files("out") == ["a.inpainted.png", "a.png", "sub/b.png", "sub/deep/c.png"]
    save("photos/x.inpainted.png", noise())  # of no x.png
    assert "photos without masks: x.inpainted" in inpaint("photos", "--mask", "masks", "-o", "out").err


def test_pictures_of_a_kind_that_is_not_read_are_named(inpaint, tree, mask):
    for name in ("moving.gif", "sub/raw.CR2", "sub/notes.txt"):
        Path("photos", name).touch()
    result = inpaint("photos", "--mask", "mask.png", "-o", "out", "--json")
    assert result.code == 0
    assert json.loads(result.out)["left_out"] == ["photos/moving.gif", "photos/sub/raw.CR2"]
    assert "left out, as these kinds are not read: 2 of .cr2, .gif" in result.err
    assert files("out") == ["a.png", "sub/b.png", "sub/deep/c.png"]


def test_a_file_that_fails_is_reported_and_the_rest_go_on(inpaint, tree):
    Path("photos/sub/b.png").write_bytes(Path("photos/sub/b.png").read_bytes()[:1500])
    save("photos/d.png", noise())
    Path("masks/d.bmp").touch()
    result = inpaint("photos", "--mask", "masks", "-o", "out", "--json")
    assert result.code == 1
    assert "sub/b.png: " in result.err
    assert "masks/d.bmp is empty" in result.err
    assert "2 filled, 2 failed" in result.err
    assert files("out") == ["a.png", "sub/deep/c.png"]
    entries = {Path(entry["photo"]).name: entry for entry in json.loads(result.out)["files"]}
    assert entries["b.png"]["status"] == "failed"
    assert "truncated" in entries["b.png"]["error"]
    assert entries["a.png"]["status"] == "filled"


def test_a_batch_that_breaks_is_done_one_by_one(inpaint, tree, monkeypatch):
    fill_batch = Inpainter.fill_batch

    def picky(self, images, holes, **options):
        if any(np.array_equal(image, noise(seed=1)) for image in images):
            raise RuntimeError("boom")
        return fill_batch(self, images, holes, **options)

    monkeypatch.setattr(Inpainter, "fill_batch", picky)
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    assert result.code == 1
    assert "sub/b.png: unexpected RuntimeError: boom" in result.err
    assert files("out") == ["a.png", "sub/deep/c.png"]


def test_json(inpaint, tree, tiny_weights):
    save("photos/z.png", noise())
    save("masks/z.png", np.zeros_like(HOLE))
    inpaint("photos/a.png", "--mask", "masks/a.bmp", "-o", "out/a.png")
    result = inpaint(
        "photos", "--mask", "masks", "-o", "out", "--json", "-q", "--device", "cpu", "--dtype", "float32"
    )
    assert result.code == 0
    assert result.err == ""
    report = json.loads(result.out)
    assert report["version"] == 1
    assert report["weights"] == {"name": str(tiny_weights), "source": "folder", "revision": None}
    assert (report["device"], report["dtype"]) == ("cpu", "float32")
    assert report["counts"] == {"filled": 2, "copied": 1, "skipped": 1, "failed": 0, "planned": 0}
    assert report["seconds"] > 0
    entries = {Path(entry["photo"]).name: entry for entry in report["files"]}
    assert entries["a.png"]["status"] == "skipped"
    assert entries["z.png"]["status"] == "copied"
    filled = entries["c.png"]
    assert filled["output"] == "out/sub/deep/c.png"
    assert (filled["width"], filled["height"]) == (WIDTH, HEIGHT)
    assert filled["hole_ratio"] == pytest.approx(HOLE.mean())
    assert filled["seconds"] > 0


def test_dry_run_writes_nothing_and_loads_no_model(inpaint, tree):
    before = files(".")
    result = inpaint(
        "photos", "--mask", "masks", "-o", "out", "--attention", "maps", "--dry-run", "--weights", "x"
    )
    assert result.code == 0
    assert result.out.splitlines()[0] == "photos/a.png -> out/a.png"
    assert "3 to fill, 0 exist already" in result.err
    assert files(".") == before
    assert not Path("out").exists()
    result = inpaint("photos", "--mask", "masks", "-o", "out", "--dry-run", "--json")
    assert json.loads(result.out)["counts"]["planned"] == 3


def test_quiet_prints_errors_only(inpaint, tree):
    assert inpaint("photos", "--mask", "masks", "-o", "out", "-q").err == ""


def test_a_slash_behind_out_makes_it_a_folder(inpaint, photo, mask):
    assert inpaint("photo.png", "--mask", "mask.png", "-o", "filled.v2/").code == 0
    assert inpaint("photo.png", "--mask", "mask.png", "-o", "filled.png/").code == 0
    assert Path("filled.v2/photo.png").is_file()
    assert Path("filled.png/photo.png").is_file()
    result = inpaint("photo.png", "--mask", "mask.png", "-o", "filled.v3")
    one_error(result, ".v3 is no known image format", "or a folder: filled.v3/")


def test_what_the_terminal_cannot_show_is_escaped(inpaint, photo, mask, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "cp1252", write_through=True))
    arguments = ("photo.png", "--mask", "mask.png", "-o", "出力/né.png")
    assert inpaint(*arguments, "--dry-run").code == 0
    assert sys.stdout.buffer.getvalue().decode("cp1252") == "photo.png -> \\u51fa\\u529b/né.png\n"
    assert inpaint(*arguments).code == 0
    assert Path("出力/né.png").is_file()
    assert "\\u51fa\\u529b/né.png" in sys.stderr.buffer.getvalue().decode("cp1252")
