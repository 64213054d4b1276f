#!/usr/bin/env bash
# Compares `echoline echo` with other echo servers on this machine.
#
#   bench/echo.sh                    all scenarios, 5 rounds of 2 s: about ten minutes
#   bench/echo.sh --quick            2 rounds of 1 s: numbers to look at, not to quote
#   bench/echo.sh --only ping50      one scenario (may be given more than once)
#   bench/echo.sh --help             the rest
#
# Builds what it needs first. ECHOLINE=path takes a finished binary, ECHOLINE_OPTIONS='--option 5'
# adds options to its every start, BENCH_TARGET=folder puts the peers elsewhere (relative paths
# count from the repository's root), `--without-echoline` runs the peers alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wants_echoline=yes
for argument in "$@"; do
    case $argument in
        --without-echoline | --help | -h) wants_echoline=no ;;
    esac
done

if [[ $wants_echoline == yes && -z ${ECHOLINE:-} ]]; then
    cargo build --quiet --release >&2
fi
bench/peers/build.sh >&2
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/echo.py "$@"
