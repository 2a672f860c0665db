"""LPIPS v0.1, the learned perceptual distance (Zhang et al. 2018), on AlexNet or VGG16 features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10

BACKBONES = ("alex", "vgg16")


class Lpips(nn.Module):
    """Distance of two images: 0 for the same, about 0.1 for slight and 0.7 for gross differences.

    ``weights`` holds the convolutions under torchvision's names (``features.0.weight``, ...) and the five
    1x1 heads, (1, C, 1, 1), as ``lin.0`` ... ``lin.4``. Raises KeyError or RuntimeError if they do not fit
    ``backbone``, "alex" or "vgg16".
    """

    def __init__(self, backbone: str, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_alex() if backbone == "alex" else _vgg16())
        convolutions = [layer for layer in self.stages.modules() if isinstance(layer, nn.Conv2d)]
        names = sorted(
            (name for name in weights if name.startswith("features.") and name.endswith(".weight")),
            key=lambda name: int(name.split(".")[1]),
        )
        for convolution, name in zip(convolutions, names, strict=True):
            state = {"weight": weights[name], "bias": weights[name.removesuffix("weight") + "bias"]}
            convolution.load_state_dict({key: value.float() for key, value in state.items()})
        self.heads = nn.ParameterList([weights[f"lin.{i}"].float() for i in range(len(self.stages))])
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], twice -> (B,) distances; H and W at least 32."""
        a, b = _normalised(image), _normalised(other)
        distance = image.new_zeros(image.shape[0])
        for stage, head in zip(self.stages, self.heads, strict=True):
            a, b = stage(a), stage(b)  # (B, C, h, w)
            squared = (_unit(a.float()) - _unit(b.float())) ** 2
            distance = distance + F.conv2d(squared, head).mean((1, 2, 3))
        return distance

    def features(self, image: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> what comes out of the stages ``taps``, each (B, C, h, w)."""
        x, found = _normalised(image), []
        for number, stage in enumerate(self.stages[: max(taps) + 1]):
            x = stage(x)
            if number in taps:
                found.append(x)
        return found


def _normalised(image: Tensor) -> Tensor:
    shift, scale = (image.new_tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
    return (image - shift) / scale


def _unit(features: Tensor) -> Tensor:
    """Scale the channels of every pixel to length 1."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + _EPSILON)


def _alex() -> list[nn.Module]:
    """The layers of torchvision's AlexNet, cut after each ReLU that LPIPS looks at."""
    pool = nn.MaxPool2d(3, 2)
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU()),
        nn.Sequential(pool, nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU()),
        nn.Sequential(pool, nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()),
    ]


def _vgg16() -> list[nn.Module]:
    """The layers of torchvision's VGG16, cut after the last ReLU of each resolution."""
    stages: list[nn.Module] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if stages else []
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return stages
