#!/usr/bin/env bash
# Builds what the benchmarks need and runs one of them. Other scripts of this folder call it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Debian installs servers (nats-server, haproxy) into a folder that only root has in its PATH.
export PATH="$PATH:/usr/sbin"
program=$1
shift

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
exec python3 -B "bench/$program" "$@"
