"""The model card beside weights: what a finished training knows, under the metadata that the Hub reads."""

from __future__ import annotations

import json
from typing import Any

_MASKS = {"center": "centred square", "irregular": "irregular masks, 1-60 %"}


def model_card(info: dict[str, Any]) -> str:
    """Markdown card from what the training knows; ``info`` is what ``config.json`` records."""
    scores = info["validation"]
    table = "\n".join(
        f"| {kind} | {_text(scores, f'val_{kind}_psnr', 2)} | {_text(scores, f'val_{kind}_ssim', 4)} |"
        for kind in _MASKS
    )
    text = f"""\
# {info["name"]}

Weights of the DAM-GAN generator (Cha & Kim) for filling holes in photographs, trained by
`damgan train` (damgan {info["damgan_version"]}).

| | |
| --- | --- |
| preset | {info["preset"]} |
| data | {", ".join(info["data"])} ({info["photos"]:,} photos) |
| images seen | {info["images_seen"]:,} in {info["hours"]} hours |
| started from | {info["init"] or "random weights"} |

The photos' licence is the licence that counts: `damgan weights push --license` records it.

Validation during training ({info["validation_photos"]} photos, {info["training"]["size"]} px, composited,
8-bit, per-image mean):

| mask | PSNR, dB | SSIM |
| --- | --- | --- |
{table}

Use: `damgan inpaint photo.png --mask mask.png --weights ORG/REPO` (or this folder).

Every setting of the training:

```json
{json.dumps(info["training"], indent=1)}
```
"""
    # Values are written as JSON, which is YAML too: no name can break the block.
    metadata: dict[str, Any] = {
        "library_name": "damgan",
        "pipeline_tag": "image-to-image",
        "tags": ["inpainting", "image-inpainting", "dam-gan", "gan"],
        "metrics": ["psnr", "ssim"],
        **{key: info[key] for key in ("license", "datasets") if info.get(key)},
        "model-index": [_measured(info)],
    }
    block = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in metadata.items())
    return f"---\n{block}---\n\n{text}"


def _text(scores: dict[str, float], name: str, digits: int) -> str:
    return f"{scores[name]:.{digits}f}" if name in scores else "–"


def _measured(info: dict[str, Any]) -> dict[str, Any]:
    """The validation scores as the Hub's ``model-index`` has them."""
    results = [
        {
            "task": {"type": "image-to-image", "name": "Image inpainting"},
            "dataset": {
                "type": f"validation-{kind}",
                "name": f"validation photos, {info['training']['size']} px, {title}",
            },
            "metrics": [
                {
                    "type": metric,
                    "name": metric.upper(),
                    "value": round(info["validation"][f"val_{kind}_{metric}"], 4),
                }
                for metric in ("psnr", "ssim")
                if f"val_{kind}_{metric}" in info["validation"]
            ],
        }
        for kind, title in _MASKS.items()
    ]
    return {"name": info["name"], "results": results}
