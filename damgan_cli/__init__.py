"""DAM-GAN image inpainting: the command ``damgan`` and the Python face ``Inpainter``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from damgan_cli.inpainting.inpainter import Inpainter

__all__ = ["Inpainter", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Importing torch costs a second: `import damgan_cli` and `damgan --help` must not pay it.
    if name == "Inpainter":
        from damgan_cli.inpainting.inpainter import Inpainter

        return Inpainter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
