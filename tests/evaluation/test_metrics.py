"""Metrics against scikit-image and against numbers worked out by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from scipy.ndimage import correlate1d
from skimage import data
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.evaluation.metrics import definitions, l1_percent, psnr, score, ssim
from damgan_cli.evaluation.ssim import MS_SSIM_LEAST, SSIM_KINDS, mean_ssim, ms_ssim, ssim_map

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
    for multi_scale in (False, True):
        names = score(photo("cat"), photo("cat"), holes(128, 128), multi_scale=multi_scale)
        spelt = definitions(multi_scale=multi_scale)
        assert {name for name in names if not name.startswith("hole_")} | {"hole"} == spelt.keys()
    for kind in SSIM_KINDS:
        assert kind in definitions(kind)["ssim"]


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("width", "height"), [(128, 128), (97, 61)])
def test_other_definitions_of_ssim_agree_with_skimage(name, width, height):
    truth, mask = photo(name, width, height), holes(height, width)
    result = damaged(truth, mask)
    uniform = structural_similarity(result, truth, channel_axis=2, data_range=255)
    assert score(result, truth, ssim_kind="skimage-uniform7")["ssim"] == pytest.approx(uniform, abs=1e-6)
    # EdgeConnect's metrics.py: gray in [0, 1], compare_ssim(..., data_range=1, win_size=51)
    gray = structural_similarity(rgb2gray(result), rgb2gray(truth), data_range=1, win_size=51)
    assert score(result, truth, ssim_kind="edgeconnect-gray51")["ssim"] == pytest.approx(gray, abs=1e-6)


def test_definitions_of_ssim_differ_as_much_as_published_tables_do():
    truth = photo("astronaut")
    mask = np.zeros((128, 128), np.uint8)
    mask[32:96, 32:96] = 1
    result = cv2.inpaint(truth, mask, 3, cv2.INPAINT_TELEA)
    values = [score(result, truth, ssim_kind=kind)["ssim"] for kind in SSIM_KINDS]
    assert max(values) - min(values) > 0.1


def test_ssim_of_the_hole_in_every_definition():
    truth, mask = photo("cat"), holes(128, 128)
    result = damaged(truth, mask)
    for kind, chosen in SSIM_KINDS.items():
        similarity = ssim_map(result, truth, kind)
        assert similarity.shape == (128 - chosen.window + 1,) * 2
        crop = chosen.window // 2
        inside = similarity[32 - crop : 96 - crop, 32 - crop : 96 - crop]
        assert mean_ssim(similarity, mask, kind) == pytest.approx(inside.mean())


def reference_ms_ssim(result, truth):
    """Wang et al. 2003, written down again with scipy."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(plane):
        return correlate1d(correlate1d(plane, taps, 0), taps, 1)[5:-5, 5:-5]

    products = []
    for channel in range(3):
        x, y = result[..., channel].astype(float), truth[..., channel].astype(float)
        product = 1
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            mx, my = blur(x), blur(y)
            vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
            value = (2 * cov + 58.5225) / (vx + vy + 58.5225)
            if scale == 4:
                value = value * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            product *= value.mean() ** weight
            x, y = (
                (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4
                for p in (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (x, y))
            )
        products.append(product)
    return np.mean(products)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (201, 176)])
def test_ms_ssim_against_its_formula(width, height):
    truth = photo("coffee", width, height)
    mask = holes(height, width)
    result = damaged(truth, mask)
    assert ms_ssim(result, truth) == pytest.approx(reference_ms_ssim(result, truth), abs=1e-6)
    assert score(result, truth, mask, multi_scale=True)["ms_ssim"] == ms_ssim(result, truth)
    assert ms_ssim(result, truth, mask) < ms_ssim(result, truth)
    assert ms_ssim(truth, truth, mask) == pytest.approx(1)
    assert ms_ssim(result, truth, np.ones((height, width), bool)) == pytest.approx(ms_ssim(result, truth))


def test_ms_ssim_is_undefined_for_small_images():
    small = photo("cat", 256, MS_SSIM_LEAST - 1)
    assert math.isnan(ms_ssim(small, small))
    assert math.isnan(ms_ssim(photo("cat", 200, 200), photo("cat", 200, 200), np.zeros((200, 200), bool)))
