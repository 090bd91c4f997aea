//! Tables over what a task may and may not say.

use super::*;
use crate::pull_request::PullRequestSpec;

fn proposed(asked: PullRequestSpec) -> TaskSpec {
    TaskSpec { pull_request: Some(asked), ..spec() }
}

fn spec() -> TaskSpec {
    TaskSpec { repository: "https://example.org/a/b.git".into(), command: vec!["make".into()], ..TaskSpec::default() }
}

fn agent(prompt: &str) -> AgentSpec {
    AgentSpec { name: "claude_code".into(), prompt: prompt.into(), model: None, session: None }
}

#[test]
fn a_wrong_field_is_named() {
    let cases: Vec<(TaskSpec, Option<&str>)> = vec![
        (spec(), None),
        (TaskSpec { repository: "file:///srv/git/x".into(), ..spec() }, None),
        (TaskSpec { repository: "ssh://git@example.org/x".into(), ..spec() }, None),
        (TaskSpec { repository: "".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "../x".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "ext::sh -c id".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "ftp://example.org/x".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "https://user:token@example.org/x".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "https://token@example.org/x".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { repository: "https://example.org/a b".into(), ..spec() }, Some("spec.repository")),
        (TaskSpec { reference: Some("feature/x-1".into()), ..spec() }, None),
        (TaskSpec { reference: Some("--upload-pack=id".into()), ..spec() }, Some("spec.reference")),
        (TaskSpec { reference: Some("a..b".into()), ..spec() }, Some("spec.reference")),
        (TaskSpec { reference: Some("".into()), ..spec() }, Some("spec.reference")),
        (TaskSpec { command: vec![], ..spec() }, Some("spec.command")),
        (TaskSpec { agent: Some(agent("fix it")), ..spec() }, Some("spec.agent")),
        (TaskSpec { terminal: true, ..spec() }, None),
        (TaskSpec { terminal: true, agent: Some(agent("x")), command: vec![], ..spec() }, Some("spec.terminal")),
        (TaskSpec { agent: Some(agent("")), command: vec![], ..spec() }, Some("spec.agent.prompt")),
        (TaskSpec { agent: Some(agent("fix it")), command: vec![], ..spec() }, None),
        (TaskSpec { command: vec!["".into()], ..spec() }, Some("spec.command")),
        (TaskSpec { command: vec!["a\0b".into()], ..spec() }, Some("spec.command")),
        (TaskSpec { env: [("A=B".to_owned(), "c".to_owned())].into(), ..spec() }, Some("spec.env")),
        (TaskSpec { env: [("A".to_owned(), "c\0".to_owned())].into(), ..spec() }, Some("spec.env")),
        (proposed(PullRequestSpec::default()), None),
        (
            TaskSpec { repository: "file:///srv/a".into(), ..proposed(PullRequestSpec::default()) },
            Some("spec.pull_request"),
        ),
        (proposed(PullRequestSpec { base: Some("-x".into()), ..Default::default() }), Some("spec.pull_request.base")),
        (proposed(PullRequestSpec { base: Some("HEAD".into()), ..Default::default() }), Some("spec.pull_request.base")),
        (
            proposed(PullRequestSpec { branch: Some("refs/heads/x".into()), ..Default::default() }),
            Some("spec.pull_request.branch"),
        ),
        (
            proposed(PullRequestSpec { base: Some("x".into()), branch: Some("x".into()), ..Default::default() }),
            Some("spec.pull_request.branch"),
        ),
        (
            proposed(PullRequestSpec { title: Some("a\nb".into()), ..Default::default() }),
            Some("spec.pull_request.title"),
        ),
        (
            proposed(PullRequestSpec { title: Some("x".repeat(257)), ..Default::default() }),
            Some("spec.pull_request.title"),
        ),
        (
            proposed(PullRequestSpec { body: Some("x".repeat(65_537)), ..Default::default() }),
            Some("spec.pull_request.body"),
        ),
        (TaskSpec { timeout_seconds: Some(0), ..spec() }, Some("spec.timeout_seconds")),
        (TaskSpec { idle_timeout_seconds: Some(u64::MAX), ..spec() }, Some("spec.idle_timeout_seconds")),
        (TaskSpec { stall_timeout_seconds: Some(0), ..spec() }, Some("spec.stall_timeout_seconds")),
    ];
    for (spec, expect) in cases {
        assert_eq!(spec.validate().err().map(|error| error.field), expect, "{spec:?}");
    }
}

#[test]
fn a_priority_is_one_to_five() {
    for (number, ok) in [(0, false), (1, true), (5, true), (6, false), (-1, false)] {
        assert_eq!(Priority::try_from(number).is_ok(), ok, "{number}");
    }
    assert!("high".parse::<Priority>().is_err());
}

#[test]
fn every_status_reads_back_from_its_text() {
    for status in TaskStatus::ALL {
        assert_eq!(status.as_str().parse(), Ok(*status));
    }
    assert!("done".parse::<TaskStatus>().is_err());
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let error = serde_json::from_str::<NewTask>(r#"{"title":"x","prority":1}"#).expect_err("a typing error");
    assert!(error.to_string().contains("prority"), "{error}");
}
