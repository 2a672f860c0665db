"""What ``damgan inpaint`` refuses, in one message and before any work."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cli.inpaint_files import HOLE, one_error
from tests.files import pixels, save
from tests.photos.photo_kinds import HEIGHT, WIDTH, noise


def test_bad_photo_files(inpaint, photo, mask, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:2000])
    one_error(inpaint("nowhere.png", "--mask", "mask.png"), "nowhere.png does not exist")
    one_error(inpaint("empty.png", "--mask", "mask.png"), "empty.png is empty")
    one_error(inpaint("text.jpg", "--mask", "mask.png"), "text.jpg is not an image")
    one_error(inpaint("cut.png", "--mask", "mask.png"), "cut.png is truncated or damaged")
    assert not list(tmp_path.glob("*inpainted*"))


def test_bad_mask_files(inpaint, photo, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    save(tmp_path / "small.png", HOLE[:10])
    one_error(inpaint("photo.png", "--mask", "nowhere.png"), "mask nowhere.png does not exist")
    one_error(inpaint("photo.png", "--mask", "empty.png"), "empty.png is empty")
    one_error(inpaint("photo.png", "--mask", "text.png"), "text.png is not an image")
    one_error(inpaint("photo.png", "--mask", "small.png"), f"photo {WIDTH}x{HEIGHT}, mask {WIDTH}x10")
    one_error(inpaint("photo.png", "--mask", "."), "would be the photo itself")


def test_masks_of_several_pages_and_of_pixels_that_are_not_read(inpaint, photo, tree):
    pages = [Image.fromarray(HOLE)] * 2
    pages[0].save("pages.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(HOLE.astype(np.float32)).save("float.tif")
    one_error(inpaint("photo.png", "--mask", "pages.tif"), "The mask pages.tif holds 2 pictures")
    one_error(inpaint("photos", "--mask", "pages.tif", "-o", "out"), "The mask pages.tif holds 2 pictures")
    result = inpaint("photo.png", "--mask", "float.tif")
    one_error(result, "floating-point pixels: such a mask cannot be read", "Save it")


def test_unpaired_and_ambiguous_names_are_listed_before_any_work(inpaint, tree):
    save("photos/lonely.png", noise())
    save("masks/stray.png", HOLE)
    save("masks/a.png", HOLE)
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    one_error(result, "photos without masks: lonely (1)", "masks without photos: stray (1)", "a.bmp + a.png")
    assert not Path("out").exists()


def test_masks_of_other_sizes_are_all_listed_before_any_work(inpaint, tree):
    save("masks/a.bmp", HOLE[:, :9])
    save("masks/sub/b.bmp", HOLE[:8])
    result = inpaint("photos", "--mask", "masks", "-o", "out")
    one_error(result, f"a.png: photo {WIDTH}x{HEIGHT}, mask 9x{HEIGHT}", f"sub/b.png: photo {WIDTH}x{HEIGHT}")
    assert not Path("out").exists()


def test_where_output_may_not_go(inpaint, tree, photo, mask):
    one_error(inpaint("photos", "--mask", "masks"), "photos is a folder", "-o OUT")
    one_error(inpaint("photos", "--mask", "masks", "-o", "photos"), "both INPUT and OUT")
    one_error(inpaint("photos", "--mask", "masks", "-o", "photos/../masks"), "both OUT and the mask")
    one_error(
        inpaint("photos", "--mask", "masks", "-o", "out", "--attention", "out"), "both OUT and the folder"
    )
    one_error(inpaint("photo.png", "--mask", "mask.png", "-o", "./photo.png"), "is INPUT itself")
    one_error(inpaint("photo.png", "--mask", "mask.png", "-o", "mask.png"), "is the mask itself")
    one_error(inpaint("photo.png", "--mask", "mask.png", "-o", "out.gif"), ".gif is no known image format")
    Path("in-the-way").write_text("a file")
    one_error(inpaint("photos", "--mask", "masks", "-o", "in-the-way"), "in-the-way is a file, not a folder")
    one_error(inpaint("photo.png", "--mask", "mask.png", "-o", "in-the-way/x.png"), "is a file, not a folder")
    assert np.array_equal(pixels("photo.png"), noise())
    assert Path("in-the-way").read_text() == "a file"


def test_attention_maps_may_not_go_where_an_output_will_be(inpaint, tree, photo, mask):
    for folder in ("filled.png", "filled.png/maps"):
        result = inpaint("photo.png", "--mask", "mask.png", "-o", "filled.png", "--attention", folder)
        one_error(result, "filled.png is to be a file, an output itself")
    result = inpaint("photos", "--mask", "masks", "-o", "out", "--attention", "out/a.png")
    one_error(result, "a.png is to be a file")
    assert not Path("filled.png").exists()
    assert not Path("out").exists()


def test_an_unwritable_folder_is_found_before_any_work(inpaint, photo, mask, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # chmod does not stop root
    monkeypatch.setattr("damgan_cli.cli.inpaint._load_inpainter", None)
    one_error(inpaint("photo.png", "--mask", "mask.png"), "may not be written to")
    one_error(inpaint("photo.png", "--mask", "mask.png", "-o", "new/folder/x.png"), "may not be written to")


def test_an_empty_folder(inpaint, tmp_path, mask):
    (tmp_path / "nothing").mkdir()
    one_error(inpaint("nothing", "--mask", "mask.png", "-o", "out"), "no photos in nothing")


def test_bad_weights_and_devices(inpaint, photo, mask, tiny_weights, tmp_path):
    arguments = ("photo.png", "--mask", "mask.png")
    one_error(inpaint(*arguments, "--weights", "nonsense"), "no weights called 'nonsense'")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "model.safetensors"):
        (broken / name).write_bytes((tiny_weights / name).read_bytes())
    (broken / "model.safetensors").write_bytes((tiny_weights / "model.safetensors").read_bytes()[:-9])
    one_error(inpaint(*arguments, "--weights", broken), "corrupt")
    one_error(inpaint(*arguments, "--device", "cuda:99"), "cuda:99 is not available", "cpu")
    one_error(inpaint(*arguments, "--device", "toaster"), "no kind of device")
    one_error(inpaint(*arguments, "--device", "cpu", "--dtype", "float16"), "float16")
    one_error(inpaint(*arguments, "--dtype", "int4"), "no number type")
    assert not Path("photo.inpainted.png").exists()


def test_wrong_options_are_usage_errors(inpaint, photo, mask):
    for arguments in (
        ("photo.png",),
        ("photo.png", "--mask", "mask.png", "--batch-size", 0),
        ("photo.png", "--mask", "mask.png", "--batch-size", "many"),
        ("photo.png", "--mask", "mask.png", "--dilate", -1),
        ("photo.png", "--mask", "mask.png", "--nonsense"),
    ):
        assert inpaint(*arguments).code == 2


def test_animated_photos_are_refused(inpaint, mask, tmp_path):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    one_error(inpaint("moving.webp", "--mask", "mask.png"), "holds 2 pictures")
