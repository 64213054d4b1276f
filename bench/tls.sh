#!/usr/bin/env bash
# Compares `echoline echo` over TLS with a naive echo on tokio-rustls. Each server has one thread
# and 50 connections with one line in flight on each. The servers are measured in turn, with
# `echoline load`.
#
#   bench/tls.sh                     5 rounds of 3 s: about a minute
#   bench/tls.sh --rounds 2 --seconds 1
#
# Builds what it needs first. ECHOLINE=path uses an existing binary. BENCH_TARGET=folder builds the
# peer in another folder. A relative path counts from the root of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${BENCH_TARGET:-bench/target}
[[ -n ${ECHOLINE:-} ]] || cargo build --quiet --release >&2
cargo build --quiet --release --locked \
    --manifest-path bench/peers/naive_tls/Cargo.toml --target-dir "$target" >&2
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/tls.py --echoline "${ECHOLINE:-target/release/echoline}" \
    --naive "$target/release/naive_tls" "$@"
