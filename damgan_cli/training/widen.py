"""A wider generator that starts out as a narrower one: `damgan train --init` with other widths."""

from __future__ import annotations

import torch
from torch import Tensor

from damgan_cli.errors import TrainingError
from damgan_cli.model import Generator, GeneratorConfig


def widened(narrow: Generator, config: GeneratorConfig) -> Generator:
    """Return a generator of ``config`` that computes what ``narrow`` computes (at the same scales).

    New channels start with random weights and nothing of the old network reads them yet: the weights from
    them to old channels are zero, and learn (in the manner of Net2Net, Chen et al. 2016). Raises
    TrainingError unless ``config`` has the same dilations and no smaller widths. Other ``coarse_scales`` are
    taken as they are: they have no parameters.
    """
    old = narrow.config
    wide_enough = all(
        new >= width
        for news, widths in (
            (config.coarse_channels, old.coarse_channels),
            (config.dam_channels, old.dam_channels),
            (config.inner_channels, old.inner_channels),
        )
        for new, width in zip(news, widths, strict=True)
    )
    if not wide_enough or config.coarse_dilations + config.dam_dilations != (
        old.coarse_dilations + old.dam_dilations
    ):
        raise TrainingError(
            f"The weights have generator {old}, the training {config}.",
            "Choose the weights' dilations, and widths no smaller, with --set generator={...}.",
        )
    wide = Generator(config)
    state = narrow.state_dict()
    with torch.no_grad():
        for name, parameter in wide.named_parameters():
            _copy(parameter, state[name], halves=".fuse" in name)
    return wide


def _copy(new: Tensor, old: Tensor, *, halves: bool) -> None:
    """Copy a convolution's weight (out, in, k, k) or bias (out,) into the first channels of a wider one.

    ``halves``: its input is the concatenation of two features, each of them wider.
    """
    outputs = old.shape[0]
    if new.ndim == 1:
        new[:outputs] = old
        return
    new[:outputs] = 0
    parts = 2 if halves else 1
    for new_start, old_part in zip(
        range(0, new.shape[1], new.shape[1] // parts), old.chunk(parts, dim=1), strict=True
    ):
        new[:outputs, new_start : new_start + old_part.shape[1]] = old_part
