"""For any size, mode, mask and option: size and mode are kept, known pixels are identical."""

from __future__ import annotations

import functools
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from damgan_cli.inpainting.folder import Options, fill_photos
from damgan_cli.inpainting.holes import HoleOptions
from damgan_cli.inpainting.inpainter import Inpainter
from damgan_cli.inpainting.job import Job
from damgan_cli.photos.exif import ORIENTATION
from damgan_cli.photos.photo import store
from damgan_cli.photos.read import displayed_size, read_rgb
from damgan_cli.photos.write import write_png
from tests.photos.photo_kinds import LOSSLESS, mode_of, noise, stored_pixels

quick = functools.partial(
    settings,
    deadline=None,
    derandomize=True,  # a red build must mean that the code changed
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SIZES = st.tuples(*[st.integers(1, 40) | st.integers(1, 200)] * 2)
PIL_MODES = st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])


@st.composite
def holes(draw, size):
    """Boxes, strokes, specks, nothing, everything: (H, W) bool."""
    hole = np.zeros(size, np.uint8)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    kind = draw(st.sampled_from(["boxes", "stroke", "specks", "nothing", "everything"]))
    if kind == "everything":
        hole[:] = 1
    elif kind == "specks":
        hole[:] = rng.random(size) < draw(st.sampled_from([0.001, 0.1, 0.9]))
    elif kind != "nothing":
        for _ in range(draw(st.integers(1, 4))):
            (y0, y1), (x0, x1) = (sorted(rng.integers(0, side + 1, 2)) for side in size)
            if kind == "boxes":
                hole[y0:y1, x0:x1] = 1
            else:
                cv2.line(hole, (int(x0), int(y0)), (int(x1), int(y1)), 1, int(rng.integers(1, 9)))
    return hole.astype(bool)


@quick(max_examples=80)
@given(data=st.data())
def test_files_of_every_kind(data, tiny_weights):
    name = data.draw(st.sampled_from(sorted(LOSSLESS)), "photo")
    size = data.draw(SIZES, "stored size")
    turned = name.endswith(("png", "tif", "tiff", "webp"))
    orientation = data.draw(st.integers(1, 8), "orientation") if turned else 1
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    hole = data.draw(holes(size[::-1] if orientation >= 5 else size), "hole")
    options = Options(
        HoleOptions(data.draw(st.booleans(), "invert"), data.draw(st.sampled_from([0, 0, 1, 4]), "dilate"))
    )
    dtype = data.draw(st.sampled_from(["float32", "bfloat16"]), "dtype")
    inpainter = Inpainter(tiny_weights, device="cpu", dtype=dtype, batch_size=data.draw(st.integers(1, 9)))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # masks that cover everything
        photo, mask, output = Path(folder, name), Path(folder, "mask.png"), Path(folder, "out", name)
        LOSSLESS[name](photo, size, exif=tags.tobytes() if orientation > 1 else b"")
        write_png(mask, hole != options.holes.invert)
        fakeness = data.draw(st.none() | st.just(Path(folder, "maps", "a.png")), "attention")
        (result,) = fill_photos([Job(name, photo, mask, output, fakeness)], inpainter, options)
        assert result.error is None
        dilated = cv2.dilate(hole.astype(np.uint8), _disc(options.holes.dilate)) > 0
        # Pillow shows a TIFF upright, other formats as they are stored
        upright = photo.suffix.startswith(".tif") and "16" not in name
        known = ~dilated if upright else store(~dilated, orientation)
        before, after = stored_pixels(photo), stored_pixels(output)
        assert mode_of(output) == mode_of(photo)
        assert np.array_equal(after[known], before[known])
        assert displayed_size(output) == displayed_size(photo) == hole.shape[::-1]
        assert result.status == ("filled" if hole.any() else "copied")
        if fakeness:
            assert (np.asarray(Image.open(fakeness))[~dilated] == 0).all()


@quick(max_examples=60)
@given(data=st.data(), size=SIZES, mode=st.sampled_from(["L", "RGB", "RGBA", "CMYK"]))
def test_files_with_loss(data, size, mode, inpainter):
    fits = {"L": ["jpg", "avif", "heic"], "RGBA": ["webp", "avif", "heic"], "CMYK": ["jpg"]}
    suffix = data.draw(st.sampled_from(fits.get(mode, ["jpg", "webp", "avif", "heic"])), "format")
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    tags = Image.Exif()
    tags[ORIENTATION] = orientation = data.draw(st.integers(1, 8), "orientation")
    progressive = suffix == "jpg" and data.draw(st.booleans(), "progressive")
    options = {"quality": data.draw(st.integers(30, 100), "quality")} | (
        {"progressive": True} if progressive else {}
    )
    if suffix != "heic" and mode != "L":
        options["subsampling"] = data.draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]), "sampling")
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1]))[..., None] * [0.3, 0.4, 0.5, 0.2] + 50
    pixels = ramp.astype(np.uint8) if mode == "CMYK" else Image.fromarray(ramp.astype(np.uint8)).convert(mode)
    picture = Image.fromarray(np.ascontiguousarray(pixels), "CMYK") if mode == "CMYK" else pixels
    hole = data.draw(holes(size[::-1] if orientation >= 5 else size), "hole")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo, mask, output = (
            Path(folder, f"a.{suffix}"),
            Path(folder, "mask.png"),
            Path(folder, f"b.{suffix}"),
        )
        picture.save(photo, exif=tags.tobytes(), **options)
        write_png(mask, hole)
        (result,) = fill_photos([Job(photo.name, photo, mask, output, None)], inpainter, Options())
        assert result.error is None
        with Image.open(photo) as before, Image.open(output) as after:
            assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
            assert after.getexif().get(ORIENTATION, 1) == before.getexif().get(ORIENTATION, 1)
        assert displayed_size(output) == displayed_size(photo) == hole.shape[::-1]
        far = cv2.dilate(hole.astype(np.uint8), np.ones((65, 65))) == 0  # blocks of 16 are coded as one
        change = np.abs(read_rgb(output).astype(int) - read_rgb(photo))[far]
        assert not change.size or change.mean() < 3


def _disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


@quick(max_examples=80)
@given(data=st.data(), size=SIZES, mode=PIL_MODES)
def test_pil_images_and_arrays(data, size, mode, inpainter):
    hole = data.draw(holes(size), "hole")
    if mode == "I;16":
        image = Image.fromarray(noise(1, np.uint16, size=size))
    elif mode == "P":
        image = Image.fromarray(noise(3, size=size)).quantize(data.draw(st.integers(1, 256), "colours"))
    else:
        image = Image.fromarray(noise(3, size=size)).convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = inpainter(image, Image.fromarray(hole))
        assert (result.mode, result.size) == (image.mode, image.size)
        assert np.array_equal(np.asarray(result)[~hole], np.asarray(image)[~hole])
        if mode not in {"1", "P", "CMYK"}:
            pixels = np.asarray(image)
            array = inpainter(pixels, hole)
            assert (array.shape, array.dtype) == (pixels.shape, pixels.dtype)
            assert np.array_equal(array, np.asarray(result))
