"""Eq. 1-3 against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from damgan_cli.model import Discriminator
from damgan_cli.model import losses as L


def flat(value, channels=3, size=4):
    return torch.full((1, channels, size, size), float(value))


def test_eq1_reconstruction():
    truth, coarse, result = flat(0.5), flat(0.0), flat(1.0)
    assert L.reconstruction_loss(truth, coarse, result).item() == pytest.approx(0.5 + 0.5)


def test_eq2_adversarial():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    log_real = (math.log(sigmoid(2)) + math.log(sigmoid(0))) / 2
    log_fake = (math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(1))) / 2
    assert L.discriminator_loss(real, fake).item() == pytest.approx(-log_real - log_fake, rel=1e-6)
    assert L.generator_loss(fake).item() == pytest.approx(log_fake, rel=1e-6)


def test_eq2_pulls_generator_and_discriminator_apart():
    fake = torch.zeros(1, requires_grad=True)
    toward_D = torch.autograd.grad(L.discriminator_loss(torch.zeros(1), fake), fake)[0]
    toward_G = torch.autograd.grad(L.generator_loss(fake), fake)[0]
    assert toward_G.sign() == -toward_D.sign()


def test_eq3_target_is_the_grey_error_on_the_8_bit_scale():
    truth, result = flat(-1), flat(-1)
    result[:, 1] = 1  # green is 255 levels off, red and blue agree
    assert torch.allclose(L.fakeness_target(truth, result, (4, 4)), flat(0.587, channels=1))
    result[:, 1] = -1 + 2 * 51 / 255  # 51 of 255 levels
    assert torch.allclose(L.fakeness_target(truth, result, (4, 4)), flat(0.587 * 0.2, channels=1), atol=1e-6)


def test_eq3_target_resizes_the_images_first():
    truth, result = flat(0), flat(0)
    result[..., ::2, :], result[..., 1::2, :] = 0.5, -0.5  # the errors cancel at half resolution
    assert L.fakeness_target(truth, result, (2, 2)).abs().max() < 1e-6
    assert L.fakeness_target(truth, result, (4, 4)).min().item() == pytest.approx(0.25)


def test_eq3_dam_loss_sums_the_four_maps():
    truth, result = flat(-1, size=8), flat(1, size=8)  # the target is 1 everywhere
    fakeness = [torch.full((1, 1, s, s), value) for s, value in ((8, 0.9), (4, 0.8), (2, 0.5), (1, 1.0))]
    assert L.dam_loss(fakeness, truth, result).item() == pytest.approx(0.1 + 0.2 + 0.5 + 0.0, abs=1e-6)


def test_eq3_target_carries_no_gradient():
    truth, result = flat(0), flat(0.5).requires_grad_()
    map_ = flat(0.1, channels=1).requires_grad_()
    assert not L.fakeness_target(truth, result, (4, 4)).requires_grad
    L.dam_loss([map_], truth, result).backward()
    assert result.grad is None
    assert map_.grad.abs().sum() > 0


def test_discriminator_is_that_of_contextual_attention():
    D = Discriminator(128)
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in D.convs] == [
        (3, 64, (5, 5), (2, 2)),
        (64, 128, (5, 5), (2, 2)),
        (128, 256, (5, 5), (2, 2)),
        (256, 256, (5, 5), (2, 2)),
    ]
    assert (D.linear.in_features, D.linear.out_features) == (8 * 8 * 256, 1)
    assert D(torch.zeros(2, 3, 128, 128)).shape == (2,)
    with pytest.raises(ValueError, match="multiple of 16"):
        Discriminator(100)
