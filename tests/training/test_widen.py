"""A wider generator that starts as a narrower one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from damgan_cli.errors import TrainingError
from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.training.widen import widened

NARROW = GeneratorConfig((4, 5, 6), (2,), (4, 5, 6, 7), (1,))
WIDE = GeneratorConfig((5, 5, 9), (2,), (8, 6, 6, 10), (1,))


@pytest.mark.parametrize(
    ("inner", "wide_inner"), [((), ()), ((3, 4, 4, 5), ()), ((3, 4, 4, 5), (3, 6, 4, 5)), ((), (4, 5, 9, 7))]
)
def test_wider_generator_computes_the_same(inner, wide_inner):
    torch.manual_seed(0)
    narrow = Generator(replace(NARROW, dam_inner_channels=inner))
    wide = widened(narrow, replace(WIDE, dam_inner_channels=wide_inner))
    image, mask = torch.rand(2, 3, 40, 32) * 2 - 1, (torch.rand(2, 1, 40, 32) > 0.7).float()
    before, after = narrow(image, mask), wide(image, mask)
    assert torch.allclose(before.result, after.result, atol=1e-5)
    for M, wide_M in zip(before.fakeness, after.fakeness, strict=True):
        assert torch.allclose(M, wide_M, atol=1e-5)


def test_new_channels_learn():
    """What reads them is zero at first, but gets a gradient."""
    torch.manual_seed(0)
    wide = widened(Generator(NARROW), WIDE)
    wide(torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)).result.square().sum().backward()
    readers = wide.dam_stage.decode0.conv.weight
    assert (readers[:, 4:] == 0).all()
    assert (readers.grad[:, 4:] != 0).any()


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig((3, 5, 6), (2,), (4, 5, 6, 7), (1,)),
        GeneratorConfig((4, 5, 6), (2,), (4, 5, 6, 7), (2,)),
        replace(WIDE, dam_inner_channels=(4, 4, 6, 7)),
    ],
    ids=["narrower", "other dilations", "narrower inside"],
)
def test_anything_else_is_refused(config):
    with pytest.raises(TrainingError, match="generator"):
        widened(Generator(NARROW), config)
