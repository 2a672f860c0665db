"""Reading and writing image files: right pixels, or one clear error."""

from __future__ import annotations

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from damgan_cli.errors import ImageFileError
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.exif import ORIENTATION
from damgan_cli.photos.files import list_images
from damgan_cli.photos.limits import MAX_PIXELS, limit_pixels
from damgan_cli.photos.photo import display, store
from damgan_cli.photos.read import displayed_size, read_photo, read_rgb
from damgan_cli.photos.write import write_png
from tests.photos.photo_kinds import LOSSLESS, decompression_bomb, huge_row, noise


def test_list_is_recursive_sorted_and_leaves_hidden_files_out(tmp_path):
    for name in (
        "b.JPG",
        "a/z.webp",
        "a.png",
        "a/.hidden.png",
        ".dir-not-hidden.txt",
        "notes.txt",
        "c/d/e.TiFf",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.png", "a/z.webp", "b.JPG", "c/d/e.TiFf"]
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "a.png").touch()
    assert len(list_images(tmp_path)) == 4
    with pytest.raises(ImageFileError, match="does not exist"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ImageFileError, match="is a file"):
        list_images(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_listing_ends_in_spite_of_links_and_leaves_out_what_is_excluded_by_any_name(tmp_path):
    root = tmp_path / "photos"
    (root / "out").mkdir(parents=True)
    (root / "circle").symlink_to(root)
    (root / "itself.png").symlink_to("itself.png")
    (root / "broken.png").symlink_to("nowhere.png")
    for name in ("a.png", "mask.png", "out/b.png"):
        (root / name).touch()
    (root / "same-mask.png").symlink_to("mask.png")
    (tmp_path / "other-name").symlink_to(root / "out")
    found = list_images(root, [root / "mask.png", tmp_path / "other-name", tmp_path / "nowhere"])
    assert [path.name for path in found] == [
        "a.png",
        "broken.png",
        "itself.png",
    ]  # reading tells what is wrong
    for name, words in (("broken.png", "does not exist"), ("itself.png", "symbolic links")):
        with pytest.raises(ImageFileError, match=words):
            read_rgb(root / name)


def test_a_folder_that_cannot_be_read_is_not_left_out_unnoticed(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def forbidden(path):  # chmod does not stop root
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(ImageFileError, match=r"closed cannot be read \(Permission denied\)"):
        list_images(tmp_path)


@pytest.mark.parametrize("name", LOSSLESS)
def test_read_rgb_agrees_with_pillow(name, tmp_path):
    LOSSLESS[name](tmp_path / name)
    pixels = read_rgb(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert pixels.shape == (image.height, image.width, 3)
        if "16" not in name:
            assert np.array_equal(pixels, np.asarray(image.convert("RGBA").convert("RGB")))
    assert pixels.dtype == np.uint8


def test_16_bits_scale_to_8_exactly(tmp_path):
    eight = noise(3)
    cv2.imwrite(str(tmp_path / "a.png"), eight[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), eight)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.03, 0.4, 0.8])
def test_truncated_files(suffix, share, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.tile(noise(3), (3, 3, 1))).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ImageFileError) as caught:
        read_rgb(path)
    assert str(path) in caught.value.message


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_truncated_16_bit_files(tmp_path):
    for name in ("RGB16.png", "RGB16.tif"):
        LOSSLESS[name](tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageFileError):
            read_rgb(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_files_never_escape_as_other_errors(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("RGB.png", "P.png", "RGB16.png", "RGB.tif", "RGB.webp", "RGB.bmp"):
        path = tmp_path / name
        LOSSLESS[name](path)
        data = path.read_bytes()
        for _ in range(40):
            broken = bytearray(data)
            for place in rng.integers(0, 200, 5):
                broken[place] = rng.integers(256)
            path.write_bytes(bytes(broken))
            try:
                read_rgb(path)
                displayed_size(path)
            except ImageFileError:
                pass  # the only kind of error there may be


def test_missing_empty_foreign_and_folder(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(noise(3)).save(tmp_path / "a.gif")
    for name, words in {
        "nowhere.png": "does not exist",
        "empty.png": "is empty",
        "text.png": "not an image",
        "folder.png": "is a folder",
        "a.gif": "of the format GIF, which is not supported",
    }.items():
        for read in (read_rgb, read_mask, displayed_size):
            with pytest.raises(ImageFileError, match=words) as caught:
                read(tmp_path / name)
            assert name in caught.value.message


def test_decompression_bombs_are_refused_by_a_limit_one_can_raise(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # restored afterwards
    decompression_bomb(tmp_path / "bomb.png")
    for read in (read_rgb, read_mask, displayed_size):
        with pytest.raises(ImageFileError, match="179 million pixels, the limit against decompression bombs"):
            read(tmp_path / "bomb.png")
    write_png(tmp_path / "a.png", noise(1))
    try:
        limit_pixels(noise(1).size - 1)
        with pytest.raises(ImageFileError, match="decompression bombs"):
            read_rgb(tmp_path / "a.png")
        limit_pixels(noise(1).size)
        assert read_rgb(tmp_path / "a.png").shape == (*noise(1).shape, 3)
        limit_pixels(400_000_000)
        assert displayed_size(tmp_path / "bomb.png") == (20_000, 20_000)
    finally:
        limit_pixels()


def test_sizes_are_read_without_decoding_pixels(tmp_path, monkeypatch):
    names = {**LOSSLESS, "huge.png": huge_row}
    for name, write in names.items():
        write(tmp_path / name)
    for suffix in ("jpg", "webp", "avif"):
        Image.fromarray(noise(3)).save(tmp_path / f"a.{suffix}")
    late = tmp_path / "late.png"  # orientation behind the pixels
    Image.fromarray(noise(3)).save(late)
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    body = b"eXIf" + tags.tobytes().removeprefix(b"Exif\0\0")
    end = late.read_bytes()[-12:]
    chunk = struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
    late.write_bytes(late.read_bytes()[:-12] + chunk + end)
    load = ImageFile.ImageFile.load

    def load_stand_in(image):
        assert image.size == (1, 1), "pixels were decoded"
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load_stand_in)
    expected = {"huge.png": (MAX_PIXELS, 1), "late.png": (30, 41)}
    for path in tmp_path.iterdir():
        assert displayed_size(path) == expected.get(path.name, (41, 30)), path.name


def test_memory_that_runs_out_is_an_error_of_that_file(tmp_path, monkeypatch):
    huge_row(tmp_path / "huge.png")
    write_png(tmp_path / "a.png", noise(1))
    for read in (read_rgb, read_mask, read_photo):
        with pytest.raises(ImageFileError, match=r"huge.png does not fit in memory"):
            read(tmp_path / "huge.png")

    def no_memory(*_):
        raise MemoryError

    def no_memory_for_opencv(*_):
        return cv2.resize(np.zeros((1, 10**7, 3), np.uint8), (10**9, 128))

    for fail in (no_memory, no_memory_for_opencv):
        for place in ("photos.read", "masks.read"):
            monkeypatch.setattr(f"damgan_cli.{place}.rgb_of", fail)
        for read in (read_rgb, read_mask):
            with pytest.raises(ImageFileError, match=r"a.png does not fit in memory"):
                read(tmp_path / "a.png")


def test_orientation_turns_back_and_forth():
    pixels = noise(3)
    for orientation in range(1, 9):
        assert np.array_equal(store(display(pixels, orientation), orientation), pixels)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_displayed_size_from_the_header(suffix, orientation, tmp_path):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    Image.fromarray(noise(3)).save(tmp_path / f"a.{suffix}", exif=tags.tobytes())
    height, width = read_rgb(tmp_path / f"a.{suffix}").shape[:2]
    assert displayed_size(tmp_path / f"a.{suffix}") == (width, height)


# ------------------------------------------------------------------------------------------ writing
def test_write_png_round_trip_makes_folders_and_leaves_no_strays(tmp_path):
    for number, array in enumerate((noise(1), noise(3), noise(1) > 127)):
        path = tmp_path / "new" / "folder" / f"{number}.png"
        write_png(path, array)
        expected = array.astype(np.uint8) * 255 if array.dtype == bool else array
        assert np.array_equal(
            np.asarray(Image.open(path).convert("RGB" if array.ndim == 3 else "L")), expected
        )
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 3
