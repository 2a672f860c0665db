"""The architecture as data: what ``config.json`` beside a weights file records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

_SCALES = (1, 2, 4, 8)
_WIDEST_INNER = 4
"""Times the channels outside: parameters grow with both, but memory with either alone."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Widths and depths of the two-stage generator (Sec. 3 of the paper; the numbers are ours).

    The paper gives the layout (a 3-level coarse stage, a 4-level DAM stage, dilated convolutions in the
    middle of each) but no widths. These make 6.1 M parameters, so that fp16 weights stay under 16 MiB.
    """

    coarse_channels: tuple[int, int, int] = (16, 32, 64)
    """Channels of the coarse stage at full, 1/2 and 1/4 resolution."""
    coarse_dilations: tuple[int, ...] = (2, 4, 8)
    """One dilated residual block each, in the middle of the coarse stage."""
    dam_channels: tuple[int, int, int, int] = (16, 32, 96, 256)
    """Channels of the DAM stage at full, 1/2, 1/4 and 1/8 resolution."""
    dam_dilations: tuple[int, ...] = (1, 2, 4)
    """One dilated residual block each, in the middle of the DAM stage."""
    coarse_scales: tuple[int, ...] = (1,)
    """How many times smaller than the photo the coarse stage sees it, powers of two: its result is the mean
    over them, with the same parameters for all. (1,) is the paper; larger ones reach further."""
    dam_inner_channels: tuple[int, ...] = ()
    """Channels within the DAM stage's residual blocks, between their two convolutions, at its resolutions; at
    most four times as many as outside, () is as many. At the deepest level half do as well
    (docs/experiments.md, section 22)."""

    def __post_init__(self) -> None:
        for name, length in (("coarse_channels", 3), ("dam_channels", 4)):
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} needs {length} widths, got {getattr(self, name)}")
        if self.dam_inner_channels and len(self.dam_inner_channels) != 4:
            raise ValueError(f"dam_inner_channels needs 4 widths or none, got {self.dam_inner_channels}")
        pairs = zip(self.dam_inner_channels, self.dam_channels, strict=False)
        if any(inner > _WIDEST_INNER * outer for inner, outer in pairs):
            raise ValueError(
                f"dam_inner_channels may be {_WIDEST_INNER} times dam_channels at most, "
                f"got {self.dam_inner_channels}"
            )
        scales = self.coarse_scales
        if not scales or len(set(scales)) < len(scales) or not set(scales) <= set(_SCALES):
            raise ValueError(f"generator config: coarse_scales are different ones of {_SCALES}, got {scales}")

    @property
    def inner_channels(self) -> tuple[int, ...]:
        """``dam_inner_channels``, or what they are if none are given."""
        return self.dam_inner_channels or self.dam_channels

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dictionary for JSON; ``from_dict`` reads it back."""
        values = {name: list(value) for name, value in asdict(self).items()}
        if not self.dam_inner_channels:  # as versions from before there were these have it
            del values["dam_inner_channels"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GeneratorConfig:
        """Read ``to_dict``'s dictionary. Raises ValueError on unknown, missing or malformed entries."""
        known = {field.name for field in fields(cls)}
        values = {"coarse_scales": [1], "dam_inner_channels": [], **values}  # from before there were these
        if set(values) != known:
            raise ValueError(f"generator config needs exactly {sorted(known)}, got {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, list) or not all(type(n) is int and n > 0 for n in value):
                raise ValueError(
                    f"generator config: {name} must be a list of positive integers, got {value!r}"
                )
        return cls(**{name: tuple(value) for name, value in values.items()})
