#!/usr/bin/env bash
# history-kill.sh [ROUNDS]: kills a process that writes the history of a chat, again and again on
# the same file, and damages files at random. It runs many more rounds than the normal tests.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-1000}
for test in killed::committed_lines_survive_kill_9 damaged::; do
    ECHOLINE_ROUNDS=$rounds cargo test --locked -p echoline-chat-store --test history -- \
        --nocapture "$test"
done
