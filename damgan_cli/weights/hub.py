"""Weights from the Hugging Face Hub and back, through huggingface_hub with its cache, tokens and settings.

Everything a user of huggingface_hub expects is its doing: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
proxies, progress bars, retries, and the file locks through which many processes share one download.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import WeightsError
from damgan_cli.weights.folder import save_weights
from damgan_cli.weights.format import (
    CARD_FILE,
    CONFIG_FILE,
    TENSOR_FILE,
    CorruptWeightsError,
    check_digest,
    largest_tensor_file,
    read_config,
    read_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damgan_cli.weights.folder import Found, Weights

_FILES = (CONFIG_FILE, TENSOR_FILE, CARD_FILE)
_LOGIN = "log in with `hf auth login` or set HF_TOKEN"


def fetch(
    repo: str,
    revision: str | None,
    *,
    offline: bool = False,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> tuple[Path, str]:
    """Download a weights repository into the Hub cache, as far as it is not there yet.

    Returns the folder of the files and the commit they are of. ``config.json`` comes first: a repository of
    another kind, or tensors larger than the architecture can have, are refused before they are downloaded.
    Raises WeightsError for everything that can go wrong.
    """
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    where: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "local_files_only": offline}
    name = f"{repo}@{revision}" if revision else repo
    with _explained(name, offline=offline):
        config = Path(hf_hub_download(repo, CONFIG_FILE, revision=revision, **where))
        # The cache lays files out as snapshots/<commit>/<file>: the tensors must be of the same commit.
        folder, commit = config.parent, config.parent.name
        if isinstance(try_to_load_from_cache(repo, TENSOR_FILE, cache_dir, commit), str):
            return folder, commit
        try:
            largest = largest_tensor_file(read_config(folder, name))
        except CorruptWeightsError:  # a cut-off file in the cache
            if offline:
                raise
            hf_hub_download(repo, CONFIG_FILE, revision=commit, force_download=True, **where)
            largest = largest_tensor_file(read_config(folder, name))
        if not offline:
            size = get_hf_file_metadata(hf_hub_url(repo, TENSOR_FILE, revision=commit), token=token).size
            if size is not None and size > largest:
                raise WeightsError(
                    f"{name}: {TENSOR_FILE} has {size:,} bytes, its architecture at most {largest:,}.",
                    "Nothing was downloaded: these are not the tensors of this model.",
                )
        hf_hub_download(repo, TENSOR_FILE, revision=commit, **where)
        with contextlib.suppress(WeightsError), _explained(name, offline=offline):
            hf_hub_download(repo, CARD_FILE, revision=commit, **where)  # wanted, but nothing depends on it
    return folder, commit


def fetch_anew(found: Found, *, token: str | bool | None = None, cache_dir: str | Path | None = None) -> bool:
    """Replace files of the Hub cache that do not match their digest; False if HF_HUB_OFFLINE forbids it.

    Of many processes that find the same damage one downloads: the others wait for its lock, and look again.
    Raises WeightsError.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        return False
    repo = found.name.partition("@")[0]
    in_cache = found.folder.parents[1]  # CACHE/models--ORG--REPO/snapshots/COMMIT
    lock = in_cache.parent / ".locks" / in_cache.name / "damgan-repair.lock"
    with _explained(found.name, offline=False):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if _intact(found):
                return True
            for file in (CONFIG_FILE, TENSOR_FILE):
                hf_hub_download(
                    repo, file, revision=found.revision, token=token, cache_dir=cache_dir, force_download=True
                )
    return True


def _intact(found: Found) -> bool:
    try:
        info = read_config(found.folder, found.name)
        data = read_file(found.folder / TENSOR_FILE, found.name, largest_tensor_file(info))
        check_digest(data, info, found.name)
    except CorruptWeightsError:
        return False
    return True


def cached() -> Iterator[tuple[str, str, Path]]:
    """Repository, commit and folder of all damgan weights in the Hub cache; looks at no network."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for config in sorted(Path(HF_HUB_CACHE).glob(f"models--*--*/snapshots/*/{CONFIG_FILE}")):
        with contextlib.suppress(WeightsError):
            read_config(config.parent, "")
            if not (config.parent / TENSOR_FILE).exists():
                continue
            repo = config.parents[2].name.removeprefix("models--").replace("--", "/", 1)
            yield repo, config.parent.name, config.parent


def cached_refs(folder: Path) -> list[str]:
    """Branches and tags that, when last looked up, were the commit in this folder of the Hub cache."""
    refs = folder.parents[1] / "refs"
    files = [path for path in refs.rglob("*") if path.is_file()] if refs.is_dir() else []
    return sorted(p.relative_to(refs).as_posix() for p in files if p.read_text().strip() == folder.name)


def push_loaded(weights: Weights, repo: str, **options: Any) -> str:
    """Upload weights as they are in memory; see `push` for the options. Returns the commit's web address."""
    card = weights.folder / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {weights.name}\n"
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / "weights", weights.generator, weights.info, text)
        return push(Path(folder) / "weights", repo, **options)[1]


