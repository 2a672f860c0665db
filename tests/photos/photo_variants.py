"""Photos stored in the many ways that the formats allow, written by other programs than ours.

tifffile writes TIFF in ways that Pillow and OpenCV do not, pypng interlaced PNG and less than 8 bits, and BMP
is put together here. Each maker takes the path to write.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
import png
import tifffile
from PIL import Image

from tests.photos.photo_kinds import HEIGHT, WIDTH, noise


def pillow(pixels, mode=None, **options):
    return lambda path: Image.fromarray(pixels, mode).save(path, **options)


def tiff(pixels, *, planar=False, pages=1, byteorder="<", bigtiff=False, **options):
    """Gray or RGB(A) by the shape, unless ``options`` say otherwise; ``planar`` stores channels apart."""
    options.setdefault("photometric", "minisblack" if pixels.ndim == 2 else "rgb")
    if pixels.shape[2:] == (4,) and options["photometric"] == "rgb":
        options.setdefault("extrasamples", ["unassalpha"])
    if planar:
        pixels, options["planarconfig"] = np.moveaxis(pixels, 2, 0), "separate"
    elif pixels.ndim == 3:
        options["planarconfig"] = "contig"

    def write(path):
        with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as file:
            for _ in range(pages):
                file.write(pixels, **options)

    return write


def with_12_bits(write):
    """Nothing at hand packs 12 bits: the header says so."""

    def write_and_patch(path):
        write(path)
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags["BitsPerSample"].overwrite(12)

    return write_and_patch


def palette_tiff():
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256), np.uint16)  # in full 16 bits
    return tiff(noise(1), photometric="palette", colormap=colours)


def png_of(pixels, bits=8, **options):
    """``bits`` per sample; ``options`` are pypng's: interlace, transparent, palette."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if "palette" not in options:
        options |= {"greyscale": channels < 3, "alpha": channels in {2, 4}}

    def write(path):
        writer = png.Writer(WIDTH, HEIGHT, bitdepth=bits, **options)
        with path.open("wb") as file:
            writer.write(file, (pixels >> (pixels.itemsize * 8 - bits)).reshape(HEIGHT, -1).tolist())

    return write


def colours(bits, alpha=False):
    return [tuple(map(int, row)) for row in noise(4 if alpha else 3, size=(1, 2**bits))[0]]


def bmp(pixels, bits, *, compression=0, palette=b"", masks=b"", header=40, top_down=False):
    """``pixels`` (H, bytes of a row), or the bytes of the pixel data."""

    def write(path):
        if isinstance(pixels, bytes):
            data = pixels
        else:
            rows = pixels if top_down else pixels[::-1]
            data = b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in rows)
        height = -HEIGHT if top_down else HEIGHT
        sizes = (len(data), 2835, 2835, len(palette) // 4, 0)
        head = struct.pack("<LllHHLLllLL", header, WIDTH, height, 1, bits, compression, *sizes)
        head += masks + palette
        start = 14 + len(head)
        path.write_bytes(b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + head + data)

    return write


def nibbles():
    pixels = np.pad(noise(1) >> 4, ((0, 0), (0, 1)))
    return pixels[:, ::2] << 4 | pixels[:, 1::2]


def run_lengths():
    """RLE8: every pixel a run of one."""
    return b"".join(b"".join(bytes([1, int(v)]) for v in row) + b"\0\0" for row in noise(1)) + b"\0\1"


def smooth(channels=3):
    return cv2.GaussianBlur(noise(channels), (0, 0), 4)


def opencv_jpeg(sampling):
    return lambda path: cv2.imwrite(str(path), smooth(), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])


def animation(path):
    Image.fromarray(smooth()).save(path, save_all=True, append_images=[Image.fromarray(255 - smooth())])


