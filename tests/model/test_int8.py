"""Convolutions in int8 give what rounded numbers give, where a CPU computes them exactly."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from damgan_cli import Inpainter
from damgan_cli.model import Generator, GeneratorConfig, int8
from damgan_cli.model.conv import LEAK, Conv
from damgan_cli.model.int8 import Int8Conv, in_int8, int8_convolutions, is_exact
from damgan_cli.model.winograd import Conv3x3
from damgan_cli.runtime import speed
from tests.inpainting.holes import hole_with, photo

needs_int8 = pytest.mark.skipif(not is_exact(), reason="this CPU has no exact int8 convolutions")


def rounded(x):
    """Each channel of each image to 256 levels that hold its range and 0; their steps, (B, C, 1, 1)."""
    low, high = x.amin((2, 3), keepdim=True).clamp_max(0), x.amax((2, 3), keepdim=True).clamp_min(0)
    step = 2 ** (((high - low) / 255).clamp_min(1e-30).log2().mul(8).ceil() / 8)  # powers of 2, seven between
    return (x / step).round() * step, step


def by_rounded_numbers(x, conv, dilation=1):
    """Each image's own weights: 255 levels for each output channel, of weights times the input's steps."""
    results = []
    for image in x:
        values, step = rounded(image[None])
        scaled = conv.weight * step
        unit = scaled.abs().amax((1, 2, 3), keepdim=True) / 127
        weight = (scaled / unit).round() * unit / step
        results.append(F.conv2d(values, weight, conv.bias, padding=dilation, dilation=dilation))
    return torch.cat(results)


@pytest.fixture
def always(monkeypatch):
    """Also where pixels are few."""
    monkeypatch.setattr(int8, "_WORTH", {torch.float32: 0, torch.bfloat16: 0})


@pytest.fixture(params=[(), (2, 4, 4, 8)], ids=["", "narrower inside"])
def generator(request):
    torch.manual_seed(0)
    return Generator(GeneratorConfig((4, 4, 8), (2,), (4, 8, 8, 16), (2, 4), (1, 2), request.param)).eval()


@needs_int8
@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("count", [1, 3])
def test_a_convolution_of_rounded_numbers(always, dilation, count):
    torch.manual_seed(0)
    conv = Conv3x3(20, 12, dilation)
    x = torch.rand(count, 20, 24, 31) * 4 - 1.5
    x[:, 3] *= 50  # each channel has levels of its own
    x[:, 4] += 2  # all above 0
    x[:, 5] = 0
    x[-1] *= 9  # and each image
    with torch.inference_mode():
        found = Int8Conv(conv)(x)
        wanted = by_rounded_numbers(x, conv, dilation)
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@needs_int8
def test_a_channel_that_is_large_leaves_the_others_their_levels(always):
    """One step for all of them would be a hundred times as far off."""
    torch.manual_seed(0)
    conv = Conv3x3(20, 12)
    x = torch.rand(1, 20, 16, 16)
    with torch.inference_mode():
        conv.weight[:, 7] /= 1000
        x[:, 7] *= 1000
        error = (Int8Conv(conv)(x) - conv(x)).abs().max()
    assert error < 0.02


@needs_int8
def test_what_follows_a_convolution_follows_it_here(always):
    conv = Conv3x3(20, 20)
    leaking = Conv3x3(20, 20, leaks=True)
    leaking.load_state_dict(conv.state_dict())
    x = torch.rand(2, 20, 16, 16) * 4 - 1.5
    with torch.inference_mode():
        plain = Int8Conv(conv)(x)
        assert torch.equal(Int8Conv(leaking)(x), F.leaky_relu(plain, LEAK))
        torch.testing.assert_close(Int8Conv(conv)(x, onto=x.clone()), plain + x)


@needs_int8
@pytest.mark.parametrize("count", [1, 2])
def test_it_gives_the_number_type_it_gets(always, count):
    conv = Conv3x3(20, 12)
    x = torch.rand(count, 20, 16, 16) * 4 - 1.5
    with torch.inference_mode():
        low, exact = Int8Conv(conv)(x.bfloat16()), Int8Conv(conv)(x)
    assert (low.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    assert (low - exact).abs().max() < 0.05


@needs_int8
def test_weights_are_rounded_once_whatever_they_are_cast_to(always):
    """Nor does autocast round anything."""
    torch.manual_seed(0)
    conv = Conv3x3(20, 12)
    x = (torch.rand(1, 20, 16, 16) * 4 - 1.5).bfloat16()
    with torch.inference_mode():
        wanted = Int8Conv(conv)(x)
        assert torch.equal(Int8Conv(conv).to(torch.bfloat16)(x), wanted)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(Int8Conv(conv)(x), wanted)


@needs_int8
def test_nothing_gives_the_bias(always):
    conv = Conv3x3(4, 3)
    with torch.inference_mode():
        found = Int8Conv(conv)(torch.zeros(1, 4, 8, 8))
    torch.testing.assert_close(found, conv.bias.detach().view(1, -1, 1, 1).expand(1, 3, 8, 8))


@needs_int8
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(always, wrong):
    """Of each image by itself; rounded to levels it would be a number."""
    conv = Conv3x3(16, 16)
    x = torch.rand(2, 16, 8, 8)
    x[1, 3, 4, 5] = wrong
    with torch.inference_mode():
        found = Int8Conv(conv)(x)
    assert found[0].isfinite().all()
    assert not found[1].isfinite().any()


@needs_int8
@pytest.mark.parametrize(("dtype", "side"), [(torch.float32, 32), (torch.bfloat16, 64)])
def test_small_features_are_not_rounded(monkeypatch, dtype, side):
    counted = []
    monkeypatch.setattr(Int8Conv, "rounded", lambda _, x: counted.append(x.shape[2]) or x)
    conv = Int8Conv(Conv3x3(4, 4)).to(dtype)
    x = torch.rand(1, 4, side, side, dtype=dtype)
    with torch.inference_mode():
        conv(x)
        assert torch.equal(conv(x[..., 1:]), Conv3x3.forward(conv, x[..., 1:]))
    assert counted == [side]


@needs_int8
def test_a_generator_in_int8_is_a_copy_and_near_the_one_it_is_of(always, generator):
    before = copy.deepcopy(generator.state_dict())
    copied = in_int8(generator)
    assert copied.state_dict().keys() == before.keys()
    image, mask = torch.rand(2, 3, 48, 64) * 2 - 1, torch.zeros(2, 1, 48, 64)
    mask[..., 10:30, 20:40] = 1
    with torch.inference_mode():
        wanted, found = generator(image, mask), copied(image, mask)
    assert 0 < (wanted.result - found.result).abs().mean() < 0.01 * wanted.result.abs().mean()
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert torch.equal(wanted.coarse, found.coarse)
    rounds = {name for name, module in copied.named_modules() if isinstance(module, Int8Conv)}
    assert rounds == set(int8_convolutions(generator))
    assert {"dam_stage.middle.0.conv1", "dam_stage.encode2.block.conv2", "dam_stage.decode2.conv"} < rounds
    assert not any("encode2.conv" in name or "decode1" in name for name in rounds)


@pytest.mark.parametrize("damage", ["overflow", "no such operation"])
def test_what_is_not_exact_is_not_used(monkeypatch, damage):
    def rounded(self, x):
        if damage == "overflow":
            return torch.full((1, 16, 8, 8), 2.0**15)
        raise AttributeError("qconv2d_pointwise")

    monkeypatch.setattr(Int8Conv, "rounded", rounded)
    assert not is_exact.__wrapped__()


@needs_int8
def test_the_inpainter_fills_in_int8_whatever_shares_a_batch(always, tiny_weights):
    holes = [hole_with((120, 120), box) for box in ((10, 40, 20, 50), (60, 90, 10, 100))]
    photos = [photo(120, 120), photo(120, 120)[::-1].copy()]
    inpainter = Inpainter(tiny_weights, device="cpu", dtype="int8")
    assert inpainter.dtype is torch.int8
    together = inpainter.fill_batch(photos, holes)
    for alone, hole, fill in zip(photos, holes, together, strict=True):
        # batches round otherwise in the last bit, which may be another level of what is rounded next
        apart = abs(inpainter.fill_batch([alone], [hole])[0].rgb.astype(int) - fill.rgb)
        assert apart.max() <= 2
    exact = Inpainter(tiny_weights, device="cpu", dtype="float32").fill_batch(photos, holes)
    assert 0 < abs(together[0].rgb.astype(int) - exact[0].rgb)[holes[0]].mean() < 4


@needs_int8
@pytest.mark.parametrize("faster", [torch.float32, torch.bfloat16])
def test_the_rest_is_in_what_is_faster_of_the_others(always, tiny_weights, monkeypatch, faster):
    """In what the inpainter runs, and in what is measured for it."""
    seen = []
    forward = Int8Conv.rounded

    def watched(self, x):
        assert torch.is_autocast_enabled("cpu") == (faster == torch.bfloat16)
        seen.append(self.weight.dtype)  # of what is too small to be rounded
        return forward(self, x)

    monkeypatch.setattr(Int8Conv, "rounded", watched)
    monkeypatch.setattr(speed, "fastest", lambda **_: faster)
    inpainter = Inpainter(tiny_weights, device="cpu", dtype="int8")
    inpainter.fill_batch([photo(64, 64)], [hole_with((64, 64), (20, 40, 20, 40))])
    convolutions = len(int8_convolutions(inpainter.generator))
    run = speed._passes(training=False)
    clock = iter([0, 2, 0, 1 if faster == torch.bfloat16 else 3, 0])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        run(dtype)
    assert len(seen) > convolutions
    assert set(seen) == {faster}


@needs_int8
def test_the_default_weights_fill_in_int8_as_in_float32(always):
    photos, holes = [photo(200, 200)], [hole_with((200, 200), (60, 130, 70, 120))]
    fills = {
        dtype: Inpainter(device="cpu", dtype=dtype).fill_batch(photos, holes)[0].rgb[holes[0]].astype(int)
        for dtype in ("float32", "int8")
    }
    assert 0 < abs(fills["int8"] - fills["float32"]).mean() < 1


def test_all_that_are_for_int8_keep_the_size(generator):
    for conv in int8_convolutions(generator).values():
        assert isinstance(conv, Conv)
        assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), conv.dilation)
