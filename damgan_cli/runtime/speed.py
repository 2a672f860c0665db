"""Which number type this machine runs the generator faster in: measured once, then remembered.

What a CPU's flags promise is no guide: with the same AVX512-BF16 flag bfloat16 halves the time on one CPU and
takes half as long again as float32 on another. int8 counts in inference, where the CPU computes it exactly.
The figures lie in the user's cache folder, one small file for each CPU model and what of it may be used,
number of threads and version of torch.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import math
import os
import platform
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.model.conv import with_convolutions_in
from damgan_cli.model.int8 import in_int8, is_exact
from damgan_cli.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIKE = GeneratorConfig(
    dam_channels=(32, 48, 96, 256),
    dam_dilations=(2, 4, 16, 8),
    coarse_scales=(2, 4, 8),
    dam_inner_channels=(32, 48, 96, 96),
)
"""The widths of the embedded default. All of it is run: where residual blocks alone gain little from bfloat16
its other convolutions, of few channels or of stride 2, may gain most."""
_SIDE = 256
"""px; an image of 128 px is so quick that threads waiting for each other hide what the types differ by."""
_SECONDS = 0.3
"""How long is measured, about; more where two passes of each take longer."""
_HOPELESS = 3.0
"""What takes this many times as long as float32 is emulated: no second look."""
_WORTH = {torch.bfloat16: 1.1, torch.int8: 1.06}
"""How many times as fast a less exact type must be: a tie is float32's, then bfloat16's."""

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
"""By these oneDNN and torch are told to do without some of the CPU's instructions."""
_IDENTIFYING = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",  # x86
    "CPU implementer", "CPU part", "CPU variant", "Features",  # Arm
}  # fmt: skip


def fastest(*, training: bool, int8: bool = True) -> torch.dtype:
    """The number type that the generator is fastest in on this CPU, by `seconds`; int8 only if it may be."""
    spent = seconds(training=training)
    best = torch.float32
    for dtype, worth in _WORTH.items():
        counts = name_of(dtype) in spent and (int8 or dtype != torch.int8)
        if counts and spent[name_of(best)] >= worth * spent[name_of(dtype)]:
            best = dtype
    return best


def name_of(dtype: torch.dtype) -> str:
    """``float32`` and so on."""
    return str(dtype).removeprefix("torch.")


def seconds(*, training: bool, anew: bool = False) -> dict[str, float]:
    """Seconds that each number type takes for one image of 256 px, remembered or measured.

    These are float32, bfloat16 unless it would be emulated, and, if this CPU computes it, for inference int8.
    ``training`` measures with the backward pass. ``anew`` measures in any case and replaces what is
    remembered. That it cannot be remembered is no error. Processes that measure at the same time all go by
    the figures that were stored first, so they agree.
    """
    dtypes = [torch.float32]
    if _computes_bfloat16():
        dtypes.append(torch.bfloat16)
    if not training and is_exact():
        dtypes.append(torch.int8)
    about = _about([name_of(dtype) for dtype in dtypes], training=training)
    path = _path(about)
    found = None if anew else _remembered(path, about["types"])
    return found or _remember(path, about, compare(_passes(training=training), dtypes), replace=anew)


def _computes_bfloat16() -> bool:
    """False where oneDNN would emulate it, as on x86 without AVX-512, and take 6 to 19 times as long.

    That much can be known without measuring, which took 24 s for training.
    """
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is None or bool(supported())


def compare(
    run: Callable[[torch.dtype], None],
    dtypes: Sequence[torch.dtype],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Shortest seconds of ``run`` with each number type, in turns: other work disturbs that least."""
    best = dict.fromkeys(dtypes, math.inf)
    for dtype in dtypes:
        run(dtype)  # the first time prepares weights and code
    start, rounds = clock(), 0
    while rounds < 2 or clock() - start < _SECONDS:
        for dtype in dtypes:
            if rounds and best[dtype] > _HOPELESS * best[torch.float32]:
                continue
            begun = clock()
            run(dtype)
            best[dtype] = min(best[dtype], clock() - begun)
        rounds += 1
    return {name_of(dtype): spent for dtype, spent in best.items()}


def _passes(*, training: bool) -> Callable[[torch.dtype], None]:
    """One pass of a generator of random weights, forward and, for training, backward.

    int8 is for some of its convolutions: the rest is in what was faster of the others.
    """
    with torch.random.fork_rng(devices=[]):  # a training's random numbers stay as they are
        generator = Generator(_LIKE).requires_grad_(training)
        image = torch.rand(1, 3, _SIDE, _SIDE).mul(2).sub(1).to(memory_format=torch.channels_last)
        mask = (torch.rand(1, 1, _SIDE, _SIDE) < 0.25).float()
    generator = generator.to(memory_format=torch.channels_last)

    @lru_cache
    def ready(dtype: torch.dtype, base: torch.dtype) -> Generator:
        if training:
            return generator
        own = in_int8(generator) if dtype == torch.int8 else copy.deepcopy(generator)
        return with_convolutions_in(own, base)

    took: dict[torch.dtype, float] = {}

    def run(dtype: torch.dtype) -> None:
        base = min(took, key=lambda type_: took[type_]) if dtype == torch.int8 else dtype
        model = ready(dtype, base)
        begun = time.perf_counter()
        low = base == torch.bfloat16
        with torch.inference_mode(not training), torch.autocast("cpu", torch.bfloat16, enabled=low):
            output = model(image, mask)
            if training:
                torch.autograd.grad(
                    output.coarse.mean() + output.result.mean(), [*generator.parameters()], allow_unused=True
                )
        if dtype == base:
            took[dtype] = time.perf_counter() - begun

    return run


@lru_cache(maxsize=1)
def machine() -> str:
    """The CPU's model and what it can do, as far as the system tells."""
    with contextlib.suppress(OSError, UnicodeDecodeError), Path("/proc/cpuinfo").open() as file:
        pairs = []
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in _IDENTIFYING:
                pairs.append(value.strip())
            if not line.strip() and pairs:  # the next of its cores
                break
        if pairs:
            return " / ".join(pairs)
    return f"{platform.machine()} / {platform.processor()}"


def _about(types: list[str], *, training: bool) -> dict[str, Any]:
    return {
        "cpu": machine(),
        "told": {name: os.environ[name] for name in _LIMITS if name in os.environ},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "for": "training" if training else "inference",
        "generator": _LIKE.to_dict(),  # what was measured
        "types": types,
        "counts": 2,  # another number whenever these types are computed otherwise
    }


def _path(about: dict[str, Any]) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # never raises
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    return Path(root) / "damgan" / f"speed-{key}.json"


def _remembered(path: Path, types: list[str]) -> dict[str, float] | None:
    """None if nothing is remembered, or nothing that makes sense."""
    try:
        stored = json.loads(path.read_bytes())["seconds"]
        found = {name: float(stored[name]) for name in types}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if all(0 < spent < math.inf for spent in found.values()) else None


def _remember(
    path: Path, about: dict[str, Any], found: dict[str, float], *, replace: bool
) -> dict[str, float]:
    """Store figures; returns those that count: another process may have been first."""
    text = json.dumps({**about, "seconds": found}, indent=1) + "\n"
    try:
        replace = replace or (path.exists() and _remembered(path, about["types"]) is None)  # damaged
        with replacing(path, sync=False, only_first=not replace) as file:
            file.write(text.encode())
    except FileExistsError:
        return _remembered(path, about["types"]) or found
    except OSError:  # a read-only home, a full disk
        pass
    return found
