"""Convolutions in int8 give what rounded numbers give, where a CPU computes them exactly."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from damgan_cli import Inpainter
from damgan_cli.errors import DeviceError, WeightsError
from damgan_cli.model import Generator, GeneratorConfig, int8
from damgan_cli.model.int8 import Int8Conv2d, check_zeros, deep_convolutions, in_int8, is_exact, prepared
from damgan_cli.runtime import speed
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights
from tests.inpainting.holes import hole_with, photo

needs_int8 = pytest.mark.skipif(not is_exact(), reason="this CPU has no exact int8 convolutions")


def rounded(x, zero):
    """Of each image, to 256 levels that hold its range, of steps that are powers of 2 or seven between."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    ends = [-low / zero] if zero else []
    ends += [high / (255 - zero)] if zero < 255 else []
    step = 2 ** ((torch.stack(ends).amax(0).double().log2() * 8).ceil() / 8).float()
    return ((x / step).round() + zero).clamp(0, 255).sub(zero).mul(step)


def rounded_weight(weight):
    """255 levels for each output channel."""
    step = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    return (weight / step).round() * step


@pytest.fixture(params=[(), (2, 4, 4, 8)], ids=["", "narrower inside"])
def generator(request):
    torch.manual_seed(0)
    return Generator(GeneratorConfig((4, 4, 8), (2,), (4, 8, 8, 16), (2, 4), (1, 2), request.param)).eval()


def examples(count=3):
    """Images and masks, two in each batch, of which one is refined."""
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        mask = torch.zeros(2, 1, 48, 64)
        mask[..., 10:30, 20:40] = 1
        yield torch.rand(2, 3, 48, 64, generator=random) * 2 - 1, mask


@needs_int8
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("count", [1, 3])
def test_a_convolution_of_rounded_numbers(stride, dilation, count):
    torch.manual_seed(0)
    conv = nn.Conv2d(20, 12, 3, stride, padding=dilation, dilation=dilation)
    x = torch.rand(count, 20, 24, 31) * 4 - 1.5
    x[-1] *= 9  # each image has steps of its own
    with torch.inference_mode():
        found = Int8Conv2d(conv, 100)(x)
        weight = rounded_weight(conv.weight)
        wanted = F.conv2d(rounded(x, 100), weight, conv.bias, stride, dilation, dilation)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@needs_int8
