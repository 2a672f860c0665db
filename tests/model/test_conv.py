"""Convolutions with what follows them: at once where oneDNN can, else step by step, to the same result."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from damgan_cli.model import Generator, GeneratorConfig, conv
from damgan_cli.model.conv import LEAK, Conv, convolve
from damgan_cli.model.dam import Fuse

TYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if conv._possible(dtype)]
needs_onednn = pytest.mark.skipif(not TYPES, reason="this CPU or this torch computes one after the other")


@pytest.fixture
def at_once(monkeypatch):
    """How often that was possible."""
    counted = []
    original = conv._at_once
    monkeypatch.setattr(conv, "_at_once", lambda *given: original(*given) and not counted.append(1))
    return counted


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("where", [{}, {"stride": 2, "padding": 1}, {"padding": 4, "dilation": 4}])
@pytest.mark.parametrize("follows", ["nothing", "leaky ReLU", "a sum"])
def test_the_same_at_once(at_once, dtype, where, follows):
    torch.manual_seed(0)
    layer = Conv(12, 16, 3, **where, leaks=follows == "leaky ReLU").to(dtype)
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.randn(2, 12, 14, 18, dtype=dtype).to(memory_format=torch.channels_last)
    wanted = F.conv2d(x.float(), layer.weight.float(), layer.bias.float(), **where)
    onto = torch.randn_like(wanted).to(dtype) if follows == "a sum" else None
    if onto is not None:
        wanted = wanted + onto.float()
    if layer.leaks:
        wanted = F.leaky_relu(wanted, LEAK)
    rounding = 1e-5 if dtype == torch.float32 else 2**-7
    step_by_step = layer(x, onto if onto is None else onto.clone())
    assert not at_once
    with torch.inference_mode():
        found = layer(x, onto)
    assert at_once
    for result in (step_by_step, found):
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), wanted, atol=rounding, rtol=rounding)
    assert found.is_contiguous(memory_format=torch.channels_last)


@needs_onednn
def test_the_sum_is_in_the_memory_of_what_is_added_to():
    layer = Conv(4, 4, 1)
    x, onto = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
    with torch.inference_mode():
        assert layer(x, onto).data_ptr() == onto.data_ptr()


@needs_onednn
@pytest.mark.parametrize("low", TYPES)
def test_under_autocast_it_is_computed_in_the_type_of_the_weights(at_once, low):
    """Which is autocast's, or they are left to it; a sum with another type is added after it."""
    weight = torch.randn(4, 4, 1, 1)
    x, onto = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low == torch.bfloat16):
        found = convolve(x, weight.to(low))
        total = convolve(x, weight.to(low), onto=onto.clone())
        assert len(at_once) == 2
        if low == torch.bfloat16:
            assert convolve(x, weight).dtype == low
            assert len(at_once) == 2
    assert found.dtype == low
    torch.testing.assert_close(total.float(), found.float() + onto, atol=2e-2, rtol=2e-2)


@needs_onednn
def test_not_for_training_nor_for_other_types(at_once):
    layer, x = Conv(4, 4, 3, leaks=True), torch.rand(1, 4, 8, 8)
    layer(x).sum().backward()
    with torch.no_grad():
        layer(x)
    with torch.inference_mode():
        layer.double()(x.double())
        assert not at_once
        layer.float()(x)
        assert at_once


@needs_onednn
@pytest.mark.parametrize("change", ["gone", "other arguments", "no leaky ReLU", "another CPU"])
def test_not_where_the_operators_are_not_as_known(monkeypatch, change):
    """They are not public."""

    class Operators:
        def _convolution_pointwise(self, x, *_):
            if change == "other arguments":
                raise RuntimeError("expected at most 5 argument(s) but received 10 argument(s)")
            return x * -16

        _convolution_pointwise_ = torch.ops.mkldnn._convolution_pointwise_

    if change == "another CPU":
        monkeypatch.setattr(conv.platform, "machine", lambda: "aarch64")
    else:
        monkeypatch.setattr(torch.ops, "mkldnn", object() if change == "gone" else Operators())
    assert not conv._possible.__wrapped__(torch.float32)


@pytest.mark.parametrize("smaller", [1, 2])
def test_two_features_are_fused_as_if_they_were_one(smaller):
    torch.manual_seed(0)
    fuse = Fuse(6)
    T, S = torch.randn(2, 6, 12 // smaller, 16 // smaller), torch.randn(2, 6, 12, 16)
    wanted = fuse(T, S)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(T, S), wanted)


@pytest.mark.parametrize("how", [{}, {"light": 1}, {"light": 2}, {"refined": 1}])
def test_a_generator_gives_the_same_for_inference(how):
    """Blocks may then write into what they get: nothing else may need it."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig((4, 4, 8), (2, 4), (4, 8, 8, 16), (2, 1), (1, 2))).eval()
    image, mask = torch.rand(2, 3, 64, 48) * 2 - 1, (torch.rand(2, 1, 64, 48) < 0.2).float()
    with torch.no_grad():
        wanted = generator(image, mask, **how)
    with torch.inference_mode():
        found = generator(image, mask, **how)
    torch.testing.assert_close(found.result, wanted.result, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.fakeness, wanted.fakeness, atol=1e-4, rtol=1e-4)
