from __future__ import annotations

import pytest

from damgan_cli.inpainting.inpainter import Inpainter
from tests.inpainting.tiny import save_tiny_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def inpainter(tiny_weights):
    return Inpainter(tiny_weights, device="cpu", dtype="float32")