@pytest.mark.parametrize("count", [1, 2])
def test_it_gives_the_number_type_it_gets(count):
    conv = nn.Conv2d(20, 12, 3, padding=1)
    x = torch.rand(count, 20, 16, 16) * 4 - 1.5
    with torch.inference_mode():
        low, exact = Int8Conv2d(conv, 100)(x.bfloat16()), Int8Conv2d(conv, 100)(x)
    assert (low.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    assert (low - exact).abs().max() < 0.05


@needs_int8
def test_nothing_gives_the_bias():
    conv = nn.Conv2d(4, 3, 3, padding=1)
    with torch.inference_mode():
        found = Int8Conv2d(conv, 100)(torch.zeros(1, 4, 8, 8))
    torch.testing.assert_close(found, conv.bias.detach().view(1, -1, 1, 1).expand(1, 3, 8, 8))


@needs_int8
@pytest.mark.parametrize("zero", [0, 255])
def test_levels_all_on_one_side_of_zero_clip_the_other(zero):
    conv = nn.Conv2d(4, 4, 3, padding=1)
    x = torch.linspace(-1, 1, 400).view(1, 4, 10, 10)
    with torch.inference_mode():
        found = Int8Conv2d(conv, zero)(x)
        wanted = F.conv2d(rounded(x, zero), rounded_weight(conv.weight), conv.bias, padding=1)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


def test_what_is_prepared_for_int8_fills_as_before(generator):
    """Also with a channel that is never used."""
    with torch.no_grad():
        for parameter in generator.dam_stage.middle[0].conv1.parameters():
            parameter[3] = 0
    before = copy.deepcopy(generator.state_dict())
    scaled, zeros = prepared(generator, examples())
    check_zeros(generator, zeros)
    for image, mask in examples():
        for refined in (0, 2):
            with torch.inference_mode():
                wanted, found = generator(image, mask, refined), scaled(image, mask, refined)
            torch.testing.assert_close(found.result, wanted.result, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.fakeness, wanted.fakeness, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_each_channel_then_fills_the_levels(generator):
    """Within a factor of two for half of them, where they differ by more than ten before."""
    with torch.no_grad():
        conv = generator.dam_stage.encode2.conv  # one channel is large, and whatever takes it knows
        conv.weight[3] *= 40
    scaled, _ = prepared(generator, examples())
    reach = {"before": [], "after": []}
    for when, model in (("before", generator), ("after", scaled)):
        hook = model.dam_stage.middle[0].conv1.register_forward_pre_hook(
            lambda _, given, to=reach[when]: to.append(given[0].abs().amax((0, 2, 3)))
        )
        with torch.inference_mode():
            for image, mask in examples():
                model(image, mask, 1)
        hook.remove()
    before, after = (torch.stack(each).amax(0) for each in reach.values())
    assert before.max() / before.median() > 10
    assert after.max() / after.median() < 2


def test_zero_points_are_of_what_light_images_have_too(generator):
    """Here what is left out would take back what the block before it adds, which is far above 0."""
    with torch.no_grad():
        near, far = generator.dam_stage.middle
        near.conv2.bias += 100
        far.conv2.bias -= 100
        far.conv2.weight.zero_()
    for light in (True, False):
        scaled, zeros = prepared(generator, examples(), light=light)
        seen = []
        conv = scaled.dam_stage.decode3.conv
        conv.register_forward_pre_hook(lambda _, given, to=seen: to.append(given[0]))
        with torch.inference_mode():
            for image, mask in examples():
                scaled(image, mask, 1, light=1)
        features = torch.cat([x[-1:] for x in seen[1::2]])  # every second is of the fill of half the size
        wanted = -features.min() / (features.max() - features.min())
        assert (abs(zeros["dam_stage.decode3.conv"] / 255 - wanted) < 0.05) == light


@needs_int8
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(wrong):
    """Of each image by itself; rounded to levels it would be a number."""
    conv = nn.Conv2d(16, 16, 3, padding=1)
    x = torch.rand(2, 16, 8, 8)
    x[1, 3, 4, 5] = wrong
    with torch.inference_mode():
        found = Int8Conv2d(conv, 0)(x)
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


@needs_int8
def test_a_generator_in_int8_is_a_copy_and_near_the_one_it_is_of(generator):
    scaled, zeros = prepared(generator, examples())
    before = copy.deepcopy(scaled.state_dict())
    copied = in_int8(scaled, zeros)
    with torch.inference_mode():
        (image, mask), *_ = examples()
        wanted, found = scaled(image, mask), copied(image, mask)
    assert 0 < (wanted.result - found.result).abs().mean() < 0.01 * wanted.result.abs().mean()
    assert all(torch.equal(before[name], value) for name, value in scaled.state_dict().items())
    assert torch.equal(wanted.coarse, found.coarse)
    left = [module for module in copied.dam_stage.middle.modules() if isinstance(module, nn.Conv2d)]
    assert not left


@pytest.mark.parametrize("change", ["one less", "one more"])
def test_zero_points_must_be_those_of_the_generator(generator, change):
    zeros = dict.fromkeys(deep_convolutions(generator), 100)
    check_zeros(generator, zeros)
    if change == "one less":
        del zeros["dam_stage.middle.0.conv1"]
    else:
        zeros["dam_stage.stem"] = 1
    with pytest.raises(ValueError, match="not those of its convolutions"):
        in_int8(generator, zeros)


@pytest.mark.parametrize("damage", ["overflow", "no such operation"])
def test_what_is_not_exact_is_not_used(monkeypatch, damage):
    def forward(self, x):
        if damage == "overflow":
            return torch.full((1, 16, 8, 8), 2.0**15)
        raise AttributeError("qconv2d_pointwise")

    monkeypatch.setattr(int8.Int8Conv2d, "forward", forward)
    assert not is_exact.__wrapped__()


@needs_int8
def test_the_inpainter_fills_in_int8_whatever_shares_a_batch(tmp_path, tiny_weights):
    generator, zeros = prepared(load_weights(tiny_weights).generator, examples())
    save_weights(tmp_path / "weights", generator, {"int8": zeros}, "tiny")
    holes = [hole_with((120, 120), box) for box in ((10, 40, 20, 50), (60, 90, 10, 100))]
    photos = [photo(120, 120), photo(120, 120)[::-1].copy()]
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="int8")
    assert inpainter.dtype is torch.int8
    together = inpainter.fill_batch(photos, holes)
    for alone, hole, fill in zip(photos, holes, together, strict=True):
        # batches round otherwise in the last bit, which may be another level of what is rounded next
        apart = abs(inpainter.fill_batch([alone], [hole])[0].rgb.astype(int) - fill.rgb)
        assert apart.max() <= 2
    exact = Inpainter(tmp_path / "weights", device="cpu", dtype="float32").fill_batch(photos, holes)
    assert 0 < abs(together[0].rgb.astype(int) - exact[0].rgb)[holes[0]].mean() < 4
    with pytest.raises(DeviceError, match="no zero points for int8"):
        Inpainter(tiny_weights, device="cpu", dtype="int8")


@needs_int8
@pytest.mark.parametrize("faster", [torch.float32, torch.bfloat16])
def test_the_rest_is_in_what_is_faster_of_the_others(tmp_path, tiny_weights, monkeypatch, faster):
    """In what the inpainter runs, and in what is measured for it."""
    generator, zeros = prepared(load_weights(tiny_weights).generator, examples())
    save_weights(tmp_path / "weights", generator, {"int8": zeros}, "tiny")
    seen = []
    forward = Int8Conv2d.forward

    def watched(self, x):
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, x)

    monkeypatch.setattr(Int8Conv2d, "forward", watched)
    monkeypatch.setattr(speed, "fastest", lambda **_: faster)
    inpainter = Inpainter(tmp_path / "weights", device="cpu", dtype="int8")
    inpainter.fill_batch([photo(64, 64)], [hole_with((64, 64), (20, 40, 20, 40))])
    run = speed._passes(training=False)
    clock = iter([0, 2, 0, 1 if faster == torch.bfloat16 else 3, 0])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        run(dtype)
    assert len(seen) > len(zeros)
    assert set(seen) == {faster == torch.bfloat16}


