"""``damgan bench``: how fast this machine fills photos, and what limits it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import device_option, dtype_option, weights_option
from damgan_cli.errors import ImageFileError
from damgan_cli.weights.find import DEFAULT_WEIGHTS

SIZES = (128, 256, 512, 2048)


def bench(
    weights: Annotated[str, weights_option("The model to measure.")] = DEFAULT_WEIGHTS,
    size: Annotated[
        list[int] | None,
        typer.Option(
            metavar="PX",
            min=16,
            help="Side of the photos; may be repeated.",
            show_default=", ".join(map(str, SIZES)),
        ),
    ] = None,
    device: Annotated[list[str] | None, device_option("Where; may be repeated.", show_default="auto")] = None,
    dtype: Annotated[
        list[str] | None, dtype_option("Number type; may be repeated.", show_default="auto")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Windows filled at once.", show_default="as inpaint --batch-size auto"
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="N", min=0, help="How long each figure is measured, about.")
    ] = 10.0,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Your own photos, reduced to each size and cut to squares.",
            show_default="noise",
        ),
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Only the generator, no folders of photos.")] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="png|jpg", help="What folders of results are written as.")
    ] = "png",
    layers: Annotated[
        bool, typer.Option("--layers", help="Also what the generator costs by stage and level.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Measure images/s: the generator alone, a folder of JPEGs, and what limits it.

    Photos of noise, or your own, with irregular holes of 20-30 %. On a CPU it
    also measures anew which number type is faster, for --dtype auto everywhere.

    [bold]Examples[/]

      damgan bench

      damgan bench --size 128 --size 512 --dtype float32 --dtype bfloat16 --bare

      damgan bench --photos holiday/ --size 2048

      damgan bench --layers --json
    """
    from damgan_cli.photos.formats import EXTENSIONS
    from damgan_cli.runtime.imports import quick_imports

    if f".{to}" not in EXTENSIONS:
        raise ImageFileError(
            f"--to {to} is no known image format.", f"Use {', '.join(sorted(e[1:] for e in EXTENSIONS))}."
        )
    with quick_imports():
        import torch

        from damgan_cli.inpainting.bench import HOLE_SHARE, Bench, limit, squares
        from damgan_cli.inpainting.bench import layers as cost_of_layers
        from damgan_cli.inpainting.inpainter import Inpainter
        from damgan_cli.runtime import speed
        from damgan_cli.runtime.device import choose_device, choose_dtype

    def say(text: str) -> None:
        if not as_json:
            typer.echo(text)

    given = {} if photos is None else {side: squares(photos, side) for side in size or SIZES}
    runs = [(choose_device(place), kind) for place in device or ["auto"] for kind in dtype or ["auto"]]
    for place, kind in runs:
        if kind != "auto":
            choose_dtype(kind, place)  # what is unknown is better known now
    document: dict[str, Any] = {
        "version": 1,
        "command": "bench",
        "weights": weights,
        "torch": torch.__version__,
    }
    document |= {"cpu": speed.machine().split(" / flags")[0], "threads": torch.get_num_threads()}
    document |= {"photos": None if photos is None else str(photos)}
    document |= {"hole_ratio": HOLE_SHARE, "output": to, "number_types": {}, "rows": [], "layers": []}
    if any(place.type == "cpu" for place, _ in runs):
        for use in ("inference", "training"):
            spent = speed.seconds(training=use == "training", anew=True)
            document["number_types"][use] = spent
            each = ", ".join(f"{name} {took * 1000:.1f} ms" for name, took in spent.items())
            say(f"one image of 256 px, {use}: {each}")
    for place, kind in runs:
        inpainter = Inpainter(weights, device=str(place), dtype=kind, batch_size=batch_size)
        name = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
        about = {"device": name, "dtype": speed.name_of(inpainter.dtype), "batch_size": inpainter.batch_size}
        say(f"{inpainter.weights.name} on {name}, {about['dtype']}, batches of {inpainter.batch_size}")
        say("  size    bare/s  folder/s  ratio  limited by")
        for side in size or SIZES:
            case = Bench(inpainter, side, seconds, f".{to}", given.get(side))
            row: dict[str, Any] = {**about, "size": side, "bare": case.bare()}
            text = f"{side:6d} {row['bare']:9.2f}"
            if not bare:
                row["folder"] = case.folder(row["bare"])
                row["without_generator"] = case.all_else(row["folder"])
                row["ratio"] = row["folder"] / row["bare"]
                row["limit"] = limit(row["bare"], row["without_generator"])
                text += f" {row['folder']:9.2f} {row['ratio']:6.0%}  {row['limit']}"
            document["rows"].append(row)
            say(text)
        if layers:
            say("  stage         level   Mflop      ms  (convolutions of one image of 128 px)")
            for row in cost_of_layers(inpainter):
                document["layers"].append({**about, **row})
                say(f"  {row['stage']:13} {row['level']:5} {row['megaflop']:7.1f} {row['milliseconds']:7.3f}")
    if as_json:
        console.print_json(document)
