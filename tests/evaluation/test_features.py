"""LPIPS against the reference implementation, FID and KID against their formulas."""

from __future__ import annotations

import warnings

import cv2
import lpips
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import linalg
from skimage import data
from torch import nn

from damgan_cli.errors import ImageFileError, WeightsError
from damgan_cli.evaluation import feature_files, features
from damgan_cli.evaluation.features import FeatureMetrics
from damgan_cli.perceptual import Lpips
from tests.evaluation.random_lpips import random_weights

PHOTO = cv2.resize(data.astronaut(), (128, 128), interpolation=cv2.INTER_AREA)
BLURRED = cv2.GaussianBlur(PHOTO, (0, 0), 3)


def tensor(photo):
    return torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("backbone", ["alex", "vgg16"])
def test_lpips_is_the_reference_implementation(backbone):
    weights = random_weights(backbone)
    network = Lpips(backbone, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = lpips.LPIPS(net=backbone.removesuffix("16"), pnet_rand=True, verbose=False)
    convolutions = [
        [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
        for net in (reference.net, network.stages)
    ]
    for theirs, ours in zip(*convolutions, strict=True):
        theirs.load_state_dict(ours.state_dict())
    for i, head in enumerate(reference.lins):
        head.model[-1].weight.data = weights[f"lin.{i}"]
    for size in ((128, 128), (97, 64)):
        pair = [tensor(cv2.resize(photo, size)) for photo in (BLURRED, PHOTO)]
        with torch.no_grad():
            assert network(*pair).item() == pytest.approx(reference(*pair).item(), rel=1e-5)


def test_lpips_of_the_same_image_is_zero_and_order_does_not_matter():
    network = Lpips("alex", random_weights("alex"))
    a, b = tensor(BLURRED), tensor(PHOTO)
    assert network(a, a).item() == 0
    assert network(a, b).item() == pytest.approx(network(b, a).item())
    both = network(torch.cat([a, b]), torch.cat([b, b]))
    assert both.tolist() == pytest.approx([network(a, b).item(), 0], abs=1e-5)


def test_weights_are_found_by_name_in_a_folder_and_scores_come_in_order(tmp_path):
    weights = random_weights("alex")
    save_file(weights, tmp_path / "lpips-alex.safetensors")
    metrics = FeatureMetrics(["lpips_alex"], weights=tmp_path)
    small = cv2.resize(PHOTO, (64, 48))
    pairs = [(PHOTO, PHOTO), (BLURRED, PHOTO), (small, small[::-1].copy()), (PHOTO, PHOTO)]
    each, totals = metrics.score(iter(pairs))
    assert totals == {}
    network = Lpips("alex", weights)
    expected = [network(tensor(a), tensor(b)).item() for a, b in pairs]
    assert [one["lpips_alex"] for one in each] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ImageFileError, match="at least 32x32 pixels, not 64x20"):
        metrics.score([(PHOTO[:20, :64], PHOTO[:20, :64])])


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="not in"):
        FeatureMetrics(["lpips_alex"], weights=tmp_path)
    with pytest.raises(WeightsError, match="not in"):
        FeatureMetrics(["lpips_alex"], weights=tmp_path / "nowhere.safetensors")
    file = tmp_path / "lpips-alex.safetensors"
    file.write_bytes(b"broken")
    with pytest.raises(WeightsError, match="does not hold the weights of LPIPS on alex"):
        FeatureMetrics(["lpips_alex"], weights=file)
    weights = random_weights("alex")
    del weights["lin.3"]
    save_file(weights, file)
    with pytest.raises(WeightsError, match="does not hold the weights"):
        FeatureMetrics(["lpips_alex"], weights=file)
    save_file(random_weights("vgg16"), file)
    with pytest.raises(WeightsError, match="does not hold the weights"):
        FeatureMetrics(["lpips_alex"], weights=file)


def test_a_missing_library_is_one_message(monkeypatch):
    monkeypatch.setattr(feature_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="needs the package torchmetrics") as caught:
        FeatureMetrics(["fid"])
    assert "pip install" in caught.value.hint


class Colours(nn.Module):
    """Three features instead of 2048: the mean of each channel."""

    def forward(self, images):
        return images.float().mean((2, 3)) / 64


def test_fid_and_kid_against_their_formulas(monkeypatch):
    monkeypatch.setattr(features, "_inception", lambda *_, **__: Colours())
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 256, 3) + rng.integers(-20, 20, (40, 40, 3)) for _ in range(24)]
    truths = [np.clip(image, 0, 255).astype(np.uint8) for image in truths]
    results = [np.clip(image * 0.8 + rng.integers(0, 30, 3), 0, 255).astype(np.uint8) for image in truths]
    each, totals = FeatureMetrics(["fid", "kid"]).score(zip(results, truths, strict=True))
    assert each == [{}] * 24
    x, y = (np.stack([image.mean((0, 1)) / 64 for image in images]) for images in (results, truths))
    root = linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    fid = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    assert totals["fid"] == pytest.approx(fid, rel=1e-3)
    # One subset of all 24 images: the unbiased estimate of the squared distance, kernel (x y / 3 + 1)^3.
    kernel = [(a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    kid = sum((k.sum() - np.trace(k)) / (24 * 23) for k in kernel[:2]) - 2 * kernel[2].mean()
    assert totals["kid"] == pytest.approx(kid, rel=1e-3)
    assert FeatureMetrics(["fid"]).score([(PHOTO, PHOTO)]) == ([{}], {})
