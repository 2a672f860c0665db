"""The shared core: generator (Fig. 2), DAM block (Fig. 3), discriminator and losses (Eq. 1-4)."""

from damgan_cli.model.config import GeneratorConfig
from damgan_cli.model.dam import DAMBlock
from damgan_cli.model.discriminator import Discriminator, PatchDiscriminator
from damgan_cli.model.generator import Generator, GeneratorOutput, composite

__all__ = [
    "DAMBlock",
    "Discriminator",
    "Generator",
    "GeneratorConfig",
    "GeneratorOutput",
    "PatchDiscriminator",
    "composite",
]
