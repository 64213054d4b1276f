#!/usr/bin/env bash
# Counts the instructions of the echo server for each message under callgrind, and fails if a case
# exceeds its budget in bench/instructions/budgets.txt by 3 %.
#
#   scripts/instructions.sh                  all cases: ten seconds after the build
#   scripts/instructions.sh --only raw-50    one case (may be given more than once)
#   scripts/instructions.sh --no-budgets     print the counts only
#
# Builds a small server on the library (bench/instructions) with the profile release. PROFILE=dist
# takes another profile, ECHOLINE=path counts a finished program instead; both have no budgets.
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

options=()
profile=${PROFILE:-release}
[ "$profile" = release ] && [ -z "${ECHOLINE:-}" ] || options=(--no-budgets)
if [ -n "${ECHOLINE:-}" ]; then
    program=$ECHOLINE
else
    cargo build --quiet --locked --profile "$profile" -p echoline-instructions
    program=${CARGO_TARGET_DIR:-target}/$profile/echoline-instructions
fi
# -B: leaves no __pycache__ in the source folder.
exec python3 -B bench/instructions.py "$program" "${options[@]}" "$@"
