#!/usr/bin/env bash
# Compares `echoline load` with other load testers, and checks its aims.
#
#   bench/load.sh                    5 rounds of 3 s: about five minutes
#   bench/load.sh --quick            2 rounds of 1 s: numbers to look at, not to quote
#   bench/load.sh --help             the rest
#
# Builds what it needs first. ECHOLINE=path takes a finished binary, BENCH_TARGET=folder puts the
# peers elsewhere (relative paths count from the repository's root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case " $* " in
    *" --help "* | *" -h "*) ;;
    *)
        [[ -n ${ECHOLINE:-} ]] || cargo build --quiet --release >&2
        bench/peers/build.sh >&2
        ;;
esac
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/load.py "$@"
