//! The examples below each help text; those of commands within a family are in its file.

pub(super) mod admission;
pub(super) mod agents;
pub(super) mod claims;
pub(super) mod events;
pub(super) mod machines;
pub(super) mod proposals;
pub(super) mod runtimes;
pub(super) mod strategies;
pub(super) mod tasks;
pub(super) mod webhooks;

use crate::exit::Code;

pub(super) const BIFROST: &str = "\
Examples:
  bifrost run -- make test               run a command in this repository, here
  bifrost up                             start the server, which the rest then uses
  export BIFROST_URL=http://127.0.0.1:7600      from another directory or computer
  bifrost tasks create 'Mend it'         note what there is to do
  bifrost tasks list                     what there is to do
  bifrost claim                          take some of it yourself
  bifrost doctor                         what is wrong, and what to do about it";

pub(super) const RUN: &str = "\
Examples:
  bifrost run -- make test
  bifrost run --repo ~/src/app --ref v1.2 -- sh -c 'git log -1 --oneline && ls'
  bifrost run --repo https://github.com/owner/name --timeout 2h -- cargo test
  bifrost run --env CI=1 --env TERM --detach -- ./nightly.sh
  bifrost run --tests -- cargo test
  bifrost run --tests --tests-report junit.xml -- pytest --junit-xml junit.xml
  bifrost run --agent claude_code --prompt task.md --timeout 2h --tests
  echo 'write NOTES hello' | bifrost run --agent mock --prompt -
  bifrost run --repo https://github.com/owner/name --pull-request --title 'Update the lockfile' -- cargo update

Without --url and BIFROST_URL the whole system runs in the data directory for as long as the command. \
Ctrl-C cancels the task; a second Ctrl-C leaves it alone and returns at once.";

pub(super) const ATTACH: &str = "\
Examples:
  bifrost attach 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost run --terminal --detach --timeout 2h -- bash
  bifrost attach 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --write

Ctrl-] detaches, and the task goes on; without --write Ctrl-C does so too.";

pub(super) const BUSY: &str = "\
Examples, within a task:
  bifrost busy                           idle and stall timeouts begin anew
  bifrost busy --for 10m --reason 'waits for review'";

/// The examples and every exit code.
pub(super) fn bifrost_long() -> String {
    format!(
        "{BIFROST}

Exit codes:
  0     it went well
  1     `bifrost cost check` found something{}
  N     the command's own, of `bifrost run`: `bifrost run --help` says more",
        own_codes()
    )
}

/// The examples and every exit code, the command's among them.
pub(super) fn run_long() -> String {
    format!(
        "{RUN}

Exit codes:
  0     the command succeeded
  N     the command's own exit code; 128 + the signal if one killed it,
        127 if there is no such program, 126 if it cannot be executed{}",
        own_codes()
    )
}

/// A line for each exit code of a failure of our own.
fn own_codes() -> String {
    Code::ALL.iter().map(|code| format!("\n  {:<5} {}", code.number(), code.meaning())).collect()
}

pub(super) const TASKS: &str = "\
Examples:
  bifrost tasks create 'Write the parser' --priority 4
  bifrost tasks list --status failed
  bifrost tasks show 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks logs 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --follow
  bifrost tasks why 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks list --json | jq -r '.[].id'
  bifrost tasks import plan.jsonl
  bifrost tasks ready
  bifrost tasks depend ID --on OTHER ANOTHER
  bifrost tasks graph --dot | dot -Tsvg > graph.svg
  bifrost tasks prioritize critical_path
  bifrost tasks retry --status failed --all

