"""The two-stage generator (Fig. 2 of the paper): a coarse stage, then a stage with four DAM blocks.

The paper gives the layout. Our choices, where it is silent or we differ: all widths and dilations, the
activation, residual blocks without normalisation; the coarse stage's middle is followed by a plain
convolution, and it may see the photo at several scales; the DAM stage gets the *composited* coarse result,
and may get what the whole generator made of half the size instead; shallow holes may take fewer operations;
fakeness maps begin at 0.05, by their bias.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damgan_cli.model.config import GeneratorConfig
from damgan_cli.model.conv import LEAK, Conv
from damgan_cli.model.dam import DAMBlock, Fuse
from damgan_cli.model.regions import CALLS, CELL, LOOKS, cells_near, computed_near
from damgan_cli.model.winograd import Conv3x3

LARGEST_BLUR = 4.0
"""σ (px) by which the fill of half the size is blurred at most before the DAM stage refines it."""


class GeneratorOutput(NamedTuple):
    """What the generator returns; sizes for an input of (B, 3, H, W)."""

    coarse: Tensor
    """:math:`G_C(x)`, (B, 3, H, W) float32, nominally in [-1, 1], neither clamped nor composited."""
    result: Tensor
    """:math:`G(x)`, likewise."""
    fakeness: tuple[Tensor, ...]
    """Fakeness maps :math:`M_0 … M_3`, (B, 1, h, w) in [0, 1], at 1, 1/2, 1/4 and 1/8 of the padded size."""


def composite(image: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    """Known pixels from ``image``, the hole (``mask`` = 1) from ``fill``; all (B, C, H, W)."""
    return image + mask * (fill - image)


def blurred(image: Tensor, sigma: float | Tensor) -> Tensor:
    """(B, C, H, W) blurred by a Gaussian of ``sigma`` px, at most half of `LARGEST_BLUR`; borders repeat."""
    reach = round(3 * LARGEST_BLUR / 2)
    places = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float32)
    bell = torch.exp(-((places / sigma) ** 2) / 2)
    bell = (bell / bell.sum()).to(image.dtype)
    channels = image.shape[1]
    x = F.pad(image, (reach,) * 4, mode="replicate")
    x = F.conv2d(x, bell.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(x, bell.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


class ResidualBlock(nn.Module):
    """x + conv3x3(act(conv3x3(x))), without normalisation, which would wash out known colours.

    ``inner`` is how many channels there are between the two convolutions, 0: as many as outside.
    """

    def __init__(self, channels: int, dilation: int = 1, inner: int = 0) -> None:
        super().__init__()
        self.conv1 = Conv3x3(channels, inner or channels, dilation, leaks=True)
        self.conv2 = Conv3x3(inner or channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), for inference perhaps in the memory of ``x``."""
        result: Tensor = self.conv2(self.conv1(x), onto=x)
        return result


class ToImage(nn.Conv2d):
    """A 3x3 convolution to three channels.

    A CPU computes sixteen at a time, so there, for inference, the four pixels of each 2x2 are channels of a
    4x4 convolution of stride 2: the same result in two thirds of the time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h, w)."""
        if torch.compiler.is_compiling() or x.device.type != "cpu" or not torch.is_inference_mode_enabled():
            return super().forward(x)
        if x.shape[2] % 2 or x.shape[3] % 2:
            return super().forward(x)
        places = [F.pad(self.weight, (left, 1 - left, top, 1 - top)) for top in (0, 1) for left in (0, 1)]
        weight = torch.stack(places, 1).flatten(0, 1)  # (12, C, 4, 4)
        bias: Any = self.bias
        return F.pixel_shuffle(F.conv2d(x, weight, bias.repeat_interleave(4), stride=2, padding=1), 2)


class ResidualConv(nn.Module):
    """The paper's *residual convolution layer*: a residual block, then a convolution that changes width.

    ``stride=2`` halves the resolution (encoder); the decoder uses ``stride=1`` and upsamples after it,
    so that its convolution runs on the small side.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1, inner: int = 0) -> None:
        super().__init__()
        self.block = ResidualBlock(channels, inner=inner)
        image = out_channels == 3 and stride == 1
        self.conv = (
            ToImage(channels) if image else Conv(channels, out_channels, 3, stride, padding=1, leaks=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> skip (B, C, h, w) and output (B, C', h / stride, w / stride)."""
        skip = self.block(x)
        return skip, self.conv(skip)


