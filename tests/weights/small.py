"""The smallest architecture, for tests of the files that hold it."""

from __future__ import annotations

from damgan_cli.model import GeneratorConfig

SMALL = GeneratorConfig((4, 4, 4), (2,), (4, 4, 4, 4), (2,))
