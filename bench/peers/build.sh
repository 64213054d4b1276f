#!/usr/bin/env bash
# Builds the peers and the load generators, and prints where each of them is.
#
#   bench/peers/build.sh                     into bench/target
#   BENCH_TARGET=/tmp/peers bench/peers/build.sh    elsewhere; a relative path counts from the
#                                            repository's root, wherever this is called from
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${BENCH_TARGET:-bench/target}
programs=$target/release # where cargo puts its own, so that all are in one folder
mkdir -p "$programs"

for source in bench/peers/*.c; do
    # -lm: the histogram of `generator` needs it, to the others it does nothing.
    gcc -O2 -Wall -Wextra -Werror -o "$programs/$(basename "$source" .c)" "$source" -lm
done
cargo build --quiet --release --locked \
    --manifest-path bench/peers/naive_tokio/Cargo.toml --target-dir "$target" >&2

for name in epoll_echo naive_tokio udp_echo generator blocking_client udp_generator idle churn \
    fanout fanout_log naive_chat; do
    printf '%-15s %s\n' "$name" "$(realpath "$programs/$name")"
done
