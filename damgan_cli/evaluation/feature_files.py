"""What the pretrained networks of ``features`` need on this machine, looked for without importing torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import WeightsError
from damgan_cli.runtime.paths import is_file, is_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

LPIPS_FILES = {"lpips_alex": "lpips-alex.safetensors", "lpips_vgg": "lpips-vgg16.safetensors"}
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""As torch-fidelity names its download."""
FID_AND_KID = "FID and KID"

_INSTALL = "Install it with: pip install 'damgan[eval]'."


def check(names: Iterable[str], weights: Path | None) -> None:
    """Raise WeightsError if networks certainly cannot be had: a missing package, or no such file."""
    for name in names:
        if name in LPIPS_FILES:
            if weights is None:
                installed("torchmetrics", name)
            else:
                find(weights, LPIPS_FILES[name], name)
        else:
            for package in ("torchmetrics", "torch_fidelity"):
                installed(package, FID_AND_KID)
            if weights is not None:
                find(weights, INCEPTION_FILE, FID_AND_KID)


def find(weights: Path, file: str, name: str) -> Path:
    """``file`` in the folder ``weights``, or ``weights`` itself if of that kind. Raises WeightsError."""
    path = weights / file if is_folder(weights) else weights
    if not is_file(path) or (not is_folder(weights) and path.suffix != Path(file).suffix):
        raise WeightsError(
            f"The weights of {name} are not in {weights}.", f"Put {file} there, or leave {name} out."
        )
    return path


def installed(package: str, name: str) -> Path:
    """Folder of a package that ``name`` needs, found without importing it. Raises WeightsError."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise WeightsError(f"{name} needs the package {package}, which is not installed.", _INSTALL)
    return Path(found.origin).parent
