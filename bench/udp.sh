#!/usr/bin/env bash
# Compares `echoline echo` over UDP with a loop of recvfrom and sendto in C, on this machine.
#
#   bench/udp.sh                     all scenarios, 5 rounds of 2 s: about two minutes
#   bench/udp.sh --quick             2 rounds of 1 s: a quick look, no numbers to publish
#   bench/udp.sh --only ping50       one scenario (may be given more than once)
#   bench/udp.sh --help              the rest
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" udp.py "$@"
