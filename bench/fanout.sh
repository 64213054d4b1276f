#!/usr/bin/env bash
# Compares the fan-out of `echoline chat` with that of other servers on this machine.
#
#   bench/fanout.sh                  all scenarios, 5 rounds of 2 s: about twenty-five minutes
#   bench/fanout.sh --quick          2 rounds of 1 s: a quick look, no numbers to publish
#   bench/fanout.sh --only n1000     one scenario (may be given more than once)
#   bench/fanout.sh --help           all options
#
# Environment as with bench/echo.sh: ECHOLINE, ECHOLINE_OPTIONS, BENCH_TARGET. Includes nats-server
# if it is installed (Debian: apt install nats-server).
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" fanout.py "$@"
