# Runs the commands that arrive on standard input, in one session. After the output of each command,
# prints the marker $1 with the exit status and the number of running jobs. A command is two
# strings, each ended by NUL: the ready file of a server in the background (or nothing), and the
# text. Standard input is moved to descriptor 250, which pages do not use.
exec 250<&0 </dev/null 2>&1
umask 022
__marker=$1
shift
trap 'printf "%s ended\036" "$__marker"' EXIT

# Prints the number of running jobs.
__running() { jobs -r | wc -l; }

# Waits until a server in the background accepts connections, or has ended.
__wait_until_ready() {
    local _
    for _ in {1..200}; do
        [ -s "$1" ] && return
        kill -0 "$!" 2>/dev/null || return
        sleep 0.05
    done
}

# Waits until fewer than $1 jobs run, so that a job that was told to end ends before the next
# command.
__wait_for_end() {
    local _
    for _ in {1..200}; do
        [ "$(__running)" -lt "$1" ] && return
        sleep 0.05
    done
}

__status=0
while IFS= read -r -d '' -u 250 __ready && IFS= read -r -d '' -u 250 __command; do
    __before=$(__running)
    [ -z "$__ready" ] || export ECHOLINE_READY_FILE=$__ready
    (exit "$__status")
    eval "$__command" 250<&-
    __status=$?
    unset ECHOLINE_READY_FILE
    case $__command in
    'kill -HUP'* | 'kill -USR'* | 'kill -STOP'* | 'kill -CONT'*) ;;
    'kill '*) [ "$__before" = 0 ] || __wait_for_end "$__before" ;;
    *) [ -z "$__ready" ] || __wait_until_ready "$__ready" ;;
    esac
    printf '%s %s %s\036' "$__marker" "$__status" "$(__running)"
done
