#!/usr/bin/env bash
# cluster-campaign.sh [ROUNDS] [SEED]: runs a chat of three nodes on three NATS servers, all on this
# machine, under traffic. Each of ROUNDS rounds (100) kills, stops or restarts one or two of the six
# processes. At the end it checks: one order for all users, no line twice, no line lost silently,
# and the right users in every room. Exit code 0 if so, else 1 and a folder with all transcripts.
#
#   ECHOLINE=path     a finished binary (default: target/release/echoline, built if missing)
#   NATS_SERVER=path  a nats-server other than that on the PATH
#   REPLICAS=1        the number of NATS servers that store the chat (default: 3, which
#                     needs NATS 2.10.26 or newer)
#
# Takes about 12 s for each round. Needs python3 and nats-server.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian installs servers (nats-server, haproxy) into a folder that only root has on the PATH.
export PATH="$PATH:/usr/sbin"

program=${ECHOLINE:-target/release/echoline}
[ -x "$program" ] || cargo build --release --locked
# -B: leaves no __pycache__ in the source folder.
exec python3 -B scripts/campaign/campaign.py --echoline "$program" \
    --nats-server "${NATS_SERVER:-nats-server}" \
    --replicas "${REPLICAS:-3}" \
    --rounds "${1:-100}" --seed "${2:-$(date +%s)}"
