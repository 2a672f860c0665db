"""Convolutions by Winograd's way: the same as PyTorch's own, and taken only where they pay."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from damgan_cli.model.winograd import Conv3x3


@pytest.fixture
def by_winograd(monkeypatch):
    """How many convolutions were computed this way."""
    counted = []
    original = Conv3x3._by_winograd
    monkeypatch.setattr(Conv3x3, "_by_winograd", lambda *given: counted.append(1) or original(*given))
    return counted


def conv_and_input(channels=(128, 128), dilation=1, batch=1, size=(16, 16)):
    torch.manual_seed(0)
    conv = Conv3x3(*channels, dilation).to(memory_format=torch.channels_last)
    x = torch.randn(batch, channels[0], *size).to(memory_format=torch.channels_last)
    return conv, x


@pytest.mark.parametrize(
    ("channels", "dilation", "batch", "size"),
    [
        ((128, 128), 1, 1, (16, 16)),
        ((128, 160), 1, 2, (14, 19)),
        ((160, 128), 2, 3, (16, 24)),
        ((128, 128), 2, 1, (15, 22)),
        ((128, 128), 8, 1, (32, 64)),
        ((128, 128), 16, 2, (64, 60)),
    ],
)
def test_it_gives_what_pytorch_gives(by_winograd, channels, dilation, batch, size):
    conv, x = conv_and_input(channels, dilation, batch, size)
    wanted = F.conv2d(x, conv.weight, conv.bias, padding=dilation, dilation=dilation)
    with torch.inference_mode():
        given = conv(x)
    assert by_winograd
    assert given.shape == wanted.shape
    assert (given - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(
    ("channels", "dilation", "size"),
    [
        ((64, 128), 1, (16, 16)),  # few channels: the transforms would cost more than they save
        ((128, 128), 16, (16, 16)),  # tiles of 4x4 for each of 256 phases, of one pixel each
    ],
)
def test_what_does_not_pay_is_convolved_as_usual(by_winograd, channels, dilation, size):
    conv, x = conv_and_input(channels, dilation, size=size)
    with torch.inference_mode():
        conv(x)
    assert not by_winograd


def test_training_and_low_precision_are_convolved_as_usual(by_winograd):
    conv, x = conv_and_input()
    conv(x).mean().backward()
    assert conv.weight.grad is not None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        conv(x)
    with torch.inference_mode():
        conv.bfloat16()(x.bfloat16())
    assert not by_winograd


def test_changed_weights_count(by_winograd):
    conv, x = conv_and_input()
    with torch.inference_mode():
        conv(x)
    with torch.no_grad():
        conv.weight.mul_(2)
        conv.bias.zero_()
    wanted = F.conv2d(x, conv.weight, padding=1)
    with torch.inference_mode():
        given = conv(x)
    assert len(by_winograd) == 2
    assert (given - wanted).abs().max() < 1e-4 * wanted.abs().max()
