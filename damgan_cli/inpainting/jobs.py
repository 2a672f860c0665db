"""What `damgan inpaint` has to do: which photo with which mask to which file, checked before any work."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import ImageFileError, MaskError, PairingError
from damgan_cli.inpainting.holes import ALPHA, HoleOptions, check_readable, is_coco
from damgan_cli.inpainting.job import Job
from damgan_cli.inpainting.record import Record
from damgan_cli.inpainting.targets import check_no_photos_of_input, check_targets
from damgan_cli.photos.extend import extended_size
from damgan_cli.photos.files import list_images
from damgan_cli.photos.formats import EXTENSIONS, OTHER_IMAGES
from damgan_cli.photos.limits import most_bytes
from damgan_cli.photos.pairing import pair_by_relative_path, partners, some
from damgan_cli.photos.read import displayed_size
from damgan_cli.photos.received import receive
from damgan_cli.runtime.paths import STREAM, exists, is_file, is_folder, is_stream, same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damgan_cli.inpainting.record import Settings
    from damgan_cli.photos.extend import Margins

RESULT_MARK = ".inpainted"
_SHOWN = 10


@dataclass(frozen=True)
class Plan:
    """All jobs of one command."""

    jobs: list[Job]
    """To be done."""
    skipped: list[Job]
    """Done by an earlier run."""
    single: bool
    """INPUT is one photo: if it is bad, that is wrong usage rather than a file that failed."""
    earlier_results: int
    """How many files of the kind ``x.inpainted.png`` beside their ``x.png`` in INPUT are left out.

    All but those for which a folder of masks has a mask."""
    left_out: list[Path]
    """Pictures in INPUT of a kind that is not read."""
    settings: Settings
    """What decides how an output looks, by option; for its `record`."""

    @property
    def targets(self) -> list[Path]:
        """The files that this command is to write."""
        return [target for job in self.jobs for target in job.targets if target != STREAM]

    @property
    def folders(self) -> set[Path]:
        """Where this command writes, or an earlier run of it has written."""
        return {target.parent for target in self.targets} | {
            target.parent for job in self.skipped for target in job.targets
        }


def plan_jobs(
    sources: Sequence[str | Path],
    mask: str | None,
    out: str | Path | None = None,
    *,
    fakeness: Path | None = None,
    overwrite: bool = False,
    holes: HoleOptions | None = None,
    margins: Margins | None = None,
    only: Sequence[Path] | None = None,
    settings: Callable[[], Settings] | None = None,
) -> Plan:
    """List what is to be done for ``sources``: a photo, several, or a folder; check all that can be known.

    ``mask`` is `holes.ALPHA`, a file for all photos, a folder of one mask per photo, or None. ``only`` are
    the photos of a folder that are meant, by default all. ``out`` is a file or a folder; what ends in a slash
    is a folder. `paths.STREAM` is stdin and stdout. With ``settings`` (asked for
    once streams are received) outputs that were made with others are refused. Raises ImageFileError,
    PairingError or MaskError, each listing everything of its kind at once.
    """
    photos = list(dict.fromkeys(map(Path, sources)))
    mask_path = None if mask in {None, ALPHA} else Path(str(mask))
    out_path = None if out is None else Path(out)
    _check_inputs(photos, mask_path)
    record = Record()
    left_out: list[Path] = []
    single = len(photos) == 1 and not is_folder(photos[0])
    if is_folder(photos[0]):
        jobs, earlier = _folder_jobs(photos[0], mask_path, out_path, fakeness, record, only)
        other_places = [path for path in (mask_path, out_path, fakeness) if path]
        left_out = [] if only is not None else list_images(photos[0], other_places, OTHER_IMAGES)
    else:
        into_folder = str(out).endswith(("/", os.sep))  # which a Path forgets
        if single and not (mask_path and is_folder(mask_path)):
            jobs, earlier = [_file_job(photos[0], mask_path, out_path, fakeness, into_folder=into_folder)], 0
        else:
            jobs, earlier = _files_jobs(photos, mask_path, out_path, fakeness, into_folder=into_folder)
    check_targets(jobs)
    wanted: list[Job] = []
    skipped: list[Job] = []
    for job in jobs:
        (skipped if job.done and not overwrite else wanted).append(job)
    made_with = settings() if settings else {}
    if settings:
        record.check((target for job in skipped for target in job.targets), made_with)
    sized = _with_sizes(wanted, holes or HoleOptions(), margins, single=single)
    return Plan(sized, skipped, single, earlier, left_out, made_with)


def _check_inputs(photos: list[Path], mask: Path | None) -> None:
    """Raise ImageFileError if one is missing or they do not go together; receive what comes through pipes."""
    missing = [str(path) for path in photos if path != STREAM and not exists(path)]
    if missing:
        verb = "does not exist" if len(missing) == 1 else "do not exist"
        raise ImageFileError(
            f"{missing[0] if len(missing) == 1 else some(missing)} {verb}.",
            "INPUT is a photo, several photos, or a folder of photos.",
        )
    if mask is not None and mask != STREAM and not exists(mask):
        raise ImageFileError(
            f"The mask {mask} does not exist.",
            "--mask is an image, a folder of images, a COCO file (.json), or the word alpha.",
        )
    folders = [str(path) for path in photos if is_folder(path)]
    streams = [str(path) for path in photos if is_stream(path)]
    if len(photos) > 1 and (folders or streams):
        kind = "a folder" if folders else "a pipe"
        raise ImageFileError(
            f"{(folders or streams)[0]} is {kind}, and goes alone.", "Give several photos, or one of these."
        )
    if mask is not None and streams and mask in photos:
        raise ImageFileError(
            "Photo and mask cannot both come through one pipe.", "Give one of them as a file."
        )
    for path in (*photos, *([mask] if mask is not None else [])):
        receive(path, most_bytes())


def _file_job(
    photo: Path, mask: Path | None, out: Path | None, fakeness: Path | None, *, into_folder: bool
) -> Job:
    its_map = fakeness / f"{'stdin' if photo == STREAM else photo.stem}.png" if fakeness else None
    output = _file_output(photo, out, into_folder=into_folder)
    for path, what in ((photo, "INPUT"), (mask, "the mask")):
        if path is not None and output != STREAM and same(output, path):
            raise ImageFileError(
                f"The output {output} is {what} itself.", "Choose another place with -o OUT."
            )
    if its_map and any(same(its_map, path) for path in (photo, output, *([mask] if mask else []))):
        raise ImageFileError(
            f"The fakeness map {its_map} would replace another file.", "Choose another folder."
        )
    return Job("stdin" if photo == STREAM else photo.name, photo, mask, output, its_map)


def _file_output(photo: Path, out: Path | None, *, into_folder: bool) -> Path:
    if out == STREAM or (out is None and is_stream(photo)):
        return STREAM
    if out is None:
        return photo.with_name(f"{photo.stem}{RESULT_MARK}{photo.suffix}")
    if into_folder or is_folder(out) or not out.suffix:
        if is_stream(photo):
            raise ImageFileError(
                f"{out} is a folder, but the photo comes through a pipe and has no name.",
                f"Give one: -o {out / 'photo.png'}",
            )
        return out / photo.name
    if out.suffix.lower() in EXTENSIONS:
        return out
    raise ImageFileError(
        f"Cannot write {out}: {out.suffix} is no known image format.",
        f"Use one of {', '.join(sorted(EXTENSIONS))}, or a folder: {out}/",
    )


def _files_jobs(
    photos: list[Path], mask: Path | None, out: Path | None, fakeness: Path | None, *, into_folder: bool
) -> tuple[list[Job], int]:
    """Several photos by name, or one with a folder of masks.

    In that folder, in OUT and among the fakeness maps each is found under its path relative to the folder
    that holds all of the photos.
    """
    if out == STREAM:
        raise ImageFileError("Only one result fits on stdout.", "Give a folder with -o OUT.")
    if out is not None and not into_folder and not is_folder(out) and out.suffix.lower() in EXTENSIONS:
        if len(photos) > 1:
            raise ImageFileError(
                f"{len(photos)} photos do not fit into the one file {out}.", f"Give a folder: -o {out}/"
            )
        lone = out
    else:
        lone = None
    named = set(photos)
    results = {path for path in photos if _original(path) in named}
    photos = [path for path in photos if path not in results]
    try:
        root = Path(os.path.commonpath([path.parent.absolute() for path in photos]))
    except ValueError:
        raise PairingError(
            "The photos lie on different drives.", "Give those of one drive at a time."
        ) from None
    places = [path.absolute().relative_to(root) for path in photos]
    names = [place.with_suffix("").as_posix() for place in places]
    exclude = [path for path in (out, fakeness) if path]
    masks: Sequence[Path | None] = [mask] * len(photos)
    if mask is not None and is_folder(mask):
        masks = partners(names, mask, "photos", "masks", exclude=exclude)
    jobs = []
    for photo, place, its_mask in zip(photos, places, masks, strict=True):
        if its_mask is not None and same(photo, its_mask):
            raise PairingError(
                f"The mask of {photo} would be the photo itself.", "Keep masks in a folder of their own."
            )
        output = lone or (
            photo.with_name(f"{photo.stem}{RESULT_MARK}{photo.suffix}") if out is None else out / place
        )
        its_map = fakeness / place.with_suffix(".png") if fakeness else None
        jobs.append(Job(place.as_posix(), photo, its_mask, output, its_map))
    return jobs, len(results)


def _folder_jobs(
    source: Path,
    mask: Path | None,
    out: Path | None,
    fakeness: Path | None,
    record: Record,
    only: Sequence[Path] | None,
) -> tuple[list[Job], int]:
    if out is None or out == STREAM:
        raise ImageFileError(f"{source} is a folder, so results need a folder too.", "Give one with -o OUT.")
    roles = {"INPUT": source, "OUT": out, "the mask": mask, "the folder of fakeness maps": fakeness}
    folders = [(role, path) for role, path in roles.items() if path is not None]
    for i, (role, path) in enumerate(folders):
        for other, taken in folders[:i]:
            if same(path, taken):
                raise ImageFileError(f"{path} is both {other} and {role}.", "Choose different folders.")
    for role, path in folders:
        if role not in {"INPUT", "the mask"} and not only:
            check_no_photos_of_input(path, role, source, record)
    exclude = [path for role, path in folders if role != "INPUT"]  # where they lie inside INPUT
    listed = list_images(source, exclude) if only is None else list(only)
    results = {path for path in listed if (original := _original(path)) and is_file(original)}
    photos: list[tuple[Path, Path | None]]
    if mask is not None and is_folder(mask) and only is not None:
        names = [path.relative_to(source).with_suffix("").as_posix() for path in listed]
        photos = list(zip(listed, partners(names, mask, "photos", "masks", exclude=exclude), strict=True))
    elif mask is not None and is_folder(mask):
        pairs = pair_by_relative_path(source, mask, "photos", "masks", exclude=exclude, optional=results)
        photos = [(pair.left, pair.right) for pair in pairs]
    else:
        photos = [(path, mask) for path in listed if path not in results]
    earlier = len(results.difference(photo for photo, _ in photos))
    if not photos and only is None:
        raise PairingError(
            f"There are no photos in {source}.", f"Known extensions: {', '.join(sorted(EXTENSIONS))}."
        )
    jobs = []
    for photo, its_mask in photos:
        relative = photo.relative_to(source)
        its_map = fakeness / relative.with_suffix(".png") if fakeness else None
        jobs.append(Job(relative.as_posix(), photo, its_mask, out / relative, its_map))
    if fakeness and len({job.fakeness for job in jobs}) < len(jobs):
        raise PairingError(
            "Photos that differ only in their extension would share a fakeness map.",
            "Rename them, or leave out --attention.",
        )
    return jobs, earlier


def _original(path: Path) -> Path | None:
    """The photo that ``path`` would be a result of by its name, as ``x.png`` of ``x.inpainted.png``."""
    if not path.stem.endswith(RESULT_MARK):
        return None
    return path.with_name(path.stem.removesuffix(RESULT_MARK) + path.suffix)


def _with_sizes(jobs: list[Job], holes: HoleOptions, margins: Margins | None, *, single: bool) -> list[Job]:
    """Add the photos' sizes, ``margins`` included; MaskError lists all masks of another size than theirs.

    With one mask for several photos, those of another size fail by themselves, unless that is all of them.
    """
    sizes: dict[Path, tuple[int, int] | None] = {}

    def size(path: Path) -> tuple[int, int] | None:
        if path not in sizes:
            try:
                sizes[path] = displayed_size(path)
            except ImageFileError:
                if single:
                    raise
                sizes[path] = None
        return sizes[path]

    one_for_all = len(jobs) > 1 and len({job.mask for job in jobs}) == 1
    if not single and jobs and jobs[0].mask is not None and len({job.mask for job in jobs}) == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again when it is used
            check_readable(jobs[0].mask, holes)  # the one mask for all
    unfit, sized = [], []
    for job in jobs:
        photo = size(job.photo)
        mask = size(job.mask) if job.mask and not is_coco(job.mask) else photo
        if photo and mask and photo != mask and not holes.resize:
            unfit.append(f"{job.name}: photo {photo[0]}x{photo[1]}, mask {mask[0]}x{mask[1]}")
        sized.append(replace(job, size=extended_size(photo, margins) if photo and margins else photo))
    if unfit and not (one_for_all and len(unfit) < len(jobs)):
        more = f"; and {len(unfit) - _SHOWN} more" if len(unfit) > _SHOWN else ""
        raise MaskError(
            "Mask and photo differ in size: " + "; ".join(unfit[:_SHOWN]) + more + ".",
            "Each mask must have its photo's width and height (as displayed); --resize-mask makes it so.",
        )
    return sized
