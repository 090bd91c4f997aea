//! Pull requests: what a task asks for, and what became of it.

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::limit;
use crate::task::{FieldError, check_branch, wrong};

/// What a task's work is proposed as, once it has ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PullRequestSpec {
    /// The branch that is to get the work; when absent the task's reference where that is a branch, and else the
    /// repository's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The branch that the work is pushed to; `bifrost/<task>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// One line, of at most 256 characters; the task's title when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Markdown; the task's description when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it is opened as a draft.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

impl PullRequestSpec {
    /// Refuses what no host would take, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        for (field, branch) in [("spec.pull_request.base", &self.base), ("spec.pull_request.branch", &self.branch)] {
            branch.as_deref().map_or(Ok(()), |branch| check_branch(field, branch))?;
        }
        if self.branch.is_some() && self.branch == self.base {
            return Err(wrong("spec.pull_request.branch", "is the branch that is to get the work; name another"));
        }
        if let Some(title) = &self.title {
            let is_line = !title.trim().is_empty() && !title.chars().any(char::is_control);
            if !is_line || title.chars().count() > limit::PULL_REQUEST_TITLE_CHARS {
                let message = format!("must be one line of 1 to {} characters", limit::PULL_REQUEST_TITLE_CHARS);
                return Err(wrong("spec.pull_request.title", message));
            }
        }
        if self.body.as_ref().is_some_and(|body| body.chars().count() > limit::DESCRIPTION_CHARS) {
            let message = format!("is longer than {} characters", limit::DESCRIPTION_CHARS);
            return Err(wrong("spec.pull_request.body", message));
        }
        Ok(())
    }

    /// The branch that a task's work is pushed to.
    pub fn branch_of(&self, task: TaskId) -> String {
        self.branch.clone().unwrap_or_else(|| format!("bifrost/{task}"))
    }
}

/// A pull request in which an execution's work is: the payload of `pull_request.opened`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PullRequest {
    /// By which its host knows it.
    pub number: i64,
    /// Its page.
    pub url: String,
    /// The branch that has the work.
    pub branch: String,
    /// The branch that is to get it.
    pub base: String,
}

impl PullRequest {
    /// Nothing where it says what no host would: what machines tell is not trusted.
    pub fn bounded(self) -> Option<Self> {
        let is_text = |text: &str| !text.is_empty() && text.len() <= limit::REPOSITORY_CHARS && !text.contains('\0');
        let is_page = self.url.starts_with("https://") || self.url.starts_with("http://");
        let is_whole =
            self.number > 0 && is_page && [&self.url, &self.branch, &self.base].into_iter().all(|text| is_text(text));
        is_whole.then_some(self)
    }
}
