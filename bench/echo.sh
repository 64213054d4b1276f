#!/usr/bin/env bash
# Compares `echoline echo` with other echo servers on this machine.
#
#   bench/echo.sh                    all scenarios, 5 rounds of 2 s: about ten minutes
#   bench/echo.sh --quick            2 rounds of 1 s: numbers to look at, not to quote
#   bench/echo.sh --only ping50      one scenario (may be given more than once)
#   bench/echo.sh --help             the rest
#
# Builds what it needs first. ECHOLINE=path takes a finished binary, ECHOLINE_OPTIONS='--option 5'
# adds options to its every start, BENCH_TARGET=folder puts the peers elsewhere (relative paths
# count from the repository's root), `--without-echoline` runs the peers alone.
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" echo.py "$@"
