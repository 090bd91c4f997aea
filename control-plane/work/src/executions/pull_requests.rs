//! What a pull request says where the task's specification leaves it open (pure).

use wire::id::TaskId;
use wire::limit::{DESCRIPTION_CHARS, PULL_REQUEST_TITLE_CHARS};
use wire::pull_request::PullRequestSpec;
use wire::task::TaskSpec;

/// The specification with its pull request's title and text: those of the task, where it has none of its own.
pub(crate) fn describe(spec: TaskSpec, task: TaskId, title: &str, description: &str) -> TaskSpec {
    let Some(asked) = spec.pull_request else { return spec };
    let title = asked.title.unwrap_or_else(|| cut(title, PULL_REQUEST_TITLE_CHARS));
    let body = asked.body.unwrap_or_else(|| text(task, description));
    TaskSpec { pull_request: Some(PullRequestSpec { title: Some(title), body: Some(body), ..asked }), ..spec }
}

fn cut(text: &str, chars: usize) -> String {
    match text.chars().count() <= chars {
        true => text.to_owned(),
        false => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

/// No longer than a runner takes it.
fn text(task: TaskId, description: &str) -> String {
    let id = format!("Bifrost task `{task}`");
    if description.trim().is_empty() {
        return id;
    }
    let behind = format!("\n\n{id}");
    cut(description.trim_end(), DESCRIPTION_CHARS - behind.chars().count()) + &behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_the_tasks_and_a_long_title_is_cut() {
        let (id, long) = (TaskId::from(uuid::Uuid::nil()), "x".repeat(300));
        let asked = |title: Option<&str>| TaskSpec {
            pull_request: Some(PullRequestSpec { title: title.map(Into::into), ..PullRequestSpec::default() }),
            ..TaskSpec::default()
        };
        let described = |title| describe(asked(title), id, &long, "Why.\n").pull_request.expect("is there");
        assert_eq!(described(Some("Mine")).title.as_deref(), Some("Mine"));
        let open = described(None);
        assert_eq!(open.title, Some(format!("{}…", "x".repeat(255))));
        assert_eq!(open.body, Some(format!("Why.\n\nBifrost task `{id}`")));
        assert_eq!(describe(TaskSpec::default(), id, &long, ""), TaskSpec::default());
        let longest = describe(asked(None), id, &long, &"é".repeat(DESCRIPTION_CHARS)).pull_request.expect("is there");
        longest.validate().expect("a runner takes it");
        assert!(longest.body.is_some_and(|body| body.ends_with(&format!("é…\n\nBifrost task `{id}`"))));
    }
}
