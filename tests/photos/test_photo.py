"""Known pixels and metadata survive filling, whatever kind of file a photo is."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import png
import pytest
from PIL import Image
from skimage import data

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.photos.color import alpha_of, rgb_of
from damgan_cli.photos.fill import filled, transparent
from damgan_cli.photos.read import read_photo, read_rgb
from damgan_cli.photos.write import write_photo
from tests.photos.filling import FILL, HOLE, fill_file
from tests.photos.photo_kinds import HEIGHT, ICC, LOSSLESS, WIDTH, mode_of, noise, stored_pixels


@pytest.mark.parametrize("name", LOSSLESS)
def test_known_pixels_mode_and_format_survive(name, tmp_path):
    source, target = tmp_path / name, tmp_path / "out" / name
    LOSSLESS[name](source)
    fill_file(source, target)
    assert mode_of(target) == mode_of(source)
    before, after = stored_pixels(source), stored_pixels(target)
    assert np.array_equal(after[~HOLE], before[~HOLE])
    changed = after[HOLE] != before[HOLE]
    assert changed.mean() > 0.2


@pytest.mark.parametrize("name", ["RGB.png", "RGB.tif", "RGB.bmp", "RGB.webp", "RGB16.png", "RGB16.tif"])
def test_fill_arrives_exactly(name, tmp_path):
    source = tmp_path / name
    LOSSLESS[name](source)
    fill_file(source, tmp_path / f"out-{name}")
    assert np.array_equal(read_rgb(tmp_path / f"out-{name}")[HOLE], FILL[HOLE])


@pytest.mark.parametrize("name", ["L.png", "LA.png", "RGB.png", "RGBA.png", "RGB.bmp"])
def test_filling_in_bands_changes_nothing(name, tmp_path, monkeypatch):
    LOSSLESS[name](tmp_path / name)
    fill_file(tmp_path / name, tmp_path / f"whole-{name}", fill=noise(seed=1))
    monkeypatch.setattr("damgan_cli.photos.fill._BAND", 4)
    fill_file(tmp_path / name, tmp_path / f"bands-{name}", fill=noise(seed=1))
    assert (tmp_path / f"bands-{name}").read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


def test_16_bit_fill_uses_the_full_range(tmp_path):
    source = tmp_path / "RGB16.png"
    LOSSLESS["RGB16.png"](source)
    fill_file(source, tmp_path / "out16.png")
    assert stored_pixels(tmp_path / "out16.png")[10, 10].tolist() == [20 * 257, 60 * 257, 200 * 257]


def test_gray_takes_luma(tmp_path):
    source = tmp_path / "L.png"
    LOSSLESS["L.png"](source)
    fill_file(source, tmp_path / "out.png")
    luma = round(0.299 * 200 + 0.587 * 60 + 0.114 * 20)
    assert stored_pixels(tmp_path / "out.png")[10, 10] == luma


@pytest.mark.parametrize("name", ["LA.png", "RGBA.png", "LA16.png", "RGBA16.png", "RGBA.tif", "RGBA.webp"])
def test_alpha_is_kept_unless_opaque_is_asked_for(name, tmp_path):
    source = tmp_path / name
    LOSSLESS[name](source)
    fill_file(source, tmp_path / f"kept-{name}")
    fill_file(source, tmp_path / f"opaque-{name}", opaque=True)
    before = stored_pixels(source)[..., -1]
    assert np.array_equal(stored_pixels(tmp_path / f"kept-{name}")[..., -1], before)
    opaque = stored_pixels(tmp_path / f"opaque-{name}")[..., -1]
    assert (opaque[HOLE] == np.iinfo(opaque.dtype).max).all()
    assert np.array_equal(opaque[~HOLE], before[~HOLE])


def test_transparent_pixels_are_the_mask(tmp_path):
    pixels = noise(4)
    pixels[..., 3] = 255
    pixels[HOLE, 3] = 0
    pixels[0, 0, 3] = 254
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = HOLE.copy()
    expected[0, 0] = True
    assert np.array_equal(transparent(read_photo(tmp_path / "a.png")), expected)
    palette = Image.fromarray(HOLE.astype(np.uint8), "L").convert("P")
    palette.putpalette([10, 20, 30, 0, 0, 0])
    palette.save(tmp_path / "p.png", transparency=1)
    photo = read_photo(tmp_path / "p.png")
    assert np.array_equal(transparent(photo), HOLE)
    write_photo(filled(photo, FILL, HOLE, opaque=True), tmp_path / "filled.png")
    assert (
        stored_pixels(tmp_path / "filled.png") == [10, 20, 30, 255]
    ).all()  # the one opaque colour there is
    Image.fromarray(noise(3)).save(tmp_path / "rgb.png")
    with pytest.raises(MaskError, match="no transparency"):
        transparent(read_photo(tmp_path / "rgb.png"))


def test_colour_key_transparency_becomes_alpha(tmp_path):
    pixels = noise(3)
    pixels[3, 3] = (200, 60, 20)  # the colour of the fill is the one that means "transparent"
    Image.fromarray(pixels).save(tmp_path / "key.png", transparency=(200, 60, 20))
    fill_file(tmp_path / "key.png", tmp_path / "out.png", opaque=True)
    after = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(after[~HOLE][:, :3], pixels[~HOLE])
    assert after[3, 3, 3] == 0
    assert (after[HOLE] == [200, 60, 20, 255]).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("share", [0, 0.4, 1])
@pytest.mark.parametrize("interlace", [False, True])
def test_transparent_gray_of_every_depth(bits, share, interlace, tmp_path):
    key = round(share * (2**bits - 1))
    gray = noise(1, np.uint16) >> (16 - bits)
    gray[0, :9] = key
    writer = png.Writer(41, 30, greyscale=True, bitdepth=bits, transparent=key, interlace=interlace)
    with (tmp_path / "key.png").open("wb") as file:
        writer.write(file, gray.tolist())
    assert np.array_equal(alpha_of(read_photo(tmp_path / "key.png")), np.where(gray == key, 0, 255))
    alpha = transparent(read_photo(tmp_path / "key.png"))
    assert np.array_equal(alpha, gray == key)
    fill_file(tmp_path / "key.png", tmp_path / "out.png")
    assert np.array_equal(alpha_of(read_photo(tmp_path / "out.png")) == 0, gray == key)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_transparent_gray_that_is_too_large_counts_by_its_lower_bits(bits, tmp_path):
    with (tmp_path / "key.png").open("wb") as file:
        png.Writer(4, 1, greyscale=True, bitdepth=bits, transparent=1).write(file, [[0, 1, 2, 3]])
    data = (tmp_path / "key.png").read_bytes()
    chunk = b"tRNS" + (1 + 2**bits).to_bytes(2, "big")
    place = data.index(b"tRNS")
    data = data[:place] + chunk + struct.pack(">L", zlib.crc32(chunk)) + data[place + 10 :]
    (tmp_path / "key.png").write_bytes(data)
    assert alpha_of(read_photo(tmp_path / "key.png")).tolist() == [[255, 0, 255, 255]]


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_key_transparency_of_16_bit_files(channels, tmp_path):
    pixels = noise(channels, np.uint16)
    cv2.imwrite(str(tmp_path / "a16.png"), pixels)
    key = np.atleast_1d(pixels[3, 3])[::-1].astype(">u2").tobytes()  # OpenCV's channels are BGR
    chunk = b"tRNS" + key
    data = (tmp_path / "a16.png").read_bytes()
    place = data.index(b"IDAT") - 4
    chunk = struct.pack(">L", len(key)) + chunk + struct.pack(">L", zlib.crc32(chunk))
    (tmp_path / "a16.png").write_bytes(data[:place] + chunk + data[place:])
    fill_file(tmp_path / "a16.png", tmp_path / "out16.png")
    after = stored_pixels(tmp_path / "out16.png")  # which OpenCV gives as BGRA
    assert np.array_equal(after[~HOLE][:, :channels], pixels[~HOLE].reshape(-1, channels))
    assert after[3, 3, 3] == 0
    assert (after[..., 3] == 0).sum() == 1


def test_cmyk_is_filled_by_its_profile_or_naively(tmp_path):
    LOSSLESS["CMYK.tif"](tmp_path / "CMYK.tif")
    fill_file(tmp_path / "CMYK.tif", tmp_path / "out.tif")
    assert stored_pixels(tmp_path / "out.tif")[10, 10].tolist() == [55, 195, 235, 0]
    # a profile of another colour model is not used (and a true CMYK one is not at hand in a test)
    Image.open(tmp_path / "CMYK.tif").save(tmp_path / "c.jpg", quality=95, icc_profile=ICC)
    fill_file(tmp_path / "c.jpg", tmp_path / "out.jpg")
    assert Image.open(tmp_path / "out.jpg").mode == "CMYK"
    assert np.abs(read_rgb(tmp_path / "out.jpg")[8:16, 10:25] - FILL[8:16, 10:25].astype(int)).mean() < 12


# ------------------------------------------------------------------------------------------ formats
def test_jpeg_keeps_the_coding_of_its_source(tmp_path):
    smooth = cv2.GaussianBlur(noise(3, size=(160, 200)), (0, 0), 3)
    hole = np.zeros((160, 200), bool)
    hole[60:90, 80:130] = True
    far = cv2.dilate(hole.astype(np.uint8), np.ones((65, 65))) == 0
    fill = np.full((160, 200, 3), 90, np.uint8)
    for quality, sampling, progressive in ((60, 2, False), (85, 1, True), (92, 0, False)):
        coding = {"quality": quality, "subsampling": sampling, "progressive": progressive}
        Image.fromarray(smooth).save(tmp_path / "a.jpg", **coding)
        photo = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", fill, hole)
        with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
            assert after.quantization == before.quantization
            assert after.layer == before.layer
            assert bool(after.info.get("progressive")) == progressive
        change = np.abs(read_rgb(tmp_path / "b.jpg").astype(int) - rgb_of(photo))[far]
        assert (change == 0).mean() > 0.9
        assert change.mean() < 0.15
    write_photo(photo, tmp_path / "small.jpg", quality=30)
    assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size / 2


@pytest.mark.parametrize(
    ("quality", "sampling", "unchanged", "mean"),
    [(75, 0, 0.97, 0.05), (90, 2, 0.82, 0.30), (95, 2, 0.76, 0.41)],
)
def test_a_jpeg_changes_far_from_the_hole_as_little_as_documented(
    quality, sampling, unchanged, mean, tmp_path
):
    Image.fromarray(data.astronaut()).save(tmp_path / "a.jpg", quality=quality, subsampling=sampling)
    hole, near = np.zeros((2, 512, 512), bool)
    hole[96:160, 96:160], near[64:192, 64:192] = True, True
    photo = fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg", np.full((512, 512, 3), 128, np.uint8), hole)
    change = np.abs(read_rgb(tmp_path / "b.jpg").astype(int) - rgb_of(photo))[~near]
    assert (change == 0).mean() > unchanged
    assert change.mean() < mean
    assert np.percentile(change, 95) <= 2


def test_other_jpegs_are_written_at_95_without_subsampling(tmp_path):
    Image.fromarray(noise(3)).save(tmp_path / "q95.jpg", quality=95, subsampling=0)
    tables = Image.open(tmp_path / "q95.jpg").quantization
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    fill_file(tmp_path / "a.png", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as after:
        assert after.quantization == tables
        assert after.layer[0][1:3] == (1, 1)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("L", {}), ("CMYK", {}), ("RGB", {"keep_rgb": True}), ("RGB", {"qtables": [list(range(1, 65))]})],
)
def test_jpegs_of_other_colour_models_keep_their_coding(mode, options, tmp_path):
    smooth = Image.fromarray(cv2.GaussianBlur(noise(3), (0, 0), 4)).convert(mode)
    smooth.save(tmp_path / "a.jpg", **{"quality": 60, "progressive": True, "subsampling": 0, **options})
    fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        assert (after.mode, after.layer, after.quantization) == (mode, before.layer, before.quantization)
        assert after.info.get("adobe_transform") == before.info.get("adobe_transform")
        assert after.info["progressive"]


def test_chroma_that_pillow_cannot_sample_alike_is_written_in_full(tmp_path):
    smooth = cv2.GaussianBlur(noise(3), (0, 0), 4)
    for sampling in (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440):
        cv2.imwrite(str(tmp_path / "a.jpg"), smooth, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
        fill_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
        with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
            assert after.quantization == before.quantization
            assert [layer[1:3] for layer in after.layer] == [(1, 1)] * 3


def test_webp_stays_lossy_if_it_was(tmp_path):
    smooth = cv2.GaussianBlur(noise(3), (0, 0), 3)
    Image.fromarray(smooth).save(tmp_path / "lossy.webp", quality=80)
    fill_file(tmp_path / "lossy.webp", tmp_path / "out.webp")
    assert b"VP8 " in (tmp_path / "out.webp").read_bytes()
    Image.fromarray(smooth).save(tmp_path / "a.png")
    fill_file(tmp_path / "a.png", tmp_path / "from-png.webp")
    assert np.array_equal(read_rgb(tmp_path / "from-png.webp")[~HOLE], smooth[~HOLE])


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg", "bmp"])
def test_every_kind_goes_to_every_format(name, suffix, tmp_path):
    source, target = tmp_path / name, tmp_path / f"out.{suffix}"
    LOSSLESS[name](source)
    photo = read_photo(source)
    if suffix in {"jpg", "bmp"} and alpha_of(photo) is not None:
        with pytest.raises(ImageFileError, match="transparen"):
            write_photo(photo, target)
        assert not target.exists()
        return
    write_photo(photo, target)
    difference = np.abs(read_rgb(target).astype(int) - rgb_of(photo))
    assert difference.max() <= (255 if suffix == "jpg" else 0)
    assert difference.mean() < (25 if suffix == "jpg" else 1)  # noise is JPEG's worst case


def test_a_wrong_extension_keeps_the_true_format(tmp_path):
    Image.fromarray(noise(3)).save(tmp_path / "truly.png")
    (tmp_path / "truly.png").rename(tmp_path / "named.jpg")
    fill_file(tmp_path / "named.jpg", tmp_path / "out" / "named.jpg")
    assert Image.open(tmp_path / "out" / "named.jpg").format == "PNG"
    assert np.array_equal(stored_pixels(tmp_path / "out" / "named.jpg")[~HOLE], noise(3)[~HOLE])


def test_a_jpeg_with_previews_behind_it_is_a_jpeg(tmp_path):
    first, preview = Image.fromarray(noise(3)), Image.fromarray(noise(3, seed=1)).resize((10, 8))
    first.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[preview])
    assert Image.open(tmp_path / "phone.jpg").format == "MPO"
    fill_file(tmp_path / "phone.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as after:
        assert (after.format, after.size) == ("JPEG", (WIDTH, HEIGHT))
    assert np.array_equal(
        rgb_of(read_photo(tmp_path / "phone.jpg")), np.asarray(Image.open(tmp_path / "phone.jpg"))
    )


def test_what_cannot_be_kept_whole_is_refused(tmp_path):
    frames = [Image.fromarray(noise(3, seed=seed)) for seed in (1, 2)]
    for name in ("moving.webp", "moving.png", "pages.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ImageFileError, match="holds 2 pictures"):
            read_photo(tmp_path / name)
    Image.fromarray(noise(1).astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ImageFileError, match="has signed or floating-point pixels"):
        read_photo(tmp_path / "float.tif")
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match="no known image format"):
        write_photo(read_photo(tmp_path / "a.png"), tmp_path / "a.gif")
