#!/usr/bin/env bash
# Runs simulated evenings of the chat, on one machine and on several that fail, for as long as one
# likes: simulate.sh [SECONDS] [FIRST_SEED] (default: 600 s, from a first seed that is the time of
# day, so that each run has seeds of its own). Builds with optimization. Stops at the first
# failure, which names its seed and how to run it again.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
first=${2:-$(date +%s)000}
batch=2000
end=$((SECONDS + seconds))

cargo test --release -p echoline-chat --test chat_simulation --test chat_cluster --no-run
while ((SECONDS < end)); do
    echo "seeds from $first"
    ECHOLINE_FIRST_SEED=$first ECHOLINE_SEEDS=$batch \
        cargo test --quiet --release -p echoline-chat --test chat_simulation --test chat_cluster
    first=$((first + batch))
done
echo "no promise was broken"
