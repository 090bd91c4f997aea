//! The examples of runtimes.

pub(in crate::args) const RUNTIMES: &str = "\
Examples:
  bifrost runtimes list
  echo 'The review is in: see REVIEW.md' | bifrost runtimes trigger 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost runtimes triggers 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost runtimes list
  bifrost runtimes list --json | jq -r '.[] | select(.state == \"live\") | .id'";

pub(in crate::args) const TRIGGERS: &str = "\
Examples:
  bifrost runtimes triggers 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

pub(in crate::args) const TRIGGER: &str = "\
Examples:
  echo 'The review is in: see REVIEW.md' | bifrost runtimes trigger 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70
  bifrost runtimes trigger 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 words.txt --dedupe review-12
  echo Stop | bifrost runtimes trigger 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --force --reason 'it deletes files'";

pub(in crate::args) const PAUSE: &str = "\
Examples:
  bifrost runtimes pause 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --reason 'I work in there'";

pub(in crate::args) const RESUME: &str = "\
Examples:
  bifrost runtimes resume 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

pub(in crate::args) const REMOVE: &str = "\
Examples:
  bifrost runtimes remove 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
