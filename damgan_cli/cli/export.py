"""``damgan export``: weights for use outside Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import WEIGHTS_METAVAR, complete_weights
from damgan_cli.errors import WeightsError
from damgan_cli.runtime.paths import check_file_can_be_written, exists

FORMATS = ("onnx",)


def export(
    weights: Annotated[
        str,
        typer.Argument(
            metavar=WEIGHTS_METAVAR,
            autocompletion=complete_weights,
            help="The weights to export.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to.", show_default="NAME.onnx here"),
    ] = None,
    format: Annotated[str, typer.Option("--format", metavar="onnx", help="Only onnx, so far.")] = "onnx",  # noqa: A002
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on stdout.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write weights as one ONNX graph that any ONNX runtime can run.

    Inputs: image (N,H,W,3) uint8 RGB, and mask (N,H,W) uint8 where more than 127
    is filled. Output: filled (N,H,W,3) uint8, known pixels untouched. Any N, H, W.
    The graph is the model alone: cut windows of about the training's size
    (128 px) yourself where photos are larger. It is checked in onnxruntime before
    it is written. Needs the extra: pip install 'damgan\\[onnx]'.

    \b
    [bold]Examples[/]
      damgan export faces -o faces.onnx
      damgan export ORG/REPO@v1 --format onnx -o model.onnx --json
    """  # noqa: D301
    if format not in FORMATS:
        raise WeightsError(f"There is no export to {format!r}.", f"Choose from {', '.join(FORMATS)}.")
    target = out or Path(f"{Path(weights.partition('@')[0]).name}.onnx")
    check_file_can_be_written(target)
    if exists(target) and not overwrite:
        raise WeightsError(
            f"{target} exists already.", "Add --overwrite to replace it, or choose another place with -o."
        )
    from damgan_cli.weights.find import load_weights
    from damgan_cli.weights.onnx_export import export_onnx

    loaded = load_weights(weights, offline=offline)
    difference = export_onnx(loaded, target)
    if as_json:
        console.print_json(
            {
                "version": 1,
                "command": "export",
                "format": format,
                "file": str(target),
                "bytes": target.stat().st_size,
                "largest_difference": difference,
                "weights": {"name": loaded.name, "source": loaded.source, "revision": loaded.revision},
            }
        )
    else:
        typer.echo(target)
    if not quiet:
        size = target.stat().st_size / 2**20
        console.note(
            f"{size:.1f} MiB; onnxruntime gives what PyTorch gives, within {difference} of 255 levels"
        )
