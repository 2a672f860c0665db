"""The files of a weights folder: what ``config.json`` must say, and the digest of the tensors.

``weights.schema.json`` is the one definition of ``config.json``. See docs/weights.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
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

LARGEST_TEXT = 1 << 20
"""Bytes of ``config.json`` and of a model card."""
_LARGEST_TENSORS = 1 << 30
"""Fifty times what ours have, in float32: widths may explain more, but no machine should have to read it."""
_HINT = f"A weights folder holds {TENSOR_FILE} and {CONFIG_FILE} as `damgan train` writes them."


class CorruptWeightsError(WeightsError):
    """The files are not what was once written: fetching them anew may help."""


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """``config.json`` of a weights folder, checked against the schema; ``name`` is for messages.

    Raises WeightsError: not there, not of damgan weights, of a version that cannot be read, or malformed;
    CorruptWeightsError if it is no JSON at all.
    """
    data = read_file(folder / CONFIG_FILE, name, LARGEST_TEXT, "such a file")
    try:
        info = json.loads(data, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as problem:
        raise CorruptWeightsError(f"Weights {name}: {CONFIG_FILE} is not JSON.", _HINT) from problem
    if not isinstance(info, dict) or info.get("format") != "damgan":
        raise WeightsError(f"Weights {name}: {CONFIG_FILE} is not of damgan weights{_kind(info)}.", _HINT)
    for key, title, readable in (
        ("format_version", "format", FORMAT_VERSION),
        ("architecture_version", "architecture", ARCHITECTURE_VERSION),
    ):
        version = info.get(key, 1 if key == "architecture_version" else None)
        if type(version) is not int or version != readable:
            newer = type(version) is int and version > readable
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


def read_file(path: Path, name: str, largest: int, limited: str = "its architecture") -> bytes:
    """A file of a weights folder, of at most ``largest`` bytes; ``limited``, for messages, has no more.

    Links are followed, to regular files only: a device has no end, and a FIFO keeps whoever opens it waiting.
    Raises WeightsError.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise WeightsError(f"Weights {name}: {path} is no regular file.", _HINT)
            data = file.read(largest + 1) if state.st_size <= largest else b""
    except OSError as problem:
        raise WeightsError(f"Weights {name}: cannot read {path}: {problem.strerror}.", _HINT) from problem
    size = max(state.st_size, len(data))  # it may have grown
    if size > largest:
        raise WeightsError(
            f"Weights {name}: {path.name} has {size:,} bytes, {limited} at most {largest:,}.",
            "It is not of damgan weights; check where they come from.",
        )
    return data


def largest_tensor_file(info: dict[str, Any]) -> int:
    """Bytes that ``model.safetensors`` can have at most: float32 (we write float16) and a roomy header."""
    return min(4 * parameter_count(info["generator"]) + (1 << 20), _LARGEST_TENSORS)


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
    from jsonschema.validators import extend

    # JSON Schema takes 8.0 for an integer; Python's range() and torch do not
    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    error = best_match(extend(Draft202012Validator, type_checker=integers)(SCHEMA).iter_errors(info))
    if error is None:
        return None
    place = error.json_path.removeprefix("$").removeprefix(".")
    return f"{place}: {error.message[:200]}" if place else error.message[:200]


def _finite(text: str) -> float:
    """Python's JSON reads NaN, Infinity and 1e999; JSON knows no such numbers. Raises ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
