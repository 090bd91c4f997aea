//! The examples of machines, what they cost, workers and checkpoints.

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost machines list
  bifrost machines list --json | jq -r '.[] | select(.state == \"ready\") | .name'";

pub(in crate::args) const SHOW: &str = "\
Examples:
  bifrost machines show MACHINE";

pub(in crate::args) const SUSPEND: &str = "\
Examples:
  bifrost machines suspend MACHINE";

pub(in crate::args) const RESUME: &str = "\
Examples:
  bifrost machines resume MACHINE";

pub(in crate::args) const DESTROY: &str = "\
Examples:
  bifrost machines destroy MACHINE
  bifrost machines destroy MACHINE --force --reason 'its disk is full'";

pub(in crate::args) const ABANDON: &str = "\
Examples:
  bifrost machines abandon MACHINE --reason 'its host has been away for a day'
  bifrost machines abandon MACHINE --reason 'nobody wants what is on it' --force
  bifrost machines abandon --app bifrost-runner --reason 'deleted with flyctl apps destroy'

With --app the rows of all machines end at once. It is refused while the provider knows the app. Make sure that \
the app was deleted, and is not only out of reach: `flyctl apps list` names it no more. A machine that is left \
would cost money without anybody here knowing of it.";

pub(in crate::args) const DISCARD: &str = "\
Examples:
  bifrost machines discard VOLUME --reason 'what was on it is pushed'";

pub(in crate::args) const SWEEP: &str = "\
Examples:
  bifrost machines sweep
  bifrost machines sweep --reap";

pub(in crate::args) const COST_REPORT: &str = "\
Examples:
  bifrost cost report
  bifrost cost report --json | jq .spending";

pub(in crate::args) const COST_CHECK: &str = "\
Examples:
  bifrost cost check
  bifrost cost check || mail -s 'machines that should not run' ops@example.org

The exit code is 1 if there is a finding.";

pub(in crate::args) const WORKERS_LIST: &str = "\
Examples:
  bifrost workers list";

pub(in crate::args) const WORKERS_SHOW: &str = "\
Examples:
  bifrost workers show WORKER";

pub(in crate::args) const WORKERS_ADD: &str = "\
Examples:
  bifrost workers add claude_code --capacity 2 --for claude_code --for reviewer
  bifrost workers add person --metadata '{\"name\": \"Ada\"}' --json | jq -r .id";

pub(in crate::args) const WORKERS_UPDATE: &str = "\
Examples:
  bifrost workers update WORKER --capacity 3";

pub(in crate::args) const WORKERS_REMOVE: &str = "\
Examples:
  bifrost workers remove WORKER";

pub(in crate::args) const WORKERS_HEARTBEAT: &str = "\
Examples:
  bifrost workers heartbeat WORKER
  bifrost workers heartbeat WORKER --load 1";

pub(in crate::args) const WORKERS_STALE: &str = "\
Examples:
  bifrost workers stale";

pub(in crate::args) const CHECKPOINTS_LIST: &str = "\
Examples:
  bifrost checkpoints list
  bifrost checkpoints list TASK";

pub(in crate::args) const CHECKPOINTS_KEPT: &str = "\
Examples:
  bifrost checkpoints kept
  bifrost run --repo URL --ref COMMIT -- git push origin HEAD:refs/heads/rescued

What asks for a commit under refs/ by its whole id runs on the machine that has it. What has no \
commit was not saved, or was set aside: its machine is kept for it.";

pub(in crate::args) const CHECKPOINTS_SHOW: &str = "\
Examples:
  bifrost checkpoints show CHECKPOINT";

pub(in crate::args) const CHECKPOINTS_DIFF: &str = "\
Examples:
  bifrost checkpoints diff CHECKPOINT OTHER";

pub(in crate::args) const CHECKPOINTS_RESTORE: &str = "\
Examples:
  bifrost checkpoints restore TASK
  bifrost checkpoints restore TASK CHECKPOINT";

pub(in crate::args) const CHECKPOINTS_FORK: &str = "\
Examples:
  bifrost checkpoints fork CHECKPOINT -- make test
  bifrost checkpoints fork CHECKPOINT --agent codex --prompt next.md --detach";

pub(in crate::args) const CHECKPOINTS_PIN: &str = "\
Examples:
  bifrost checkpoints pin CHECKPOINT OTHER";

pub(in crate::args) const CHECKPOINTS_UNPIN: &str = "\
Examples:
  bifrost checkpoints unpin CHECKPOINT";
