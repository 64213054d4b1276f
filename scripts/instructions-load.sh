#!/usr/bin/env bash
# Counts the instructions of the load tester for each message under callgrind, and fails if a case
# exceeds its budget in bench/instructions-load/budgets.txt by 3 %.
#
#   scripts/instructions-load.sh                  all cases: half a minute after the build
#   scripts/instructions-load.sh --only load-50   one case (may be given more than once)
#   scripts/instructions-load.sh --no-budgets     print the counts only
#
# Builds a small tester on the library (bench/instructions-load) with the profile of releases.
# Installs valgrind when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in valgrind python3; do
    type -P "$tool" >/dev/null && continue
    echo "== installing what the count needs: $tool"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$tool" >/dev/null
done

cargo build --quiet --locked --release -p echoline-instructions-load
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/instructions_load.py \
    "${CARGO_TARGET_DIR:-target}/release/echoline-instructions-load" "$@"
