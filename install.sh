#!/bin/sh
# Installs Velatura for you alone, without root, from the folder that this file is in:
#
#   1. finds a Python from 3.11 to 3.14; if there is none, it asks, and uv (https://docs.astral.sh/uv) downloads one;
#   2. hands over to installer/, which says what it will do, asks, and checks each package by its SHA-256.
#
# Options: --yes (ask nothing)  --to FOLDER  --outputs FOLDER  --torch cpu
# What is installed where, updates and uninstalling: docs/install.md
set -eu

UV_VERSION=0.13.9
PYTHON_VERSION=3.13

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
yes=
root=
previous=
for word in "$@"; do
  [ "$word" = --yes ] && yes=1
  [ "$previous" = --to ] && root=$word
  case $word in --to=*) root=${word#--to=} ;; esac
  previous=$word
done
case $(uname -s) in
  Darwin) usual="$HOME/Library/Application Support/Velatura" ;;
  *) usual="${XDG_DATA_HOME:-$HOME/.local/share}/velatura" ;;
esac
root=${root:-$usual}

fail() { printf '\n%s\n' "$1" >&2; exit 1; }

# A Python counts if it has the right age and can make environments, which Debian packages apart.
is_suitable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' > /dev/null 2>&1
}

find_python() {
  for name in python3 python3.13 python3.12 python3.14 python3.11 "$root"/python/*/bin/python3; do
    if is_suitable "$name"; then command -v "$name"; return 0; fi
  done
  return 1
}

# The file of uv for this computer, and the SHA-256 that PyPI had for it when UV_VERSION was set.
uv_wheel() {
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) echo manylinux_2_17_x86_64.manylinux2014_x86_64 \
      d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 ;;
    Linux-aarch64) echo manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64 \
      5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe ;;
    Darwin-arm64) echo macosx_11_0_arm64 \
      66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63 ;;
    *) return 1 ;;
  esac
}

sha256_of() {
  if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

unpack() {
  if command -v unzip > /dev/null; then unzip -q "$1" -d "$2"
  elif command -v bsdtar > /dev/null; then bsdtar -xf "$1" -C "$2"
  elif [ "$(uname -s)" = Darwin ]; then tar -xf "$1" -C "$2"
  else python3 -m zipfile -e "$1" "$2"
  fi || fail "To unpack uv, install unzip, or a Python from 3.11 to 3.14 with its module venv."
}

get() {
  if command -v curl > /dev/null; then curl -fsSL --retry 2 "$1" -o "$2"; else wget -q -t 2 "$1" -O "$2"; fi \
    || fail "$(public "$1") cannot be reached: check the network, or name a proxy (HTTPS_PROXY) or an index (PIP_INDEX_URL)."
}

# An address without a login, to be printed.
public() { printf '%s' "$1" | sed 's|//[^/@]*@|//|'; }

fetch_python() {
  wheel=$(uv_wheel) || fail "There is no Python from 3.11 to 3.14, and uv has none for this computer: install Python first."
  hash=${wheel#* }
  file="uv-$UV_VERSION-py3-none-${wheel%% *}.whl"
  index=${UV_INDEX_URL:-${PIP_INDEX_URL:-https://pypi.org/simple}}
  echo "No Python from 3.11 to 3.14 with its module venv was found. To have one that only Velatura uses:"
  echo "  1. download uv $UV_VERSION, 20 MB, from $(public "${index%/}/uv/") and check that its SHA-256 is $hash"
  echo "  2. let uv download Python $PYTHON_VERSION, 35 MB, which it checks in the same way, into $root/python"
  if [ -z "$yes" ]; then
    [ -t 0 ] || fail "There is no terminal to ask in; say --yes if you agree."
    printf '\nGo on? [y/N] '
    read -r answer
    case $answer in [yYjJ]*) ;; *) fail "Nothing was changed." ;; esac
  fi
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 130' INT TERM
  get "${index%/}/uv/" "$scratch/index"
  address=$(tr '"' '\n' < "$scratch/index" | grep -F "/$file" | head -n 1 | cut -d '#' -f 1)
  case $address in
    http*) ;;
    '') fail "$(public "${index%/}/uv/") has no $file." ;;
    /*) address="$(echo "$index" | cut -d / -f 1-3)$address" ;;
    *) address="${index%/}/uv/$address" ;;
  esac
  get "$address" "$scratch/$file"
  [ "$(sha256_of "$scratch/$file")" = "$hash" ] || fail "$file has another SHA-256 than expected. Nothing was run."
  unpack "$scratch/$file" "$scratch/unpacked"
  uv="$scratch/unpacked/uv-$UV_VERSION.data/scripts/uv"
  chmod +x "$uv"
  mkdir -p "$root/python"
  "$uv" --no-config --cache-dir "$scratch/cache" python install --no-bin --install-dir "$root/python" "$PYTHON_VERSION" \
    || fail "uv could not download Python $PYTHON_VERSION, and says why above."
  python=$(find_python) || fail "The Python that uv downloaded does not start."
  rm -rf "$scratch"
}

case $(uname -s)-$(uname -m) in
  Darwin-x86_64) fail "PyTorch has ended its support of Macs with Intel processors, and Velatura needs it." ;;
esac
python=$(find_python) || fetch_python
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec "$python" -P -m installer install "$@"
