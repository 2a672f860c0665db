"""The Python face."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from itertools import combinations, pairwise

import cv2
import numpy as np
import png
import pytest
import torch
from PIL import Image

from damgan_cli import Inpainter
from damgan_cli.errors import DeviceError, ImageFileError, MaskError, WeightsError
from damgan_cli.inpainting.inpainter import _independent
from damgan_cli.inpainting.membrane import match_seam
from damgan_cli.inpainting.plan import plan
from damgan_cli.masks.read import MaskWarning
from damgan_cli.photos.photo import store
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights
from tests.inpainting.holes import HOLES, hole_with, photo


def test_at_128_it_is_the_generator_with_matched_seams(inpainter):
    rgb, hole = photo(128, 128), hole_with((128, 128), (32, 96, 32, 96))
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
    mask = torch.from_numpy(hole)[None, None].float()
    with torch.inference_mode():
        output = inpainter.generator(image, mask)
    matched = match_seam(output.result[0].permute(1, 2, 0).numpy(), image[0].permute(1, 2, 0).numpy(), hole)
    filled = ((torch.from_numpy(matched) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    expected = np.where(hole[..., None], filled, rgb)
    (fill,) = inpainter.fill_batch([rgb], [hole])
    assert np.abs(fill.rgb.astype(int) - expected).max() <= 1  # the order of float sums may differ
    assert (fill.rgb == expected).mean() > 0.99
    assert np.allclose(fill.fakeness[hole], output.fakeness[0][0, 0].numpy()[hole], atol=1e-5)
    assert (fill.fakeness[~hole] == 0).all()
    assert fill.fakeness.dtype == np.float32


def test_weights_are_converted_once_for_what_autocast_gives_and_stay_as_they_are(inpainter, monkeypatch):
    monkeypatch.setattr("damgan_cli.model.conv._at_once", lambda *_: False)  # rounds once less
    weights = inpainter.weights
    before = deepcopy(weights.generator.state_dict())
    image, mask = torch.rand(2, 3, 48, 64) * 2 - 1, torch.zeros(2, 1, 48, 64)
    mask[..., 10:30, 20:40] = 1
    low = Inpainter(weights, dtype="bfloat16")
    assert {conv.weight.dtype for conv in low.generator.modules() if isinstance(conv, torch.nn.Conv2d)} == {
        torch.bfloat16
    }
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = weights.generator(image, mask)
    found = low.generate(image, mask)
    assert torch.equal(found[:, :3], expected.result)
    assert torch.equal(found[:, 3:], expected.fakeness[0].float())
    for name, value in weights.generator.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


def test_windows_prepared_side_by_side_give_what_they_give_one_by_one(inpainter, monkeypatch):
    """Also second windows that overlap, each of which asks what the one before it has left."""
    monkeypatch.setattr(inpainter, "fit", "smooth")  # exemplars take their time
    monkeypatch.setattr("damgan_cli.inpainting.plan.LARGEST", 512)
    monkeypatch.setattr("damgan_cli.inpainting.windows._MARGIN", 1.0)
    hole = HOLES["deep and longer than a window"]
    rgb = cv2.GaussianBlur(photo(*hole.shape), (0, 0), 9)
    fills = []
    for at_once in (1, 4):
        monkeypatch.setattr("damgan_cli.inpainting.inpainter._PREPARED", at_once)
        fills += inpainter.fill_batch([rgb], [hole])
    windows = [(window, fills[0]) for window in plan(rgb, hole)]
    seconds = [window for window, _ in windows if window.second]
    assert any(one.overlaps(two) for one, two in pairwise(seconds))
    groups = list(_independent(windows))
    assert len(groups) > 1
    assert sorted(number for group in groups for number in group) == list(range(len(windows)))
    for group in groups:
        for one, two in combinations([windows[number][0] for number in group], 2):
            assert not two.second or not two.overlaps(one)
    assert np.array_equal(fills[0].rgb, fills[1].rgb)
    assert np.array_equal(fills[0].fakeness, fills[1].fakeness)


@pytest.mark.parametrize("name", HOLES)
def test_any_size_and_hole(inpainter, name):
    hole = HOLES[name]
    rgb = photo(*hole.shape)
    before, hole_before = rgb.copy(), hole.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)
        (fill,) = inpainter.fill_batch([rgb], [hole])
    assert fill.rgb.shape == rgb.shape
    assert np.array_equal(fill.rgb[~hole], rgb[~hole])
    assert (fill.rgb[hole] != rgb[hole]).any()
    assert fill.fakeness.shape == hole.shape
    assert fill.fakeness.min() >= 0
    assert fill.fakeness.max() <= 1
    assert np.array_equal(rgb, before)
    assert np.array_equal(hole, hole_before)


def test_paths_are_read_as_the_command_line_reads_them(inpainter, tmp_path):
    rgb, hole = photo(48, 64), hole_with((48, 64), (10, 30, 20, 40))
    Image.fromarray(hole).save(tmp_path / "mask.png")
    for orientation in range(1, 9):  # as cameras held in all ways store it
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(store(rgb, orientation)).save(tmp_path / "photo.png", exif=exif)
        filled = inpainter(tmp_path / "photo.png", str(tmp_path / "mask.png"))
        assert isinstance(filled, Image.Image)
        assert np.array_equal(np.asarray(filled), inpainter(rgb, hole)), orientation
        assert filled.getexif().get(0x0112, 1) == 1
    deep = (rgb.astype(np.uint16) << 8) + 7
    with (tmp_path / "deep.png").open("wb") as file:
        png.Writer(64, 48, greyscale=False, bitdepth=16).write(file, deep.reshape(48, -1))
    filled = inpainter(tmp_path / "deep.png", tmp_path / "mask.png")
    assert filled.dtype == np.uint16
    assert np.array_equal(filled[~hole], deep[~hole])
    with pytest.raises(ImageFileError, match="nowhere"):
        inpainter(tmp_path / "nowhere.png", hole)
    with pytest.raises(ImageFileError, match="nowhere"):
        inpainter(rgb, tmp_path / "nowhere.png")


def test_weights_that_overflow_are_told(inpainter):
    """Finite, as loading demands, yet their products are not."""
    generator = deepcopy(inpainter.weights.generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1e30)
    broken = Inpainter(replace(inpainter.weights, generator=generator))
    with pytest.raises(WeightsError, match="NaN or infinite values in torch"):
        broken.fill_batch([photo(64, 64)], [hole_with((64, 64), (16, 48, 16, 48))])


def test_what_lies_under_the_hole_makes_no_difference(inpainter):
    for name in ("small photo", "one big square", "two parts"):
        hole = HOLES[name]
        rgb = photo(*hole.shape)
        other = rgb.copy()
        other[hole] = 255 - other[hole]
        one, two = inpainter.fill_batch([rgb], [hole])[0], inpainter.fill_batch([other], [hole])[0]
        assert np.array_equal(one.rgb, two.rgb)


def test_a_batch_gives_what_single_photos_give(tiny_weights, inpainter):
    names = ["small photo", "one thin stroke", "one thin stroke", "two parts", "at the border"]
    holes = [HOLES[name] for name in names] + [np.zeros((40, 60), bool)]
    rgbs = [photo(*hole.shape, seed=i) for i, hole in enumerate(holes)]
    calls = []
    many = Inpainter(tiny_weights, device="cpu", dtype="float32", batch_size=64)
    forward = many._forward
    many._forward = lambda images, *given: calls.append(len(images)) or forward(images, *given)
    together = many.fill_batch(rgbs, holes)
    assert max(calls) > 1
    for rgb, hole, fill in zip(rgbs, holes, together, strict=True):
        alone = inpainter.fill_batch([rgb], [hole])[0]
        assert np.abs(fill.rgb.astype(int) - alone.rgb).max() <= 1
    assert np.array_equal(together[-1].rgb, rgbs[-1])  # the empty hole


def test_an_empty_hole_runs_no_network(inpainter, monkeypatch):
    monkeypatch.setattr(inpainter, "_forward", None)
    rgb = photo(200, 300)
    assert np.array_equal(inpainter(rgb, np.zeros((200, 300), bool)), rgb)


def test_a_whole_photo_hole_warns(inpainter):
    with pytest.warns(MaskWarning, match="whole photo"):
        assert inpainter(photo(60, 70), np.ones((60, 70), bool)).shape == (60, 70, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pil_in_pil_out(inpainter, mode):
    hole = hole_with((150, 140), (40, 90, 30, 100))
    rgb = photo(150, 140)
    if mode == "I;16":
        image = Image.fromarray(rgb[..., 0].astype(np.uint16) * 251)
    elif mode == "P":
        image = Image.fromarray(rgb).quantize(64)
    else:
        image = Image.fromarray(rgb).convert(mode)
    image.info["dpi"] = (72, 72)
    before = image.copy()
    result = inpainter(image, Image.fromarray(hole))
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size, result.info["dpi"]) == (image.mode, image.size, (72, 72))
    assert np.array_equal(np.asarray(image), np.asarray(before))
    assert np.array_equal(np.asarray(result)[~hole], np.asarray(image)[~hole])
    assert not np.array_equal(np.asarray(result)[hole], np.asarray(image)[hole])


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numpy_in_numpy_out(inpainter, channels, dtype):
    hole = hole_with((70, 80), (10, 30, 20, 60))
    shape = (70, 80, channels) if channels else (70, 80)
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
    before = pixels.copy()
    result = inpainter(pixels, hole.astype(np.uint8) * 255)
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (shape, dtype)
    assert np.array_equal(pixels, before)
    assert np.array_equal(result[~hole], pixels[~hole])
    assert not np.array_equal(result[hole], pixels[hole])
    if channels in {2, 4}:
        assert np.array_equal(result[..., -1], pixels[..., -1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (129, 9), (2, 700)])
def test_odd_sizes(inpainter, shape):
    rgb, hole = photo(*shape), np.zeros(shape, bool)
    hole[0, : (shape[1] + 1) // 2] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)
        result = inpainter(rgb, hole)
    assert result.shape == rgb.shape
    assert np.array_equal(result[~hole], rgb[~hole])


def test_views_and_read_only_arrays(inpainter):
    rgb = photo(100, 100)[::-1, :, ::-1]
    rgb.flags.writeable = False
    hole = hole_with((100, 100), (10, 30, 20, 60))[:, ::-1]
    assert np.array_equal(inpainter(rgb, hole)[~hole], rgb[~hole])


def test_wrong_input_is_one_clear_error(inpainter):
    rgb, hole = photo(40, 50), hole_with((40, 50), (10, 20, 10, 20))
    with pytest.raises(MaskError, match="The mask is 40x50, but its photo 50x40"):
        inpainter(rgb, hole.T)
    with pytest.raises(ImageFileError, match="array of float64"):
        inpainter(rgb / 255.0, hole)
    for shape in ((40,), (40, 50, 1), (40, 50, 5), (1, 40, 50, 3)):
        with pytest.raises(ImageFileError, match="array of uint8"):
            inpainter(np.zeros(shape, np.uint8), hole)
    with pytest.raises(ImageFileError, match="A photo cannot be a list"):
        inpainter([1], hole)
    with pytest.raises(ImageFileError, match="mode F"):
        inpainter(Image.fromarray(rgb[..., 0].astype(np.float32)), hole)
    with pytest.raises(ImageFileError, match="A mask cannot be"):
        inpainter(rgb, hole * 1.0)


def test_unknown_weights_devices_and_types(tiny_weights):
    with pytest.raises(WeightsError, match="nonsense"):
        Inpainter("nonsense")
    with pytest.raises(DeviceError):
        Inpainter(tiny_weights, device="cuda:99")
    with pytest.raises(DeviceError):
        Inpainter(tiny_weights, device="cpu", dtype="float16")
    with pytest.raises(ValueError, match="batch_size"):
        Inpainter(tiny_weights, batch_size=0)


def test_bfloat16_is_close_to_float32(tiny_weights, inpainter):
    low = Inpainter(tiny_weights, device="cpu", dtype="bfloat16")
    rgb, hole = cv2.GaussianBlur(photo(128, 128), (0, 0), 5), hole_with((128, 128), (32, 96, 32, 96))
    assert np.abs(low(rgb, hole).astype(int) - inpainter(rgb, hole)).mean() < 2


def test_many_specks_are_filled_a_few_at_a_time(tiny_weights, monkeypatch):
    filler = Inpainter(tiny_weights, device="cpu", dtype="float32")
    rgb, hole = photo(1300, 1300), np.zeros((1300, 1300), bool)
    hole[20::200, 30::200] = True  # too far apart to share windows
    at_once = filler.fill_batch([rgb], [hole])[0]
    fill, counts = filler._fill, []
    monkeypatch.setattr("damgan_cli.inpainting.inpainter._WINDOW_PIXELS", 100_000)
    monkeypatch.setattr(filler, "_fill", lambda some, *to: (counts.append(len(some)), fill(some, *to)))
    assert np.array_equal(filler.fill_batch([rgb], [hole])[0].rgb, at_once.rgb)
    assert sum(counts) == hole.sum()
    assert max(counts) <= 7


def test_progress_is_told_and_what_it_raises_ends_the_work(inpainter):
    rgb, hole = photo(700, 700), np.zeros((700, 700), bool)
    hole[20::200, 30::200] = True
    shares = []
    inpainter.fill_batch([rgb], [hole], shares.append)
    assert shares == sorted(shares)
    assert (0 < shares[0] < 1, shares[-1]) == (True, 1)
    with pytest.raises(ZeroDivisionError):
        inpainter.fill_batch([rgb], [hole], lambda share: share / 0)


def test_out_of_memory_halves_the_batch(tiny_weights):
    filler = Inpainter(tiny_weights, device="cpu", dtype="float32")
    filler.weights.info["training"] = {"light_share": 0.5}
    forward, sizes, lights = filler._forward, [], set()

    def small_memory(images, *given):
        *_, light = given
        sizes.append(len(images))
        lights.add(light)
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return forward(images, *given)

    filler._forward = small_memory
    rgbs, holes = [photo(64, 64, seed=i) for i in range(5)], [hole_with((64, 64), (10, 40, 10, 40))] * 5
    fills = filler.fill_batch(rgbs, holes)
    assert sizes == [5, 2, 3, 1, 2]
    assert lights == {True}  # in the halves as in the whole
    assert filler.batch_size == 1
    filler.batch_size = 8
    filler._forward = forward
    for fill, undisturbed in zip(fills, filler.fill_batch(rgbs, holes), strict=True):
        assert np.abs(fill.rgb.astype(int) - undisturbed.rgb).max() <= 1  # sums in another order
        assert np.abs(fill.fakeness - undisturbed.fakeness).max() < 1e-5

    def no_memory(*given):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    filler._forward = no_memory
    with pytest.raises(DeviceError, match="too little free memory"):
        filler.fill_batch(rgbs, holes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_threads_that_share_a_gpu_get_what_the_cpu_gives(tiny_weights, inpainter):
    gpu = Inpainter(tiny_weights, device="cuda", dtype="float32")
    hole = hole_with((150, 140), (40, 90, 30, 100))
    rgbs = [photo(150, 140, seed=i) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda rgb: gpu(rgb, hole), rgbs))
    for rgb, result in zip(rgbs, results, strict=True):
        assert np.abs(result.astype(int) - inpainter(rgb, hole)).max() <= 1


def test_weights_say_whether_auto_copies_detail(tiny_weights, tmp_path):
    """No eyes are to be found around a face."""
    generator = load_weights(tiny_weights).generator
    for fit, copies in (("smooth", False), ("auto", True)):
        save_weights(tmp_path / fit, generator, {"fit": fit}, "tiny")
        assert (Inpainter(tmp_path / fit, device="cpu").copying is not None) == copies
    assert Inpainter("faces", device="cpu").copying is None


@pytest.mark.parametrize(
    ("size", "scale", "copying"), [(None, 3, (1.5, 4)), (128, 3, (1.5, 4)), (256, 2, (0.9, 4))]
)
def test_weights_trained_at_a_larger_size_reduce_deep_holes_less(
    tiny_weights, tmp_path, monkeypatch, size, scale, copying
):
    """Strokes of 160 px are 113 px deep where they cross: less than three times 40, or twice 92."""
    info = {"training": {"size": size}} if size else {}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    used = []

    def watched(*arguments, **options):
        for window in plan(*arguments, **options):
            used.extend([] if window.second else [window.scale])
            yield window

    monkeypatch.setattr("damgan_cli.inpainting.inpainter.plan", watched)
    given = [photo(700, 700)], [hole_with((700, 700), (270, 430, 20, 680), (20, 680, 270, 430))]
    larger = Inpainter(tmp_path / "weights", device="cpu")
    assert (larger.copying.blur, larger.copying.colours) == pytest.approx(copying)
    larger.fill_batch(*given)
    larger.fit = "native"  # as the page does
    assert larger.copying is None
    larger.fill_batch(*given)
    assert used == [scale, 1]
