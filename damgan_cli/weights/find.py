"""Weights by name, path or Hub repository: found, fetched where need be, loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import WeightsError, did_you_mean
from damgan_cli.runtime.paths import exists, is_file, is_folder
from damgan_cli.weights.folder import Found, read_weights
from damgan_cli.weights.format import (
    CONFIG_FILE,
    LARGEST_TEXT,
    TENSOR_FILE,
    CorruptWeightsError,
    read_file,
)
from damgan_cli.weights.hub import cached, fetch, fetch_anew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damgan_cli.weights.folder import Weights

DEFAULT_WEIGHTS = "photos"

_PACKAGE = Path(__file__).parents[1]
# Wheels carry weights/ inside the package; a checkout has it beside the package.
_EMBEDDED = next(
    (p for p in (_PACKAGE / "embedded_weights", _PACKAGE.parent / "weights") if p.is_dir()), None
)
_HUB_REPO = re.compile(r"(?!\.)[\w.-]+/[\w.-]+(@[\w./-]+)?")


def available_weights() -> list[str]:
    """Names of the embedded weights."""
    if _EMBEDDED is None:
        return []
    return sorted(folder.name for folder in _EMBEDDED.iterdir() if (folder / CONFIG_FILE).is_file())


def local_weights() -> Iterator[Found]:
    """All weights on this machine that have a name: the embedded ones, then those in the Hub cache."""
    for name in available_weights():
        yield find_weights(name)
    for repo, commit, folder in cached():
        yield Found(f"{repo}@{commit}", "hub", commit, folder)


def find_weights(
    spec: str | Path,
    *,
    offline: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Found:
    """Find embedded weights by name, a weights or run folder by path, or ``ORG/REPO[@REVISION]`` on the Hub.

    Only a Hub repository that is not in the Hub cache is downloaded; ``offline`` takes what the cache holds,
    and touches no network. ``revision``, ``token`` and ``cache_dir`` are for the Hub alone, with the meaning
    they have in huggingface_hub. Raises WeightsError, with what to do.
    """
    name = str(spec)
    if name in available_weights():
        assert _EMBEDDED is not None  # noqa: S101
        return Found(name, "embedded", None, _EMBEDDED / name)
    if is_folder(Path(name)):
        inside = Path(name) / "weights"  # `damgan train --out RUN` puts them there
        is_run = not is_file(Path(name) / TENSOR_FILE) and is_file(inside / CONFIG_FILE)
        return Found(name, "folder", None, inside if is_run else Path(name))
    if exists(Path(name)):
        raise WeightsError(
            f"{name} is a file.", f"Give the folder that holds {TENSOR_FILE} and {CONFIG_FILE}."
        )
    if _HUB_REPO.fullmatch(name):
        repo, _, pinned = name.partition("@")
        folder, commit = fetch(
            repo, revision or pinned or None, offline=offline, token=token, cache_dir=cache_dir
        )
        return Found(name, "hub", commit, folder)
    embedded = available_weights()
    raise WeightsError(
        f"There are no weights called {name!r}.",
        f"{did_you_mean(name, embedded)}Embedded: {', '.join(embedded) or 'none'}. "
        "Or give a folder, or ORG/REPO[@REVISION].",
    )


def fingerprint(spec: str) -> str:
    """Name and digest of weights that are a folder here, as they stand unchecked; of others ``spec``."""
    if spec in available_weights() or is_folder(Path(spec)):
        folder = find_weights(spec).folder
        try:
            digest = json.loads(read_file(folder / CONFIG_FILE, spec, LARGEST_TEXT))["sha256"]
        except (WeightsError, ValueError, LookupError, TypeError):
            return spec
        return f"{Path(spec).name} {str(digest)[:12]}"
    return spec


def load_weights(
    spec: str | Path,
    *,
    offline: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Weights:
    """Find weights (see `find_weights`) and load them strictly: digest, every name, every shape.

    Files of the Hub cache that do not match their digest are fetched anew, once. Raises WeightsError, with
    what to do, when there are no such weights, they cannot be fetched, or they are not exactly what
    ``config.json`` says.
    """
    found = find_weights(spec, offline=offline, revision=revision, token=token, cache_dir=cache_dir)
    try:
        return read_weights(found)
    except CorruptWeightsError:
        if found.source != "hub" or offline or not fetch_anew(found, token=token, cache_dir=cache_dir):
            raise
        return read_weights(found)
