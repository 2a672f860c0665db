"""A training small enough for tests."""

from __future__ import annotations

import json

TINY = {
    "size": 32,
    "perceptual": "",  # its network is large, and not there without a download
    "lambda_perceptual": 0,
    "batch_size": 2,
    "tick_images": 8,
    "generator": {
        "coarse_channels": [4, 4, 4],
        "coarse_dilations": [2],
        "dam_channels": [4, 4, 4, 4],
        "dam_dilations": [2],
    },
}


def settings(**changes):
    """`TINY` with changes, None leaving one out, as options."""
    values = {k: v for k, v in {**TINY, **changes}.items() if v is not None}
    return [x for k, v in values.items() for x in ("--set", f"{k}={json.dumps(v)}")]


def stats(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