PALETTE = noise(1, size=(1, 1024)).tobytes()
FIELDS_565 = struct.pack("<LLL", 0xF800, 0x7E0, 0x1F)
FIELDS_ALPHA = struct.pack("<LLLL", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
DEEP = {channels: noise(channels, np.uint16) for channels in (1, 2, 3, 4)}

PNGS = [
    (f"{kind}{bits}{'-interlaced' * turn}.png", png_of(noise(n, dtype), bits, interlace=turn), "same")
    for kind, n in (("gray", 1), ("gray-alpha", 2), ("rgb", 3), ("rgba", 4))
    for bits, dtype in ((8, np.uint8), (16, np.uint16))
    for turn in (False, True)
] + [
    (f"palette{bits}{'-alpha' * alpha}.png", png_of(noise(1), bits, palette=colours(bits, alpha)), "same")
    for bits in (1, 2, 4, 8)
    for alpha in (False, True)
]  # fmt: skip

VARIANTS = [
    # file, what writes it, what becomes of it:
    #   same     every stored sample of the known pixels, as an independent decoder reads them
    #   shown    every known pixel as it is shown, but stored otherwise (after the colon: how)
    #   lossy    coded again (after the colon: how)
    #   refused  with a message that says the words after the colon
    ("group3.tif", pillow(noise(1) > 127, compression="group3"), "same"),
    ("group4.tif", pillow(noise(1) > 127, compression="group4"), "same"),
    ("big-endian8.tif", tiff(noise(3), byteorder=">"), "same"),
    ("big-endian16.tif", tiff(DEEP[3], byteorder=">"), "same"),
    ("big-endian-gray16.tif", tiff(DEEP[1], byteorder=">"), "same"),
    ("bigtiff8.tif", tiff(noise(4), bigtiff=True), "same"),
    ("bigtiff16.tif", tiff(DEEP[4], bigtiff=True), "same"),
    ("tiled8.tif", tiff(noise(3), tile=(16, 16)), "same"),
    ("tiled16.tif", tiff(DEEP[4], tile=(16, 16)), "same"),
    ("deflate8.tif", tiff(noise(3), compression="zlib", predictor=True), "same"),
    ("deflate16.tif", tiff(DEEP[3], compression="zlib", predictor=True), "same"),
    ("deflate-gray16.tif", tiff(DEEP[1], compression="zlib", predictor=True), "same"),
    ("packbits.tif", pillow(noise(3), compression="packbits"), "same"),
    ("planar8.tif", tiff(noise(3), planar=True), "same"),
    ("planar-alpha8.tif", tiff(noise(4), planar=True, tile=(16, 16), compression="zlib"), "same"),
    ("gray-alpha8.tif", tiff(noise(2), photometric="minisblack", extrasamples=["unassalpha"]), "same"),
    ("cmyk8.tif", tiff(noise(4), photometric="separated"), "same"),
    ("palette.tif", palette_tiff(), "same"),
    ("jpeg.tif", pillow(smooth(), compression="jpeg"), "shown: deflated, as the file was decoded"),
    ("white-is-zero.tif", tiff(noise(1), photometric="miniswhite"), "shown: black is zero"),
    ("premultiplied8.tif", tiff(noise(4), extrasamples=["assocalpha"]), "shown: alpha not premultiplied"),
    ("fourth-channel8.tif", tiff(noise(4), extrasamples=["unspecified"]), "shown: without it"),
    ("planar16.tif", tiff(DEEP[3], planar=True), "refused: not interleaved (planar)"),
    ("premultiplied16.tif", tiff(DEEP[4], extrasamples=["assocalpha"]), "refused: premultiplied alpha"),
    ("fourth-channel16.tif", tiff(DEEP[4], extrasamples=["unspecified"]), "refused: no alpha"),
    ("white-is-zero16.tif", tiff(DEEP[1], photometric="miniswhite"), "refused: photometric 0"),
    ("cmyk16.tif", tiff(DEEP[4], photometric="separated"), "refused: photometric 5"),
    ("lzma8.tif", tiff(noise(3), compression="lzma"), "same"),
    ("lzma16.tif", tiff(DEEP[3], compression="lzma"), "refused: a compression that is not supported"),
    ("float.tif", tiff(noise(1).astype(np.float32)), "refused: signed or floating-point pixels"),
    ("float-rgb.tif", tiff(noise(3).astype(np.float32)), "refused: pixels of a kind that is not supported"),
    ("signed.tif", tiff(noise(1).astype(np.int16)), "refused: signed or floating-point pixels"),
    ("gray12.tif", with_12_bits(tiff(DEEP[1])), "refused: 12 bits per channel"),
    ("gray32.tif", tiff(DEEP[1].astype(np.uint32)), "refused: 32 bits per channel"),
    ("lab.tif", tiff(noise(3), photometric="cielab"), "refused: mode LAB"),
    ("pages.tif", tiff(noise(3), pages=3), "refused: holds 3 pictures"),
    *PNGS,
    ("palette4-interlaced.png", png_of(noise(1), 4, palette=colours(4), interlace=True), "same"),
    ("gray1.png", png_of(noise(1), 1), "same"),
    ("gray2.png", png_of(noise(1), 2), "shown: 8 bits"),
    ("gray4-interlaced.png", png_of(noise(1), 4, interlace=True), "shown: 8 bits"),
    ("gray8-key.png", png_of(noise(1), 8, transparent=7), "shown: alpha channel"),
    ("gray1-key.png", png_of(noise(1), 1, transparent=1), "shown: alpha channel"),
    ("gray2-key.png", png_of(noise(1), 2, transparent=1), "shown: alpha channel"),
    ("gray4-key.png", png_of(noise(1), 4, transparent=15), "shown: alpha channel"),
    ("rgb8-key.png", png_of(noise(3) >> 7 << 7, 8, transparent=(128, 0, 128)), "shown: alpha channel"),
    ("moving.png", animation, "refused: holds 2 pictures"),
    ("1.bmp", pillow(noise(1) > 127), "same"),
    ("4.bmp", bmp(nibbles(), 4, palette=PALETTE[:64]), "same"),
    ("8.bmp", bmp(noise(1), 8, palette=PALETTE), "same"),
    ("rle8.bmp", bmp(run_lengths(), 8, compression=1, palette=PALETTE), "same"),
    ("555.bmp", bmp(noise(1, np.uint16) & 0x7FFF, 16), "same"),
    ("565.bmp", bmp(noise(1, np.uint16), 16, compression=3, masks=FIELDS_565), "same"),
    ("24-top-down.bmp", bmp(noise(3), 24, top_down=True), "same"),
    ("32.bmp", bmp(noise(4), 32), "same"),
    ("alpha.bmp", bmp(noise(4), 32, compression=3, masks=FIELDS_ALPHA, header=108), "refused: transparent"),
    ("lossless.webp", pillow(noise(4), lossless=True, exact=True), "same"),
    ("lossy.webp", pillow(smooth(), quality=80), "lossy: quality 95"),
    ("lossy-alpha.webp", pillow(smooth(4), quality=80), "lossy: quality 95"),
    ("moving.webp", animation, "refused: holds 2 pictures"),
    ("444.jpg", pillow(smooth(), quality=70, subsampling=0), "lossy: as before"),
    ("422.jpg", pillow(smooth(), quality=70, subsampling=1, progressive=True), "lossy: as before"),
    ("420.jpg", pillow(smooth(), quality=70, subsampling=2, restart_marker_rows=1), "lossy: as before"),
    ("gray.jpg", pillow(smooth(1), quality=70), "lossy: as before"),
    ("adobe-rgb-coded.jpg", pillow(smooth(), quality=70, keep_rgb=True), "lossy: as before"),
    ("cmyk.jpg", pillow(smooth(4), "CMYK", quality=70), "lossy: as before"),
    ("411.jpg", opencv_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411), "lossy: same tables, 4:4:4"),
    ("440.jpg", opencv_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440), "lossy: same tables, 4:4:4"),
    ("plain.avif", pillow(smooth(), quality=80), "lossy: quality 95 4:4:4"),
    ("alpha.avif", pillow(smooth(4), quality=80), "lossy: quality 95 4:4:4"),
    ("gray.avif", pillow(smooth(1), quality=80), "lossy: quality 95 4:0:0"),
    ("moving.avif", animation, "refused: holds 2 pictures"),
    ("plain.heic", pillow(smooth(), quality=80), "lossy: quality 95, sampled as before"),
    ("alpha.heic", pillow(smooth(4), quality=80), "lossy: quality 95, sampled as before"),
    ("gray.heic", pillow(smooth(1), quality=80), "lossy: quality 95"),
    ("burst.heic", animation, "refused: holds 2 pictures"),
    ("plain.gif", pillow(noise(1)), "refused: GIF"),
    ("photo.jp2", pillow(noise(3)), "refused: JPEG2000"),
    ("photo.tga", pillow(noise(3)), "refused: TGA"),
]  # fmt: skip
