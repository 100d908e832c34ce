#!/bin/sh
# Makes media/icon.png from media/icon.svg with Debian's chromium: the marketplace takes no SVG.
cd "$(dirname "$0")/../media" || exit 1
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=256,256 \
  --default-background-color=00000000 --screenshot="$PWD/icon.png" "file://$PWD/icon.svg" 2> /dev/null
