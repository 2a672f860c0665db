"""Fill a photo from Python: PIL in, PIL out; numpy in, numpy out; many photos at once."""

from pathlib import Path

import numpy as np
from PIL import Image

from damgan_cli import Inpainter

out = Path("out")
out.mkdir(exist_ok=True)
inpainter = Inpainter("faces")

photo, mask = Image.open("examples/portrait.png"), Image.open("examples/portrait-mask.png")
inpainter(photo, mask).save(out / "from-python.png")

pixels, hole = np.asarray(photo.convert("RGB")), np.asarray(mask.convert("L")) > 127
(fill,) = inpainter.fill_batch([pixels], [hole])
print(f"hole {hole.mean():.1%}, mean fakeness the model expects in it {fill.fakeness[hole].mean():.3f}")
