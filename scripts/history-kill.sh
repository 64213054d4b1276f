#!/usr/bin/env bash
# Kills a process that writes a chat's history, again and again over the same file, and damages
# files at random: many more rounds than the normal tests. Usage: history-kill.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-1000}
for test in killed::committed_lines_survive_kill_9 damaged::; do
    ECHOLINE_ROUNDS=$rounds cargo test --locked -p echoline-chat-store --test history -- \
        --nocapture "$test"
done
