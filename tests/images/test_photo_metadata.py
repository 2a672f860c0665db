"""What a photo carries beside its pixels survives filling, and its orientation is honoured."""

from __future__ import annotations

import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from damgan_cli.errors import ImageFileError
from damgan_cli.images.decode import decode
from damgan_cli.images.files import read_rgb
from damgan_cli.images.photo import read_photo, write_photo
from damgan_cli.images.pixels import store
from tests.images.photo_kinds import ICC, LOSSLESS, exif, noise, stored_pixels
from tests.images.test_photo import HOLE, fill_file


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_icc_and_dpi_survive(suffix, orientation, tmp_path):
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    options = {"compression": "raw"} if suffix == "tif" else {}
    Image.fromarray(noise(3)).save(source, exif=exif(orientation), icc_profile=ICC, dpi=(300, 150), **options)
    shape = HOLE.T.shape if orientation == 6 else HOLE.shape
    fill_file(source, target, np.zeros((*shape, 3), np.uint8), np.ones(shape, bool))
    with Image.open(source) as before, Image.open(target) as after:
        tags, old = after.getexif(), before.getexif()
        assert tags[0x010F] == "Maker"
        assert tags.get(0x0112) == orientation
        assert tags.get_ifd(0x8769) == old.get_ifd(0x8769) != {}
        assert tags.get_ifd(0x8825) == old.get_ifd(0x8825) != {}
        assert after.info["icc_profile"] == ICC
        assert after.size == before.size
        if suffix != "webp":  # which has no resolution of its own
            assert tuple(map(float, after.info["dpi"])) == tuple(map(float, before.info["dpi"]))


@pytest.mark.parametrize("name", ["RGB16.png", "RGB16.tif"])
def test_16_bit_files_keep_metadata(name, tmp_path):
    # Pillow writes no such file: put the metadata of an 8-bit JPEG around 16-bit pixels
    suffix = name.split(".")[1]
    Image.fromarray(noise(3)).save(tmp_path / "j.jpg", exif=exif(), icc_profile=ICC, dpi=(300, 300))
    LOSSLESS[name](tmp_path / name)
    carrier, deep = read_photo(tmp_path / "j.jpg"), read_photo(tmp_path / name)
    joined = replace(carrier, decoded=replace(deep.decoded, exif=carrier.decoded.exif, format="JPEG"))
    write_photo(joined, tmp_path / f"meta.{suffix}")
    fill_file(tmp_path / f"meta.{suffix}", tmp_path / f"out16.{suffix}")
    with Image.open(tmp_path / f"out16.{suffix}") as after:
        assert after.info["icc_profile"] == ICC
        assert round(after.info["dpi"][0]) == 300
        assert after.getexif().get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"
    assert np.array_equal(
        stored_pixels(tmp_path / f"out16.{suffix}")[~HOLE], stored_pixels(tmp_path / name)[~HOLE]
    )


def test_xmp_goes_along_to_other_formats(tmp_path):
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    segment = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    Image.fromarray(noise(3)).save(tmp_path / "a.jpg", extra=segment)
    photo = read_photo(tmp_path / "a.jpg")
    for suffix in ("jpg", "png", "webp", "tif"):
        write_photo(photo, tmp_path / f"b.{suffix}")
        with Image.open(tmp_path / f"b.{suffix}") as after:
            after.load()
            found = after.info.get("xmp") or after.tag_v2[700]
        assert found == xmp


def test_png_text_and_gamma_survive(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Title", "Ein Bild", "de", "Titel")
    text.add(b"gAMA", struct.pack(">L", 45455))
    Image.fromarray(noise(3)).quantize(50).save(tmp_path / "a.png", pnginfo=text)
    fill_file(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as after:
        assert after.text["Title"] == "Ein Bild"
        assert after.info["gamma"] == pytest.approx(0.45455)


def test_exif_thumbnail_is_cut_as_it_shows_what_was_removed(tmp_path):
    Image.fromarray(noise(3)).save(tmp_path / "a.jpg", exif=exif(thumbnail=True))
    assert b"SECRET" in (tmp_path / "a.jpg").read_bytes()
    fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert b"SECRET" not in (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "b.jpg") as after:
        assert after.getexif()[0x010F] == "Maker"
        assert after.getexif().get_ifd(1) == {}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the same
def test_malformed_exif_does_no_harm(tmp_path):
    good = exif(6, thumbnail=True)
    for cut in range(6, len(good), 7):
        Image.fromarray(noise(3)).save(tmp_path / "a.jpg", exif=good[:cut])
        photo = read_photo(tmp_path / "a.jpg")
        write_photo(photo, tmp_path / "b.jpg")
        assert read_rgb(tmp_path / "b.jpg").shape == photo.rgb.shape


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_mask_and_fill_are_in_displayed_orientation(suffix, orientation, tmp_path):
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    pixels = cv2.GaussianBlur(noise(3), (0, 0), 4)
    Image.fromarray(pixels).save(
        source, exif=exif(orientation), **({"quality": 95} if suffix == "jpg" else {})
    )
    shown = np.asarray(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))
    photo = read_photo(source)
    assert np.array_equal(photo.rgb, shown)
    assert np.array_equal(read_rgb(source), shown)
    hole = np.zeros(shown.shape[:2], bool)
    hole[2:9, 3:20] = True
    fill = np.zeros_like(shown)
    write_photo(photo.filled(fill, hole), target)
    after = read_rgb(target)
    assert after[hole].mean() < 12
    assert np.abs(after[~hole].astype(int) - shown[~hole]).mean() < 4
    if suffix != "jpg":
        assert np.array_equal(after[~hole], shown[~hole])
    # another format: upright pixels, so that programs that ignore the tag show them right as well
    write_photo(photo.filled(fill, hole), tmp_path / "c.bmp")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "c.bmp")), photo.filled(fill, hole).rgb)
    other = tmp_path / ("c.png" if suffix != "png" else "c.webp")
    write_photo(photo.filled(fill, hole), other)
    assert Image.open(other).getexif().get(0x0112, 1) == 1
    assert Image.open(other).size == shown.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["I16.tif", "RGB16.tif", "RGBA16.tiff", "I16.png", "LA16.png", "RGB16.png"])
def test_16_bit_files_are_turned_once(name, orientation, tmp_path):
    source, target = tmp_path / name, tmp_path / "out" / name
    LOSSLESS[name](source, exif=exif(orientation))
    photo, before = read_photo(source), stored_pixels(source)
    eight = ((before.astype(int) + 128) // 257).astype(np.uint8)
    picture = Image.fromarray(eight if eight.ndim == 2 else eight[..., [2, 1, 0]]).convert("RGB")
    picture.getexif()[0x0112] = orientation
    assert np.array_equal(photo.rgb, np.asarray(ImageOps.exif_transpose(picture)))
    hole = np.zeros(photo.rgb.shape[:2], bool)
    hole[2:9, 3:20] = True
    write_photo(photo.filled(np.zeros_like(photo.rgb), hole), target)
    after, inside = stored_pixels(target), store(hole, orientation)
    assert np.array_equal(after[~inside], before[~inside])
    assert not np.array_equal(after[inside], before[inside])
    assert decode(target).orientation == orientation


def test_a_turned_16_bit_bigtiff_is_refused_as_nothing_at_hand_reads_it_right(tmp_path):
    orientation = (274, "H", 1, 6, True)
    tifffile.imwrite(tmp_path / "a.tif", noise(3, np.uint16), bigtiff=True, extratags=[orientation])
    with pytest.raises(ImageFileError, match="to be turned, in a BigTIFF"):
        read_photo(tmp_path / "a.tif")
