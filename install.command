#!/bin/sh
# For a double click on macOS: runs install.sh, which says what it will do and asks.
exec "$(dirname -- "$0")/install.sh" "$@"
