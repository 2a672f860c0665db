"""Weights folders: a name, a path or a Hub repository becomes a verified generator, and back.

A weights folder holds ``model.safetensors`` (float16) and ``config.json``; nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import WeightsError

if TYPE_CHECKING:
    from damgan_cli.model import Generator

DEFAULT_WEIGHTS = "faces"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
CARD_FILE = "README.md"

_PACKAGE = Path(__file__).parent
# Wheels carry weights/ inside the package; a checkout has it beside the package.
_EMBEDDED = next(
    (p for p in (_PACKAGE / "embedded_weights", _PACKAGE.parent / "weights") if p.is_dir()), None
)
_HUB_REPO = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Weights:
    """A loaded generator and where it came from."""

    name: str
    """As the user asked for it."""
    source: str
    """``embedded``, ``folder`` or ``hub``."""
    revision: str | None
    """Commit of a Hub repository."""
    info: dict[str, Any]
    """``config.json``: format, generator, training and validation figures, licence notes."""
    generator: Generator
    """Float32, in eval mode, on the CPU."""


def available_weights() -> list[str]:
    """Names of the embedded weights."""
    if _EMBEDDED is None:
        return []
    return sorted(folder.name for folder in _EMBEDDED.iterdir() if (folder / CONFIG_FILE).is_file())


def load_weights(spec: str | Path, *, offline: bool = False) -> Weights:
    """Load embedded weights by name, a weights folder by path, or ``ORG/REPO[@REVISION]`` from the Hub.

    ``offline`` uses only what the Hub cache already holds. Raises WeightsError, with what to do, when
    there are no such weights, they cannot be fetched, or they are not exactly what ``config.json`` says.
    """
    name = str(spec)
    if name in available_weights():
        assert _EMBEDDED is not None  # noqa: S101
        return _load_folder(_EMBEDDED / name, name, "embedded", None)
    if Path(name).is_dir():
        return _load_folder(Path(name), name, "folder", None)
    if Path(name).exists():
        raise WeightsError(
            f"{name} is a file.", f"Give the folder that holds {TENSOR_FILE} and {CONFIG_FILE}."
        )
    if _HUB_REPO.fullmatch(name) and not name.startswith("."):
        repo, _, revision = name.partition("@")
        folder, commit = _download(repo, revision or None, offline=offline)
        return _load_folder(folder, name, "hub", commit)
    raise WeightsError(
        f"There are no weights called {name!r}.",
        f"Embedded: {', '.join(available_weights()) or 'none'}. Or give a folder, or ORG/REPO[@REVISION].",
    )


def _download(repo: str, revision: str | None, *, offline: bool) -> tuple[Path, str | None]:
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    try:
        config = Path(hf_hub_download(repo, CONFIG_FILE, revision=revision, local_files_only=offline))
        # The cache lays files out as snapshots/<commit>/<file>: the tensors must be of the same commit.
        commit = config.parent.name
        hf_hub_download(repo, TENSOR_FILE, revision=commit, local_files_only=offline)
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as problem:
        hint = (
            "Run once without --offline."
            if offline
            else "Check the network, or give a weights folder by its path."
        )
        raise WeightsError(f"{repo} is not in the local cache and cannot be fetched.", hint) from problem
    except hub.GatedRepoError as problem:
        hint = "Ask for access on its page, then `hf auth login`."
        raise WeightsError(f"The Hub repository {repo} is gated.", hint) from problem
    except hub.RepositoryNotFoundError as problem:
        hint = "Check the name; for a private one `hf auth login` first."
        raise WeightsError(f"There is no Hub repository {repo}, or it is private.", hint) from problem
    except hub.RevisionNotFoundError as problem:
        raise WeightsError(
            f"{repo} has no revision {revision}.", "Check it, or leave @REVISION out."
        ) from problem
    except hub.EntryNotFoundError as problem:
        hint = f"A damgan repository holds {CONFIG_FILE} and {TENSOR_FILE}."
        raise WeightsError(f"{repo} holds no damgan weights.", hint) from problem
    except (hub.HfHubHTTPError, hub.HFValidationError, OSError) as problem:
        first_line = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise WeightsError(f"{repo} could not be fetched: {first_line}", "Try again later.") from problem
    return config.parent, commit


def _load_folder(folder: Path, name: str, source: str, revision: str | None) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load

    from damgan_cli.model import Generator, GeneratorConfig

    hint = f"A weights folder holds {TENSOR_FILE} and {CONFIG_FILE} as `damgan train` writes them."
    try:
        info = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        data = (folder / TENSOR_FILE).read_bytes()
    except OSError as problem:
        raise WeightsError(
            f"Weights {name}: cannot read {problem.filename}: {problem.strerror}.", hint
        ) from problem
    except ValueError as problem:
        raise WeightsError(f"Weights {name}: {CONFIG_FILE} is not JSON.", hint) from problem
    if not isinstance(info, dict) or info.get("format") != "damgan":
        raise WeightsError(f"Weights {name}: {CONFIG_FILE} is not of damgan weights.", hint)
    if info.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"Weights {name} have format version {info.get('format_version')!r}, "
            f"this damgan reads {FORMAT_VERSION}.",
            "Upgrade damgan, or choose another revision of the weights.",
        )
    if hashlib.sha256(data).hexdigest() != info.get("sha256"):
        raise WeightsError(
            f"Weights {name} are corrupt: {TENSOR_FILE} does not match its digest.", "Fetch them anew."
        )
    try:
        generator = Generator(GeneratorConfig.from_dict(info["generator"]))
        # strict: every name and shape must match
        generator.load_state_dict({key: tensor.float() for key, tensor in load(data).items()})
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
        first_line = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise WeightsError(f"Weights {name} do not fit their {CONFIG_FILE}: {first_line}", hint) from problem
    return Weights(name, source, revision, info, generator.eval())


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
    data = save(tensors, metadata={"format": "pt"})
    config = {
        "format": "damgan",
        "format_version": FORMAT_VERSION,
        "generator": generator.config.to_dict(),
        "value_range": [-1, 1],
        "sha256": hashlib.sha256(data).hexdigest(),
        **info,
    }
    if folder.exists() and not (folder / CONFIG_FILE).is_file():
        raise WeightsError(f"{folder} exists and holds no weights.", "Choose another folder.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    outdated = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        (temporary / TENSOR_FILE).write_bytes(data)
        (temporary / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")
        if folder.exists():  # moved aside, so that one of the two is whole at every moment
            folder.rename(outdated)
        temporary.rename(folder)
    except OSError as problem:
        raise WeightsError(
            f"Cannot write weights to {folder}: {problem.strerror}.", "Choose another folder."
        ) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(outdated, ignore_errors=True)
