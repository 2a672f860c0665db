"""Fixtures of the tests of ``damgan inpaint``."""

from __future__ import annotations

import pytest

from tests.cli.inpaint_files import HOLE
from tests.files import save
from tests.photos.photo_kinds import noise


@pytest.fixture
def inpaint(damgan, tiny_weights, tmp_path, monkeypatch):
    """Run ``damgan inpaint ARGS`` with tiny weights in the temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        extra = [] if "--weights" in args else ["--weights", tiny_weights]
        result = damgan("inpaint", *args, *extra)
        assert "Traceback" not in result.err
        strays = [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
        assert strays == []
        return result

    return run


@pytest.fixture
def photo(tmp_path):
    return save(tmp_path / "photo.png", noise())


@pytest.fixture
def mask(tmp_path):
    return save(tmp_path / "mask.png", HOLE)


@pytest.fixture
def tree(tmp_path):
    """Three photos in a tree, with masks."""
    for number, name in enumerate(("a", "sub/b", "sub/deep/c")):
        save(tmp_path / "photos" / f"{name}.png", noise(seed=number))
        save(tmp_path / "masks" / f"{name}.bmp", HOLE)
    return tmp_path
