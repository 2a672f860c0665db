"""The global discriminator of Contextual Attention (Yu et al. 2018, Sec. 4), which the paper takes over."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Module):
    """One global discriminator D: four 5×5 convolutions of stride 2, then one linear unit.

    No normalisation, leaky ReLU 0.2, channels 64-128-256-256. Its input is the composited image without
    the mask. A local discriminator is left out on purpose: it cannot handle irregular holes.
    """

    CHANNELS = (64, 128, 256, 256)

    def __init__(self, image_size: int = 128) -> None:
        """Build D for square images of ``image_size``, a multiple of 16. Raises ValueError otherwise."""
        super().__init__()
        if image_size % 16:
            raise ValueError(
                f"the discriminator halves the image four times: {image_size} is no multiple of 16"
            )
        self.image_size = image_size
        widths = (3, *self.CHANNELS)
        self.convs = nn.ModuleList(nn.Conv2d(c_in, c_out, 5, stride=2) for c_in, c_out in pairwise(widths))
        self.linear = nn.Linear((image_size // 16) ** 2 * widths[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Composited images (B, 3, S, S) in [-1, 1] -> logits (B,); sigmoid of them is D(x) of Eq. 2."""
        return self.features(image)[0]

    def features(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (B,) and the features after each convolution, (B, C, S/2, S/2) … (B, 256, S/16, S/16)."""
        x, features = image, []
        for conv in self.convs:
            # TensorFlow's "SAME" with stride 2, as in the original, pads more at the bottom and right.
            x = F.leaky_relu(conv(F.pad(x, (1, 2, 1, 2))), 0.2)
            features.append(x)
        logits: Tensor = self.linear(x.flatten(1)).float()  # (B, 1)
        return logits.squeeze(1), features