def push(
    folder: Path,
    repo: str,
    *,
    create: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    message: str = "Upload DAM-GAN weights with damgan",
) -> tuple[str, str]:
    """Upload a weights folder (tensors, ``config.json``, model card) to ``repo`` in one commit.

    ``create`` makes the repository if there is none, ``private`` such that others do not see it. Files that
    are there already, byte for byte, are not sent again. Returns the commit and its web address. Raises
    WeightsError.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    api = HfApi(token=token, library_name="damgan")
    with _explained(repo, offline=False):
        if token is False or (not isinstance(token, str) and get_token() is None):
            raise WeightsError(
                f"{repo} cannot be written to without a token.",
                f"Make a token with write permission on the Hub's settings page, then {_LOGIN}.",
            )
        if create:
            api.create_repo(repo, private=private, exist_ok=True)
        files = [folder / file for file in _FILES if (folder / file).is_file()]
        commit = api.create_commit(
            repo, [CommitOperationAdd(file.name, str(file)) for file in files], commit_message=message
        )
    return commit.oid, commit.commit_url


@contextlib.contextmanager
def _explained(name: str, *, offline: bool) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP client raise into a WeightsError with what to do."""
    from huggingface_hub import errors

    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of httpx or requests
    try:
        yield
    except WeightsError:
        raise
    except (http_error, errors.EntryNotFoundError, OSError, ValueError, RuntimeError) as problem:
        raise _explain(problem, name, offline=offline) from problem


def _explain(problem: Exception, name: str, *, offline: bool) -> WeightsError:
    from huggingface_hub import constants, errors

    repo, _, revision = name.partition("@")
    status = getattr(getattr(problem, "response", None), "status_code", None)
    cause = problem.__cause__
    if isinstance(problem, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        if offline or constants.HF_HUB_OFFLINE:
            switch = "--offline was given" if offline else "HF_HUB_OFFLINE is set"
            return WeightsError(
                f"{name} is not in the local cache, and {switch}.",
                f"Run `damgan weights pull {name}` where there is a network, with the same HF_HOME.",
            )
        if isinstance(cause, errors.HfHubHTTPError):
            return _explain(cause, name, offline=offline)
        if isinstance(cause, errors.FileMetadataError):
            return WeightsError(
                f"{name}: what answered is not a Hub.",
                "Check HF_ENDPOINT, and whether a proxy or a login page stands in between.",
            )
        return _unreachable(name, cause or problem)
    if isinstance(problem, errors.GatedRepoError):
        return WeightsError(
            f"The Hub repository {repo} is gated.", f"Ask for access on its page, then {_LOGIN}."
        )
    if isinstance(problem, errors.RepositoryNotFoundError):
        return WeightsError(
            f"There is no Hub repository {repo}, or it is private (and no folder of that name here).",
            f"Check the name; for a private one {_LOGIN}.",
        )
    if isinstance(problem, errors.RevisionNotFoundError):
        return WeightsError(
            f"{repo} has no revision {revision or 'main'}.",
            "It was deleted or never there: check it, or leave @REVISION out for the newest.",
        )
    if isinstance(problem, errors.EntryNotFoundError):
        return WeightsError(
            f"{name} holds no damgan weights.",
            f"It lacks {CONFIG_FILE} or {TENSOR_FILE}: a repository of another kind?",
        )
    if status in (401, 403):
        meaning = "does not know your token" if status == 401 else "does not allow your token to do this"
        return WeightsError(
            f"{name}: the Hub {meaning}.", f"Check the token's permissions on the Hub, then {_LOGIN} anew."
        )
    if status == 429:
        return WeightsError(
            f"{name}: the Hub asks for fewer requests (429).",
            f"Wait some minutes; who is not logged in has a lower limit: {_LOGIN}.",
        )
    if isinstance(status, int) and status >= 500:
        return WeightsError(f"{name}: the Hub has a problem of its own ({status}).", "Try again later.")
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return WeightsError(
            f"{name} could not be stored: the disk is full.",
            "Make room (`hf cache prune`), or set HF_HOME to another disk.",
        )
    if isinstance(problem, PermissionError):
        return WeightsError(
            f"{name} could not be stored: {problem.filename} may not be written to.",
            "Set HF_HOME to a folder of your own.",
        )
    if isinstance(problem, ValueError) and "README.md" in str(problem):
        return WeightsError(
            f"{name}: the Hub refuses the model card: {_one_line(problem)}",
            f"Correct the metadata at the top of {CARD_FILE}.",
        )
    if isinstance(problem, errors.HFValidationError):
        return WeightsError(
            f"{repo} is no name of a Hub repository: {_one_line(problem)}", "It looks like ORG/REPO."
        )
    if type(problem).__module__.partition(".")[0].startswith(("httpx", "httpcore", "requests", "urllib3")):
        return _unreachable(name, problem)
    if isinstance(cause, Exception) and not isinstance(problem, OSError):
        return _explain(cause, name, offline=offline)  # a wrapper of what went wrong
    return WeightsError(f"{name}: the transfer failed: {_one_line(problem)}", "Try again later.")


def _unreachable(name: str, problem: BaseException) -> WeightsError:
    if "Proxy" in type(problem).__name__:
        return WeightsError(
            f"{name}: the proxy does not let the request through: {_one_line(problem)}",
            "Check HTTPS_PROXY and NO_PROXY.",
        )
    return WeightsError(
        f"{name}: the Hub cannot be reached, or broke off: {_one_line(problem)}",
        "Check network, proxy and HF_ENDPOINT and run again; or give a weights folder by its path.",
    )


def _one_line(problem: BaseException) -> str:
    """A foreign message in one line, without the token, which HTTP clients quote when it is malformed."""
    from huggingface_hub import get_token

    text = " ".join(str(problem).split()) or type(problem).__name__
    with contextlib.suppress(Exception):
        text = text.replace(get_token() or "\0", "***")
    return text if len(text) <= 300 else text[:300] + " …"
