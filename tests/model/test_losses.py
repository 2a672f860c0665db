"""Eq. 1-3 against values computed by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from damgan_cli.evaluation.metrics import ssim
from damgan_cli.model import Discriminator, PatchDiscriminator
from damgan_cli.model import losses as L


def flat(value, channels=3, size=4):
    return torch.full((1, channels, size, size), float(value))


def test_eq1_reconstruction():
    truth, coarse, result = flat(0.5), flat(0.0), flat(1.0)
    assert L.reconstruction_loss(truth, coarse, result).item() == pytest.approx(0.5 + 0.5)
    weight = flat(0, channels=1)
    weight[..., :2, :] = 3  # half of the pixels count three times, the others not at all
    assert L.reconstruction_loss(truth, coarse, result, weight).item() == pytest.approx(1.5)


def test_eq2_adversarial():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    log_real = (math.log(sigmoid(2)) + math.log(sigmoid(0))) / 2
    log_fake = (math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(1))) / 2
    assert L.discriminator_loss(real, fake).item() == pytest.approx(-log_real - log_fake, rel=1e-6)
    assert L.minimax_generator_loss(fake).item() == pytest.approx(log_fake, rel=1e-6)
    live = -(math.log(sigmoid(-1)) + math.log(sigmoid(1))) / 2
    assert L.non_saturating_generator_loss(fake).item() == pytest.approx(live, rel=1e-6)


def test_eq2_pulls_generator_and_discriminator_apart():
    fake = torch.zeros(1, requires_grad=True)
    toward_D = torch.autograd.grad(L.discriminator_loss(torch.zeros(1), fake), fake)[0]
    for loss in (L.minimax_generator_loss, L.non_saturating_generator_loss):
        toward_G = torch.autograd.grad(loss(fake), fake)[0]
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
    maps = [torch.full((1, 1, s, s), value) for s, value in ((8, 0.9), (4, 0.8), (2, 0.5), (1, 1.0))]
    assert L.dam_loss(maps, truth, result).item() == pytest.approx(0.1 + 0.2 + 0.5 + 0.0, abs=1e-6)


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


def test_hinge():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert L.hinge_discriminator_loss(real, fake).item() == pytest.approx((0 + 1) / 2 + (0 + 2) / 2)
    assert L.hinge_generator_loss(fake).item() == pytest.approx(1)


@pytest.mark.parametrize("loss", [L.discriminator_loss, L.hinge_discriminator_loss])
def test_known_patches_of_a_filled_picture_are_real_to_the_discriminator(loss):
    real, fake = torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, requires_grad=True)
    target = torch.tensor([[[1.0, 0.0]]])  # the left patch is hole, the right one known
    left, right = torch.autograd.grad(loss(real, fake, target), fake)[0].flatten()
    assert left > 0  # descending lowers the logit of the hole ...
    assert right < 0  # ... and raises that of the known patch


def test_generator_answers_for_its_own_patches_alone():
    """Each image counts alike, whatever the size of its hole."""
    logits = torch.zeros(2, 1, 4, requires_grad=True)
    target = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 1, 1, 1]]])
    gradient = torch.autograd.grad(L.hinge_generator_loss(logits, target), logits)[0]
    assert gradient[0].flatten().tolist() == pytest.approx([-0.5, 0, 0, 0])
    assert gradient[1].flatten().tolist() == pytest.approx([-0.125] * 4)


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    image = torch.rand(3, 3, 4, 4, requires_grad=True)
    weight = torch.rand(3, 4, 4)
    penalty = L.r1_penalty((image * weight).sum((1, 2, 3)), image)
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)


def test_feature_matching_is_the_mean_distance_over_layers():
    real, fake = (
        [torch.zeros(1, 2, 4, 4), torch.zeros(1, 5)],
        [torch.ones(1, 2, 4, 4), torch.full((1, 5), -3.0)],
    )
    assert L.feature_matching_loss(real, fake).item() == pytest.approx((1 + 3) / 2)


def test_ssim_loss_is_that_of_the_metric():
    photo = cv2.resize(data.astronaut(), (80, 64), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(photo, (0, 0), 1.5)
    signed = [torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (blurred, photo)]
    assert 1 - L.ssim_loss(*signed).item() == pytest.approx(ssim(blurred, photo), abs=1e-4)
    assert L.ssim_loss(signed[1], signed[1]).item() == pytest.approx(0, abs=1e-5)


def test_patch_discriminator_judges_places_on_their_own():
    torch.manual_seed(0)
    D = PatchDiscriminator().eval()
    image = torch.rand(1, 3, 128, 128)
    changed = image.clone()
    changed[..., :16, :16] = 0
    with torch.no_grad():
        before, after = D(image), D(changed)
    assert before.shape == (1, 16, 16)
    assert not torch.allclose(before[0, 0, 0], after[0, 0, 0])
    assert np.allclose(before[0, 10:, 10:], after[0, 10:, 10:], atol=1e-5)
