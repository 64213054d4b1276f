#!/usr/bin/env bash
# Compares a chat on one node, without and with NATS, with a chat on three nodes.
#
#   bench/cluster.sh                 all scenarios, 5 rounds of 2 s: about ten minutes
#   bench/cluster.sh --quick         2 rounds of 1 s: a quick look, no numbers to publish
#   bench/cluster.sh --only window   one scenario (may be given more than once)
#   bench/cluster.sh --help          all options
#
# Environment as with bench/echo.sh: ECHOLINE, ECHOLINE_OPTIONS, BENCH_TARGET. Needs nats-server
# (Debian: apt install nats-server).
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" cluster.py "$@"
