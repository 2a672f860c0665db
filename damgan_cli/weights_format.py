"""The files of a weights folder: what ``config.json`` must say, and the digest of the tensors.

``weights.schema.json`` is the one definition of ``config.json``. See docs/weights-format.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from damgan_cli.errors import WeightsError

FORMAT_VERSION = 1
ARCHITECTURE = "dam-gan"
ARCHITECTURE_VERSION = 1
CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
CARD_FILE = "README.md"
SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("weights.schema.json").read_text(encoding="utf-8")
)

_LARGEST_CONFIG = 1 << 20
_HINT = f"A weights folder holds {TENSOR_FILE} and {CONFIG_FILE} as `damgan train` writes them."


class CorruptWeightsError(WeightsError):
    """The files are not what was once written: fetching them anew may help."""


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """``config.json`` of a weights folder, checked against the schema; ``name`` is for messages.

    Raises WeightsError: not there, not of damgan weights, of a version that cannot be read, or malformed;
    CorruptWeightsError if it is no JSON at all.
    """
    data = read_file(folder / CONFIG_FILE, name, _LARGEST_CONFIG)
    try:
        info = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise CorruptWeightsError(f"Weights {name}: {CONFIG_FILE} is not JSON.", _HINT) from problem
    if not isinstance(info, dict) or info.get("format") != "damgan":
        raise WeightsError(f"Weights {name}: {CONFIG_FILE} is not of damgan weights{_kind(info)}.", _HINT)
    for key, title, readable in (
        ("format_version", "format", FORMAT_VERSION),
        ("architecture_version", "architecture", ARCHITECTURE_VERSION),
    ):
        version = info.get(key, 1 if key == "architecture_version" else None)
        if version != readable:
            newer = isinstance(version, int) and version > readable
            raise WeightsError(
                f"Weights {name} have {title} version {version!r}, this damgan reads {readable}.",
                "Upgrade damgan, or choose another revision of the weights."
                if newer
                else "Choose another revision of the weights, or train them anew with this damgan.",
            )
    problem_found = mismatch(info)
    if problem_found:
        raise WeightsError(f"Weights {name}: {CONFIG_FILE} is malformed: {problem_found}.", _HINT)
    return info


def read_file(path: Path, name: str, largest: int) -> bytes:
    """A file of a weights folder, of at most ``largest`` bytes. Raises WeightsError."""
    try:
        size = path.stat().st_size
        if size <= largest:
            return path.read_bytes()
    except OSError as problem:
        raise WeightsError(f"Weights {name}: cannot read {path}: {problem.strerror}.", _HINT) from problem
    raise WeightsError(
        f"Weights {name}: {path.name} has {size:,} bytes, its architecture at most {largest:,}.",
        "These are not the tensors of this model; check where they come from.",
    )


def largest_tensor_file(info: dict[str, Any]) -> int:
    """Bytes that ``model.safetensors`` can have at most: float32 (we write float16) and a roomy header."""
    return 4 * parameter_count(info["generator"]) + (1 << 20)


def parameter_count(generator: dict[str, Any]) -> int:
    """Parameters of a generator of this configuration, without memory for them.

    Foreign files can thus be refused before they are downloaded or loaded, whatever they claim.
    """
    import torch

    from damgan_cli.model import Generator, GeneratorConfig

    with torch.device("meta"):
        model = Generator(GeneratorConfig.from_dict(generator))
    return sum(parameter.numel() for parameter in model.parameters())


def check_digest(data: bytes, info: dict[str, Any], name: str) -> None:
    """Raise CorruptWeightsError unless ``data``, of the tensor file, is what ``config.json`` is for."""
    if hashlib.sha256(data).hexdigest() != info["sha256"]:
        raise CorruptWeightsError(
            f"Weights {name} are corrupt: {TENSOR_FILE} does not match its digest.",
            "Copy them anew, or from the Hub: `damgan weights pull ORG/REPO`.",
        )


def _kind(info: Any) -> str:
    """What else a ``config.json`` seems to be of."""
    if isinstance(info, dict):
        for library, key in (("diffusers", "_class_name"), ("transformers", "model_type")):
            if isinstance(info.get(key), str):
                return f" but of a {library} model ({info[key]})"
    return ""


def mismatch(info: Any) -> str | None:
    """Where and how ``info`` most plainly breaks weights.schema.json; None if it does not."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(SCHEMA).iter_errors(info))
    if error is None:
        return None
    place = error.json_path.removeprefix("$").removeprefix(".")
    return f"{place}: {error.message[:200]}" if place else error.message[:200]
