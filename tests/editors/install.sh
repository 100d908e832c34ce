#!/bin/bash
# install.sh: the editors that tests/editors drives besides VS Code, from Debian's packages: Vim,
# Emacs with eglot, tmux for those that need a screen, and Helix in .cache/helix. Neovim comes with
# the development dependencies. A missing editor skips its tests and nothing else.
set -euo pipefail

if ! command -v apt-get > /dev/null; then
  echo "install.sh: no apt-get; install vim, emacs, tmux and helix by hand" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive

missing=()
for pair in vim:vim-nox emacs:emacs-nox tmux:tmux; do
  command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
done
# Emacs 29 has eglot built in; before, it is a package of its own.
compgen -G "/usr/share/emacs/*/lisp/progmodes/eglot.el*" > /dev/null ||
  compgen -G "/usr/share/emacs/site-lisp/elpa/eglot-*" > /dev/null ||
  missing+=(elpa-eglot)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

# Helix is in Debian 13, not in 12: its package is unpacked beside the C library that it was built
# for, and run by that library's loader, so that the system stays as it is.
helix=$(cd "$(dirname "$0")/../.." && pwd)/.cache/helix
if ! command -v hx > /dev/null && [ ! -x "$helix/hx" ] && [ "$(uname -m)" = x86_64 ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists" "$work/cache" "$work/root"
  chmod 755 "$work"
  # The mirror that this system uses already, whatever its name.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
  echo "deb $mirror trixie main" > "$work/sources.list"
  apt=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
       -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update -qq
  (cd "$work" && apt-get "${apt[@]}" download -qq hx libc6 libgcc-s1)
  for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
  done
  rm -rf "$helix"
  mkdir -p "$helix"
  cp -r "$work/root/usr/lib" "$helix/lib"
  printf '#!/bin/sh\nHELIX_RUNTIME=%s exec %s --library-path %s %s "$@"\n' \
    "$helix/lib/hx/runtime" "$helix/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" \
    "$helix/lib/x86_64-linux-gnu" "$helix/lib/hx/hx" > "$helix/hx"
  chmod +x "$helix/hx"
  "$helix/hx" --version
fi
