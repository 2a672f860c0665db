#!/bin/sh
# Fill the white part of the mask; known pixels stay as they are. maps/ shows where the model doubts itself.
set -eu
damgan inpaint examples/portrait.png --mask examples/portrait-mask.png -o out/portrait.png --attention out/maps
