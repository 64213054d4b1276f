#!/usr/bin/env bash
# Counts the instructions of a message under callgrind. Fails if a case exceeds its budget by 3 %.
#
#   scripts/instructions.sh                  the echo server: ten seconds after the build
#   scripts/instructions.sh load             the load tester: half a minute after the build
#   scripts/instructions.sh --only raw-50    one case (may be given more than once)
#   scripts/instructions.sh --no-budgets     print the counts only
#
# Builds a small program on the library with the profile release: bench/instructions, or
# bench/instructions-load for the tester. Each has its budgets in budgets.txt. PROFILE=dist takes
# another profile, and ECHOLINE=path counts a finished program as the server; both have no budgets.
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

case ${1:-} in
    load) package=echoline-instructions-load counter=bench/instructions_load.py && shift ;;
    echo) package=echoline-instructions counter=bench/instructions.py && shift ;;
    *) package=echoline-instructions counter=bench/instructions.py ;;
esac
options=()
profile=${PROFILE:-release}
[ "$profile" = release ] && [ -z "${ECHOLINE:-}" ] || options=(--no-budgets)
if [ -n "${ECHOLINE:-}" ]; then
    program=$ECHOLINE
else
    cargo build --quiet --locked --profile "$profile" -p "$package"
    program=${CARGO_TARGET_DIR:-target}/$profile/$package
fi
# -B: leaves no __pycache__ in the source folder.
exec python3 -B "$counter" "$program" "${options[@]}" "$@"
