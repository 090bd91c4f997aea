//! The examples of `bifrost tasks`.

pub(in crate::args) const CREATE: &str = "\
Examples:
  bifrost tasks create 'Write the parser'
  bifrost tasks create 'Test it' --needs TASK --priority 4 --effort 90 --tag review
  bifrost tasks create 'Plan it' --description-file plan.md --project web --budget-dollars 2.50
  bifrost tasks create 'Tidy up' --idempotency-key tidy-2027-01 --json

It is a note for people and agents, who take it with `bifrost claim` or are given it with `bifrost tasks assign`.";

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost tasks list
  bifrost tasks list --status ready --blocked true
  bifrost tasks list --priority 5 --limit 20 --offset 20
  bifrost tasks list --project web --watch
  bifrost tasks list --status failed --json | jq -r '.[].id'";

pub(in crate::args) const SHOW: &str = "\
Examples:
  bifrost tasks show 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks show TASK --follow
  bifrost tasks show TASK --json | jq .execution.outcome";

pub(in crate::args) const LOGS: &str = "\
Examples:
  bifrost tasks logs 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks logs TASK --follow
  bifrost tasks logs TASK -n 20 --follow
  bifrost tasks logs TASK 2> errors.txt > output.txt";

pub(in crate::args) const UPDATE: &str = "\
Examples:
  bifrost tasks update TASK --priority 5 --title 'Mend the parser'
  bifrost tasks update TASK --project none --not-before 2027-01-31T18:00:00Z
  bifrost tasks update TASK --budget-dollars 5 --budget-attempts 4
  bifrost tasks update TASK --no-budget
  bifrost tasks update TASK --status completed --if-version 3

A budget is replaced as a whole: what is not named again is no longer bounded. What was used stays counted.";

pub(in crate::args) const CANCEL: &str = "\
Examples:
  bifrost tasks cancel 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks cancel TASK OTHER --reason 'superseded'
  bifrost tasks cancel --status ready --tag nightly --all";

pub(in crate::args) const RETRY: &str = "\
Examples:
  bifrost tasks retry 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks retry --status failed --all";

pub(in crate::args) const WHY: &str = "\
Examples:
  bifrost tasks why 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost tasks why TASK --json | jq -r '.reasons[0].code'";

pub(in crate::args) const DELETE: &str = "\
Examples:
  bifrost tasks delete 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --reason 'was a trial'";

pub(in crate::args) const SEARCH: &str = "\
Examples:
  bifrost tasks search parser
  bifrost tasks search '100 %' --json | jq length";

pub(in crate::args) const CRITICAL_PATH: &str = "\
Examples:
  bifrost tasks critical-path
  bifrost tasks critical-path --all --limit 20";

pub(in crate::args) const DEPEND: &str = "\
Examples:
  bifrost tasks depend TASK --on OTHER ANOTHER
  bifrost tasks depend TASK --on OTHER --for merged
  bifrost tasks depend TASK --on OTHER ANOTHER --group either
  bifrost tasks depend TASK --on OTHER --soft";

pub(in crate::args) const UNDEPEND: &str = "\
Examples:
  bifrost tasks undepend TASK --on OTHER
  bifrost tasks undepend TASK --on OTHER --for merged";

pub(in crate::args) const NEEDS: &str = "\
Examples:
  bifrost tasks needs TASK";

pub(in crate::args) const READY: &str = "\
Examples:
  bifrost tasks ready
  bifrost tasks ready TASK";

pub(in crate::args) const BLOCKS: &str = "\
Examples:
  bifrost tasks blocks TASK
  bifrost tasks blocks TASK --all";

pub(in crate::args) const GRAPH: &str = "\
Examples:
  bifrost tasks graph
  bifrost tasks graph --dot | dot -Tsvg > tasks.svg";

pub(in crate::args) const TAG: &str = "\
Examples:
  bifrost tasks tag TASK review urgent
  bifrost tasks tag TASK                 takes all of them away";

pub(in crate::args) const TAGGED: &str = "\
Examples:
  bifrost tasks tagged review";

pub(in crate::args) const METADATA_SET: &str = "\
Examples:
  bifrost tasks metadata set TASK branch fix/login";

pub(in crate::args) const METADATA_GET: &str = "\
Examples:
  bifrost tasks metadata get TASK
  bifrost tasks metadata get TASK branch";

pub(in crate::args) const METADATA_SHOW: &str = "\
Examples:
  bifrost tasks metadata show TASK OTHER
  bifrost tasks metadata show TASK OTHER --json | jq '.[].branch'";

pub(in crate::args) const METADATA_KEYS: &str = "\
Examples:
  bifrost tasks metadata keys";

pub(in crate::args) const OUTCOMES_SET: &str = "\
Examples:
  bifrost tasks outcomes set TASK merged --detail 3f2a8c1
  bifrost tasks outcomes set TASK artefact:wheel --detail https://example.org/dist/app.whl";

pub(in crate::args) const OUTCOMES_WITHDRAW: &str = "\
Examples:
  bifrost tasks outcomes withdraw TASK ci_green";

pub(in crate::args) const OUTCOMES_LIST: &str = "\
Examples:
  bifrost tasks outcomes list TASK";

pub(in crate::args) const ASSIGN: &str = "\
Examples:
  bifrost tasks assign TASK
  bifrost tasks assign TASK WORKER
  bifrost tasks start TASK --worker WORKER       begins it, and prints the execution
  bifrost complete EXECUTION                     ends it

The worker is one of `bifrost workers add`. Whoever works by itself takes a task with `bifrost claim` instead.";

pub(in crate::args) const START: &str = "\
Examples:
  bifrost tasks start TASK --worker WORKER
  bifrost tasks start TASK --worker WORKER --agent-type reviewer
  bifrost complete EXECUTION                     ends it, and
  bifrost complete EXECUTION --failed --message 'the tests fail'";

pub(in crate::args) const ASSIGN_BATCH: &str = "\
Examples:
  bifrost tasks assign-batch --count 20";

pub(in crate::args) const PREEMPT: &str = "\
Examples:
  bifrost tasks preempt TASK --worker WORKER";

pub(in crate::args) const PRIORITIZE: &str = "\
Examples:
  bifrost tasks prioritize critical_path
  bifrost tasks prioritize balanced --limit 10";

pub(in crate::args) const EXECUTIONS: &str = "\
Examples:
  bifrost tasks executions TASK
  bifrost tasks executions TASK --json | jq -r '.executions[-1].id'";

pub(in crate::args) const SUBTASKS: &str = "\
Examples:
  bifrost tasks subtasks EXECUTION";

pub(in crate::args) const ESTIMATE: &str = "\
Examples:
  bifrost tasks estimate TASK 90";

pub(in crate::args) const STALE: &str = "\
Examples:
  bifrost tasks stale";
