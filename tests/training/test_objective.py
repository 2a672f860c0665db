"""The losses beyond the paper's and the discriminators, against values computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from damgan_cli.errors import TrainingError
from damgan_cli.evaluation.metrics import ssim
from damgan_cli.model import losses as eq
from damgan_cli.perceptual import Lpips
from damgan_cli.training.adversary import Adversary, PatchDiscriminator, area
from damgan_cli.training.config import BEST
from damgan_cli.training.objective import (
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    jittered,
    nearness,
    pixel_weight,
    r1_penalty,
    ssim_loss,
    weighted_reconstruction_loss,
)
from tests.evaluation.random_lpips import random_weights


def test_weighted_pixels_count_as_often():
    truth, coarse, result = (torch.full((1, 3, 4, 4), value) for value in (0.5, 0.0, 1.0))
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., :2, :] = 3  # half of the pixels count three times, the others not at all
    assert weighted_reconstruction_loss(truth, coarse, result, weight).item() == pytest.approx(1.5)


def test_a_small_hole_counts_as_much_as_a_large_one():
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, :4, :4] = mask[1, :, :32, :] = 1
    added = pixel_weight(mask, 2.0, 1.0) - 1
    assert added.mean((1, 2, 3)).tolist() == pytest.approx([2, 2])
    assert (added[mask == 0] == 0).all()


@pytest.mark.parametrize("setting", ["r1_gamma", "feature_matching"])
def test_a_projected_discriminator_refuses_what_it_cannot_do(setting):
    with pytest.raises(TrainingError, match="global or patch"):
        replace(BEST, discriminator="projected", **{"feature_matching": 0, setting: 1})


def test_hinge():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx((0 + 1) / 2 + (0 + 2) / 2)
    assert generator_loss("hinge", fake).item() == pytest.approx(1)


def test_non_saturating():
    fake = torch.tensor([-1.0, 1.0], requires_grad=True)
    loss = generator_loss("non-saturating", fake)
    beliefs = [1 / (1 + math.exp(-logit)) for logit in fake.tolist()]
    assert loss.item() == pytest.approx(-(math.log(beliefs[0]) + math.log(beliefs[1])) / 2, rel=1e-6)
    assert (torch.autograd.grad(loss, fake)[0] < 0).all()  # descending makes the filled more credible


def test_minimax_of_patches_that_are_all_hole_is_eq2():
    logits = torch.tensor([[[-1.0, 1.0]], [[0.5, 2.0]]])
    whole = torch.ones_like(logits)
    assert generator_loss("minimax", logits, whole).item() == pytest.approx(eq.generator_loss(logits).item())
    real = logits + 1
    assert discriminator_loss("minimax", real, logits).item() == eq.discriminator_loss(real, logits).item()


@pytest.mark.parametrize("kind", ["minimax", "hinge"])
def test_known_patches_of_a_filled_picture_are_real_to_the_discriminator(kind):
    real, fake = torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, requires_grad=True)
    hole = torch.tensor([[[1.0, 0.0]]])  # the left patch is hole, the right one known
    left, right = torch.autograd.grad(discriminator_loss(kind, real, fake, hole), fake)[0].flatten()
    assert left > 0  # descending lowers the logit of the hole ...
    assert right < 0  # ... and raises that of the known patch


def test_generator_answers_for_its_own_patches_alone():
    """Each image counts alike, whatever the size of its hole."""
    logits = torch.zeros(2, 1, 4, requires_grad=True)
    hole = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 1, 1, 1]]])
    gradient = torch.autograd.grad(generator_loss("hinge", logits, hole), logits)[0]
    assert gradient[0].flatten().tolist() == pytest.approx([-0.5, 0, 0, 0])
    assert gradient[1].flatten().tolist() == pytest.approx([-0.125] * 4)


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    image = torch.rand(3, 3, 4, 4, requires_grad=True)
    weight = torch.rand(3, 4, 4)
    penalty = r1_penalty((image * weight).sum((1, 2, 3)), image)
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)


def test_feature_matching_is_the_mean_distance_over_layers():
    real, fake = (
        [torch.zeros(1, 2, 4, 4), torch.zeros(1, 5)],
        [torch.ones(1, 2, 4, 4), torch.full((1, 5), -3.0)],
    )
    assert feature_matching_loss(real, fake).item() == pytest.approx((1 + 3) / 2)


def test_ssim_loss_is_that_of_the_metric():
    photo = cv2.resize(data.astronaut(), (80, 64), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(photo, (0, 0), 1.5)
    signed = [torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (blurred, photo)]
    assert 1 - ssim_loss(*signed).item() == pytest.approx(ssim(blurred, photo), abs=1e-4)
    assert ssim_loss(signed[1], signed[1]).item() == pytest.approx(0, abs=1e-5)


def test_patch_discriminator_judges_places_on_their_own():
    torch.manual_seed(0)
    D = PatchDiscriminator((48, 96, 192)).eval()
    image = torch.rand(1, 3, 128, 128)
    changed = image.clone()
    changed[..., :16, :16] = 0
    with torch.no_grad():
        before, after = D(image), D(changed)
    assert before.shape == (1, 16, 16)
    assert not torch.allclose(before[0, 0, 0], after[0, 0, 0])
    assert np.allclose(before[0, 10:, 10:], after[0, 10:, 10:], atol=1e-5)


def test_the_projected_discriminator_learns_to_tell_and_its_network_stays():
    """Shown the same pictures a few times, its heads tell noise from flat holes."""
    torch.manual_seed(0)
    config = replace(
        BEST,
        size=64,
        gan_loss="hinge",
        discriminator="projected",
        feature_matching=0,
        patch_channels=(8, 16, 16),
    )
    alexnet = Lpips("alex", random_weights("alex"))
    before = [parameter.clone() for parameter in alexnet.parameters()]
    adversary = Adversary(config, alexnet)
    assert [conv.out_channels for conv in adversary.D.pixels.convs] == [8, 16, 16, 16]
    names = [name for name, _ in adversary.D.named_parameters()]
    assert names
    assert not any("alexnet" in name for name in names)
    truth = torch.rand(4, 3, 64, 64) * 2 - 1
    mask = torch.zeros(4, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    fake = truth * (1 - mask)
    optimizer = torch.optim.Adam(adversary.D.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        loss = adversary(truth, fake, mask)["d"].value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2
    with torch.no_grad():
        real, false = (adversary.D(adversary.D.features(images)) for images in (truth, fake))
    for truly, falsely in zip(real, false, strict=True):
        assert ((truly - falsely) * area(mask, truly)).sum() > 0
    assert all(torch.equal(a, b) for a, b in zip(before, alexnet.parameters(), strict=True))
    filled = fake.clone().requires_grad_()
    adversary.generator_terms(truth, filled, mask)[0]["adv"].value.backward()
    assert filled.grad.abs().sum() > 0


def test_alexnet_looks_once_at_what_was_filled(monkeypatch):
    """D learns from the very views that G learned from, and gives no gradient back."""
    torch.manual_seed(0)
    config = replace(BEST, size=64, discriminator="projected", feature_matching=0, patch_channels=(8, 16, 16))
    alexnet = Lpips("alex", random_weights("alex"))
    adversary = Adversary(config, alexnet).eval()  # its spectral norms stay
    seen = []
    look = alexnet.features
    monkeypatch.setattr(alexnet, "features", lambda image, taps: seen.append(image) or look(image, taps))
    truth, mask = torch.rand(3, 3, 64, 64) * 2 - 1, torch.zeros(3, 1, 64, 64)
    mask[..., 10:40, 20:50] = 1
    fake = (truth * (1 - mask)).requires_grad_()
    areas = []
    monkeypatch.setattr(
        "damgan_cli.training.adversary.area",
        lambda mask, logits: areas.append(mask) or area(mask, logits),
    )
    terms, views = adversary.generator_terms(truth, fake, mask)
    terms["adv"].value.backward()
    fake.grad = None
    shared = adversary(truth, fake, mask, views=views)["d"].value
    shared.backward()
    assert [len(images) for images in seen] == [3, 3]
    assert (views.truth * (1 - views.mask) - views.fake[-1]).abs().max() == 0
    assert (views.truth * views.mask).abs().max() > 0
    assert torch.equal(seen[1], F.interpolate(views.truth, scale_factor=2.0, mode="bilinear"))
    assert all(mask is views.mask for mask in areas)
    assert fake.grad is None
    monkeypatch.setattr(adversary.D, "views", lambda *_: [views.truth, views.fake[-1].detach(), views.mask])
    alone = adversary(truth, fake, mask)["d"].value
    assert len(seen) == 4
    assert shared.item() == pytest.approx(alone.item(), rel=1e-5)


def test_deep_pixels_count_less():
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 20:108, 20:108] = 1
    weights = nearness(mask, 0.25)
    assert weights.shape == mask.shape
    assert weights[0, 0, 64, 64] == 0.25
    assert (weights[mask == 0] == 1).all()
    row = weights[0, 0, 64, 20:65]
    assert (row.diff() <= 0).all()


def test_jitter_treats_images_alike():
    torch.manual_seed(0)
    photo = torch.rand(1, 3, 64, 64)
    sizes = set()
    for _ in range(20):
        a, b = jittered(photo, photo)
        assert torch.equal(a, b)
        sizes.add(a.shape[-1])
    assert len(sizes) > 5
    assert min(sizes) >= 42