A line of plan.jsonl:
  {\"key\": \"test\", \"needs\": [\"build\"], \"title\": \"Run the tests\", \"priority\": 4}";

pub(super) const CHECKPOINTS: &str = "\
Examples:
  bifrost checkpoints list
  bifrost checkpoints list TASK
  bifrost checkpoints show CHECKPOINT
  bifrost checkpoints kept                             what nobody pushed and machines alone have
  bifrost checkpoints diff CHECKPOINT OTHER
  bifrost checkpoints restore TASK                     its next attempt begins where this one ended
  bifrost checkpoints fork CHECKPOINT -- make test     something new begins there
  bifrost checkpoints fork CHECKPOINT --agent codex --prompt next.md
  bifrost checkpoints pin CHECKPOINT

The bytes are on the machine that ran the attempt: whatever begins from a checkpoint runs there, and a \
sleeping machine is woken for it. A machine keeps the newest five of each repository, and what is pinned.";

pub(super) const TESTS: &str = "\
Examples:
  bifrost tests 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tests TASK --json | jq -r '.failures[].name'";

pub(super) const CLAIM: &str = "\
Examples:
  bifrost claim                          the most urgent task that no machine of the pool runs
  bifrost claim --as ada --lease 8h --tag review
  bifrost complete 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  while execution=$(bifrost claim --wait=1h --json | jq -er '.[0].execution_id'); do … ; done

The exit code is 79 where there is nothing to claim. A claim that is neither renewed nor completed \
in time makes its task ready again, for somebody else.";

pub(super) const SPLIT: &str = "\
Examples:
  bifrost tasks split ID --into 'Write the parser' 'Write its tests'
  bifrost tasks split ID --file parts.json

parts.json, where the second part waits for the first:
  {\"subtasks\": [{\"title\": \"Write the parser\", \"effort_estimate\": 90},
                {\"title\": \"Write its tests\", \"depends_on\": [0]}]}";

pub(super) const METADATA: &str = "\
Examples:
  bifrost tasks metadata set 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 branch fix/login
  bifrost tasks metadata get 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 branch
  bifrost tasks metadata show TASK OTHER
  bifrost tasks metadata keys --json";

pub(super) const HOLD: &str = "\
Examples:
  bifrost hold --project web --reason 'release on Friday'
  bifrost hold --key openai --for 45m --reason 'quota used up' --owner quota-watch
  bifrost hold 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --reason 'waits for Ada'
  bifrost hold --everything --until 2027-01-31T18:00:00Z --reason 'maintenance'
  bifrost holds
  bifrost unhold ID

What is in hand goes on. `bifrost tasks why ID` names the holds on a task.";

pub(super) const LIMITS: &str = "\
Examples:
  bifrost limits set db-migrations --max-running 1
  bifrost limits set openai --tokens 60 --per 1m --burst 10
  bifrost limits list
  bifrost limits remove openai";

pub(super) const QUEUE: &str = "\
Examples:
  bifrost queue
  bifrost queue --json | jq .for_claims";

pub(super) const PROJECTS: &str = "\
Examples:
  bifrost projects list
  bifrost projects weigh web 3";

pub(super) const BUDGETS: &str = "\
Examples:
  bifrost budgets create --project web --period month --dollars 200
  bifrost budgets create --period day --dollars 25 --alert-at 0.5 --reserve 1.50
  bifrost budgets list
  bifrost budgets change ID --dollars 300
  bifrost budgets delete ID";

pub(super) const SCHEDULES: &str = "\
Examples:
  bifrost schedules create nightly --cron '30 2 * * MON-FRI' --zone Europe/Berlin --task nightly.json
  bifrost schedules list
  bifrost schedules pause ID
  bifrost schedules resume ID
  bifrost schedules delete ID

The file holds a task as the API takes it:
  {\"title\": \"Nightly tests\",
   \"spec\": {\"repository\": \"https://github.com/owner/name\", \"command\": [\"make\", \"test\"]}}";

pub(super) const EGRESS: &str = "\
Examples:
  bifrost egress show 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost egress show ID --json | jq -r '.[] | select(.payload.verdict != \"allowed\") | .payload.host'";

pub(super) const EGRESS_SERVE: &str = "\
Needs BIFROST_EVENTS_URL and FLY_EVENT_SECRET in the environment; docs/egress.md says what the \
allow-list looks like and how the proxy is deployed.

Examples:
  bifrost egress serve --listen 10.0.0.1:3128 --host git.example.org
  bifrost egress serve --listen '[::]:3128' --door '[::]:7600=bifrost-control.internal:7600'";

pub(super) const MACHINES: &str = "\
Examples:
  bifrost machines list
  bifrost machines list --json | jq -r '.[] | select(.state == \"ready\") | .name'
  bifrost machines show 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost machines abandon 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --reason 'its host has been away for a day'
  bifrost machines sweep --reap";

pub(super) const COST: &str = "\
Examples:
  bifrost cost report
  bifrost cost check || mail -s 'machines that should not run' ops@example.org
  bifrost cost check --json | jq -r '.findings[].message'

`check` ends with 1 if there is a finding.";

pub(super) const TASKS_IMPORT: &str = "\
A line of JSON is a task as the API takes it. `key` gives it a name, and `needs` lists the names of others, or ids of \
tasks that are there, that must be completed first. It may also hold `status`, `tags`, `metadata` and `outcomes`. \
Priorities of other programs: P0, P1, urgent and high are 5 here, P2 is 4, P3 and medium are 3, P4 is 2, low is 1. \
What has no place in a task is kept as metadata. A refusal names the line and the field.

Examples:
  echo '{\"title\":\"build\",\"key\":\"b\"}' | bifrost tasks import -
  bifrost tasks import plan.jsonl
  bifrost tasks import .beads/issues.jsonl
  curl -s 'https://api.github.com/repos/OWNER/NAME/issues?state=all&per_page=100' | bifrost tasks import - --format github
  bifrost tasks import linear.csv --format linear";

pub(super) const TASKS_EXPORT: &str = "\
Examples:
  bifrost tasks export > tasks.jsonl
  bifrost tasks export --format csv --output tasks.csv

What is exported can be imported, here or elsewhere: as new tasks, which need each other as these do.";

pub(super) const PLAN: &str = "\
Tasks begin by priority, then age, as soon as what they need is true and a machine has room. One without an \
estimate is taken to last 30 minutes. Machines are paid while they work. Nothing is stored or started.

Examples:
  bifrost plan plan.jsonl --machines 3
  bifrost plan --json | jq .critical_path
  bifrost tasks plan issues.csv --machine-hour-dollars 0.08";

pub(super) const OUTCOMES: &str = "\
An outcome is true of a task besides its status: merged, ci_green, approved, or artefact:NAME. Another task can \
wait for it: bifrost tasks depend ID --on TASK --for merged

Examples:
  bifrost tasks outcomes set 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 merged --detail 3f2a8c1
  bifrost tasks outcomes withdraw 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 ci_green
  bifrost tasks outcomes list 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

pub(super) const WORKERS: &str = "\
Examples:
  bifrost workers list
  bifrost workers add claude_code --capacity 2 --for claude_code --for reviewer
  bifrost workers heartbeat 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --load 1";

pub(super) const STRATEGIES: &str = "\
Examples:
  bifrost strategies add careful.json
  bifrost tasks metadata set TASK strategy_id STRATEGY
  bifrost strategies list

careful.json, of which the first rule that fits is followed; the actions are retry, reassign, split, mend and escalate:
  {\"name\": \"careful\", \"max_attempts\": 3, \"rules\": [
    {\"on\": \"timed_out\", \"action\": {\"kind\": \"reassign\", \"agent_type\": \"patient\"}},
    {\"on\": \"any\", \"action\": {\"kind\": \"retry\"}}]}";

pub(super) const EVENTS: &str = "\
Examples:
  bifrost events tail
  bifrost events tail --after 0 --no-follow --json > record.jsonl
  bifrost events get 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost events stats
  bifrost events head --save head.json
  bifrost events verify --head head.json
  bifrost events backup events.db

`tail` and `get` ask the server. `stats` and `head` ask the event store itself, which is where BIFROST_EVENTS_URL \
says and opens with FLY_EVENT_SECRET; without them, that of `bifrost up` in the data directory. The others read \
the log in the data directory, beside a running event store or without one; `restore` and `migrate` only without.";

pub(super) const EVENTS_HEAD: &str = "\
Examples:
  bifrost events head
  bifrost events head --save head.json
  BIFROST_EVENTS_URL=http://[fdaa::3]:3000 bifrost events head --json

Without BIFROST_EVENTS_URL and FLY_EVENT_SECRET it is that of `bifrost up` in the data directory.";

pub(super) const EVENTS_VERIFY: &str = "\
Examples:
  bifrost events verify
  bifrost events verify --head head.json
  bifrost events verify --since-head head.json --quick
  bifrost events verify events.db

The exit code is 0 only if nothing is wrong, and 65 if something is; the first event that is not \
what was stored is named.";

pub(super) const EVENTS_BACKUP: &str = "\
Examples:
  bifrost events backup events.db";

pub(super) const EVENTS_RESTORE: &str = "\
Examples:
  bifrost events restore events.db --data ./restored";

pub(super) const EVENTS_EXPORT: &str = "\
Examples:
  bifrost events export > events.ndjson
  bifrost events export --format csv --type task.failed --since 2026-11-01T00:00:00Z
  bifrost events export --after 1000 --output later.ndjson";

pub(super) const EVENTS_MIGRATE: &str = "\
Examples:
  bifrost events migrate --to 1";

pub(super) const WEBHOOKS: &str = "\
Examples:
  bifrost webhooks add https://example.org/hooks --event task.completed --event task.failed
  bifrost webhooks ping 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost webhooks deliveries 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost webhooks update 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --activate
  bifrost webhooks verify ID body.json --signature 'v1,…' --message-id ID --timestamp 1795000000

A receiver that fails is tried again after 30 s, 2 min and 5 min; then the webhook is off until it is \
activated, and what waited is sent. docs/webhooks.md says how to check a signature.";

pub(super) const STREAM: &str = "\
Examples:
  bifrost stream
  bifrost stream --event task.completed --event task.failed
  bifrost stream --after 1041 --json

A line: its place, the time, the event's type, the task, its status and its title.";

pub(super) const AUDIT: &str = "\
Examples:
  bifrost audit
  bifrost audit --since 2h --actor system/scheduler
  bifrost audit --entity task/0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --json
  bifrost tasks cancel ID --reason 'superseded by the other one'";

pub(super) const DATABASE: &str = "\
Examples:
  bifrost db backup control-backup.db
  bifrost db restore control-backup.db --data ./restored
  bifrost db copy .bifrost/control.db postgres://bifrost@db.internal/bifrost
  bifrost db check

A password belongs in PGPASSWORD or DATABASE_URL, where other users do not see it. docs/operations-database.md \
says more.";

pub(super) const DATABASE_COPY: &str = "\
Examples:
  bifrost db copy .bifrost/control.db postgres://bifrost@db.internal/bifrost
  bifrost db copy postgres://bifrost@db.internal/bifrost ./control.db

Stop the control plane first: what it writes after the copy has begun is not in it.";

pub(super) const DATABASE_BACKUP: &str = "\
Examples:
  bifrost db backup control-backup.db
  DATABASE_URL=postgres://bifrost@db.internal/bifrost bifrost db backup control-backup.db

The file is an SQLite database, also of one on Postgres. It holds one moment, and is never written over.";

pub(super) const DATABASE_RESTORE: &str = "\
Examples:
  bifrost db restore control-backup.db --data ./restored
  DATABASE_URL=postgres://bifrost@db.internal/restored bifrost db restore control-backup.db";

pub(super) const DATABASE_CHECK: &str = "\
Examples:
  bifrost db check
  bifrost db check --json

The exit code is 0 only if nothing is wrong, and 65 if something is.";

pub(super) const DOCTOR: &str = "\
Examples:
  bifrost doctor
  bifrost doctor --url https://bifrost.example.org --api-key-file ~/.config/bifrost/key

The exit code is 0 only if all is well, else that of the first thing that is not.";

pub(super) const READY: &str = "\
Examples:
  bifrost ready
  bifrost ready TASK";

pub(super) const COMPLETIONS: &str = "\
Examples:
  bifrost completions bash > ~/.local/share/bash-completion/completions/bifrost
  bifrost completions zsh > ~/.zfunc/_bifrost
  bifrost completions fish > ~/.config/fish/completions/bifrost.fish";

pub(super) const MAN: &str = "\
Examples:
  bifrost man ~/.local/share/man/man1
  man bifrost-tasks-import";

pub(super) const GRAPH: &str = "\
Examples:
  bifrost graph
  bifrost graph --dot | dot -Tsvg > tasks.svg";

pub(super) const UP: &str = "\
Examples:
  bifrost up
  bifrost up --data /var/lib/bifrost --listen 0.0.0.0:7600
  DATABASE_URL=postgres://localhost/bifrost bifrost up";

pub(super) const CONTROL_PLANE: &str = "\
Examples:
  bifrost control-plane --data /data --listen '[::]:7600'
  DATABASE_URL=postgres://localhost/bifrost bifrost control-plane";

pub(super) const EVENT_STORE: &str = "\
Examples:
  bifrost event-store --data /data --listen '[::]:7601'";

pub(super) const EMULATOR: &str = "\
It speaks Fly's Machines API under /v1, so any client of that can use it: set FLY_FLAPS_BASE_URL to its address. \
FLY_API_TOKEN, when set, is the token that every request must carry. Machines are processes of this computer, and \
live on when the emulator is killed. docs/emulator.md has a walk with curl, and all that a fault script may say.

Examples:
  bifrost emulator --data ./machines --listen 127.0.0.1:7602
  bifrost emulator --run 'sleep 1000'
  bifrost emulator --faults faults.toml --rate-limits
  bifrost emulator --manual";

pub(super) const RUNNER: &str = "\
The control plane starts it on each machine, with BIFROST_CONTROL_URL, BIFROST_MACHINE_ID and \
BIFROST_MACHINE_TOKEN in its environment.

Examples:
  bifrost runner";
