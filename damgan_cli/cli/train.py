"""``damgan train``: train a generator on folders of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import DEVICE_METAVAR, WEIGHTS_METAVAR, complete_devices, complete_weights
from damgan_cli.errors import ExitCode


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
            help="paper (its equations), best (what ships) or gpu (large batches of 256 px).",
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
            "generator=... gives larger ones, and with their refined_share and light_share unless set.",
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the checkpoint in --out. Under torchrun --max-restarts that is done anyway.",
        ),
    ] = False,
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
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the generator (torch.compile): a minute or two at the start, for "
            "long trainings on a GPU.",
        ),
    ] = False,
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
    from damgan_cli.runtime.imports import quick_imports

    with quick_imports():
        from damgan_cli.runtime.distributed import World
        from damgan_cli.training import train as start_training
        from damgan_cli.training.config import parse_settings

    world = World.join()

    def say(line: str) -> None:
        if not quiet:
            console.note(line)

    result = start_training(
        data,
        out,
        preset=preset,
        settings=parse_settings(settings or []),
        images=images,
        minutes=minutes,
        val=val,
        init=init,
        perceptual_weights=perceptual_weights,
        resume=resume,
        seed=seed,
        device=device,
        compiled=compiled,
        say=say,
        warn=console.warn,
        world=world,
    )
    if not result.finished:
        if world.first:
            console.note(
                f"Interrupted after {result.images:,} images; saved. "
                "Go on with the same command and --resume."
            )
        raise typer.Exit(ExitCode.INTERRUPTED)
    if world.first:
        say(f"Weights are in {result.weights}")
