"""``damgan train``: train a generator on folders of photos."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import DEVICE_METAVAR, WEIGHTS_METAVAR, complete_devices, complete_weights
from damgan_cli.errors import DeviceError, ExitCode, ImageFileError, TrainingError, WeightsError, did_you_mean
from damgan_cli.runtime.paths import check_folder_can_be_written, exists, is_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damgan_cli.training.config import TrainingConfig


def _complete_presets(incomplete: str) -> list[str]:
    return [name for name in ("paper", "best", "gpu") if name.startswith(incomplete)]


def train(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA", help="Folders of photos, read recursively.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="Run folder: checkpoint, statistics, sheets, weights.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(
            metavar="paper|best|gpu",
            autocompletion=_complete_presets,
            help="paper (its equations), best (what ships) or gpu (for millions of images; untested).",
        ),
    ] = "best",
    images: Annotated[int | None, typer.Option(metavar="N", min=1, help="Budget: images to see.")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="Budget: minutes to train.")
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of validation photos; else some of DATA are held out."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar=WEIGHTS_METAVAR,
            autocompletion=complete_weights,
            help="Start from these weights (a name, folder or ORG/REPO), with their widths unless --set "
            "generator=... gives larger ones.",
            show_default=False,
        ),
    ] = None,
    perceptual_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File or folder with lpips-alex.safetensors or lpips-vgg16.safetensors, for presets with a "
            "perceptual loss; without it they are downloaded once.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one setting of the preset."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of weights, order, crops and masks.")
    ] = 0,
    device: Annotated[
        str,
        typer.Option(metavar=DEVICE_METAVAR, autocompletion=complete_devices, help="Where to train."),
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No status lines.")] = False,
) -> None:
    """Train a generator on folders of photos.

    Ends with a weights folder in RUN/weights that --weights takes. Ctrl-C saves and leaves; the same
    command with --resume goes on.

    [bold]Examples[/]

      damgan train photos/ --out runs/mine --minutes 120

      damgan train photos/ --out runs/mine --minutes 120 --resume

      damgan train photos/ --out runs/tuned --init faces --images 20000 --set learning_rate=1e-4
    """
    from damgan_cli.runtime.distributed import World
    from damgan_cli.training.config import CHECKPOINT, PRESETS

    if preset not in PRESETS:
        raise TrainingError(
            f"There is no preset {preset!r}.",
            f"{did_you_mean(preset, PRESETS)}Choose from {', '.join(PRESETS)}.",
        )
    if images is None and not minutes:
        raise TrainingError("How long should it train?", "Give --images or --minutes.")
    config = PRESETS[preset].with_settings(settings or [])
    given_widths = any(setting.startswith("generator=") for setting in settings or [])
    world = World.join()
    say = (lambda _: None) if quiet or not world.first else console.note
    init_from = None if resume else init
    # what can be said at once comes before torch, which takes its time
    paths, val_paths = world.broadcast(
        lambda: _look(
            data, val, out / CHECKPOINT, init_from, config.perceptual, perceptual_weights, resume=resume
        )
    )

    from damgan_cli import __version__
    from damgan_cli.evaluation.features import load_lpips
    from damgan_cli.photos.atomic import write_atomically
    from damgan_cli.runtime.device import choose_device
    from damgan_cli.training.checkpoint import load_checkpoint
    from damgan_cli.training.data import Batches, load_photos
    from damgan_cli.training.device_data import DeviceBatches
    from damgan_cli.training.loop import WEIGHTS, Budget, Trainer, run
    from damgan_cli.training.validation import Validation
    from damgan_cli.weights.find import load_weights

    chosen = choose_device(device)
    if chosen.type == "cuda" and world.size > 1:
        _check_one_gpu_each(device)
    saved = load_checkpoint(out / CHECKPOINT) if resume else None
    start = load_weights(init_from).generator if init_from else None
    if not given_widths:
        if start is not None:
            config = replace(config, generator=start.config)
        elif saved is not None:
            config = _with_widths_of(saved, out / CHECKPOINT, config)
    with _extra_told():
        perceptual = load_lpips(config.perceptual, perceptual_weights) if config.perceptual else None
    bad: list[ImageFileError] = []
    photos = load_photos(paths, config.size, config.largest_crop, bad.append)
    val_photos = load_photos(val_paths, config.size, 1, bad.append)
    for problem in bad if world.first else ():
        console.warn(f"left out: {problem}")
    if not photos or not val_photos:
        which = "for training" if val_photos else "for validation"
        raise TrainingError(
            f"No photo {which} could be read.", "Give more photos, or others for validation with --val."
        )
    if chosen.type == "cuda" and isinstance(photos, list):
        batches: Batches | DeviceBatches = DeviceBatches(photos, config, seed, chosen)
    else:
        batches = Batches(photos, config, seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(config, batches, chosen, seed, Budget(images, minutes), perceptual, world)
        if saved is not None:
            trainer.restore(saved, out / CHECKPOINT)
        elif start is not None:
            trainer.start_from(start)
        info = {
            "name": out.name,
            "damgan_version": __version__,
            "preset": preset,
            "data": [folder.name for folder in data],
            "photos": len(photos),
            "validation_photos": len(val_photos),
            "init": init,
            "seed": seed,
        }
        if world.first:
            text = json.dumps({**info, **config.to_dict()}, indent=1) + "\n"
            write_atomically(out / "config.json", text.encode())
        say(f"{len(photos):,} photos, {len(val_photos)} for validation; {chosen}, {trainer.dtype}; in {out}")
        finished = run(trainer, out, Validation(val_photos, config.size), info, say)
    except OSError as problem:
        raise TrainingError(f"Cannot write to {out}: {problem}.", "Choose another --out.") from problem
    world.leave()
    if not finished:
        if world.first:
            console.note(
                f"Interrupted after {trainer.images:,} images; saved. "
                "Go on with the same command and --resume."
            )
        raise typer.Exit(ExitCode.INTERRUPTED)
    say(f"Weights are in {out / WEIGHTS}")


def _check_one_gpu_each(device: str) -> None:
    """Under torchrun on GPUs: NCCL cannot have two processes on one."""
    import torch

    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device.startswith("cuda:") or processes > gpus:
        raise DeviceError(
            f"{processes} processes cannot train on {device if ':' in device else f'{gpus} GPUs'}.",
            "Start at most one process for each GPU, and give --device cuda.",
        )


def _look(
    data: list[Path],
    val: Path | None,
    checkpoint: Path,
    init: str | None,
    perceptual: str,
    perceptual_weights: Path | None,
    *,
    resume: bool,
) -> tuple[list[Path], list[Path]]:
    """Photos for training and for validation. Raises DamganError for what is certain to end in one."""
    from damgan_cli.evaluation import feature_files
    from damgan_cli.training.data import find_photos
    from damgan_cli.weights.find import find_weights

    check_folder_can_be_written(checkpoint.parent)
    if exists(checkpoint) and not resume:
        raise TrainingError(
            f"{checkpoint.parent} already holds a training.", "Go on with --resume, or choose another --out."
        )
    if resume and not is_file(checkpoint):
        raise TrainingError(f"There is no checkpoint {checkpoint}.", "Start anew without --resume.")
    if perceptual:
        with _extra_told():
            feature_files.check([perceptual], perceptual_weights)
    if init:
        find_weights(init)
    paths = find_photos(data)
    if val is not None:
        return paths, find_photos([val])
    every = max(10, len(paths) // 100)
    held_out = {i: path for i, path in enumerate(paths) if i % every == 0 and i < 100 * every}
    return [path for i, path in enumerate(paths) if i not in held_out], [*held_out.values()]


@contextmanager
def _extra_told() -> Iterator[None]:
    """Say what to do where the network of the perceptual loss cannot be had."""
    try:
        yield
    except WeightsError as missing:
        raise WeightsError(
            missing.message,
            "pip install 'damgan[train]'; without a network give the file with --perceptual-weights; or "
            "train without: --set perceptual= --set lambda_perceptual=0.",
        ) from None


def _with_widths_of(saved: dict[str, Any], checkpoint: Path, config: TrainingConfig) -> TrainingConfig:
    """The generator that a training began with; its checkpoint is compared with all of ``config`` later."""
    from damgan_cli.model import GeneratorConfig
    from damgan_cli.training.checkpoint import damage_told

    with damage_told(checkpoint):
        return replace(config, generator=GeneratorConfig.from_dict(saved["config"]["generator"]))
