"""From folders of photos to a trained generator: the checks before a training, and its start."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import DeviceError, ImageFileError, TrainingError, WeightsError, did_you_mean
from damgan_cli.runtime.distributed import World
from damgan_cli.runtime.paths import check_folder_can_be_written, exists, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    PathLike = str | os.PathLike[str]


def _nothing(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class TrainingResult:
    """What `train` leaves behind."""

    finished: bool
    """False if Ctrl-C or SIGTERM ended it: the checkpoint is saved, ``resume`` goes on."""
    images: int
    """Images seen, by all processes and all runs of this training together."""
    weights: Path
    """The weights folder, there once it is finished."""


def train(
    data: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    preset: str = "best",
    settings: Mapping[str, Any] | None = None,
    images: int | None = None,
    minutes: float | None = None,
    val: PathLike | None = None,
    init: str | os.PathLike[str] | None = None,
    perceptual_weights: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    compiled: bool = False,
    say: Callable[[str], None] = _nothing,
    warn: Callable[[str], None] = _nothing,
    world: World | None = None,
) -> TrainingResult:
    """Train a generator on folders of photos, until the budget is spent or Ctrl-C comes.

    ``data`` is one folder or several, read recursively. ``out`` gets the checkpoint, ``config.json``,
    ``stats.jsonl``, sample sheets, and at the end ``weights/``, which `Inpainter` takes. ``preset`` is
    ``paper`` (Eq. 1-4 with the paper's weights), ``best`` or ``gpu``; ``settings`` changes fields of its
    `TrainingConfig`. The budget is ``images`` to see, ``minutes`` to train, or whichever comes first.
    ``val`` is a folder of validation photos; without it some of ``data`` are held out. ``init`` names
    weights to start from; they decide widths, ``refined_share`` and ``light_share`` unless ``settings``
    do.
    ``perceptual_weights`` is a file or folder with the network of the perceptual loss, which is downloaded
    otherwise. ``resume`` goes on from the checkpoint in ``out``, with the same arguments; under ``torchrun
    --max-restarts`` it is meant wherever there is a checkpoint. ``compiled`` sends the generator through
    torch.compile. ``say`` gets a status line a tick, ``warn`` what was left out; both are silent unless
    given. ``world`` are the processes that share the training: those that torchrun started, unless given.

    Raises TrainingError, WeightsError, DeviceError, ImageFileError: each says what to do.
    """
    from damgan_cli.training.config import CHECKPOINT, LEARNED_WAYS, PRESETS, WEIGHTS, going_on, inherited

    if preset not in PRESETS:
        raise TrainingError(
            f"There is no preset {preset!r}.",
            f"{did_you_mean(preset, PRESETS)}Choose from {', '.join(PRESETS)}.",
        )
    if images is None and not minutes:
        raise TrainingError("How long should it train?", "Give --images or --minutes.")
    settings = settings or {}
    config = PRESETS[preset].with_settings(settings)
    world = world or World.join()
    folders = [Path(data)] if isinstance(data, (str, os.PathLike)) else [Path(folder) for folder in data]
    run_folder = Path(out)
    checkpoint = run_folder / CHECKPOINT
    resume = resume or world.broadcast(lambda: world.restarts and is_file(checkpoint))
    features = None if perceptual_weights is None else Path(perceptual_weights)
    init_from = None if resume or init is None else str(init)
    # what can be said at once comes before torch, which takes its time
    paths, val_paths = world.broadcast(
        lambda: _look(
            folders,
            None if val is None else Path(val),
            checkpoint,
            init_from,
            config.perceptual,
            features,
            resume=resume,
        )
    )

    import torch

    from damgan_cli import __version__
    from damgan_cli.evaluation.features import load_lpips
    from damgan_cli.model import GeneratorConfig
    from damgan_cli.runtime.atomic import write_atomically
    from damgan_cli.runtime.device import choose_device
    from damgan_cli.training.checkpoint import damage_told, load_checkpoint
    from damgan_cli.training.data import IN_MEMORY, Batches, load_photos
    from damgan_cli.training.device_data import DeviceBatches
    from damgan_cli.training.loop import Trainer
    from damgan_cli.training.run import run
    from damgan_cli.training.schedule import Budget
    from damgan_cli.training.validation import Validation
    from damgan_cli.weights.find import load_weights

    chosen = choose_device(device)
    if chosen.type == "cuda" and world.size > 1:
        _check_one_gpu_each(device)
    saved = load_checkpoint(checkpoint) if resume else None
    start = load_weights(init_from) if init_from else None
    if start is not None:
        config = going_on(PRESETS[preset], inherited(start), settings)
    elif saved is not None:  # as it began; all of it is compared later
        with damage_told(checkpoint):
            widths = GeneratorConfig.from_dict(saved["config"]["generator"]).to_dict()
            ways = {name: float(saved["config"].get(name, 0)) for name in LEARNED_WAYS}
            began = {"generator": widths, **ways}
        config = going_on(PRESETS[preset], began, settings)
    with _extra_told():
        perceptual = load_lpips(config.perceptual, features) if config.perceptual else None
    bad: list[ImageFileError] = []
    room = IN_MEMORY
    if chosen.type == "cuda":
        # on the GPU they lie beside their reductions and what training needs
        room = max(room, torch.cuda.mem_get_info(chosen)[0] // 4)
    photos = load_photos(paths, config.size, config.largest_crop, bad.append, room)
    val_photos = load_photos(val_paths, config.size, 1, bad.append)
    for problem in bad if world.first else ():
        warn(f"left out: {problem}")
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
        run_folder.mkdir(parents=True, exist_ok=True)
        budget = Budget(images, minutes)
        trainer = Trainer(config, batches, chosen, seed, budget, perceptual, world, compiled=compiled)
        if saved is not None:
            trainer.restore(saved, checkpoint)
        elif start is not None:
            trainer.start_from(start.generator)
        info = {
            "name": run_folder.name,
            "damgan_version": __version__,
            "preset": preset,
            "data": [folder.name for folder in folders],
            "photos": len(photos),
            "validation_photos": len(val_photos),
            "init": None if init is None else str(init),
            "seed": seed,
        }
        if world.first:
            text = json.dumps({**info, **config.to_dict()}, indent=1) + "\n"
            write_atomically(run_folder / "config.json", text.encode())
        tell = say if world.first else _nothing
        tell(
            f"{len(photos):,} photos, {len(val_photos)} for validation; {chosen}, {trainer.dtype}; "
            f"in {run_folder}" + f", from its checkpoint of {trainer.images:,} images" * (saved is not None)
        )
        finished = run(trainer, run_folder, Validation(val_photos, config.size), info, tell)
    except OSError as problem:
        raise TrainingError(f"Cannot write to {run_folder}: {problem}.", "Choose another --out.") from problem
    except RuntimeError as problem:
        if type(problem).__module__.startswith(("torch._dynamo", "torch._inductor")):
            cause = " ".join(str(problem).strip().splitlines()[:2])
            raise TrainingError(
                f"torch.compile does not work here: {cause}", "Train without --compile."
            ) from problem
        if not (isinstance(problem, torch.distributed.DistError) or "by peer" in str(problem)):
            raise
        raise TrainingError(
            "Another process of this training has died.",
            "torchrun --max-restarts N starts all of them again; by hand, go on with --resume.",
        ) from None
    world.leave()
    return TrainingResult(finished, trainer.images, run_folder / WEIGHTS)


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
