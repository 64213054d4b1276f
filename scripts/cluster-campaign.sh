#!/usr/bin/env bash
# cluster-campaign.sh [ROUNDS] [SEED]: a chat of three machines on three NATS servers, all on this
# one, under traffic; each of ROUNDS rounds (100) kills, stops or restarts one or two of the six.
# Judged at the end: one order for everybody, no line twice, none lost in silence, and in every room
# the people who are there. Exit code 0 if so, else 1 and a folder with all that was said.
#
#   ECHOLINE=path     a finished binary (default: target/release/echoline, built where missing)
#   NATS_SERVER=path  another nats-server than the one on the PATH
#   REPLICAS=1        on how many of the three NATS servers the chat is kept (default: 3, which
#                     needs NATS 2.10.26 or newer)
#
# Takes about 12 s for each round. Needs python3 and nats-server.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian keeps servers (nats-server, haproxy) where only root looks for them.
export PATH="$PATH:/usr/sbin"

program=${ECHOLINE:-target/release/echoline}
[ -x "$program" ] || cargo build --release --locked
# -B: leaves no __pycache__ in the source folder.
exec python3 -B scripts/campaign/campaign.py --echoline "$program" \
    --nats-server "${NATS_SERVER:-nats-server}" \
    --replicas "${REPLICAS:-3}" \
    --rounds "${1:-100}" --seed "${2:-$(date +%s)}"
