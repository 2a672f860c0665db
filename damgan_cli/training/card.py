"""The model card a finished training writes beside its weights."""

from __future__ import annotations

import json
from typing import Any


def model_card(info: dict[str, Any]) -> str:
    """Markdown card from what the training knows; ``info`` is what ``config.json`` records."""
    scores = info["validation"]
    table = "\n".join(
        f"| {kind} | {scores[f'val_{kind}_psnr']:.2f} | {scores[f'val_{kind}_ssim']:.4f} |"
        for kind in ("center", "irregular")
    )
    return f"""\
---
library_name: damgan
pipeline_tag: image-to-image
tags: [inpainting, dam-gan]
---

# {info["name"]}

Weights of the DAM-GAN generator (Cha & Kim) for filling holes in photographs, trained by
`damgan train` (damgan {info["damgan_version"]}).

| | |
| --- | --- |
| preset | {info["preset"]} |
| data | {", ".join(info["data"])} ({info["photos"]:,} photos) |
| images seen | {info["images_seen"]:,} in {info["hours"]} hours |
| started from | {info["init"] or "random weights"} |

The photos' licence is the licence that counts: add it here before you publish these weights.

Validation during training ({info["validation_photos"]} photos, {info["training"]["size"]} px, composited,
8-bit, per-image mean):

| mask | PSNR, dB | SSIM |
| --- | --- | --- |
{table}

Use: `damgan inpaint photo.png --mask mask.png --weights FOLDER`.

Every setting of the training:

```json
{json.dumps(info["training"], indent=1)}
```
"""