@needs_int8
def test_the_default_weights_fill_in_int8_as_in_float32():
    photos, holes = [photo(200, 200)], [hole_with((200, 200), (60, 130, 70, 120))]
    fills = {
        dtype: Inpainter(device="cpu", dtype=dtype).fill_batch(photos, holes)[0].rgb[holes[0]].astype(int)
        for dtype in ("float32", "int8")
    }
    assert 0 < abs(fills["int8"] - fills["float32"]).mean() < 1


@pytest.mark.parametrize(
    ("zero", "message"),
    [
        (100, "int8 zero points are not those"),
        (256, "256 is greater than the maximum of 255"),
        ("0", "'0' is not of type 'integer', 'array'"),
        ([0.1, 256], "256 is greater than the maximum of 255"),
        ([0.1], "is too short"),
    ],
)
def test_zero_points_that_fit_no_generator_are_refused(tmp_path, tiny_weights, zero, message):
    info = {"int8": {"dam_stage.stem": zero}}
    save_weights(tmp_path / "weights", load_weights(tiny_weights).generator, info, "tiny")
    with pytest.raises(WeightsError, match=message):
        load_weights(tmp_path / "weights")


def test_weights_of_before_have_a_step_beside_the_zero_point(tmp_path, tiny_weights):
    generator = load_weights(tiny_weights).generator
    zeros = {name: number for number, name in enumerate(deep_convolutions(generator))}
    info = {"int8": {name: [0.1, zero] for name, zero in zeros.items()}}
    save_weights(tmp_path / "weights", generator, info, "tiny")
    assert load_weights(tmp_path / "weights").info["int8"] == zeros
