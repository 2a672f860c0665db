"""Pictures that tests write and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save(path, pixels, **options):
    """Write an array as a picture; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pixels(path):
    """A picture as it is stored."""
    return np.asarray(Image.open(path))