class CoarseStage(nn.Module):
    """Three-level encoder-decoder that gives the coarse result :math:`G_C(x)`.

    Our choice: a plain convolution, without residual block, behind the dilated blocks of the middle.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        c0, c1, c2 = config.coarse_channels
        self.stem = Conv(4, c0, 5, padding=2, leaks=True)
        self.encode0 = ResidualConv(c0, c1, stride=2)
        self.encode1 = ResidualConv(c1, c2, stride=2)
        self.middle = nn.Sequential(*[ResidualBlock(c2, d) for d in config.coarse_dilations])
        self.decode2 = Conv(c2, c1, 3, padding=1, leaks=True)
        self.fuse1 = Fuse(c1)
        self.decode1 = ResidualConv(c1, c0)
        self.fuse0 = Fuse(c0)
        self.decode0 = ResidualConv(c0, 3)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Blanked image (B, 3, H, W) and mask (B, 1, H, W) -> :math:`G_C(x)` (B, 3, H, W)."""
        x = torch.cat([image, mask], dim=1)  # (B, 4, H, W)
        x = self.stem(x)  # (B, c0, H, W)
        skip0, x = self.encode0(x)  # (B, c0, H, W), (B, c1, H/2, W/2)
        skip1, x = self.encode1(x)  # (B, c1, H/2, W/2), (B, c2, H/4, W/4)
        x = self.middle(x)  # (B, c2, H/4, W/4)
        x = self.decode2(x)  # (B, c1, H/4, W/4)
        x = self.decode1(self.fuse1(x, skip1))[1]  # (B, c0, H/2, W/2)
        x = self.decode0.block(self.fuse0(x, skip0))  # (B, c0, H, W)
        result: Tensor = self.decode0.conv(x)  # (B, 3, H, W), linear
        return result


