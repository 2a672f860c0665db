"""What `damgan inpaint` has to do: which photo with which mask to which file, checked before any work."""

from __future__ import annotations

import os
import unicodedata
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from damgan_cli.errors import ImageFileError, MaskError, PairingError
from damgan_cli.images.files import EXTENSIONS, OTHER_IMAGES, displayed_size, list_images, read_mask
from damgan_cli.images.pairing import pair_by_relative_path
from damgan_cli.paths import check_folder_can_be_written, check_name, exists, is_file, is_folder, same

ALPHA = "alpha"
"""In place of a mask: the photo's own transparent pixels are the hole."""
RESULT_MARK = ".inpainted"
_SHOWN = 10


@dataclass(frozen=True)
class Job:
    """One photo to fill."""

    name: str
    """For people: the path relative to INPUT."""
    photo: Path
    mask: Path | None
    """None: the photo's own transparent pixels."""
    output: Path
    attention: Path | None
    """Where the fakeness map goes, if it is wanted."""
    size: tuple[int, int] | None = None
    """Displayed width and height; None if the header cannot be read (the job will fail and say why)."""

    @property
    def targets(self) -> tuple[Path, ...]:
        """All that this job writes."""
        return (self.output,) if self.attention is None else (self.output, self.attention)

    @property
    def done(self) -> bool:
        """Whether all that this job would write is there already."""
        return all(map(os.path.exists, self.targets))


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

    @property
    def folders(self) -> set[Path]:
        """Where this command writes, or an earlier run of it has written."""
        return {target.parent for job in self.jobs + self.skipped for target in job.targets}


