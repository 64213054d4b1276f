#!/usr/bin/env bash
# Compares `echoline load` with other load testers, and checks its aims.
#
#   bench/load.sh                    5 rounds of 3 s: about seven minutes
#   bench/load.sh --quick            2 rounds of 1 s: numbers to look at, not to quote
#   bench/load.sh --only TLS         scenarios whose names contain this text
#   bench/load.sh --help             the rest
#
# Builds what it needs first, and installs redis-server, redis-benchmark and sockperf from Debian
# when they are missing. ECHOLINE=path takes a finished binary, BENCH_TARGET=folder puts the
# peers elsewhere (relative paths count from the repository's root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case " $* " in
    *" --help "* | *" -h "*) ;;
    *)
        [[ -n ${ECHOLINE:-} ]] || cargo build --quiet --release >&2
        bench/peers/build.sh >&2
        cargo build --quiet --release --locked --manifest-path bench/peers/naive_tls/Cargo.toml \
            --target-dir "${BENCH_TARGET:-bench/target}" >&2
        missing=()
        for tool in redis-server redis-benchmark sockperf; do
            type -P "$tool" >/dev/null || missing+=("${tool/redis-benchmark/redis-tools}")
        done
        if ((${#missing[@]} > 0)); then
            echo "== installing the testers to compare with: ${missing[*]}" >&2
            as_root=()
            [[ $(id -u) = 0 ]] || as_root=(sudo)
            "${as_root[@]}" apt-get update -qq >&2
            # RUNLEVEL=1: the packages start no server (invoke-rc.d(8)).
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
                apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
        fi
        ;;
esac
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/load.py "$@"
