"""The generator's deepest level in 8-bit integers, for inference on a CPU.

As Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (2018), have it: what goes into a convolution is rounded to 256 levels with one zero point and,
for each image, one step, its weights to 255 levels with a step for each output channel, and sums of their
products are exact. oneDNN computes that twice as fast as bfloat16. The deepest level, a quarter of all
operations with `photos`, bears it; what happens before it and after, at higher resolution, would be seen in
the fill (docs/performance.md). Channels are scaled first so that each fills the levels, which changes nothing
else (Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019).
"""

from __future__ import annotations

import copy
import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from damgan_cli.model.generator import Generator

    Zeros = Mapping[str, int]
    """By convolution the zero point of its input: value = step * (level - zero), the step by each image."""

_LEVELS = 256
_LARGEST = 127
"""Of a weight, in steps."""
_ENTRY, _FUSE, _DECODE = "dam_stage.encode2.conv", "dam_stage.dam3.fuse", "dam_stage.decode3"
_STEPS = 8
"""Of so many to a power of two an image's step is the next, so that other last bits, as in a batch, hardly
ever give another step."""
_ZEROS = 0.02, 0.6
"""Between these a zero point lies, as a share of the levels."""
_LEAST = 0.02
"""Of a channel's scale, against the mean: one that is hardly used is not blown up further."""


def deep_convolutions(generator: Generator) -> dict[str, nn.Conv2d]:
    """By name, those that int8 is for: the DAM stage's at 1/8 of the size, but what fuses features."""
    return {
        name: module
        for name, module in generator.named_modules()
        if isinstance(module, nn.Conv2d) and name.startswith(("dam_stage.middle.", f"{_DECODE}."))
    }


