//! The options of a run whose work is proposed to its repository's host.

use clap::Args;
use wire::pull_request::PullRequestSpec;

#[derive(Debug, Args)]
pub(crate) struct PullRequestArguments {
    /// When it has ended well, push what it changed and open a pull request; --repo is the URL of a repository at GitHub
    #[arg(long)]
    pull_request: bool,
    /// The branch that is to get the work [default: the one of --ref, else the repository's default branch]
    #[arg(long, value_name = "BRANCH", requires = "pull_request")]
    base: Option<String>,
    /// The branch that the work is pushed to [default: bifrost/TASK]
    #[arg(long, value_name = "BRANCH", requires = "pull_request")]
    branch: Option<String>,
    /// Open it as a draft
    #[arg(long, requires = "pull_request")]
    draft: bool,
}

impl PullRequestArguments {
    /// What is asked for, if anything. Its title is the task's.
    pub(crate) fn spec(&self) -> Option<PullRequestSpec> {
        self.pull_request.then(|| PullRequestSpec {
            base: self.base.clone(),
            branch: self.branch.clone(),
            draft: self.draft,
            ..PullRequestSpec::default()
        })
    }

    /// The option that gives a field of the specification.
    pub(crate) fn option_of(field: &str) -> Option<&'static str> {
        Some(match field {
            "spec.pull_request" => "--pull-request",
            "spec.pull_request.base" => "--base",
            "spec.pull_request.branch" => "--branch",
            _ => return None,
        })
    }
}
