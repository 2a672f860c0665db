"""Scores by pretrained networks: LPIPS of each image, FID and KID of whole sets.

LPIPS is our own module (``lpips``), held to the reference implementation by tests; FID and KID are
torchmetrics' with the Inception network of torch-fidelity, the ones that papers' numbers come from. The
networks' weights come from ``--feature-weights``, or are downloaded once by torchvision and torch-fidelity.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from damgan_cli.errors import ImageFileError, WeightsError
from damgan_cli.evaluation.feature_files import (
    FID_AND_KID,
    INCEPTION_FILE,
    LPIPS_FILES,
    check,
    find,
    installed,
)
from damgan_cli.perceptual import Lpips

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

DEFINITIONS = {
    "lpips_alex": "LPIPS v0.1 (Zhang et al. 2018), AlexNet, whole image scaled to [-1, 1], per image, then "
    "the mean over images; 0 is identical",
    "lpips_vgg": "LPIPS v0.1 (Zhang et al. 2018), VGG16, likewise",
    "fid": "Frechet distance (Heusel et al. 2017) of the results to the truths, 2048 Inception features of "
    "torch-fidelity, 8-bit RGB scaled to 299 px by torchmetrics; biased upwards for few images",
    "kid": "kernel distance (Binkowski et al. 2018), the same features, 100 subsets of up to 1000 images",
}

_BATCH = 16
_LEAST_SIDE = 32


class FeatureMetrics:
    """Networks loaded for some of ``DEFINITIONS``' metrics.

    ``weights`` is a file or folder with what ``--feature-weights`` names; without it they are downloaded,
    unless ``offline``. Raises WeightsError if they cannot be had or a library is missing.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        offline: bool = False,
    ) -> None:
        self.names = tuple(names)
        self.device = torch.device(device)
        self._lpips = {
            name: load_lpips(name, weights, offline=offline).to(self.device)
            for name in self.names
            if name in LPIPS_FILES
        }
        self._inception = (
            _inception(weights, offline=offline).to(self.device) if {"fid", "kid"} & {*self.names} else None
        )

    @torch.inference_mode()
    def score(self, pairs: Iterable[tuple[Image, Image]]) -> tuple[list[dict[str, float]], dict[str, float]]:
        """Score results against truths, (H, W, 3) uint8 each, as they come, a few at a time.

        Returns the LPIPS of each, and FID and KID of all (left out for fewer than two images). Raises
        ImageFileError for images under 32 px.
        """
        each: list[dict[str, float]] = []
        sets = self._set_metrics()
        for results, truths in _batches(pairs):
            fake, real = (_tensor(images).to(self.device) for images in (results, truths))
            if self._lpips and min(fake.shape[2:]) < _LEAST_SIDE:
                raise ImageFileError(
                    f"LPIPS needs images of at least {_LEAST_SIDE}x{_LEAST_SIDE} pixels, "
                    f"not {fake.shape[3]}x{fake.shape[2]}.",
                    "Score larger images.",
                )
            signed = [images.float().div(127.5).sub(1) for images in (fake, real)]
            distances = {name: network(*signed).tolist() for name, network in self._lpips.items()}
            each += [{name: values[i] for name, values in distances.items()} for i in range(len(results))]
            for metric in sets.values():
                metric.update(real, real=True)
                metric.update(fake, real=False)
        if len(each) < 2:
            return each, {}
        return each, {name: self._compute(name, metric, len(each)) for name, metric in sets.items()}

    def _set_metrics(self) -> dict[str, Any]:
        if self._inception is None:
            return {}
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance

        kinds = {"fid": FrechetInceptionDistance, "kid": KernelInceptionDistance}
        return {name: kinds[name](self._inception).to(self.device) for name in self.names if name in kinds}

    def _compute(self, name: str, metric: Any, count: int) -> float:
        if name == "fid":
            return float(metric.compute())
        metric.subset_size = min(1000, count)
        with torch.random.fork_rng():  # the subsets are drawn from torch's own stream
            torch.manual_seed(0)
            mean, _ = metric.compute()
        return float(mean)


def _batches(pairs: Iterable[tuple[Image, Image]]) -> Iterator[tuple[list[Image], list[Image]]]:
    """Join neighbours of equal size, up to 16."""
    results: list[Image] = []
    truths: list[Image] = []
    for result, truth in pairs:
        if results and (len(results) == _BATCH or results[0].shape != result.shape):
            yield results, truths
            results, truths = [], []
        results.append(result)
        truths.append(truth)
    if results:
        yield results, truths


def _tensor(images: list[Image]) -> Tensor:
    """(B, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def load_lpips(name: str, weights: Path | None, *, offline: bool = False) -> Lpips:
    """The network of ``lpips_alex`` or ``lpips_vgg``; arguments and errors as of ``FeatureMetrics``."""
    backbone = "alex" if name == "lpips_alex" else "vgg16"
    if weights is not None:
        path = find(weights, LPIPS_FILES[name], name)
        try:
            return Lpips(backbone, load_file(path))
        except (SafetensorError, KeyError, RuntimeError, ValueError, OSError) as problem:
            raise WeightsError(
                f"{path} does not hold the weights of LPIPS on {backbone} ({problem}).",
                f"Give a file like {LPIPS_FILES[name]} with features.N.weight, features.N.bias and lin.0-4.",
            ) from None
    folder = installed("torchmetrics", name) / "functional" / "image" / "lpips_models"
    heads = torch.load(folder / f"{backbone.removesuffix('16')}.pth", weights_only=True, map_location="cpu")
    tensors = {f"lin.{i}": heads[f"lin{i}.model.1.weight"] for i in range(5)}
    return Lpips(backbone, tensors | _torchvision_features(backbone, name, offline=offline))


def _torchvision_features(backbone: str, name: str, *, offline: bool) -> dict[str, Tensor]:
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    chosen: Any = (AlexNet_Weights if backbone == "alex" else VGG16_Weights).IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    if offline and not cached.exists():
        raise _not_fetched(name, f"{cached} does not exist, and --offline forbids the network")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch says there that it downloads
            return dict(chosen.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as problem:
        raise _not_fetched(name, str(problem)) from None


def _inception(weights: Path | None, *, offline: bool) -> torch.nn.Module:
    check(["fid"], weights)
    from torchmetrics.image.fid import NoTrainInceptionV3

    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    path = find(weights, INCEPTION_FILE, FID_AND_KID) if weights else None
    if path is None and offline and not cached.exists():
        raise _not_fetched(FID_AND_KID, f"{cached} does not exist, and --offline forbids the network")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path) if path else None)
    except (URLError, OSError, RuntimeError, KeyError, ValueError) as problem:
        if path:
            raise WeightsError(
                f"{path} does not hold torch-fidelity's Inception weights ({str(problem)[:200]}).",
                f"Give the file {INCEPTION_FILE} of torch-fidelity.",
            ) from None
        raise _not_fetched(FID_AND_KID, str(problem)) from None


def _not_fetched(name: str, why: str) -> WeightsError:
    file = LPIPS_FILES.get(name, INCEPTION_FILE)
    return WeightsError(
        f"The weights of {name} cannot be fetched: {why}.",
        f"Run it once with a network, or give {file} with --feature-weights.",
    )