class Int8Conv2d(nn.Module):
    """A convolution whose input is rounded to 256 levels of which ``zero`` means 0, and its weights likewise.

    Each image has steps of its own, by the range of its features.
    """

    def __init__(self, conv: nn.Conv2d, zero: int) -> None:
        super().__init__()
        self.in_channels, self.kernel_size = conv.in_channels, conv.kernel_size
        self._where = (list(conv.stride), list(conv.padding), list(conv.dilation), 1)
        self._zero = zero
        weight = conv.weight.detach()
        self._steps = weight.abs().amax((1, 2, 3)).div(_LARGEST).clamp_min(1e-8)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._bias = None if conv.bias is None else conv.bias.detach()
        rounded = weight.div(self._steps.view(-1, 1, 1, 1)).round().to(torch.int8)
        ops: Any = torch.ops.onednn
        self._weight = ops.qconv_prepack(rounded, self._steps, 1.0, zero, *self._where, None)
        self._convolve = ops.qconv2d_pointwise

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w) of the same number type, of each image as if it were alone.

        NaN for an image of which a feature is not finite: rounded to levels it would not be noticed.
        """
        if len(x) > 1:
            return torch.cat([self(x[number : number + 1]) for number in range(len(x))])
        x = x.contiguous(memory_format=torch.channels_last)
        # in the order of its memory, which aminmax does not look for itself: twenty times as fast
        low, high = (float(end) for end in x.permute(0, 2, 3, 1).aminmax())
        below, above = self._zero, _LEVELS - 1 - self._zero
        least = max(-low / below if below else 0, high / above if above else 0)
        step = 2 ** (math.ceil(math.log2(least) * _STEPS) / _STEPS) if 0 < least < math.inf else 1.0
        rounded = torch.quantize_per_tensor(x.float(), step, self._zero, torch.quint8)
        levels = torch.empty(0, dtype=torch.uint8)  # the same memory: Tensor.int_repr would copy it, slowly
        levels.set_(rounded.untyped_storage(), 0, rounded.shape, rounded.stride())
        weight = (self._weight, self._steps, self._zeros, self._bias)
        output: Any = (1.0, 0, x.dtype, "none", [], "")  # neither rounded nor activated
        result: Tensor = self._convolve(levels, step, self._zero, *weight, *self._where, *output)
        return result if math.isfinite(low) and math.isfinite(high) else result.fill_(math.nan)


def check_zeros(generator: Generator, zeros: Zeros) -> None:
    """Raise ValueError unless there are ``zeros`` of each of the `deep_convolutions`, and of no others."""
    if set(zeros) != set(deep_convolutions(generator)):
        raise ValueError("its int8 zero points are not those of its convolutions")


def in_int8(generator: Generator, zeros: Zeros) -> Generator:
    """A copy, on the CPU, with its `deep_convolutions` in int8.

    Raises ValueError if ``zeros`` are not of these.
    """
    check_zeros(generator, zeros)
    rounded = copy.deepcopy(generator).cpu().float()
    for name, conv in deep_convolutions(rounded).items():
        whole, _, part = name.rpartition(".")
        setattr(rounded.get_submodule(whole), part, Int8Conv2d(conv, zeros[name]))
    return rounded


@lru_cache(maxsize=1)
def is_exact() -> bool:
    """Whether this CPU and this torch compute int8 convolutions, and exactly.

    A CPU without VNNI adds products in pairs of 16 bits, which overflow.
    """
    conv = nn.Conv2d(32, 16, 3, padding=1, bias=False)
    nn.init.constant_(conv.weight, _LARGEST)
    largest = torch.full((1, 32, 8, 8), _LEVELS - 1.0)  # in steps of 1
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # once, and not for users: quantize_per_tensor may go some day, and int8 with it
            warnings.simplefilter("ignore")
            found = Int8Conv2d(conv, 0)(largest)
            return torch.equal(found, F.conv2d(largest, conv.weight, padding=1))
    except (AttributeError, RuntimeError, NotImplementedError):  # not in this torch, or not on this CPU
        return False


@torch.no_grad()
def prepared(
    generator: Generator, examples: Iterable[tuple[Tensor, Tensor]], *, light: bool = False
) -> tuple[Generator, dict[str, int]]:
    """A copy that fills alike and can do so in int8, and its zero points, by the features of ``examples``.

    These are images (B, 3, H, W) in [-1, 1] and masks (B, 1, H, W), at least one; half of each batch is
    refined from half the size. With ``light``, if the generator has learned that, all are filled so too.
    """
    scaled = copy.deepcopy(generator)
    ranges = _ranges(scaled, examples, light=light)
    layers = dict(scaled.named_modules())
    for producers, consumers in _streams(scaled):
        low = torch.stack([ranges[name][0] for name in consumers if name in ranges]).amin(0)
        high = torch.stack([ranges[name][1] for name in consumers if name in ranges]).amax(0)
        zero = (-low / (high - low).clamp_min(1e-6)).median().clamp(*_ZEROS)
        scale = torch.maximum(high / (1 - zero), -low / zero)
        scale = (scale / scale.mean().clamp_min(1e-6)).clamp_min(_LEAST)
        for name in producers:
            layers[name].weight /= scale.view(-1, 1, 1, 1)
            layers[name].bias /= scale
        for name in consumers:
            weight = layers[name].weight
            weight *= scale.repeat(weight.shape[1] // len(scale)).view(1, -1, 1, 1)
            if name in ranges:
                ranges[name] = ranges[name][0] / scale, ranges[name][1] / scale
    return scaled, {
        name: round(float(-lows.min() / (highs.max() - lows.min()).clamp_min(1e-6)) * (_LEVELS - 1))
        for name, (lows, highs) in ranges.items()
    }


def _ranges(
    generator: Generator, examples: Iterable[tuple[Tensor, Tensor]], *, light: bool
) -> dict[str, tuple[Tensor, Tensor]]:
    """By convolution the least and the largest of each channel of its input, at most and at least 0."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, conv: nn.Conv2d) -> Any:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].float()
            low, high = found.get(name, (torch.zeros(x.shape[1], device=x.device),) * 2)
            found[name] = torch.minimum(low, x.amin((0, 2, 3))), torch.maximum(high, x.amax((0, 2, 3)))

        return conv.register_forward_pre_hook(hook)

    hooks = [watch(name, conv) for name, conv in deep_convolutions(generator).items()]
    for image, mask in examples:
        generator(image, mask, len(image) // 2)
        if light:
            generator(image, mask, light=len(image))
    for hook in hooks:
        hook.remove()
    return found


def _streams(generator: Generator) -> list[tuple[list[str], list[str]]]:
    """Features of which each channel may be scaled: convolutions that give them, and that take them.

    So it is as leaky ReLU keeps what is scaled, and residual sums are of features that are scaled alike.
    """
    blocks = [f"dam_stage.middle.{number}" for number in range(len(generator.dam_stage.middle))]
    decode = f"{_DECODE}.block"
    inner = [([f"{block}.conv1"], [f"{block}.conv2"]) for block in (*blocks, decode)]
    encoded = [_ENTRY, *(f"{block}.conv2" for block in blocks)]
    return [
        *inner,
        (encoded, [*(f"{block}.conv1" for block in blocks), _FUSE]),  # S_3 and T_3, both halves of the fusion
        ([_FUSE, f"{decode}.conv2"], [f"{decode}.conv1", f"{_DECODE}.conv", "dam_stage.dam3.fakeness"]),
    ]
