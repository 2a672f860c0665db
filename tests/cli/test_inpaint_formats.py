"""Every way of storing a photo: what ``damgan inpaint`` keeps of its pixels, and of what it carries."""

from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.JpegImagePlugin import get_sampling

from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.read import read_rgb
from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import save
from tests.photos.photo_kinds import HEIGHT, WIDTH, noise
from tests.photos.photo_variants import VARIANTS, smooth


def stored(path):
    """Samples as they are stored, read by a decoder that neither reduces nor converts them."""
    if path.suffix == ".tif" and not path.stem.startswith("group"):
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            pixels = page.asarray() if page.planarconfig == 1 else np.moveaxis(page.asarray(), 0, 2)
            return pixels if page.colormap is None else page.colormap[:, pixels].transpose(1, 2, 0)
    if path.suffix == ".png":
        width, height, rows, info = png.Reader(filename=path).asDirect()  # of a palette the colours
        return np.array([list(row) for row in rows]).reshape(height, width, info["planes"])
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB") if image.mode == "P" else image)


def shown(path):
    if path.suffix == ".png":
        return np.array([list(row) for row in png.Reader(filename=path).asRGBA8()[2]]).reshape(
            HEIGHT, WIDTH, 4
        )
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize(("name", "write", "outcome"), VARIANTS, ids=[variant[0] for variant in VARIANTS])
def test_pixels(inpaint, mask, tmp_path, name, write, outcome):
    if name.endswith(".heic"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    path, target = tmp_path / name, tmp_path / "out" / name
    write(path)
    if path.suffix not in EXTENSIONS:
        target = tmp_path / "out" / "result.png"
    result = inpaint(name, "--mask", "mask.png", "-o", target)
    what, _, how = outcome.partition(": ")
    if what == "refused":
        assert result.code in {1, 2}
        assert how in " ".join(result.err.split())
        assert not target.exists()
        return
    assert result.code == 0, result.err
    with Image.open(path) as before, Image.open(target) as after:
        assert (after.format, after.size) == (before.format, before.size)
        if what != "shown":
            assert after.mode == before.mode.replace("I;16B", "I;16")
        if before.format == "JPEG":
            assert after.quantization == before.quantization
            assert after.info.get("progressive") == before.info.get("progressive")
            assert get_sampling(after) == (get_sampling(before) if how == "as before" else 0)
    if what == "same":
        before, after = stored(path), stored(target)
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        assert np.array_equal(after[~HOLE], before[~HOLE])
        assert not np.array_equal(after[HOLE], before[HOLE])
    elif what == "shown":
        assert np.array_equal(shown(target)[~HOLE], shown(path)[~HOLE])
        assert not np.array_equal(shown(target)[HOLE], shown(path)[HOLE])
    else:
        far = cv2.dilate(HOLE.astype(np.uint8), np.ones((9, 9))) == 0
        change = np.abs(read_rgb(target).astype(int) - read_rgb(path))[far]
        assert change.mean() < 6  # of tiny photos most blocks have some hole
        assert not np.array_equal(read_rgb(target)[HOLE], read_rgb(path)[HOLE])


# ------------------------------------------------------------------------------------------ metadata
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
CARRIED = {
    # format: what of a photo's metadata it holds, all of which must be kept
    "png": "exif orientation icc xmp dpi text",
    "jpg": "exif orientation icc xmp dpi comment iptc",
    "tif": "exif orientation icc xmp dpi",
    "webp": "exif orientation icc xmp",
    "avif": "exif orientation icc xmp",
    "heic": "exif icc xmp",  # its plugin turns the pixels upright and says so in EXIF
    "bmp": "dpi",
}


def carried(path):
    """What of `CARRIED` is in a file, and its value."""
    with Image.open(path) as image:
        turn = image.getexif().get(0x0112)  # load() turns a TIFF and forgets it, but of a PNG may find it
        image.load()
        info, tags = image.info, image.getexif()
        turn = turn or tags.get(0x0112)
        found = {
            "exif": (tags.get(0x010F), tags.get_ifd(0x8769), tags.get_ifd(0x8825))
            if 0x010F in tags
            else None,
            "orientation": turn if turn != 1 else None,
            "icc": info.get("icc_profile"),
            "xmp": info.get("xmp") or (image.tag_v2.get(700) if image.format == "TIFF" else None),
            "dpi": tuple(round(float(value)) for value in info["dpi"]) if "dpi" in info else None,
            "text": image.text.get("Title") if image.format == "PNG" else None,
            "comment": info.get("comment"),
            "iptc": [data for name, data in getattr(image, "applist", []) if name == "APP13"] or None,
        }
    return {key: value for key, value in found.items() if value}


def write_with_metadata(path):
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Maker", 6
    tags[0x8769] = {0x9003: "2020:02:03 04:05:06", 0x829A: 0.01, 0x927C: b"maker's own note"}
    tags[0x8825] = {1: "N", 2: (48.0, 12.0, 30.5)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": tags.tobytes(), "icc_profile": profile, "xmp": XMP, "dpi": (300, 300)}
    if path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        text.add_text("Title", "a photo", zip=True)
        options["pnginfo"] = text
    elif path.suffix == ".tif":
        tags[700] = XMP
        options |= {"exif": tags.tobytes(), "compression": "raw"}
    elif path.suffix == ".jpg":
        iptc = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHL", 0x0404, 0, 7) + b"caption\0"
        segments = ((b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0" + XMP), (b"\xff\xed", iptc))
        extra = b"".join(mark + struct.pack(">H", len(data) + 2) + data for mark, data in segments)
        options |= {"comment": b"a comment", "extra": extra}
        del options["xmp"]
    Image.fromarray(smooth()).save(path, **options)


@pytest.mark.parametrize("suffix", CARRIED)
def test_metadata(inpaint, tmp_path, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"a.inpainted.{suffix}"
    write_with_metadata(source)
    height, width = read_rgb(source).shape[:2]
    save(tmp_path / "mask.png", np.pad([[True]], ((3, height - 4), (3, width - 4))))
    assert inpaint(source.name, "--mask", "mask.png").code == 0
    before, after = carried(source), carried(target)
    assert set(before) == set(CARRIED[suffix].split())
    assert after == before
    assert (width, height) == ((WIDTH, HEIGHT) if suffix == "bmp" else (HEIGHT, WIDTH))
    assert read_rgb(target).shape == (height, width, 3)


def test_png_chunks_are_kept_byte_for_byte(inpaint, mask, tmp_path):
    chunks = [
        (b"cHRM", struct.pack(">8L", *range(30000, 30008))),
        (b"gAMA", struct.pack(">L", 45455)),
        (b"sRGB", b"\1"),
        (b"cICP", bytes([12, 13, 0, 1])),
        (b"mDCV", bytes(range(24))),
        (b"tIME", struct.pack(">H5B", 2020, 2, 3, 4, 5, 6)),
        (b"tEXt", b"Author\0somebody"),
    ]
    unknown = (b"prIv", b"of a program we do not know")
    for bits, pixels in ((8, noise(3)), (16, noise(3, np.uint16))):
        writer = png.Writer(WIDTH, HEIGHT, greyscale=False, bitdepth=bits)
        with (tmp_path / "plain.png").open("wb") as file:
            writer.write(file, pixels.reshape(HEIGHT, -1).tolist())
        plain = list(png.Reader(filename=tmp_path / "plain.png").chunks())
        with (tmp_path / "rich.png").open("wb") as file:
            png.write_chunks(file, [plain[0], *chunks, unknown, *plain[1:]])
        assert inpaint("rich.png", "--mask", "mask.png", "--overwrite").code == 0
        after = list(png.Reader(filename=tmp_path / "rich.inpainted.png").chunks())
        assert [chunk for chunk in after if chunk[0] not in {b"IHDR", b"IDAT", b"IEND"}] == chunks
        assert {kind for kind, _ in after[: 1 + 5]} == {b"IHDR", b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV"}


# ------------------------------------------------------------------------------------------ thumbnails
def resources(*blocks):
    """Photoshop's image resources: (number, name, data)."""
    body = b""
    for number, name, data in blocks:
        named = bytes([len(name)]) + name
        body += b"8BIM" + struct.pack(">H", number) + named + b"\0" * (len(named) % 2)
        body += struct.pack(">L", len(data)) + data + b"\0" * (len(data) % 2)
    return body


def test_thumbnails_of_photoshop_and_xmp_are_cut_as_they_show_what_was_removed(inpaint, mask, tmp_path):
    blocks = resources((0x0404, b"iptc", b"CAPTION"), (1036, b"", b"SECRET1"), (1005, b"odd", b"DENSITY"))
    xmp = b"<x:xmpmeta><xmpGImg:image>SECRET2</xmpGImg:image><dc:title>TITLE</dc:title></x:xmpmeta>"
    segments = [
        (b"\xff\xed", b"Photoshop 3.0\0" + blocks),
        (b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0" + xmp),
    ]
    extra = b"".join(mark + struct.pack(">H", len(data) + 2) + data for mark, data in segments)
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", extra=extra)
    Image.fromarray(noise(3)).save(tmp_path / "a.tif", tiffinfo={34377: blocks, 700: xmp})
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    Image.fromarray(noise(3)).save(tmp_path / "a.png", pnginfo=text)
    for name in ("a.jpg", "a.tif", "a.png"):
        assert b"SECRET" in (tmp_path / name).read_bytes()
        assert inpaint(name, "--mask", "mask.png", "-o", f"out/{name}").code == 0
        after = (tmp_path / "out" / name).read_bytes()
        assert b"SECRET" not in after
        assert b"TITLE" in after
        if name != "a.png":
            assert resources((0x0404, b"iptc", b"CAPTION"), (1005, b"odd", b"DENSITY")) in after


# ------------------------------------------------------------------------------------------ HEIC
def test_heic_without_its_plugin_is_one_clear_message(inpaint, photo, mask, monkeypatch, tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.fromarray(smooth()).save(tmp_path / "a.heic")
    monkeypatch.setattr("damgan_cli.photos.formats.heif.plugin", lambda: "pi_heif")  # which reads only
    one_error(inpaint("a.heic", "--mask", "mask.png"), "Cannot write a.inpainted.heic", "damgan[heif]")
    assert inpaint("a.heic", "--mask", "mask.png", "-o", "a.png").code == 0
    monkeypatch.setattr("damgan_cli.photos.formats.heif.plugin", lambda: None)
    one_error(inpaint("a.heic", "--mask", "mask.png", "-o", "b.png"), "a plugin is needed", "pip install")
    assert files(tmp_path) == ["a.heic", "a.png", "mask.png", "photo.png"]


AVIF_10 = (  # 2x2 black pixels by libavif, deflated: nothing at hand writes 10 bits
    "c-muNU{FXasVqn=%S>Yc0uY^>nP!-qnV9D5Xy^zOdYzkElE?r7iWw<6MNl?FL1uCZ0~+8f$SlbPvlxL`E;A=T8N_h`@fjhajKUxp"
    "AlAst%u9o-l>%~7nV`JHG6O^B{G5ESU0In0MFl|GJF_4;A4rR278j&K?PG#sfr8A6OppLG7Z(?h;z=wsbZ%5|00{{v=jRmVCFfKC"
    "RWdQKH2{UgGYfKIegZm-g^{V51;|v(O-U>fV&G!8U@-fjppa=KDCv~Ua)7}EC^x}=Hcz6{CIHG0Gb8"
)


def test_10_bit_heic_and_avif_are_refused(inpaint, mask, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    deep = smooth().astype(np.uint16) * 257
    made = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=deep.tobytes())
    made.save(tmp_path / "a.heic")
    one_error(inpaint("a.heic", "--mask", "mask.png"), "10 bits per channel")
    (tmp_path / "a.avif").write_bytes(zlib.decompress(base64.b85decode(AVIF_10)))
    save(tmp_path / "tiny.png", HOLE[:2, :2])
    one_error(inpaint("a.avif", "--mask", "tiny.png"), "10 bits per channel")
    Image.fromarray(smooth()).save(tmp_path / "a.avif")
    plain = (tmp_path / "a.avif").read_bytes()
    colours = plain.index(b"colrnclx") + 8
    (tmp_path / "a.avif").write_bytes(plain[:colours] + struct.pack(">HH", 12, 13) + plain[colours + 4 :])
    one_error(inpaint("a.avif", "--mask", "mask.png"), "no ICC profile")
