"""Compare training settings at equal budget; what docs/experiments.md was measured with.

    python examples/experiments.py TRAIN VAL MASKS LPIPS OUT [NAME ...]

TRAIN and VAL are folders of photos, MASKS the NVIDIA test masks (a folder per bin), LPIPS the folder
with lpips-alex.safetensors, OUT a file that gets one JSON line per experiment. One that is there already
is not run again. Those of `CONTINUED` start from the weights of `START`, which are kept beside OUT. It
needs the extra "train".
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from damgan_cli.evaluation.features import FeatureMetrics, load_lpips
from damgan_cli.evaluation.protocol import load_photos, mask_sets, run_protocol
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.model import generator as architecture
from damgan_cli.training.config import PAPER
from damgan_cli.training.data import Batches, find_photos, to_tensor
from damgan_cli.training.data import load_photos as load_training_photos
from damgan_cli.training.loop import Trainer
from damgan_cli.training.schedule import Budget
from damgan_cli.training.validation import to_uint8

SIZE, IMAGES, PHOTOS = 64, 4800, 100
BASE = replace(
    PAPER,
    size=SIZE,
    masks={"center": 0.4, "irregular": 0.5, "freeform": 0.1},
    zoom_share=0.25,
    hole_weight=1.0,
    adversarial_start=1.0,
    learning_rate=4e-4,
    betas=(0.5, 0.99),
    weight_decay=0.01,
    warmup_images=800,
    decay_start=0.5,
    gradient_clip=1.0,
    ema_half_life=1000.0,
)
WIDTHS = BASE.generator
ALEX = {"perceptual": "lpips_alex"}

EXPERIMENTS = {
    "base": BASE,
    "no DAM blocks": replace(BASE, lambda_dam=0.0),
    "DAM blocks, lambda_dam 0": replace(BASE, lambda_dam=0.0),
    "DAM maps start at 0.5": BASE,
    "LPIPS alex 1": replace(BASE, **ALEX, lambda_perceptual=1.0),
    "SSIM 0.5": replace(BASE, lambda_ssim=0.5),
    "wide at full resolution": replace(BASE, generator=replace(WIDTHS, dam_channels=(32, 48, 96, 224))),
    "hole_weight 0": replace(BASE, hole_weight=0.0),
    "learning rate 1e-4": replace(BASE, learning_rate=1e-4),
    "masks: centre and brush": replace(BASE, masks=PAPER.masks),
    "no EMA": replace(BASE, ema_half_life=0.0),
    "LPIPS vgg16 1": replace(BASE, perceptual="lpips_vgg", lambda_perceptual=1.0),
    "LPIPS alex 3": replace(BASE, **ALEX, lambda_perceptual=3.0),
    "paper preset": replace(PAPER, size=SIZE),
    "lambda_dam 0.05": replace(BASE, lambda_dam=0.05),
    "no zoom": replace(BASE, zoom_share=0.0),
    "no decay": replace(BASE, decay_start=1.0),
    "batch 8": replace(BASE, batch_size=8),
    "batch 8, no DAM blocks": replace(BASE, batch_size=8, lambda_dam=0.0),
    "batch 8, lambda_dam 0": replace(BASE, batch_size=8, lambda_dam=0.0),
    "learning rate 1e-3": replace(BASE, learning_rate=1e-3),
    "batch 32": replace(BASE, batch_size=32),
    "wide coarse stage": replace(BASE, generator=replace(WIDTHS, coarse_channels=(32, 64, 96))),
}

START = replace(BASE, **ALEX, lambda_perceptual=1.0, lambda_ssim=0.5)
_NO_D = replace(START, learning_rate=2e-4, warmup_images=160, decay_start=0.3)
_GLOBAL = replace(_NO_D, adversarial_start=0.0, discriminator_learning_rate=4e-4, lambda_adv=0.01)
_PATCH = replace(_GLOBAL, discriminator="patch", gan_loss="hinge")

CONTINUED = {  # from random weights no discriminator gets anywhere in so few images
    "no discriminator": _NO_D,
    "global, minimax 0.001 (paper)": replace(_GLOBAL, lambda_adv=0.001),
    "global, minimax 0.01": _GLOBAL,
    "global, non-saturating, R1 1": replace(_GLOBAL, gan_loss="non-saturating", r1_gamma=1.0),
    "global, hinge": replace(_GLOBAL, gan_loss="hinge"),
    "patch, non-saturating, R1 1": replace(_PATCH, gan_loss="non-saturating", r1_gamma=1.0),
    "patch, hinge": _PATCH,
    "patch, hinge 0.03": replace(_PATCH, lambda_adv=0.03),
    "patch, hinge, feature matching 1": replace(_PATCH, feature_matching=1.0),
    "patch, non-saturating, R1 1, feature matching 1": replace(
        _PATCH, gan_loss="non-saturating", r1_gamma=1.0, feature_matching=1.0
    ),
    "SSIM 2": replace(_NO_D, lambda_ssim=2.0),
    "LPIPS alex 2": replace(_NO_D, lambda_perceptual=2.0),
}


def initialise_half(generator):
    """Maps begin at sigmoid(0) = 0.5, so that each block first multiplies its feature by 1.5."""
    initialise(generator)
    for block in generator.modules():
        if isinstance(block, architecture.DAMBlock):
            torch.nn.init.zeros_(block.fakeness.bias)


initialise = architecture.Generator._initialise


class PlainFusion(architecture.DAMBlock):
    """What is left of the block without its map: concat and 1x1 convolution."""

    def forward(self, T, S):
        F = self.fuse(T, S)
        return F, torch.zeros_like(F[:, :1])


def train(config, photos, weights, start=None):
    network = load_lpips(config.perceptual, weights) if config.perceptual else None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(config, Batches(photos, config, 0), device, 0, Budget(images=IMAGES), network)
    if start is not None:
        trainer.start_from(start)
    started = time.perf_counter()
    while trainer.progress < 1:
        trainer.train_step()
    return trainer.ema, IMAGES / (time.perf_counter() - started)


def started(out, photos, weights):
    """The generator that the continued experiments start from."""
    generator, kept = architecture.Generator(START.generator), out.with_suffix(".start.pt")
    if not kept.exists():
        torch.save(train(START, photos, weights)[0].cpu().state_dict(), kept)
    generator.load_state_dict(torch.load(kept))
    return generator


def masks(folder, count):
    centre = make_mask("center", SIZE, SIZE, mask_rng(0, 0)) > 0
    bins = [masked.holes for masked in mask_sets("bins", count, folder=folder)]  # 128 px
    small = [[hole[::2, ::2] for hole in holes] for holes in bins]
    return {"center": [centre] * count} | {
        f"bin{i}": [holes[k % len(holes)] for k in range(count)] for i, holes in enumerate(small)
    }


@torch.inference_mode()
def measure(generator, photos, holes_of, networks):
    """PSNR, SSIM and LPIPS per kind of mask, and how M_0 goes with the true error inside the hole."""
    scores, correlations = {}, []

    def fill(images, holes):
        image = to_tensor(np.stack(images), torch.device("cpu"))
        mask = torch.from_numpy(np.stack(holes)).float()[:, None]
        output = generator(image, mask)
        fakeness.extend(output.fakeness[0][:, 0].numpy())
        return list(to_uint8(output.result))

    for name, holes in holes_of.items():
        fakeness, results = [], []
        each = run_protocol(fill, photos, holes, lambda _, result, kept=results: kept.append(result))
        perceptual, _ = networks.score(zip(results, photos, strict=True))
        scores[name] = {
            **{key: float(np.mean([score[key] for score in each])) for key in ("psnr", "ssim")},
            "lpips": float(np.mean([score["lpips_alex"] for score in perceptual])),
            "lpips_vgg": float(np.mean([score["lpips_vgg"] for score in perceptual])),
        }
        for truth, result, hole, M in zip(photos, results, holes, fakeness, strict=True):
            error = np.abs(result.astype(float) - truth).mean(-1)[hole]
            if hole.sum() > 1 and error.std() > 0 and M[hole].std() > 0:
                correlations.append(np.corrcoef(M[hole], error)[0, 1])
    scores["map correlation"] = float(np.mean(correlations)) if correlations else None
    return scores


def main():
    train_folder, val, mask_folder, weights, out = map(Path, sys.argv[1:6])
    wanted = sys.argv[6:] or [*EXPERIMENTS, *CONTINUED]
    done = {json.loads(line)["name"] for line in out.read_text().splitlines()} if out.exists() else set()
    paths = find_photos([train_folder])
    photos = load_training_photos(paths, SIZE, 1, print)
    truths = load_photos(val, PHOTOS, SIZE).pixels
    holes = masks(mask_folder, len(truths))
    networks = FeatureMetrics(["lpips_alex", "lpips_vgg"], weights=weights)
    for name in (name for name in wanted if name not in done):
        block = PlainFusion if name.endswith("no DAM blocks") else architecture.DAMBlock
        start = initialise_half if name == "DAM maps start at 0.5" else initialise
        with (
            patch.object(architecture, "DAMBlock", block),
            patch.object(architecture.Generator, "_initialise", start),
        ):
            if name in CONTINUED:
                generator, speed = train(CONTINUED[name], photos, weights, started(out, photos, weights))
            else:
                generator, speed = train(EXPERIMENTS[name], photos, weights)
        scores = measure(generator.eval().cpu(), truths, holes, networks)
        line = {"name": name, "images_per_second": round(speed, 1), **scores}
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        mean = {key: np.mean([scores[f"bin{i}"][key] for i in range(6)]) for key in scores["center"]}
        print(name, scores["center"], mean, scores["map correlation"], f"{speed:.1f}/s", flush=True)


if __name__ == "__main__":
    main()
