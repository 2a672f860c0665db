from __future__ import annotations

import pytest

from damgan_cli.inpainting.inpainter import Inpainter


@pytest.fixture(scope="session")
def inpainter(tiny_weights):
    return Inpainter(tiny_weights, device="cpu", dtype="float32")
