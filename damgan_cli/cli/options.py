"""What the commands' options have in common: how help names their values, and what a shell completes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
DEVICE_METAVAR = "auto|cpu|cuda[:N]|mps"
WEIGHTS_METAVAR = "NAME|PATH|ORG/REPO[@REV]"


def weights_option(help_text: str, **more: Any) -> Any:
    """``--weights``, for `Annotated`."""
    return typer.Option(
        "--weights", "-w", metavar=WEIGHTS_METAVAR, autocompletion=complete_weights, help=help_text, **more
    )


def device_option(help_text: str, **more: Any) -> Any:
    """``--device``."""
    return typer.Option(
        "--device", metavar=DEVICE_METAVAR, autocompletion=complete_devices, help=help_text, **more
    )


def dtype_option(help_text: str, **more: Any) -> Any:
    """``--dtype``."""
    return typer.Option(
        "--dtype", metavar="|".join(DTYPES), autocompletion=complete_dtypes, help=help_text, **more
    )


class Command(TyperCommand):
    """A command whose help says of an option's value what its ``metavar`` says, and no Python type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, --help among them."""
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a command with commands of its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, --help among them."""
        return _plain(super().get_params(ctx))


def _plain(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""  # it takes no value, and a <bool> reads as if it did
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None  # noqa: ARG005  # its name has said what it is
    return params


def complete_weights(incomplete: str) -> list[str]:
    """Names of embedded weights, then folders."""
    from damgan_cli.weights.find import available_weights

    names = [name for name in available_weights() if name.startswith(incomplete)]
    return names + complete_folders(incomplete)


def complete_folders(incomplete: str) -> list[str]:
    """Folders that begin so."""
    start, _, name = incomplete.rpartition("/")
    try:
        places = sorted(Path(f"{start}/" if start or incomplete.startswith("/") else ".").iterdir())
        return [f"{place}/" for place in places if place.name.startswith(name) and place.is_dir()]
    except OSError:
        return []


def complete_devices(incomplete: str) -> list[str]:
    """Without a look at the machine, which would take torch's second."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def complete_dtypes(incomplete: str) -> list[str]:
    """Number types."""
    return [name for name in DTYPES if name.startswith(incomplete)]


def complete_kinds(incomplete: str) -> list[str]:
    """Kinds of masks."""
    from damgan_cli.masks.derive import SOURCE_KINDS
    from damgan_cli.masks.find import FOUND_KINDS
    from damgan_cli.masks.generate import MASK_KINDS

    made = (usage.split()[0] for usage in (*SOURCE_KINDS, *FOUND_KINDS))
    kinds = [*MASK_KINDS, *made, "polygon", "circle"]
    return [kind for kind in kinds if kind.startswith(incomplete)]
