//! The examples of proposals.

pub(in crate::args) const PROPOSALS: &str = "\
Examples:
  bifrost proposals scan sources.toml
  bifrost proposals list
  bifrost proposals accept 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost proposals list
  bifrost proposals list --json | jq -r '.[].task.id' | xargs bifrost proposals accept";

pub(in crate::args) const SCAN: &str = "\
Examples:
  bifrost proposals scan sources.toml --dry-run
  bifrost proposals scan sources.toml
  bifrost proposals scan sources.toml --every 1h

The file says where to look and what the tasks are like:

  [[source]]
  kind = \"github\"
  repository = \"https://github.com/owner/name\"
  labels = [\"bug\"]
  token = \"GITHUB_TOKEN\"        # the variable that holds it
  task = { project = \"name\", priority = 4 }

  [[source]]
  kind = \"sentry\"
  organization = \"owner\"
  project = \"name\"
  token = \"SENTRY_AUTH_TOKEN\"

  [[source]]
  kind = \"git\"
  path = \".\"
  words = [\"TODO\", \"FIXME\"]

What was found once is not proposed again. docs/proposals.md has the rest.";

pub(in crate::args) const ACCEPT: &str = "\
Examples:
  bifrost proposals accept 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70

Whoever does not want a task cancels it: `bifrost tasks cancel ID`.";
