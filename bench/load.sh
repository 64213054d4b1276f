#!/usr/bin/env bash
# Compares `echoline load` with other load testers, and checks its aims.
#
#   bench/load.sh                    5 rounds of 3 s: about five minutes
#   bench/load.sh --quick            2 rounds of 1 s: a quick look, no numbers to publish
#   bench/load.sh --help             all options
#
# Builds what it needs first. ECHOLINE=path uses an existing binary. BENCH_TARGET=folder builds the
# peers in another folder. A relative path counts from the root of the repository.
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
