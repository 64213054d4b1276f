#!/usr/bin/env bash
# simulate.sh [SECONDS] [FIRST_SEED]: simulates many users of a chat, on one node and on several
# nodes that fail. The default is 600 s. The default of the first seed is the time of day, so that
# each run has other seeds. The script builds with optimization. It stops at the first failure, and
# prints the seed and the command that repeats the failure.
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
