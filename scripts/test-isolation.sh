#!/usr/bin/env bash
# From a runner: the event store answers, and the internet does not (rows FLY-022, C-15).
# `scripts/test-isolation.sh --help` says more. The last line is `isolation: passed`, or names what is wrong.
set -euo pipefail
exec </dev/null

usage() {
    cat <<'END'
usage: scripts/test-isolation.sh MACHINE [options]

Runs programs in a machine of the runner app: one asks the event store's /health, which must
answer, and others connect to a public address that is on no allow-list, at its port and at 53,
which must fail.

Fly's network policies know ports and not hosts, so that of scripts/deploy leaves 53 open (and
3128, 7600 and 3000, where nobody is known to listen that could be asked): say --open-port 53
there. The last line then names what was left out.

On Fly it uses flyctl. With FLY_FLAPS_BASE_URL it uses the Machines API there, such as the
emulator's with --machines container, and FLY_API_TOKEN where one is asked for.

  --app NAME       the app of the runners [default: bifrost-runner]
  --events URL     the event store, as machines reach it
                   [default: http://bifrost-events.internal:3000]
  --outside ADDR   what must not be reached, as HOST:PORT [default: 1.1.1.1:443]
  --open-port 53   do not fail where port 53 of it is reached
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
open_port=
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
        --open-port)
            [ "${2:-}" = 53 ] || misused "--open-port: give 53, the one that is asked, not ${2:-nothing}"
            open_port=53
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

# Where scripts/deploy puts it.
export PATH=$PATH:${HOME:-}/.fly/bin
if [ -z "${FLY_FLAPS_BASE_URL:-}" ] && ! command -v flyctl >/dev/null; then
    printf 'isolation: flyctl is missing, which runs the programs in the machine: %s\n' \
        'curl -L https://fly.io/install.sh | sh installs it (see https://fly.io/docs/flyctl/install), and scripts/deploy does' >&2
    exit 69
fi

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
# Whether a program in the machine connects to that port of the public address.
reaches() {
    local answer
    # Where it cannot be asked nothing is proven; bash does not end by itself below a condition.
    answer=$(inside "exec 3<>/dev/tcp/${outside%:*}/$1 && echo REACHED") || exit 1
    grep -q REACHED <<<"$answer"
}

! reaches "${outside##*:}" || wrong "machine $machine reaches $outside: its network has a way out besides the egress proxy"
printf 'isolation: %s is out of reach\n' "$outside"
if reaches 53; then
    [ -n "$open_port" ] || wrong "machine $machine reaches ${outside%:*}:53: where a network policy of Fly's is what closes \
the rest, --open-port 53 says that this is known, see docs/egress.md#on-fly"
    printf 'isolation: passed, but for port 53, by which every host of the internet is reached\n'
else
    printf 'isolation: %s is out of reach\nisolation: passed\n' "${outside%:*}:53"
fi
