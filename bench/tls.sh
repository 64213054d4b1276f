#!/usr/bin/env bash
# Compares `echoline echo` over TLS with a naive echo on tokio-rustls: 50 connections, one line in
# flight on each, one thread a server, the servers in turn. The tester is `echoline load`.
#
#   bench/tls.sh                     5 rounds of 3 s: about a minute
#   bench/tls.sh --rounds 2 --seconds 1
#
# Builds what it needs first. ECHOLINE=path takes a finished binary, BENCH_TARGET=folder puts the
# peer elsewhere (relative paths count from the repository's root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${BENCH_TARGET:-bench/target}
[[ -n ${ECHOLINE:-} ]] || cargo build --quiet --release >&2
cargo build --quiet --release --locked \
    --manifest-path bench/peers/naive_tls/Cargo.toml --target-dir "$target" >&2
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/tls.py --echoline "${ECHOLINE:-target/release/echoline}" \
    --naive "$target/release/naive_tls" "$@"
