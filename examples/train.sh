#!/bin/sh
# A minute of training on a folder of photos, from our weights on, and the result put to use: `sh examples/train.sh PHOTOS`.
# For results worth having, train for hours on thousands of photos, with the LPIPS loss, whose network is downloaded once
# (leave the two last settings away, and `pip install '.[train]'`).
set -eu
damgan train "$1" --out out/run --init scenes --minutes 1 --set warmup_images=160 --set tick_images=160 \
    --set perceptual= --set lambda_perceptual=0
damgan inpaint examples/portrait.png --mask examples/portrait-mask.png -o out/mine.png --weights out/run/weights
