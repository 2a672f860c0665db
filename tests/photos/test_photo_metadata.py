"""What a photo carries beside its pixels survives filling, and its orientation is honoured."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.color import rgb_of
from damgan_cli.photos.exif import patch_exif, patch_photoshop, patch_xmp
from damgan_cli.photos.fill import filled
from damgan_cli.photos.photo import store
from damgan_cli.photos.read import read_photo, read_rgb
from damgan_cli.photos.write import write_photo
from tests.photos.filling import FILL, HOLE, fill_file
from tests.photos.photo_kinds import ICC, LOSSLESS, exif, noise, stored_pixels


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
    joined = replace(carrier, pixels=deep.pixels, mode=deep.mode)
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


@pytest.mark.parametrize("end", "<>")
def test_uncompressed_exif_thumbnails_are_blanked_strip_by_strip(end):
    head = (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(end + "LHL", 8, 0, 14)
    strips = struct.pack(end + "HHHLLHHLHHL", 2, 0x0111, 4, 2, 44, 0x0117, 3, 2, 7, 6, 0)  # 7 and 6 bytes ...
    places = struct.pack(end + "LL", 52, 60)  # ... in two places
    before = b"Exif\0\0" + head + strips + places + b"SECRET1+SECRET-the rest"
    after = patch_exif(before)
    assert len(after) == len(before)
    assert b"SECRET" not in after
    assert after.endswith(bytes(7 + 1 + 6 + 9))  # and what nothing points to


def test_jpegs_in_maker_notes_are_blanked():
    tags = Image.Exif()
    tags[0x8769] = {0x927C: b"own \xff\xd8\xff\xe0SECRET\xff\xd9 note"}
    before = tags.tobytes()
    after = patch_exif(before)
    assert after == before.replace(b"own \xff\xd8\xff\xe0SECRET\xff\xd9 note", bytes(21))
    assert type(after) is bytes


@pytest.mark.parametrize(
    "picture",
    [
        b"<xmpGImg:image>SECRET</xmpGImg:image>",
        b"<xapGImg:image>SECRET</xapGImg:image>",
        b"<rdf:Description xmpGImg:image='SECRET'/>",
        b'<rdf:Description xapGImg:image = "SECRET"/>',
        b'<rdf:Description GImage:Data="SECRET" GDepth:Data="SECRET"/>',
    ],
)
def test_pictures_in_xmp_are_cut_however_they_are_written(picture):
    before = b"<x:xmpmeta>" + picture + b"<dc:title>TITLE</dc:title></x:xmpmeta>"
    assert patch_xmp(before) == before.replace(b"SECRET", b"")


def test_thumbnails_in_photoshops_copies_of_exif_and_xmp_are_cut():
    def block(number, data):
        return b"8BIM" + struct.pack(">HHL", number, 0, len(data)) + data + bytes(len(data) % 2)

    caption, xmp = block(1028, b"caption"), b"<xmpGImg:image>%s</xmpGImg:image>"
    before = block(1058, exif(thumbnail=True)) + caption + block(1060, xmp % b"SECRET") + caption
    after = patch_photoshop(before)
    assert b"SECRET" not in after
    assert after == caption + caption


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_whatever_shows_a_picture_is_cut_wherever_it_hides(suffix, tmp_path):
    """Nothing in these files is known by name: only text and small numbers are kept."""
    rng = np.random.default_rng(0)
    raw = rng.integers(1, 255, 6000, np.uint8).tobytes()
    tags = Image.Exif()
    tags[0x010F], tags[0xBEEF] = "Maker", raw
    tags[0x8769] = {0x9003: "2020:02:03 04:05:06", 0xBEE5: raw, 0x927C: b"note \xff\xd8\xff\xdb" + raw}
    tags[0x8825] = {1: "N"}
    packed = b"<x:xmpmeta a:picture='" + base64.b64encode(raw) + b"'>TITLE</x:xmpmeta>"
    hidden = tags.tobytes() + raw  # and behind all that anything points to
    options = {"exif": hidden, "xmp": packed}
    if suffix == "tif":
        tags[700] = packed
        options = {"exif": tags.tobytes(), "compression": "raw"}
    elif suffix == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packed.decode())
        options["pnginfo"].add(b"prIv", raw)
    elif suffix == "jpg":
        resources = b"".join(b"8BIM" + struct.pack(">HHL", n, 0, len(raw)) + raw for n in (1, 1036, 4000))
        options["extra"] = (
            b"\xff\xed" + struct.pack(">H", len(resources) + 16) + b"Photoshop 3.0\0" + resources
        )
    Image.fromarray(noise(3)).save(tmp_path / f"a.{suffix}", **options)
    fill_file(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
    before, after = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    for needle in (raw[100:140], base64.b64encode(raw)[120:160]):
        assert needle in before
        assert needle not in after
    assert b"TITLE" in after
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2020:02:03 04:05:06"


def test_layers_in_a_tiff_are_cut_as_they_show_what_was_removed(tmp_path):
    tags = [(37724, 7, 6, b"SECRET", True), (50784, 7, 6, b"SECRET", True), (315, 2, 7, b"artist", True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(3), photometric="rgb", extratags=tags, metadata=None)
    fill_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert b"SECRET" not in (tmp_path / "b.tif").read_bytes()
    assert Image.open(tmp_path / "b.tif").tag_v2[315] == "artist"


def raw_profile(name, data):
    """Text of ImageMagick's ``Raw profile type`` chunks."""
    lines = [data.hex()[start : start + 72] for start in range(0, 2 * len(data), 72)]
    return "\n".join(["", name, f"{len(data):8}", *lines, ""]).encode()


