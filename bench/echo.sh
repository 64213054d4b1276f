#!/usr/bin/env bash
# Compares `echoline echo` with other echo servers on this machine.
#
#   bench/echo.sh                    all scenarios, 5 rounds of 2 s: about ten minutes
#   bench/echo.sh --quick            2 rounds of 1 s: a quick look, no numbers to publish
#   bench/echo.sh --only ping50      one scenario (may be given more than once)
#   bench/echo.sh --help             all options
#
# Builds what it needs first. ECHOLINE=path uses an existing binary. ECHOLINE_OPTIONS='--option 5'
# adds options to each start of it. BENCH_TARGET=folder builds the peers in another folder. A
# relative path counts from the root of the repository. `--without-echoline` runs only the peers.
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" echo.py "$@"
