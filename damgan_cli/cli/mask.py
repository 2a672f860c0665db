"""``damgan mask``: seeded masks of a given size or one for each photo, and masks made from photos."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import complete_kinds
from damgan_cli.collection.address import Place, is_address
from damgan_cli.errors import DamganError, ExitCode, MaskError
from damgan_cli.runtime.paths import STREAM, is_folder, lies_in, same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damgan_cli.collection.masks import StoredJob
    from damgan_cli.masks.dataset import MaskJob, MaskSettings


def mask(
    kinds: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND",
            autocompletion=complete_kinds,
            help="One or more of the kinds above, each mask takes the next in turn; one of those made from "
            "files or found in photos, and the files or folders; or shapes with their numbers.",
            show_default=False,
        ),
    ],
    place: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="Folder or address (s3://bucket/masks) for the masks, or one .png file; - is stdout.",
            show_default=False,
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIDE|WxH", help="Size in pixels.", show_default="256"),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="PHOTOS",
            help="Make one mask for each photo of this folder or address, or for this photo: same size, same "
            "name.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", metavar="N", min=1, help="How many masks to make.", show_default="1"),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "--ratio",
            metavar="LOW-HIGH",
            help="Hole share, the part of the image that is hole: drawn evenly from this range, such as "
            "0.2-0.3, and met to the pixel. Without it each kind has its own spread.",
        ),
    ] = None,
    box_count: Annotated[
        str, typer.Option("--box-count", metavar="LOW-HIGH", help="Rectangles of a box mask.")
    ] = "1-4",
    box_size: Annotated[
        str,
        typer.Option("--box-size", metavar="LOW-HIGH", help="Their sides, as fractions of the image's."),
    ] = "0.1-0.5",
    color: Annotated[
        str | None,
        typer.Option(
            "--color", metavar="NAME|#RRGGBB", help="What from-color looks for.", show_default=False
        ),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(
            "--tolerance",
            metavar="N",
            min=0,
            max=254,
            help="Difference per 8-bit channel that from-color and from-diff overlook; JPEG needs about 24.",
        ),
    ] = 0,
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            metavar="X,Y,W,H",
            help="Around an object, in px or %. May be repeated, as the next two.",
            show_default=False,
        ),
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y", help="On the object.", show_default=False),
    ] = None,
    not_points: Annotated[
        list[str] | None,
        typer.Option("--not-point", metavar="X,Y", help="On what is not meant.", show_default=False),
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(
            "--segmenter",
            metavar="ONNX",
            help="Mark the object by this network (a graph as EfficientSAM's), not by GrabCut.",
            show_default=False,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            metavar="0-1",
            min=0,
            max=1,
            help="How faint scratches may be: the higher, the more is found, and marked by mistake.",
            show_default="0.5",
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="X,Y,W,H|WxH+X+Y",
            help="Where text, scratches, from-color, from-alpha and from-diff look, in px or %.",
            show_default="everywhere",
        ),
    ] = None,
    dilate: Annotated[
        int | None,
        typer.Option(
            "--dilate", metavar="PX", min=0, help="Grow masks made from files; how far expand, contract go."
        ),
    ] = None,
    invert_mask: Annotated[
        bool,
        typer.Option(
            "--invert-mask",
            help="Black is the hole in the masks of expand, contract; mark the other part in from-alpha.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="The same seed makes the same masks.")
    ] = 0,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="PNG", help="Also write a sheet of the first 60 masks, over their photos."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Processes. The masks do not depend on it.",
            show_default="one per core",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Make masks: white is the hole, black is kept.

    Strokes and boxes scale with the image: masks of 128 and 1024 px look alike.
    Kind, seed, size, achieved hole share and checksum of each are recorded in
    OUT/manifest.csv.

    \b
    [bold]Examples[/]
      damgan mask irregular -o masks --size 512x384 --count 100 --ratio 0.2-0.3
      damgan mask thick thin -o masks --like photos --seed 7 --preview sheet.png
      damgan mask center -o center.png --size 128
      damgan mask from-diff before.png after.png -o changed.png --dilate 4
      damgan mask object photo.jpg --box 120,80,200,300 -o mask.png --preview look.png
      damgan mask text photos --region 60%,85%,40%,15% -o masks
      damgan mask box right=2%,bottom=2%,25%,6% --like photos -o masks

    \b
    [bold]Kinds[/] (share of hole on average)
      center    a centred rectangle of half the sides, the paper's (25 %)
      half      left, right, top or bottom half, as in EdgeConnect (50 %)
      box       one to four random rectangles (20 %)
      freeform  brush strokes of DeepFillv2, Yu et al. 2019 (15 %)
      thin, medium, thick
                polylines and boxes of LaMa, Suvorov et al. 2022 (29, 23, 37 %)
      large     boxes and strokes of MAT, Li et al. 2022, and CoModGAN (40 %)
      irregular, irregular-inside, irregular-border
                outlines, lines and specks as NVIDIA's, Liu et al. 2018, 1-60 %;
                the outer 10 % free; reaching the border
      outpaint, outpaint-left, -right, -top, -bottom, -around
                a strip along one side (a random one), or a frame (10-50 %)

    \b
    [bold]Kinds made from files[/] (a file or a folder each)
      from-color PHOTOS       where photos have --color
      from-alpha PHOTOS       where photos are not fully opaque; the paint of a layer
      from-diff BEFORE AFTER  where two photos differ
      expand MASKS            masks dilated by --dilate pixels
      contract MASKS          masks shrunk by --dilate pixels

    \b
    [bold]Found in photos[/] (files or folders; where nothing is found a mask is empty)
      object PHOTO            what a --box encloses or a --point lies on
      text PHOTOS             letters of captions, dates, watermarks
      scratches PHOTOS        scratches and dust of old scans
      same PHOTOS             one mask of what all have in the same place

    \b
    [bold]Shapes[/] (with --like or --size; right=X and bottom=Y count from there)
      box X,Y,W,H   polygon X,Y,X,Y,...   circle X,Y,R
    """  # noqa: D301
    from damgan_cli.cli.mask_values import found_options, parse_range, parse_size, shapes_of, source_options
    from damgan_cli.collection import masks as collection_masks
    from damgan_cli.masks.dataset import MANIFEST, VERSION, MaskSettings, Record, make_files, write_manifest
    from damgan_cli.masks.derive import SOURCE_KINDS
    from damgan_cli.masks.find import FOUND_KINDS
    from damgan_cli.masks.generate import Boxes
    from damgan_cli.masks.jobs import jobs_from, jobs_like, numbered_jobs, refuse_existing

    low, high = parse_range("--box-count", box_count, "numbers of boxes", 1, 10_000)
    boxes_of = Boxes((int(low), int(high)), parse_range("--box-size", box_size, "fractions of a side", 0, 1))
    out, in_store = Path(place), any(map(is_address, (place, like or "", *kinds)))
    if in_store:
        collection_masks.refuse_unfit(place, like, {"--overwrite": overwrite, "--preview": preview})
    if out == STREAM:
        console.check_stdout_for_a_picture(as_json=as_json)
        if preview:
            raise MaskError("--preview does not go with -o -.", "Give a file with -o.")
    single = not in_store and (out == STREAM or (out.suffix.lower() == ".png" and not is_folder(out)))
    failed: dict[str, str] = {}
    jobs: list[MaskJob] = []
    stored: list[StoredJob] = []
    kind, shapes = kinds[0], shapes_of(kinds)
    found, derived = ({usage.split()[0] for usage in usages} for usages in (FOUND_KINDS, SOURCE_KINDS))
    _refuse(kind, "found in photos", kind in found, {
        "--box": boxes, "--point": points, "--not-point": not_points, "--segmenter": segmenter,
        "--strength": strength is not None,
    })  # fmt: skip
    _refuse(kind, "made from files", kind in derived, {
        "--color": color is not None, "--tolerance": tolerance > 0, "--invert-mask": invert_mask,
    })  # fmt: skip
    _refuse(kind, "made from files", kind in derived | found, {
        "--dilate": dilate is not None, "--region": region is not None,
    })  # fmt: skip
    if kind in derived | found:
        for option, given in {"--size": size, "--like": like, "--count": count, "--ratio": ratio}.items():
            if given is not None:
                raise MaskError(f"{option} does not go with {kind}.", "Its masks are as the files are.")
        if kind in found:
            options = found_options(
                kind, boxes or [], points or [], not_points or [], segmenter, strength, region, dilate
            )
        else:
            options = source_options(kind, color, tolerance, dilate, region, invert=invert_mask)
        if in_store:
            stored = collection_masks.jobs_from(kind, kinds[1:])
        else:
            jobs = jobs_from(kind, kinds[1:], out, single)
        settings = MaskSettings(source_options=options)
    else:
        if shapes and ratio is not None:
            raise MaskError("--ratio does not go with shapes.", "Their numbers say how large they are.")
        if shapes:
            kinds = [kind]
        limits = parse_range("--ratio", ratio, "hole shares", 0, 1) if ratio is not None else None
        settings = MaskSettings(seed, limits, boxes_of, shapes=shapes)
        if like is None:
            if shapes and size is None:
                raise MaskError(
                    f"{kind} needs the size of the photo.", "Give --like PHOTO, or --size WIDTHxHEIGHT."
                )
            jobs = numbered_jobs(kinds, out, single, parse_size(size or "256"), count or 1)
            if in_store:
                stored = collection_masks.numbered(jobs, out)
        else:
            if size is not None or count is not None:
                raise MaskError(
                    f"--like takes size and number from the photos, so {'--size' if size else '--count'} "
                    "cannot be given too.",
                    "Leave one of the two out.",
                )
            if in_store:
                stored = collection_masks.jobs_like(kinds, like)
            else:
                jobs = jobs_like(kinds, out, single, Path(like), failed)
        if not shapes:
            _try_kinds(kinds, stored or jobs, settings)
    root = out.parent if single else out
    manifest = None if single or in_store else out / MANIFEST
    inside = preview is not None and (same(preview, out) if single else lies_in(preview, root))
    if preview and (preview.suffix.lower() != ".png" or inside):
        raise MaskError(
            f"The preview {preview} must be a .png {'beside' if single else 'outside of'} {out}.",
            "In its place it would be, or count as, a mask.",
        )
    if not in_store:
        refuse_existing(
            [job.path for job in jobs] + [path for path in (manifest, preview) if path], overwrite
        )

    records: list[Record] = []
    with console.warnings_on_stderr(), console.progress(quiet=quiet) as progress:
        work: Sequence[MaskJob | StoredJob] = stored or jobs
        results = (
            collection_masks.make(stored, settings, Place.of(place), workers)
            if in_store
            else make_files(jobs, settings, root, workers)
        )
        for job, result in zip(work, progress.track(results, len(work), description="masks"), strict=True):
            if isinstance(result, DamganError):
                failed[job.what] = str(result)
            else:
                records.append(result)
    if in_store:
        collection_masks.create_manifest(Place.of(place), records, failed)
    if manifest:
        write_manifest(manifest, records)
    if preview and records:
        from damgan_cli.masks.sheet import write_sheet

        write_sheet(preview, records, root)
    for path, message in failed.items():
        console.error(f"{path}: {message}")
    if as_json:
        console.print_json(
            {
                "version": VERSION,
                "masks": [asdict(record) for record in records],
                "failed": [{"file": path, "error": message} for path, message in failed.items()],
            }
        )
    if records and not quiet:
        shares = [record.ratio for record in records]
        where = "stdout" if out == STREAM else place
        console.note(
            f"{len(records)} mask{'s' * (len(records) > 1)} in {where}, hole share "
            f"{min(shares):.3f} to {max(shares):.3f}, {sum(shares) / len(shares):.3f} on average"
        )
        empty = [record.file for record in records if not record.ratio]
        if empty:
            names = ", ".join(empty[:10]) + ", ..." * (len(empty) > 10)
            console.warn(f"{len(empty)} of them have no hole: {names}")
    if failed:
        raise typer.Exit(ExitCode.SOME_FILES_FAILED)


def _refuse(kind: str, what: str, fits: bool, options: dict[str, object]) -> None:
    """Raise MaskError for options that are given although ``kind`` is of another sort."""
    for option, given in options.items():
        if given and not fits:
            raise MaskError(f"{option} is for masks {what}, which {kind} is not.", "See the kinds in --help.")


def _try_kinds(kinds: list[str], jobs: Sequence[MaskJob | StoredJob], settings: MaskSettings) -> None:
    """Raise MaskError if a kind cannot be made at all, before anything is written."""
    from damgan_cli.masks.generate import make_mask, mask_rng

    largest = max(jobs, key=lambda job: job.width * job.height)
    for kind in kinds:
        rng = mask_rng(settings.seed, largest.index)
        make_mask(
            kind, largest.height, largest.width, rng, hole_share=settings.hole_share, boxes=settings.boxes
        )
