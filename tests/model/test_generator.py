"""The generator: size, shapes, number types, what it may see, and that all of it learns."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from damgan_cli.model import DAMBlock, Generator, GeneratorConfig, composite
from damgan_cli.model.dam import Fuse
from damgan_cli.model.generator import ToImage
from damgan_cli.model.losses import dam_loss, reconstruction_loss

SMALL = GeneratorConfig((4, 6, 8), (1, 2), (4, 6, 8, 10), (1, 2))


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(SMALL).eval()


def photo_and_mask(height=32, width=32, batch=1):
    torch.manual_seed(1)
    mask = torch.zeros(batch, 1, height, width)
    mask[..., height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
    return torch.rand(batch, 3, height, width) * 2 - 1, mask


def test_default_generator_fits_its_budget():
    generator = Generator()
    parameters = sum(p.numel() for p in generator.parameters())
    assert parameters <= 8.2e6
    assert 2 * parameters < 16 * 2**20  # bytes in fp16
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(*photo_and_mask(128, 128))
    assert counter.get_total_flops() <= 9e9


def test_residual_blocks_of_the_dam_stage_may_be_narrower_inside():
    stage = Generator(replace(SMALL, dam_inner_channels=(2, 3, 4, 5))).dam_stage
    blocks = [stage.encode0.block, stage.encode1.block, stage.encode2.block, *stage.middle]
    blocks += [stage.decode3.block, stage.decode2.block, stage.decode1.block, stage.decode0.block]
    assert [block.conv1.out_channels for block in blocks] == [2, 3, 4, 5, 5, 5, 4, 3, 2]
    image, mask = photo_and_mask()
    assert stage(image, mask)[0].shape == image.shape


@pytest.mark.parametrize("size", [(32, 32), (64, 24), (33, 47), (1, 1), (7, 128)])
def test_any_size_comes_back_at_its_size(generator, size):
    output = generator(*photo_and_mask(*size))
    assert output.coarse.shape == output.result.shape == (1, 3, *size)
    padded = [-(-side // 8) * 8 for side in size]
    assert [tuple(M.shape[-2:]) for M in output.fakeness] == [
        (padded[0] // scale, padded[1] // scale) for scale in (1, 2, 4, 8)
    ]
    for M in output.fakeness:
        assert M.shape[:2] == (1, 1)
        assert 0 <= M.min() <= M.max() <= 1


def test_what_is_under_the_hole_is_never_seen(generator):
    image, mask = photo_and_mask()
    other = torch.where(mask > 0, torch.full_like(image, float("nan")), image)
    with torch.no_grad():
        for seen, unseen in zip(generator(image, mask)[:2], generator(other, mask)[:2], strict=True):
            assert torch.equal(seen, unseen)


def test_hole_depends_on_distant_known_pixels():
    """Dilated convolutions must carry the border of a 128 px photo into the middle of its hole."""
    torch.manual_seed(0)
    generator = Generator()
    image, mask = photo_and_mask(128, 128)
    image.requires_grad_()
    generator(image, mask).result[0, :, 48, 48].sum().backward()
    assert image.grad[0, :, 0, 0].abs().sum() > 0


def test_coarse_stage_reaches_further_at_a_smaller_scale():
    """The same parameters: 100 px from a pixel, the photo matters at half and quarter size alone."""
    torch.manual_seed(0)
    config = GeneratorConfig(dam_channels=(4, 4, 4, 4), dam_dilations=(1,))
    reached = {}
    for scales in ((1,), (1, 2), (4,)):
        generator = Generator(replace(config, coarse_scales=scales))
        image, mask = torch.rand(1, 3, 128, 128).requires_grad_(), torch.ones(1, 1, 128, 128)
        mask[..., 100:] = 0
        generator(image, mask).coarse[0, :, 64, 0].sum().backward()
        reached[scales] = bool(image.grad[0, :, 64, 100:].abs().sum() > 0)
    assert reached == {(1,): False, (1, 2): True, (4,): True}


def test_coarse_result_is_the_mean_over_scales():
    """And what is under the hole has no share in a smaller photo: its known pixels are averaged alone."""
    generator = Generator(replace(SMALL, coarse_scales=(1, 2))).eval()
    generator.coarse_stage.forward = lambda image, mask: image - mask  # fills the hole with -1
    image, mask = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    mask[..., 3:13] = 1
    coarse = generator.coarse_result(image * (1 - mask), mask)
    known, edge, inside = coarse[0, 0, 8, 0], coarse[0, 0, 8, 3], coarse[0, 0, 8, 8]
    assert known == pytest.approx(0.5)
    assert inside == pytest.approx(-1.0)
    # the column beside the border lies in a half-size pixel that is half known, so 0.5: three quarters of it
    # and a quarter of its neighbour's -1; at full size it is hole
    assert edge == pytest.approx((-1 + (0.75 * 0.5 + 0.25 * -1)) / 2)


@pytest.mark.parametrize("scales", [(1, 2), (2, 4, 8)])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (7, 128)])
def test_any_size_and_anything_unseen_at_several_scales(scales, size):
    generator = Generator(replace(SMALL, coarse_scales=scales)).eval()
    image, mask = photo_and_mask(*size)
    hidden = torch.where(mask > 0, torch.full_like(image, float("nan")), image)
    with torch.no_grad():
        output = generator(hidden, mask)
        cast = Generator(generator.config).to(torch.bfloat16)
        cast.load_state_dict(generator.state_dict())
        assert cast.eval()(image.bfloat16(), mask.bfloat16()).result.shape == (1, 3, *size)
        with torch.autocast("cpu", torch.bfloat16):
            assert generator(image, mask).coarse.shape == (1, 3, *size)
    assert output.coarse.shape == output.result.shape == (1, 3, *size)
    assert output.result.isfinite().all()


def test_the_fill_of_half_the_size_is_what_the_generator_makes_of_it(generator):
    """Known pixels averaged, hole where less than half is known, enlarged and blurred."""
    image, mask = photo_and_mask(64, 64)
    blanked = image * (1 - mask)
    with torch.no_grad():
        below = generator.from_below(blanked, mask, sigma=1e-3)
        known = 1 - F.avg_pool2d(mask, 2)
        hole = (known < 0.5).float()
        small = torch.where(hole > 0, 0.0, F.avg_pool2d(blanked, 2) / known.clamp_min(0.25))
        filled = composite(small, hole, generator(small, hole).result)
        assert torch.allclose(below, F.interpolate(filled, scale_factor=2.0, mode="bilinear"), atol=1e-5)
        soft = generator.from_below(blanked, mask, sigma=4.0)
    assert float(soft.mean()) == pytest.approx(float(below.mean()), abs=0.02)
    assert soft.diff(dim=-1).abs().mean() < 0.5 * below.diff(dim=-1).abs().mean()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (7, 128)])
def test_refined_images_see_the_fill_of_half_the_size_and_the_others_the_coarse_result(generator, size):
    torch.manual_seed(0)
    image, mask = torch.rand(3, 3, *size) * 2 - 1, (torch.rand(3, 1, *size) < 0.5).float()
    hidden = torch.where(mask > 0, torch.full_like(image, float("nan")), image)
    multiple = 2 * generator.size_multiple
    pad = (0, -size[1] % multiple, 0, -size[0] % multiple)
    padded, hole = (F.pad(x, pad, mode="replicate") for x in (image * (1 - mask), mask))
    with torch.no_grad():
        some, every = (generator(hidden, mask, refined, 2.0) for refined in (2, 3))
        coarse, below = generator.coarse_result(padded, hole), generator.from_below(padded, hole, 2.0)
        given = torch.cat([below[:2], coarse[2:]])
        wanted = generator.dam_stage(composite(padded, hole, given), hole)[0]
    whole = (slice(None), slice(None), slice(size[0]), slice(size[1]))
    assert torch.allclose(some.result, wanted[whole], atol=1e-5)
    assert torch.allclose(some.coarse, coarse[whole], atol=1e-5)
    assert torch.allclose(every.coarse, below[whole], atol=1e-5)
    assert torch.allclose(every.result[:2], some.result[:2], atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1)])
def test_what_is_given_takes_the_place_of_the_coarse_result(generator, size):
    torch.manual_seed(0)
    image, given = torch.rand(2, 2, 3, *size) * 2 - 1
    mask = (torch.rand(2, 1, *size) < 0.5).float()
    multiple = generator.size_multiple
    pad = (0, -size[1] % multiple, 0, -size[0] % multiple)
    padded, hole, start = (F.pad(x, pad, mode="replicate") for x in (image, mask, given))
    with torch.no_grad():
        output = generator(image, mask, given=given)
        wanted = generator.dam_stage(composite(padded, hole, start), hole)[0]
    assert torch.equal(output.coarse, given)
    assert torch.allclose(output.result, wanted[..., : size[0], : size[1]], atol=1e-5)


@pytest.mark.parametrize("dilations", [(2,), (1, 2, 4, 2, 1)])
@pytest.mark.parametrize("refined", [0, 2, 3])
@pytest.mark.parametrize("light", [0, 1, 3])
def test_light_images_go_without_half_of_the_dilated_blocks_and_one_coarse_scale(refined, light, dilations):
    """The last of a batch; what is refined comes first, and the fill of half the size is never light."""
    torch.manual_seed(0)
    generator = Generator(replace(SMALL, dam_dilations=dilations, coarse_scales=(2, 4, 8))).eval()
    image, mask = photo_and_mask(64, 128, batch=3)
    blanked = image * (1 - mask)
    lighter = copy.deepcopy(generator)
    lighter.config = replace(generator.config, coarse_scales=(4, 8))
    lighter.dam_stage.middle = lighter.dam_stage.middle[: len(dilations) // 2]
    each = []
    with torch.no_grad():
        output = generator(image, mask, refined, 2.0, light=light)
        for model in (generator, lighter):
            below = generator.from_below(blanked, mask, 2.0)
            coarse = model.coarse_result(blanked, mask)
            start = torch.cat([below[:refined], coarse[refined:]])
            each.append((model(image, mask, given=start).result, below if refined == 3 else coarse))
        refining = generator(image, mask, given=blanked, light=3).result
        assert torch.allclose(refining, lighter(image, mask, given=blanked).result, atol=1e-5)
    full = 3 - light
    for found, (whole, less) in zip((output.result, output.coarse), zip(*each, strict=True), strict=True):
        assert torch.allclose(found, torch.cat([whole[:full], less[full:]]), atol=1e-5)
    assert not torch.allclose(each[0][0], each[1][0], atol=1e-3)


@pytest.mark.parametrize(("scales", "fewer"), [((1,), (1,)), ((1, 2), (2,)), ((8, 2, 4), (4, 8))])
def test_a_light_coarse_result_leaves_out_the_scale_that_reduces_least(scales, fewer):
    torch.manual_seed(0)
    generator = Generator(replace(SMALL, coarse_scales=scales)).eval()
    image, mask = photo_and_mask(64, 64, batch=3)
    with torch.no_grad():
        some = generator.coarse_result(image, mask, light=1)
        whole = generator.coarse_result(image, mask)
        generator.config = replace(SMALL, coarse_scales=fewer)
        light = generator.coarse_result(image, mask)
    assert torch.allclose(some, torch.cat([whole[:2], light[2:]]), atol=1e-5)


@pytest.mark.parametrize("light", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_refining_teaches_all_parameters_but_through_the_fill_below(generator, dtype, light):
    """Under autocast too: weights cast for the fill of half the size must still get their gradients."""
    image, mask = photo_and_mask(batch=2)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = generator.train()(image, mask, refined=1, light=light)
    (output.result.mean() + output.coarse.mean()).backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())
    assert not generator.from_below(image, mask, 2.0).requires_grad


def test_half_precisions_follow_float32(generator):
    image, mask = photo_and_mask()
    with torch.no_grad():
        exact = generator(image, mask).result
        for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
            cast = Generator(SMALL).eval()
            cast.load_state_dict(generator.state_dict())
            output = cast.to(dtype)(image.to(dtype), mask.to(dtype))
            assert output.result.dtype == torch.float32
            assert (output.result - exact).abs().max() < tolerance * exact.abs().max()
        with torch.autocast("cpu", torch.bfloat16):
            assert (generator(image, mask).result - exact).abs().max() < 0.05 * exact.abs().max()


def test_every_parameter_receives_gradient(generator):
    image, mask = photo_and_mask(batch=2)
    output = generator(image, mask)
    loss = reconstruction_loss(image, output.coarse, output.result) + dam_loss(
        output.fakeness, image, output.result
    )
    loss.backward()
    without = [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_wrong_shapes_are_refused(generator):
    image, mask = photo_and_mask()
    with pytest.raises(ValueError, match=r"expected image \(B, 3, H, W\)"):
        generator(image[:, :1], mask)
    with pytest.raises(ValueError, match="expected image"):
        generator(image, mask[..., :-1])
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\), \(1, 1, 8, 8\), \(1, 3, 4, 4\)"):
        generator(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), given=torch.zeros(1, 3, 4, 4))


def test_dam_block_is_its_formula():
    torch.manual_seed(0)
    block = DAMBlock(3)
    T, S = torch.randn(2, 3, 5, 5), torch.randn(2, 3, 5, 5)
    x, M = block(T, S)
    fused = torch.einsum("oi,bihw->bohw", block.fuse.weight[:, :, 0, 0], torch.cat([T, S], 1))
    fused = fused + block.fuse.bias.view(1, 3, 1, 1)
    logit = torch.einsum("oi,bihw->bohw", block.fakeness.weight[:, :, 0, 0], fused) + block.fakeness.bias
    assert torch.allclose(M, 1 / (1 + torch.exp(-logit)), atol=1e-6)
    assert torch.allclose(x, fused + M * fused, atol=1e-6)


@pytest.mark.parametrize("smaller", [1, 2])
def test_features_are_fused_as_if_they_were_concatenated(smaller):
    T, S, fuse = torch.randn(2, 4, 8 // smaller, 12 // smaller), torch.randn(2, 4, 8, 12), Fuse(4)
    upsampled = T.repeat_interleave(smaller, 2).repeat_interleave(smaller, 3)
    together = F.conv2d(torch.cat([upsampled, S], dim=1), fuse.weight, fuse.bias)
    torch.testing.assert_close(fuse(T, S), together)


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (8, 11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_convolution_to_three_channels_is_that_convolution(size, dtype, monkeypatch):
    """Also where there is no 2x2 of pixels to compute at once."""
    shuffled, shuffle = [], F.pixel_shuffle
    monkeypatch.setattr(F, "pixel_shuffle", lambda x, by: shuffled.append(by) or shuffle(x, by))
    torch.manual_seed(0)
    found = ToImage(5).to(dtype)
    wanted = nn.Conv2d(5, 3, 3, padding=1).to(dtype)
    wanted.load_state_dict(found.state_dict())
    x = torch.rand(2, 5, *size, dtype=dtype)
    with torch.inference_mode():
        torch.testing.assert_close(found(x), wanted(x))
    assert shuffled == ([2] if size == (8, 12) else [])
    assert all(isinstance(stage.decode0.conv, ToImage) for stage in Generator(SMALL).children())


def test_composite_takes_known_pixels_from_the_photo():
    image, mask = photo_and_mask()
    done = composite(image, mask, torch.zeros_like(image))
    assert torch.equal(done[mask.expand_as(done) == 0], image[mask.expand_as(image) == 0])
    assert done[mask.expand_as(done) == 1].abs().max() == 0


def test_config_survives_json_and_refuses_nonsense():
    config = GeneratorConfig()
    assert GeneratorConfig.from_dict(config.to_dict()) == config
    older = {name: value for name, value in config.to_dict().items() if name != "coarse_scales"}
    assert GeneratorConfig.from_dict(older) == config
    assert "dam_inner_channels" not in config.to_dict()  # so versions from before can read it
    inner = replace(config, dam_inner_channels=(8, 16, 48, 128))
    assert GeneratorConfig.from_dict(inner.to_dict()) == inner
    for bad in (
        {**config.to_dict(), "dam_inner_channels": [8, 16, 48]},
        {**config.to_dict(), "dam_inner_channels": [8, 16, 1 << 14, 128]},
        {**config.to_dict(), "extra": [1]},
        {**config.to_dict(), "dam_channels": [1, 2, 3]},
        {**config.to_dict(), "dam_channels": [1, 2, 3, -4]},
        {**config.to_dict(), "coarse_dilations": "12"},
        {**config.to_dict(), "coarse_scales": []},
        {**config.to_dict(), "coarse_scales": [2, 2]},
        {**config.to_dict(), "coarse_scales": [3]},
    ):
        with pytest.raises(ValueError, match=r"config|dam_"):
            GeneratorConfig.from_dict(bad)
