//! The examples of the record, and of what tasks ask of the world outside.

pub(in crate::args) const TAIL: &str = "\
Examples:
  bifrost events tail
  bifrost events tail --lines 100 --no-follow
  bifrost events tail --after 0 --no-follow --json > record.jsonl";

pub(in crate::args) const GET: &str = "\
Examples:
  bifrost events get TASK
  bifrost events get TASK --json | jq -r .event_type";

pub(in crate::args) const STATS: &str = "\
Examples:
  bifrost events stats";

pub(in crate::args) const EGRESS_SHOW: &str = "\
Examples:
  bifrost egress show TASK
  bifrost egress show TASK --json | jq -r '.[] | select(.payload.verdict != \"allowed\") | .payload.host'";