def test_previews_in_png_chunks_are_cut_and_all_else_is_kept(tmp_path):
    xmp = b"<x:xmpmeta><xmpGImg:image>%s</xmpGImg:image>TITLE</x:xmpmeta>"
    photoshop = b"8BIM" + struct.pack(">HHL", 1036, 0, 6) + b"SECRET"
    with_preview, without = exif(6, thumbnail=True), patch_exif(exif(6, thumbnail=True))
    packed = b"XML:com.adobe.xmp\0\1\0en\0\0"
    kept = [
        (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(raw_profile("iptc", b"caption"))),
        (b"tEXt", b"Author\0somebody"),
    ]
    changed = {
        (b"tEXt", b"Raw profile type exif\0" + raw_profile("exif", with_preview)): (
            b"tEXt",
            b"Raw profile type exif\0" + raw_profile("exif", without),
        ),
        (b"zTXt", b"Raw profile type 8bim\0\0" + zlib.compress(raw_profile("8bim", photoshop))): (
            b"zTXt",
            b"Raw profile type 8bim\0\0" + zlib.compress(raw_profile("8bim", b"")),
        ),
        (b"tEXt", b"Raw profile type APP1\0" + raw_profile("APP1", b"http://ns\0" + xmp % b"SECRET")): (
            b"tEXt",
            b"Raw profile type APP1\0" + raw_profile("APP1", b"http://ns\0" + xmp % b""),
        ),
        (b"iTXt", packed + zlib.compress(xmp % b"SECRET")): (b"iTXt", packed + zlib.compress(xmp % b"")),
    }
    dropped = [
        *(
            (kind, b"SECRET")
            for kind in (b"prVW", b"mkBF", b"mkBS", b"mkBT", b"skRf", b"caBX", b"prIv", b"sPLT")
        ),
        (b"tEXt", b"Raw profile type exif\0no hexadecimal SECRET"),
    ]
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    head, *rest = png.Reader(filename=tmp_path / "a.png").chunks()
    with (tmp_path / "b.png").open("wb") as file:
        png.write_chunks(file, [head, *kept, *changed, *dropped, *rest])
    fill_file(tmp_path / "b.png", tmp_path / "c.png", FILL.swapaxes(0, 1), HOLE.T)  # turned by its EXIF
    after = list(png.Reader(filename=tmp_path / "c.png").chunks())
    assert [chunk for chunk in after if chunk[0] not in {b"IHDR", b"IDAT", b"IEND"}] == [
        *kept,
        *changed.values(),
    ]
    assert read_photo(tmp_path / "c.png").orientation == 6


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the same
def test_malformed_exif_does_no_harm(tmp_path):
    good = exif(6, thumbnail=True)
    for cut in range(6, len(good), 7):
        Image.fromarray(noise(3)).save(tmp_path / "a.jpg", exif=good[:cut])
        photo = read_photo(tmp_path / "a.jpg")
        write_photo(photo, tmp_path / "b.jpg")
        assert read_rgb(tmp_path / "b.jpg").shape == rgb_of(photo).shape


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
    assert np.array_equal(rgb_of(photo), shown)
    assert np.array_equal(read_rgb(source), shown)
    hole = np.zeros(shown.shape[:2], bool)
    hole[2:9, 3:20] = True
    fill = np.zeros_like(shown)
    write_photo(filled(photo, fill, hole), target)
    after = read_rgb(target)
    assert after[hole].mean() < 12
    assert np.abs(after[~hole].astype(int) - shown[~hole]).mean() < 4
    if suffix != "jpg":
        assert np.array_equal(after[~hole], shown[~hole])
    # another format: upright pixels, so that programs that ignore the tag show them right as well
    write_photo(filled(photo, fill, hole), tmp_path / "c.bmp")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "c.bmp")), rgb_of(filled(photo, fill, hole)))
    other = tmp_path / ("c.png" if suffix != "png" else "c.webp")
    write_photo(filled(photo, fill, hole), other)
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
    assert np.array_equal(rgb_of(photo), np.asarray(ImageOps.exif_transpose(picture)))
    hole = np.zeros(rgb_of(photo).shape[:2], bool)
    hole[2:9, 3:20] = True
    write_photo(filled(photo, np.zeros_like(rgb_of(photo)), hole), target)
    after, inside = stored_pixels(target), store(hole, orientation)
    assert np.array_equal(after[~inside], before[~inside])
    assert not np.array_equal(after[inside], before[inside])
    assert read_photo(target).orientation == orientation


def test_a_turned_16_bit_bigtiff_is_refused_as_nothing_at_hand_reads_it_right(tmp_path):
    orientation = (274, "H", 1, 6, True)
    tifffile.imwrite(tmp_path / "a.tif", noise(3, np.uint16), bigtiff=True, extratags=[orientation])
    with pytest.raises(ImageFileError, match="to be turned, in a BigTIFF"):
        read_photo(tmp_path / "a.tif")
