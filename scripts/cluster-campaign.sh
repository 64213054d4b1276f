#!/usr/bin/env bash
# cluster-campaign.sh [ROUNDS] [SEED]: runs a chat of three nodes on three NATS servers, all on this
# machine, while users talk. Each of ROUNDS rounds (100) kills, stops or restarts one or two of the
# six processes. At the end it checks that all users saw the same order, that no line came twice,
# that no line was lost silently, and that every room has the right users. If so, the exit code is
# 0. Otherwise it is 1, and a folder has all transcripts.
#
#   ECHOLINE=path     a finished binary (default: target/release/echoline, built if missing)
#   NATS_SERVER=path  a nats-server (default: the one on the PATH)
#   REPLICAS=1        the number of NATS servers that store the chat (default: 3, which
#                     needs NATS 2.10.26 or newer)
#
# Takes about 12 s for each round. Needs python3 and nats-server.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian installs servers (nats-server, haproxy) into a folder that only root has in its PATH.
export PATH="$PATH:/usr/sbin"

program=${ECHOLINE:-target/release/echoline}
[ -x "$program" ] || cargo build --release --locked
# -B: leaves no __pycache__ in the source folder.
exec python3 -B scripts/campaign/campaign.py --echoline "$program" \
    --nats-server "${NATS_SERVER:-nats-server}" \
    --replicas "${REPLICAS:-3}" \
    --rounds "${1:-100}" --seed "${2:-$(date +%s)}"
