#!/bin/sh
# Make a mask for each photo, fill the folder, score the fills against the originals.
set -eu
damgan mask irregular -o out/masks --like examples/photos --ratio 0.03-0.06 --seed 1
damgan inpaint examples/photos --mask out/masks -o out/filled
damgan eval out/filled examples/photos --mask out/masks
