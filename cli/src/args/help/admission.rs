//! The examples of holds, limits, projects, budgets and schedules.

pub(in crate::args) const UNHOLD: &str = "\
Examples:
  bifrost unhold HOLD
  bifrost holds --json | jq -r '.[].id' | xargs bifrost unhold";

pub(in crate::args) const HOLDS: &str = "\
Examples:
  bifrost holds";

pub(in crate::args) const LIMITS_LIST: &str = "\
Examples:
  bifrost limits list";

pub(in crate::args) const LIMITS_SHOW: &str = "\
Examples:
  bifrost limits show db-migrations
  bifrost limits show openai --json | jq .tokens_left";

pub(in crate::args) const LIMITS_SET: &str = "\
Examples:
  bifrost limits set db-migrations --max-running 1
  bifrost limits set openai --tokens 60 --per 1m --burst 10";

pub(in crate::args) const LIMITS_REMOVE: &str = "\
Examples:
  bifrost limits remove openai";

pub(in crate::args) const PROJECTS_LIST: &str = "\
Examples:
  bifrost projects list";

pub(in crate::args) const PROJECTS_WEIGH: &str = "\
Examples:
  bifrost projects weigh web 3";

pub(in crate::args) const BUDGETS_LIST: &str = "\
Examples:
  bifrost budgets list";

pub(in crate::args) const BUDGETS_SHOW: &str = "\
Examples:
  bifrost budgets show BUDGET
  bifrost budgets show BUDGET --json | jq -r .spent_dollars";

pub(in crate::args) const BUDGETS_CREATE: &str = "\
Examples:
  bifrost budgets create --project web --period month --dollars 200
  bifrost budgets create --period day --dollars 25 --alert-at 0.5 --reserve 1.50

Under `bifrost up` a machine costs nothing unless BIFROST_MACHINE_MICRODOLLARS_PER_HOUR was set when it was started: a \
budget counts only what an agent or a worker says that its work cost, and nothing is set aside without --reserve.";

pub(in crate::args) const BUDGETS_CHANGE: &str = "\
Examples:
  bifrost budgets change BUDGET --dollars 300";

pub(in crate::args) const BUDGETS_DELETE: &str = "\
Examples:
  bifrost budgets delete BUDGET";

pub(in crate::args) const SCHEDULES_LIST: &str = "\
Examples:
  bifrost schedules list";

pub(in crate::args) const SCHEDULES_SHOW: &str = "\
Examples:
  bifrost schedules show SCHEDULE";

pub(in crate::args) const SCHEDULES_CREATE: &str = "\
Examples:
  bifrost schedules create nightly --cron '30 2 * * MON-FRI' --zone Europe/Berlin --task nightly.json
  bifrost schedules create hourly --cron '0 * * * *' --task - --overlap queue --paused

The file holds a task as the API takes it:
  {\"title\": \"Nightly tests\",
   \"spec\": {\"repository\": \"https://github.com/owner/name\", \"command\": [\"make\", \"test\"]}}";

pub(in crate::args) const SCHEDULES_PAUSE: &str = "\
Examples:
  bifrost schedules pause SCHEDULE";

pub(in crate::args) const SCHEDULES_RESUME: &str = "\
Examples:
  bifrost schedules resume SCHEDULE";

pub(in crate::args) const SCHEDULES_DELETE: &str = "\
Examples:
  bifrost schedules delete SCHEDULE";