class DAMStage(nn.Module):
    """Four-level encoder-decoder over the coarse result; each decoding layer carries a DAM block."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        c0, c1, c2, c3 = config.dam_channels
        i0, i1, i2, i3 = config.inner_channels
        self.stem = Conv(4, c0, 5, padding=2, leaks=True)
        self.encode0 = ResidualConv(c0, c1, stride=2, inner=i0)
        self.encode1 = ResidualConv(c1, c2, stride=2, inner=i1)
        self.encode2 = ResidualConv(c2, c3, stride=2, inner=i2)
        self.middle = nn.Sequential(*[ResidualBlock(c3, d, i3) for d in config.dam_dilations])
        self.dam3, self.decode3 = DAMBlock(c3), ResidualConv(c3, c2, inner=i3)
        self.dam2, self.decode2 = DAMBlock(c2), ResidualConv(c2, c1, inner=i2)
        self.dam1, self.decode1 = DAMBlock(c1), ResidualConv(c1, c0, inner=i1)
        self.dam0, self.decode0 = DAMBlock(c0), ResidualConv(c0, 3, inner=i0)

    def forward(
        self, image: Tensor, mask: Tensor, light: int = 0, margin: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Coarse composite (B, 3, H, W) and mask (B, 1, H, W) -> :math:`G(x)` (B, 3, H, W) and four maps.

        ``light`` and ``margin`` are those of `Generator.forward`.
        """
        x = torch.cat([image, mask], dim=1)  # (B, 4, H, W)
        x = self.stem(x)  # (B, c0, H, W)
        S0, x = self.encode0(x)  # (B, c0, H, W), (B, c1, H/2, W/2)
        S1, x = self.encode1(x)  # (B, c1, H/2, W/2), (B, c2, H/4, W/4)
        S2, S3 = self.encode2(x)  # (B, c2, H/4, W/4), (B, c3, H/8, W/8)
        near, far = self.middle[: len(self.middle) // 2], self.middle[len(self.middle) // 2 :]
        T3 = near(S3.clone())  # (B, c3, H/8, W/8); blocks may write into what they get
        if not light:
            T3 = far(T3)
        elif light < len(T3):
            T3 = torch.cat([far(T3[:-light]), T3[-light:]])
        x, M3 = self.dam3(T3, S3)  # (B, c3, H/8, W/8), (B, 1, H/8, W/8)
        T2 = self.decode3(x)[1]  # (B, c2, H/8, W/8)
        T1, M2 = self._decode(2, T2, S2, mask, margin)  # (B, c1, H/4, W/4), (B, 1, H/4, W/4)
        T0, M1 = self._decode(1, T1, S1, mask, margin)  # (B, c0, H/2, W/2), (B, 1, H/2, W/2)
        x, M0 = self._decode(0, T0, S0, mask, margin)  # (B, 3, H, W), linear, and (B, 1, H, W)
        return x, (M0, M1, M2, M3)

    def _decode(
        self, level: int, T: Tensor, S: Tensor, mask: Tensor, margin: int | None
    ) -> tuple[Tensor, Tensor]:
        """One decoding layer: :math:`T_i` (B, C, h/2, w/2), :math:`S_i` (B, C, h, w) -> what follows, M_i."""
        dam, decode = getattr(self, f"dam{level}"), getattr(self, f"decode{level}")

        def layer(T: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
            x, M = dam(T, S)
            return (decode(x)[1] if level else decode.conv(decode.block(x))), M

        if margin is None:
            return layer(T, S)
        # what finer levels look at counts too
        cells = cells_near(mask, margin + LOOKS * (2**level - 1), CELL * 2**level)
        return computed_near(layer, T, S, cells, CALLS[level])


class Generator(nn.Module):
    """The generator G of the paper: coarse stage, then DAM stage over the pasted coarse result (Fig. 2).

    Fully convolutional: any height and width, padded inside to `size_multiple`. Works in float32 and, under
    autocast or cast as a whole, in bfloat16 and float16.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config or GeneratorConfig()
        self.coarse_stage = CoarseStage(self.config)
        self.dam_stage = DAMStage(self.config)
        self._initialise()

    def _initialise(self) -> None:
        if self.coarse_stage.stem.weight.is_meta:
            return  # no values to set, and trying to loads torch's compiler, a second of start-up
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=LEAK)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, ResidualBlock):  # without normalisation the sum over blocks must not grow
                with torch.no_grad():
                    module.conv2.weight.mul_(0.2)
            if isinstance(module, DAMBlock):
                # The maps begin at 0.05, about a trained generator's error. At sigmoid(0) each block would
                # first multiply its feature by 1.5, which measurably slows learning (docs/experiments.md).
                nn.init.constant_(module.fakeness.bias, -3.0)  # type: ignore[arg-type]

    @property
    def size_multiple(self) -> int:
        """What sides are padded to: the coarse stage halves its smallest scale twice, the DAM stage
        halves the photo three times. Twice as much where the fill of half the size is asked for.
        """
        return max(8, 4 * max(self.config.coarse_scales))

    def coarse_result(self, image: Tensor, mask: Tensor, light: int = 0) -> Tensor:
        """Blanked image (B, 3, H, W) and mask (B, 1, H, W) -> :math:`G_C(x)` (B, 3, H, W).

        Our choice: the mean of the coarse stage's results at each of ``coarse_scales``, as none suits both
        shallow and deep holes (docs/experiments.md, section 8). A smaller photo is the mean of known pixels,
        and hole where there is none. Of several scales the one that reduces least takes three quarters of the
        time: for so many of the images, the last, that are ``light`` it is left out, and the DAM stage makes
        up for it. Sides are multiples of ``size_multiple``.
        """
        if 0 < light < len(image):
            whole = self.coarse_result(image[:-light], mask[:-light])
            return torch.cat([whole, self.coarse_result(image[-light:], mask[-light:], light)])
        scales = sorted(self.config.coarse_scales)
        if light and len(scales) > 1:
            scales = scales[1:]
        if scales == [1]:
            result: Tensor = self.coarse_stage(image, mask).to(image.dtype)
            return result
        known = 1 - mask
        total = torch.zeros((), dtype=image.dtype, device=image.device)
        scale = max(scales)
        while scale:
            if scale in scales:
                share = F.avg_pool2d(known, scale)  # (B, 1, H / scale, W / scale)
                small = F.avg_pool2d(image * known, scale) / share.clamp_min(scale**-2)
                hole = (share == 0).to(image.dtype)
                total = total + composite(small, hole, self.coarse_stage(small, hole).to(image.dtype))
            if scale > 1:
                total = F.interpolate(total, scale_factor=2.0, mode="bilinear")
            scale //= 2
        return total / len(scales)

    def from_below(
        self, image: Tensor, mask: Tensor, sigma: float | Tensor, margin: int | None = None
    ) -> Tensor:
        """:math:`G(x)` of half the size, composited, blurred by ``sigma`` px and enlarged: (B, 3, H, W).

        A coarse result for deep holes, of twice the reach and as good as the generator (our choice,
        docs/experiments.md, section 12). Blurred, because its detail is that of half the size. ``image`` is
        blanked, known pixels are averaged, and a pixel is hole where less than half of it is known. Sides are
        multiples of twice ``size_multiple``, ``sigma`` is at most `LARGEST_BLUR`. Gradients do not pass.
        With a ``margin``, whatever it is, nothing is computed that does not count.
        """
        known = 1 - mask
        share = F.avg_pool2d(known, 2)  # (B, 1, H/2, W/2)
        hole = (share < 0.5).to(image.dtype)
        small = F.avg_pool2d(image * known, 2) / share.clamp_min(0.25) * (1 - hole)
        # Detached and not computed without gradients: autocast would keep weights that have none for later.
        coarse = self.coarse_result(small, hole).detach()
        whole = composite(small, hole, coarse)
        in_holes = None if margin is None else 0
        fill = self.dam_stage(whole, hole, margin=in_holes)[0].detach().to(image.dtype)
        smooth = blurred(composite(small, hole, fill), sigma / 2)
        return F.interpolate(smooth, scale_factor=2.0, mode="bilinear")

    def forward(
        self,
        image: Tensor,
        mask: Tensor,
        refined: int = 0,
        sigma: float | Tensor = LARGEST_BLUR,
        given: Tensor | None = None,
        light: int = 0,
        margin: int | None = None,
    ) -> GeneratorOutput:
        """Fill the hole.

        ``image`` is (B, 3, H, W) in [-1, 1]; what it holds under the hole is blanked here and never seen.
        ``mask`` is (B, 1, H, W), 1 = hole, 0 = known. So many of the images, from the first on, are
        ``refined``: their DAM stage gets `from_below`, blurred by ``sigma`` px, instead of the coarse stage's
        result. If all are, there is no other coarse result. With ``given`` (B, 3, H, W), a fill made
        elsewhere, that is the coarse result of all of them. So many, the last, are ``light``: their DAM stage
        goes without the latter half of the dilated blocks of its middle, their coarse stage without the scale
        that costs most. Shallow holes do not need them, if the weights have learned to do without (our
        choice, after stochastic depth, Huang et al. 2016; docs/experiments.md, section 21).

        With a ``margin`` results and maps :math:`M_0 … M_2` are wanted in the hole and so many px around it
        alone: what is further away means nothing. For inference on a CPU (model/regions.py).
        Raises ValueError on other shapes.
        """
        B, channels, H, W = image.shape
        alike = given is None or given.shape == image.shape
        if channels != 3 or mask.shape != (B, 1, H, W) or not alike:
            shapes = (tuple(tensor.shape) for tensor in (image, mask, given) if tensor is not None)
            raise ValueError(
                "expected image (B, 3, H, W) and mask (B, 1, H, W), and what is given as the image, "
                f"got {', '.join(map(str, shapes))}"
            )
        mask = mask.to(image.dtype)
        x = torch.where(
            mask > 0, torch.zeros_like(image), image
        )  # whatever is there, NaN included, is unseen
        multiple = self.size_multiple * (2 if refined else 1)
        pad = (0, -W % multiple, 0, -H % multiple)
        if any(pad):
            x, mask = F.pad(x, pad, mode="replicate"), F.pad(mask, pad, mode="replicate")
        if given is None:
            below = self.from_below(x[:refined], mask[:refined], sigma, margin) if refined else x[:0]
            coarse = below if refined == B else self.coarse_result(x, mask, light)  # (B, 3, H', W')
            given = torch.cat([below, coarse[refined:]]) if refined else coarse
        else:
            coarse = given = F.pad(given, pad, mode="replicate")
        # Our choice: the DAM stage sees the photo where it is known, the coarse result in the hole.
        whole = composite(x, mask, given)
        result, fakeness = self.dam_stage(whole, mask, light, margin)  # (B, 3, H', W'), four maps
        return GeneratorOutput(coarse[..., :H, :W].float(), result[..., :H, :W].float(), fakeness)