def plan_jobs(
    source: Path,
    mask: str,
    out: str | Path | None = None,
    *,
    attention: Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """List what is to be done for ``source`` (a photo or a folder); check all that can be known beforehand.

    ``mask`` is `ALPHA`, a file for all photos, or a folder of one mask per photo. ``out`` is a file or a
    folder; what ends in a slash is a folder. Raises ImageFileError, PairingError or MaskError, each listing
    everything of its kind at once.
    """
    if not exists(source):
        raise ImageFileError(f"{source} does not exist.", "INPUT is a photo or a folder of photos.")
    mask_path = None if mask == ALPHA else Path(mask)
    if mask_path is not None and not exists(mask_path):
        raise ImageFileError(
            f"The mask {mask_path} does not exist.",
            "--mask is an image, a folder of images, or the word alpha.",
        )
    out_path = None if out is None else Path(out)
    if is_folder(source):
        jobs, earlier = _folder_jobs(source, mask_path, out_path, attention)
        other_places = [path for path in (mask_path, out_path, attention) if path]
        left_out = list_images(source, other_places, OTHER_IMAGES)
    else:
        into_folder = str(out).endswith(("/", os.sep))  # which a Path forgets
        job = _file_job(source, mask_path, out_path, attention, into_folder=into_folder)
        jobs, earlier, left_out = [job], 0, []
    _check_targets(jobs)
    wanted: list[Job] = []
    skipped: list[Job] = []
    for job in jobs:
        (skipped if job.done and not overwrite else wanted).append(job)
    single = not is_folder(source)
    return Plan(_with_sizes(wanted, single=single), skipped, single, earlier, left_out)


def _file_job(
    photo: Path, mask: Path | None, out: Path | None, attention: Path | None, *, into_folder: bool
) -> Job:
    if mask is not None and is_folder(mask):
        raise PairingError(f"INPUT is one photo, but the mask {mask} is a folder.", "Give the mask's file.")
    if out is None:
        output = photo.with_name(f"{photo.stem}{RESULT_MARK}{photo.suffix}")
    elif into_folder or is_folder(out) or not out.suffix:
        output = out / photo.name
    elif out.suffix.lower() in EXTENSIONS:
        output = out
    else:
        raise ImageFileError(
            f"Cannot write {out}: {out.suffix} is no known image format.",
            f"Use one of {', '.join(sorted(EXTENSIONS))}, or a folder: {out}/",
        )
    for path, what in ((photo, "INPUT"), (mask, "the mask")):
        if path is not None and same(output, path):
            raise ImageFileError(
                f"The output {output} is {what} itself.", "Choose another place with -o OUT."
            )
    fakeness = attention / f"{photo.stem}.png" if attention else None
    if fakeness and any(same(fakeness, path) for path in (photo, output, *([mask] if mask else []))):
        raise ImageFileError(
            f"The attention map {fakeness} would replace another file.", "Choose another folder."
        )
    return Job(photo.name, photo, mask, output, fakeness)


def _folder_jobs(
    source: Path, mask: Path | None, out: Path | None, attention: Path | None
) -> tuple[list[Job], int]:
    if out is None:
        raise ImageFileError(f"{source} is a folder, so results need a folder too.", "Give one with -o OUT.")
    roles = {"INPUT": source, "OUT": out, "the mask": mask, "the folder of attention maps": attention}
    folders = [(role, path) for role, path in roles.items() if path is not None]
    for i, (role, path) in enumerate(folders):
        for other, taken in folders[:i]:
            if same(path, taken):
                raise ImageFileError(f"{path} is both {other} and {role}.", "Choose different folders.")
    exclude = [path for role, path in folders if role != "INPUT"]  # where they lie inside INPUT
    listed = list_images(source, exclude)
    results = {path for path in listed if _is_earlier_result(path)}
    photos: list[tuple[Path, Path | None]]
    if mask is not None and is_folder(mask):
        pairs = pair_by_relative_path(source, mask, "photos", "masks", exclude=exclude, optional=results)
        photos = [(pair.left, pair.right) for pair in pairs]
    else:
        photos = [(path, mask) for path in listed if path not in results]
    earlier = len(results.difference(photo for photo, _ in photos))
    if not photos:
        raise PairingError(
            f"There are no photos in {source}.", f"Known extensions: {', '.join(sorted(EXTENSIONS))}."
        )
    jobs = []
    for photo, its_mask in photos:
        relative = photo.relative_to(source)
        fakeness = attention / relative.with_suffix(".png") if attention else None
        jobs.append(Job(relative.as_posix(), photo, its_mask, out / relative, fakeness))
    if attention and len({job.attention for job in jobs}) < len(jobs):
        raise PairingError(
            "Photos that differ only in their extension would share an attention map.",
            "Rename them, or leave out --attention.",
        )
    return jobs, earlier


def _is_earlier_result(path: Path) -> bool:
    return path.stem.endswith(RESULT_MARK) and is_file(
        path.with_name(path.stem.removesuffix(RESULT_MARK) + path.suffix)
    )


def _check_targets(jobs: list[Job]) -> None:
    """Find out before hours of work that results have nowhere to go, or would replace what is needed.

    Folders are looked at once each: there may be thousands of files in them.
    """
    real: dict[Path, Path] = {}

    def true_place(path: Path) -> Path:  # through symbolic links: OUT may hold a link that leads into INPUT
        if path.parent not in real:
            real[path.parent] = Path(os.path.realpath(path.parent))
        return real[path.parent] / path.name

    inputs = {true_place(path) for job in jobs for path in (job.photo, job.mask) if path is not None}
    inputs |= {Path(os.path.realpath(path)) for path in inputs if os.path.islink(path)}  # noqa: PTH114
    places: dict[str, list[Path]] = {}
    folders: dict[Path, Path] = {}
    existing: dict[Path, Path] = {}
    for target in (target for job in jobs for target in job.targets):
        place = true_place(target)
        if place.parent not in folders:
            existing[place.parent] = check_folder_can_be_written(target.parent, target)
            folders[place.parent] = target
        if place in inputs:
            raise ImageFileError(
                f"The output {target} is one of the photos or masks itself.",
                "Choose another place with -o OUT.",
            )
        check_name(existing[place.parent], target)
        if is_folder(target):
            raise ImageFileError(f"Cannot write {target}: it is a folder.", "Choose another output place.")
        places.setdefault(_folded(place), []).append(place)
    for folder, target in folders.items():
        for path in (folder, *folder.parents):
            if any(_one_file([path, file]) for file in places.get(_folded(path), [])):
                raise ImageFileError(
                    f"Cannot write {target}: {path} is to be a file, an output itself.",
                    "Choose another output place.",
                )
    clashes = [paths for paths in places.values() if len(paths) > 1 and _one_file(paths)]
    if clashes:
        listed = "; ".join(" and ".join(map(str, paths)) for paths in clashes[:_SHOWN])
        raise PairingError(
            f"Several photos would be written to one file ({len(clashes)}): {listed}.",
            "Rename them, or choose an output folder whose file system tells capitals from small letters.",
        )


def _folded(path: Path) -> str:
    """Equal for all paths that may mean the same file on some file system."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _one_file(paths: list[Path]) -> bool:
    """Whether paths that differ at most in capitals mean one file where they lie."""
    if len(set(paths)) < len(paths):
        return True
    for folder in paths[0].parents:
        other = folder.with_name(folder.name.swapcase())
        if other != folder and exists(folder):
            return exists(other) and same(folder, other)
    return False


def _with_sizes(jobs: list[Job], *, single: bool) -> list[Job]:
    """Add the photos' sizes; raise MaskError listing all masks of another size than their photo."""
    sizes: dict[Path, tuple[int, int] | None] = {}

    def size(path: Path, *, exact: bool = False) -> tuple[int, int] | None:
        if exact or path not in sizes:
            try:
                sizes[path] = displayed_size(path, exact=exact)
            except ImageFileError:
                if single:
                    raise
                sizes[path] = None
        return sizes[path]

    if not single and len({job.mask for job in jobs}) == 1 and jobs[0].mask is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again when it is used
            read_mask(jobs[0].mask)  # the one mask for all must be readable
    unfit, sized = [], []
    for job in jobs:
        for exact in (False, True):
            photo = size(job.photo, exact=exact)
            mask = size(job.mask, exact=exact) if job.mask else photo
            if photo == mask:
                break
        if photo and mask and photo != mask:
            unfit.append(f"{job.name}: photo {photo[0]}x{photo[1]}, mask {mask[0]}x{mask[1]}")
        sized.append(replace(job, size=photo))
    if unfit:
        more = f"; and {len(unfit) - _SHOWN} more" if len(unfit) > _SHOWN else ""
        raise MaskError(
            "Mask and photo differ in size: " + "; ".join(unfit[:_SHOWN]) + more + ".",
            "Each mask must have its photo's width and height (as displayed).",
        )
    return sized
