//! The examples of agents on one's own computer.

pub(in crate::args) const AGENTS: &str = "\
Examples:
  bifrost agents start --branch fix/login --agent claude_code --prompt task.md
  bifrost agents start --branch try/it -- bash
  bifrost agents list
  bifrost agents logs ID
  echo 'and the tests, please' | bifrost agents send ID
  bifrost agents cleanup --all-ended

They run here, without walls and, unless one is there, without a server; docs/spawner.md says more. A server \
that --url or BIFROST_URL names, or that is up in the data directory, knows their terminals: see \
`bifrost runtimes --help`. `bifrost run --agent` asks one on a machine.";

pub(in crate::args) const START: &str = "\
Examples:
  bifrost agents start --branch fix/login --agent claude_code --prompt task.md
  bifrost agents start --branch fix/login --agent codex --prompt next.md --timeout 2h --hooks ~/.config/agents
  echo 'write NOTES hello' | bifrost agents start --branch try/mock --agent mock --prompt -
  bifrost agents start --branch try/it --repo ~/src/app -- bash
  bifrost agents start --branch try/it --url http://127.0.0.1:7600 --task TASK -- bash
  bifrost agents start --branch try/it --no-register -- bash
  bifrost agents start --branch fix/login --agent codex --session SESSION -- codex resume SESSION

It prints the agent's id. What fails leaves nothing: no worktree, no branch, no session. The exit code is 65 \
where there can be no worktree, 125 where the dependencies cannot be installed, 69 where the program \
cannot be started, 124 where the terminal takes too long, and 75 where as many run as may.";

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost agents list
  bifrost agents list --json | jq -r '.[] | select(.status == \"running\") | .worktree'
  bifrost agents list --json | jq '.[] | {branch, status, cost: .end.report.cost_dollars}'";

pub(in crate::args) const LOGS: &str = "\
Examples:
  bifrost agents logs ID
  bifrost agents logs ID --lines 20";

pub(in crate::args) const SEND: &str = "\
Examples:
  echo 'and the tests, please' | bifrost agents send ID
  bifrost agents send ID < answer.txt
  echo stop | bifrost agents send ID --force --reason 'it deletes the wrong files'";

pub(in crate::args) const ACK: &str = "\
Examples:
  bifrost agents ack                     in a hook that runs when the agent has taken its input
  bifrost agents ack --through 3

It finds its supervisor by the variable BIFROST_AGENT, which a registered agent has. Nobody has to call it: \
what a program reads from its terminal is seen as well.";

pub(in crate::args) const ATTACH: &str = "\
Examples:
  bifrost agents attach ID
  $(bifrost agents attach ID)            for one in tmux

Ctrl-] leaves a terminal that is not in tmux, and the agent goes on.";

pub(in crate::args) const KILL: &str = "\
Examples:
  bifrost agents kill ID
  bifrost agents kill ID OTHER
  bifrost agents kill ID --now

An agent gets SIGTERM and up to 30 seconds; a shell that somebody types in ignores the first.";

pub(in crate::args) const CLEANUP: &str = "\
Examples:
  bifrost agents cleanup ID
  bifrost agents cleanup --all-ended

What was not committed, and commits that nobody pushed or merged, are saved in .fleet-snapshots of the \
repository and read back from there; where that fails nothing is removed.";
