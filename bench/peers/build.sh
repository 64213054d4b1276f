#!/usr/bin/env bash
# Builds the peers and the load generators, and prints the path of each program.
#
#   bench/peers/build.sh                     into bench/target
#   BENCH_TARGET=/tmp/peers bench/peers/build.sh    into another folder. A relative path
#                                            counts from the root of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${BENCH_TARGET:-bench/target}
programs=$target/release # the folder of cargo, so that all are in one folder
mkdir -p "$programs"

for source in bench/peers/*.c; do
    # The histogram of `generator` needs -lm. The other programs do not use it.
    gcc -O2 -Wall -Wextra -Werror -o "$programs/$(basename "$source" .c)" "$source" -lm
done
cargo build --quiet --release --locked \
    --manifest-path bench/peers/naive_tokio/Cargo.toml --target-dir "$target" >&2

for name in epoll_echo naive_tokio udp_echo generator blocking_client udp_generator idle churn \
    fanout fanout_log naive_chat; do
    printf '%-15s %s\n' "$name" "$(realpath "$programs/$name")"
done
