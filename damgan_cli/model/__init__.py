"""The paper: generator (Fig. 2), DAM block (Fig. 3), discriminator and losses (Eq. 1-3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from damgan_cli.model.config import GeneratorConfig

if TYPE_CHECKING:
    from damgan_cli.model.dam import DAMBlock
    from damgan_cli.model.discriminator import Discriminator
    from damgan_cli.model.generator import Generator, GeneratorOutput, composite

__all__ = [
    "DAMBlock",
    "Discriminator",
    "Generator",
    "GeneratorConfig",
    "GeneratorOutput",
    "composite",
]

_HOMES = {
    "DAMBlock": "dam",
    "Discriminator": "discriminator",
    "Generator": "generator",
    "GeneratorOutput": "generator",
    "composite": "generator",
}


def __getattr__(name: str) -> Any:
    # Widths are data: a training's settings are checked before torch, which takes seconds, is imported.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
