"""Metrics against scikit-image and against numbers worked out by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.evaluation.metrics import METRIC_DEFINITIONS, l1_percent, psnr, score, ssim

PHOTOS = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee}


def photo(name, width=128, height=128):
    return cv2.resize(PHOTOS[name](), (width, height), interpolation=cv2.INTER_AREA)


def holes(height, width):
    mask = np.zeros((height, width), bool)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    return mask


def damaged(truth, mask):
    """Noise, blur and a shift in brightness under the mask."""
    rng = np.random.default_rng(0)
    worse = cv2.GaussianBlur(truth, (0, 0), 3).astype(int) + rng.integers(-20, 35, truth.shape)
    result = truth.copy()
    result[mask] = np.clip(worse, 0, 255)[mask]
    return result


def skimage_ssim(result, truth, **options):
    return structural_similarity(
        result,
        truth,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        **options,
    )


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("width", "height"), [(128, 128), (97, 61), (11, 40)])
@pytest.mark.parametrize("everywhere", [False, True])
def test_agrees_with_skimage(name, width, height, everywhere):
    truth = photo(name, width, height)
    mask = np.ones((height, width), bool) if everywhere else holes(height, width)
    result = damaged(truth, mask)
    assert psnr(result, truth) == pytest.approx(peak_signal_noise_ratio(truth, result), abs=1e-6)
    assert ssim(result, truth) == pytest.approx(skimage_ssim(result, truth), abs=1e-4)


def test_hole_metrics_agree_with_skimage_on_the_hole():
    truth, mask = photo("cat"), holes(128, 128)
    result = damaged(truth, mask)
    _, similarity = skimage_ssim(result, truth, full=True)
    assert ssim(result, truth, mask) == pytest.approx(similarity.mean(axis=2)[mask].mean(), abs=1e-4)
    assert psnr(result, truth, mask) == pytest.approx(
        peak_signal_noise_ratio(truth[mask], result[mask]), abs=1e-6
    )
    # The hole is a quarter of the photo and holds all the error: 10 log10(4) dB below the whole.
    assert psnr(result, truth) - psnr(result, truth, mask) == pytest.approx(10 * math.log10(4), abs=1e-6)
    assert l1_percent(result, truth, mask) == pytest.approx(4 * l1_percent(result, truth))


def test_by_hand():
    truth = np.full((20, 20, 3), 100, np.uint8)
    result = truth.copy()
    result[:10] = 110  # error 10 on half of the pixels: MSE 50, mean absolute difference 5
    assert psnr(result, truth) == pytest.approx(10 * math.log10(255**2 / 50))
    assert l1_percent(result, truth) == pytest.approx(5 / 255 * 100)
    # Two flat images differ in luminance only: (2 * 100 * 110 + C1) / (100² + 110² + C1), C1 = 2.55².
    flat = np.full_like(truth, 110)
    assert ssim(flat, truth) == pytest.approx((22000 + 6.5025) / (22100 + 6.5025))


def test_differences_do_not_wrap_around():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)
    assert l1_percent(black, white) == l1_percent(white, black) == pytest.approx(100)


def test_identical():
    truth = photo("coffee")
    scores = score(truth, truth.copy(), holes(128, 128))
    assert scores == {
        "psnr": math.inf, "ssim": pytest.approx(1), "l1": 0,
        "hole_psnr": math.inf, "hole_ssim": pytest.approx(1), "hole_l1": 0,
    }  # fmt: skip


def test_score_is_the_single_metrics():
    truth, mask = photo("astronaut"), holes(128, 128)
    result = damaged(truth, mask)
    assert score(result, truth) == {
        "psnr": psnr(result, truth),
        "ssim": ssim(result, truth),
        "l1": l1_percent(result, truth),
    }
    assert score(result, truth, mask * np.uint8(255)) == {
        **score(result, truth),
        "hole_psnr": psnr(result, truth, mask),
        "hole_ssim": ssim(result, truth, mask),
        "hole_l1": l1_percent(result, truth, mask),
    }


def test_hole_without_pixels_is_nan():
    truth = photo("cat")
    nowhere, corner = np.zeros((2, 128, 128), bool)
    corner[0, 0] = True  # no SSIM window is centred so close to the border
    assert math.isnan(psnr(truth, truth, nowhere))
    assert math.isnan(l1_percent(truth, truth, nowhere))
    assert math.isnan(ssim(truth, truth, corner))
    assert psnr(truth, truth, corner) == math.inf


def test_unfit_images_are_refused():
    truth = photo("cat")
    with pytest.raises(ImageFileError, match="result is 64x128 but the truth is 128x128"):
        psnr(truth[:, :64], truth)
    with pytest.raises(MaskError, match="mask is 128x64 but the image is 128x128"):
        l1_percent(truth, truth, np.zeros((64, 128), bool))
    with pytest.raises(ImageFileError, match="at least 11x11 pixels, not 128x10"):
        ssim(truth[:10], truth[:10])


def test_every_metric_is_defined():
    names = score(photo("cat"), photo("cat"), holes(128, 128))
    assert {name for name in names if not name.startswith("hole_")} | {"hole"} == METRIC_DEFINITIONS.keys()
