"""The files of a weights folder: what ``config.json`` must say, and the digest of the tensors.

``weights.schema.json`` is the one definition of ``config.json``; it is checked here with the few keywords it
uses, so that loading needs no validator (the tests compare with ``jsonschema``). See docs/weights-format.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
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
    problem_found = mismatch(info, SCHEMA)
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
    """Parameters of a generator of this configuration, without building it.

    Foreign files can thus be refused before they are downloaded or cost memory, whatever they claim.
    """

    def conv(c_in: int, c_out: int, kernel: int) -> int:
        return c_in * c_out * kernel**2 + c_out

    def block(c: int) -> int:  # ResidualBlock
        return 2 * conv(c, c, 3)

    def layers(*widths: int) -> int:  # ResidualConv from each width to the next
        return sum(block(a) + conv(a, b, 3) for a, b in pairwise(widths))

    c0, c1, c2 = generator["coarse_channels"]
    coarse = conv(4, c0, 5) + layers(c0, c1, c2) + len(generator["coarse_dilations"]) * block(c2)
    coarse += conv(c2, c1, 3) + conv(2 * c1, c1, 1) + conv(2 * c0, c0, 1) + layers(c1, c0, 3)
    c0, c1, c2, c3 = generator["dam_channels"]
    dam = conv(4, c0, 5) + layers(c0, c1, c2, c3) + len(generator["dam_dilations"]) * block(c3)
    dam += sum(conv(2 * c, c, 1) + conv(c, 1, 1) for c in (c0, c1, c2, c3)) + layers(c3, c2, c1, c0, 3)
    return coarse + dam


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


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def mismatch(value: Any, schema: dict[str, Any], place: str = "") -> str | None:
    """The first reason why ``value`` breaks ``schema`` (the keywords of weights.schema.json), or None."""
    if "$ref" in schema:
        found = mismatch(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], place)
        if found:
            return found
    here = place or "the document"
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return f"{here} is {json.dumps(value)}, not {json.dumps(schema['const'])}"
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if isinstance(value, bool) or not any(isinstance(value, _TYPES[name]) for name in names):
            return f"{here} is {json.dumps(value)[:80]}, not {' or '.join(names)}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return f"{here} is {json.dumps(value)[:80]}, which does not match {schema['pattern']}"
    if isinstance(value, (int, float)) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        return f"{here} is {value}, out of range"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{here} has {len(value)} entries"
        parts = [(f"{place}[{i}]", item, schema.get("items", {})) for i, item in enumerate(value)]
    elif isinstance(value, dict):
        missing = [key for key in schema.get("required", ()) if key not in value]
        if missing:
            return f"{here} lacks {', '.join(missing)}"
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        unknown = [key for key in value if key not in known] if others is False else []
        if unknown:
            return f"{here} has the unknown entry {json.dumps(unknown[0])[:80]}"
        parts = [(f"{place}.{key}".lstrip("."), item, known.get(key, others)) for key, item in value.items()]
    else:
        parts = []
    return next((found for where, item, rule in parts if (found := mismatch(item, rule, where))), None)
