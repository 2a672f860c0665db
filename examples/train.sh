#!/bin/sh
# A minute of training on a folder of photos, and the weights put to use: `sh examples/train.sh PHOTOS`.
# For results worth having, train for hours on thousands of photos, or start from ours with --init faces.
set -eu
damgan train "$1" --out out/run --minutes 1 --set tick_images=320
damgan inpaint examples/portrait.png --mask examples/portrait-mask.png -o out/mine.png --weights out/run/weights
