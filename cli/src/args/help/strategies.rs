//! The examples of failure strategies.

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost strategies list";

pub(in crate::args) const SHOW: &str = "\
Examples:
  bifrost strategies show STRATEGY
  bifrost strategies show STRATEGY --json | jq '{name, rules, max_attempts}' > careful.json";

pub(in crate::args) const ADD: &str = "\
Examples:
  bifrost strategies add careful.json
  bifrost strategies add - < careful.json
  bifrost tasks metadata set TASK strategy_id STRATEGY       has a task follow it

careful.json, of which the first rule that fits is followed:
  {
    \"name\": \"careful\",
    \"max_attempts\": 3,
    \"rules\": [
      {\"on\": \"timed_out\", \"action\": {\"kind\": \"reassign\", \"agent_type\": \"patient\"}},
      {\"on\": \"setup_failed\", \"action\": {\"kind\": \"escalate\"}},
      {\"on\": \"failed\", \"action\": {\"kind\": \"split\", \"subtasks\": [
        {\"title\": \"Find out why this failed: {title}\", \"effort_estimate\": 30},
        {\"title\": \"Mend it: {title}\", \"depends_on\": [0]}]}},
      {\"on\": \"any\", \"action\": {\"kind\": \"retry\"}}
    ]
  }

`on` is failed, setup_failed, timed_out, idle_timed_out, stalled, worker_lost or any. After \
so many attempts that count, a task is left to a person and no longer retried, reassigned or mended.";

pub(in crate::args) const UPDATE: &str = "\
Examples:
  bifrost strategies update STRATEGY change.json
  echo '{\"max_attempts\": 5}' | bifrost strategies update STRATEGY -";

pub(in crate::args) const DELETE: &str = "\
Examples:
  bifrost strategies delete STRATEGY";
