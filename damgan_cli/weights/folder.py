"""A weights folder on this machine: read strictly, written whole or not at all.

It holds ``model.safetensors`` (float16), ``config.json`` and a model card; nothing in it is ever unpickled.
The format is described in docs/weights.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import WeightsError
from damgan_cli.runtime.atomic import replacing, sync_folder
from damgan_cli.weights.format import (
    ARCHITECTURE,
    ARCHITECTURE_VERSION,
    CARD_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    LARGEST_TEXT,
    TENSOR_FILE,
    check_digest,
    largest_tensor_file,
    mismatch,
    read_config,
    read_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from damgan_cli.model import Generator


@dataclass(frozen=True)
class Found:
    """A weights folder on this machine, and where it came from."""

    name: str
    """As the user asked for it."""
    source: str
    """``embedded``, ``folder`` or ``hub``."""
    revision: str | None
    """Commit of a Hub repository."""
    folder: Path


@dataclass(frozen=True)
class Weights(Found):
    """A loaded generator and where it came from."""

    info: dict[str, Any]
    """``config.json``: format, generator, training and validation figures, licence."""
    generator: Generator
    """Float32, in eval mode, on the CPU."""


def read_weights(found: Found) -> Weights:
    """Load a weights folder as it is. Raises WeightsError, CorruptWeightsError if fetching anew may help."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from damgan_cli.model import Generator, GeneratorConfig

    info = read_config(found.folder, found.name)
    data = read_file(found.folder / TENSOR_FILE, found.name, largest_tensor_file(info))
    check_digest(data, info, found.name)
    try:
        tensors = _checked(load(data))
        with torch.device("meta"):  # no memory and no random numbers for what the file's tensors replace
            generator = Generator(GeneratorConfig.from_dict(info["generator"]))
        generator.load_state_dict(tensors, strict=True, assign=True)  # every name and shape must match
        info.pop("int8", None)  # zero points, which int8 needed before it found ranges by itself
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        raise WeightsError(
            f"Weights {found.name} do not fit their {CONFIG_FILE}: {' '.join(lines[:2])}",
            "They are damaged or of another program; take them from where they were published.",
        ) from problem
    return Weights(found.name, found.source, found.revision, found.folder, info, generator.eval())


def save_weights(folder: Path, generator: Generator, info: dict[str, Any], card: str) -> None:
    """Write a weights folder (float16 tensors, ``config.json``, model card), whole or not at all.

    ``info`` is added to what ``config.json`` needs. An existing weights folder is replaced; anything else
    at ``folder`` is left alone. Raises WeightsError when it cannot be written.
    """
    import torch
    from safetensors.torch import save

    tensors = {
        key: tensor.detach().to("cpu", torch.float16).contiguous()
        for key, tensor in generator.state_dict().items()
    }
    if not _all_finite(tensors):
        raise WeightsError(
            f"Weights that are not finite in float16 are not written to {folder}.",
            "The training diverged; train anew with a lower learning_rate.",
        )
    data = save(tensors, metadata={"format": "pt"})
    config = {
        "format": "damgan",
        "format_version": FORMAT_VERSION,
        "architecture": ARCHITECTURE,
        "architecture_version": ARCHITECTURE_VERSION,
        "generator": generator.config.to_dict(),
        "value_range": [-1, 1],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    config |= {key: value for key, value in info.items() if key not in config}
    if folder.exists() and not (folder / CONFIG_FILE).is_file():
        raise WeightsError(f"{folder} exists and holds no weights.", "Choose another folder.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    outdated = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        parts = {TENSOR_FILE: data, CONFIG_FILE: json_bytes(config), CARD_FILE: card.encode()}
        for name, part in parts.items():
            with (temporary / name).open("wb") as file:
                file.write(part)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(temporary)
        if folder.exists():  # moved aside, so that one of the two is whole at every moment
            folder.rename(outdated)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as problem:
        raise WeightsError(
            f"Cannot write weights to {folder}: {problem.strerror}.", "Choose another folder."
        ) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(outdated, ignore_errors=True)


def annotate_weights(
    folder: Path,
    *,
    license: str | None = None,  # noqa: A002
    datasets: list[str] | None = None,
    card: str | None = None,
) -> None:
    """Record the licence (a Hub identifier, such as ``cc-by-nc-4.0``) and the Hub datasets of weights.

    They go into ``config.json`` and into the metadata of the model card, which otherwise stays as it is, or
    becomes ``card``. Raises WeightsError if the folder holds no weights, or a value is malformed.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError  # type: ignore[import-untyped]  # of huggingface_hub's own dependencies

    info = read_config(folder, str(folder))
    info |= {"architecture": ARCHITECTURE, "architecture_version": ARCHITECTURE_VERSION}
    info |= {key: value for key, value in (("license", license), ("datasets", datasets)) if value}
    malformed = mismatch(info)
    if malformed:
        raise WeightsError(
            f"That cannot be recorded: {malformed}.",
            "A licence is a Hub identifier such as mit or cc-by-nc-4.0, a dataset ORG/NAME.",
        )
    try:
        if card is None:
            card = read_file(folder / CARD_FILE, str(folder), LARGEST_TEXT, "a model card").decode()
        described = ModelCard(card)
        for key in ("license", "datasets"):
            if info.get(key):
                described.data[key] = info[key]
        for file, data in ((CONFIG_FILE, json_bytes(info)), (CARD_FILE, str(described).encode())):
            with replacing(folder / file) as written:
                written.write(data)
    except OSError as problem:
        raise WeightsError(
            f"Cannot change {problem.filename}: {problem.strerror}.",
            "Copy the folder to where you may write.",
        ) from problem
    except (ValueError, YAMLError) as problem:
        raise WeightsError(
            f"The metadata of {folder / CARD_FILE} is no YAML: {' '.join(str(problem).split())}",
            "Correct the block at its top.",
        ) from problem


def json_bytes(config: dict[str, Any]) -> bytes:
    """``config.json`` as it is written."""
    return (json.dumps(config, indent=2) + "\n").encode()


def _checked(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """As float32. Raises ValueError for another number type than the format has, NaN and infinite values."""
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in stored.values()}
    if types - {"float16", "float32"}:
        raise ValueError(f"its tensors are {', '.join(sorted(types))}, not float16 or float32")
    if not _all_finite(stored):
        raise ValueError("some of its values are NaN or infinite")
    return {name: tensor.float() for name, tensor in stored.items()}


def _all_finite(tensors: dict[str, Tensor]) -> bool:
    """Whether no value is NaN or infinite: one that is blackens every hole."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())
