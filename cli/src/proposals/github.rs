//! Open issues of a repository at GitHub.

use github::{Issue, Repository};
use kit::Chance;

use super::Found;
use super::sources::Github;

pub(super) async fn look(http: reqwest::Client, asked: &Github, chance: &Chance) -> anyhow::Result<Vec<Found>> {
    let repository = Repository::new(http, asked.place.clone(), asked.token.clone(), chance.clone());
    let issues = repository.open_issues(&asked.labels, asked.most).await?;
    let found = |issue: Issue| Found {
        source: format!("github:{}#{}", asked.place, issue.number),
        title: issue.title,
        text: issue.body.unwrap_or_default(),
        tags: issue.labels.into_iter().map(|label| label.name).collect(),
        url: Some(issue.html_url),
    };
    Ok(issues.into_iter().map(found).collect())
}
