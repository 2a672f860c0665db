"""Photos and masks for the tests of ``damgan inpaint``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from damgan_cli.inpainting.record import RECORD
from tests.photos.photo_kinds import HEIGHT, WIDTH

HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[5:20, 7:30] = True


def save(path, pixels, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pixels(path):
    return np.asarray(Image.open(path))


def files(root):
    paths = (path.relative_to(root) for path in Path(root).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if path.name != RECORD)


def one_error(result, *words):
    """Bad input: exit code 2, nothing on stdout, one message that says all of ``words``."""
    assert result.code == 2, result.err
    assert result.out == ""
    assert result.err.count("error:") == 1
    for word in words:
        assert word in result.err.replace("\n", " ")
