#!/usr/bin/env bash
# From a runner: the event store answers, and the internet does not (rows FLY-022, C-15).
# `scripts/test-isolation.sh --help` says more. The last line is `isolation: passed`, or names what is wrong.
set -euo pipefail
exec </dev/null

usage() {
    cat <<'END'
usage: scripts/test-isolation.sh MACHINE [options]

Runs two programs in a machine of the runner app: one asks the event store's /health, which must
answer, and one connects to a public address that is on no allow-list, which must fail.

On Fly it uses flyctl. With FLY_FLAPS_BASE_URL it uses the Machines API there, such as the
emulator's with --machines container, and FLY_API_TOKEN where one is asked for.

  --app NAME       the app of the runners [default: bifrost-runner]
  --events URL     the event store, as machines reach it
                   [default: http://bifrost-events.internal:3000]
  --outside ADDR   what must not be reached, as HOST:PORT [default: 1.1.1.1:443]
END
}

wrong() {
    printf 'isolation: wrong: %s\n' "$*" >&2
    exit 1
}

misused() {
    printf 'isolation: %s; scripts/test-isolation.sh --help lists the options\n' "$*" >&2
    exit 64
}

machine=
app=bifrost-runner
events=http://bifrost-events.internal:3000
outside=1.1.1.1:443
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --app | --events | --outside)
            [ -n "${2:-}" ] || misused "$1: give a value"
            declare "${1#--}=$2"
            shift 2
            ;;
        -*) misused "there is no option $1" ;;
        *)
            [ -z "$machine" ] || misused "give one MACHINE, not $machine and $1"
            machine=$1
            shift
            ;;
    esac
done
[ -n "$machine" ] || misused 'give the MACHINE, such as one that flyctl machines list shows'
[[ $outside =~ ^[A-Za-z0-9.-]+:[0-9]+$ ]] || misused "--outside: give HOST:PORT, not $outside"
[[ $events =~ ^http://[]A-Za-z0-9.:[-]+$ ]] || misused "--events: give http://HOST:PORT, not $events"

# What an answer says for people: an API's error, or the text as it is.
said() {
    local error
    error=$(sed -nE 's/.*"error": *"(([^"\\]|\\.)*)".*/\1/p' <<<"$1" | head -n 1)
    printf '%s' "${error:-$1}"
}

# Runs a text of bash's in the machine and prints what it printed. There are no quotes in it, since it goes
# through other hands that read them; and it says RAN, so that a tool that fails is not taken for a closed door.
inside() {
    local answer limit='(sleep 6; kill $asks) >/dev/null 2>/dev/null &'
    local text="($1) & asks=\$!; $limit wait \$asks; echo RAN"
    if [ -z "${FLY_FLAPS_BASE_URL:-}" ]; then
        answer=$(flyctl machine exec "$machine" "timeout 20 bash -c '$text'" -a "$app" 2>&1) || true
    else
        answer=$(printf '{"command":["timeout","20","bash","-c","%s"],"timeout":25}' "$text" |
            curl --silent --show-error --max-time 40 --data @- --config <(
                [ -z "${FLY_API_TOKEN:-}" ] || printf 'header = "authorization: Bearer %s"\n' "$FLY_API_TOKEN"
            ) "$FLY_FLAPS_BASE_URL/v1/apps/$app/machines/$machine/exec" 2>&1) || true
    fi
    grep -q RAN <<<"$answer" || wrong "machine $machine of the app $app runs nothing: $(said "$answer")"
    printf '%s\n' "$answer"
}

address=${events#http://}
host=${address%:*}
host=${host#[}
host=${host%]}
ask="echo GET /health HTTP/1.0 >&3; echo >&3; head -n 1 <&3 | grep -q 200 && echo REACHED"
answer=$(inside "exec 3<>/dev/tcp/$host/${address##*:} && $ask")
grep -q REACHED <<<"$answer" || wrong "the event store does not answer at $events: $answer"
printf 'isolation: the event store answers\n'
answer=$(inside "exec 3<>/dev/tcp/${outside%:*}/${outside##*:} && echo REACHED")
! grep -q REACHED <<<"$answer" ||
    wrong "machine $machine reaches $outside: its network has a way out besides the egress proxy"
printf 'isolation: %s is out of reach\n' "$outside"
answer=$(inside "exec 3<>/dev/tcp/${outside%:*}/53 && echo REACHED")
! grep -q REACHED <<<"$answer" ||
    printf 'isolation: %s is within reach: a network policy leaves that port open, see docs/egress.md\n' "${outside%:*}:53"
printf 'isolation: passed\n'
