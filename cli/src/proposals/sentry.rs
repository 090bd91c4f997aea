//! What a program stumbled over, as Sentry tells it: the issues of a project.
//!
//! Source: <https://docs.sentry.io/api/events/list-a-projects-issues/>, and for pages
//! <https://docs.sentry.io/api/pagination/>.

use anyhow::bail;
use kit::Chance;
use kit::http::answer;
use serde::Deserialize;

use super::Found;
use super::sources::Sentry;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issue {
    id: String,
    title: String,
    #[serde(default)]
    culprit: Option<String>,
    #[serde(default)]
    permalink: Option<String>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    count: Option<String>,
    #[serde(default)]
    first_seen: Option<String>,
    #[serde(default)]
    last_seen: Option<String>,
}

pub(super) async fn look(http: reqwest::Client, asked: &Sentry, chance: &Chance) -> anyhow::Result<Vec<Found>> {
    let root = format!("{}/api/0/", asked.url);
    let first = format!("{root}projects/{}/{}/issues/", asked.organization, asked.project);
    let first = url::Url::parse_with_params(&first, [("query", &asked.query)])?;
    let mut next = Some(first.to_string());
    let mut found = Vec::new();
    while let Some(page) = next.filter(|_| found.len() < asked.most) {
        let answer = answer::read(|| http.get(&page).bearer_auth(&asked.token.0), chance).await?;
        if !answer.status.is_success() {
            bail!("it answers with {}{}", answer.status, said(&answer.body));
        }
        let issues: Vec<Issue> = serde_json::from_slice(&answer.body)?;
        found.extend(issues.into_iter().map(|issue| read(issue, asked)));
        // There is always a next page; whether anything is on it is said beside it. A token goes to its host alone.
        let following = answer.next_page().filter(|(_, parameters)| parameters.contains("results=\"true\""));
        next = following.map(|(url, _)| url.to_owned()).filter(|url| url.starts_with(&root));
    }
    found.truncate(asked.most);
    Ok(found)
}

fn read(issue: Issue, asked: &Sentry) -> Found {
    let line =
        |name: &str, value: Option<String>| value.filter(|text| !text.is_empty()).map(|text| format!("{name}: {text}"));
    let lines = [
        line("Where", issue.culprit),
        line("How often", issue.count),
        line("First seen", issue.first_seen),
        line("Last seen", issue.last_seen),
    ];
    Found {
        source: format!("sentry:{}/{}#{}", asked.organization, asked.project, issue.id),
        title: issue.title,
        text: lines.into_iter().flatten().collect::<Vec<_>>().join("\n"),
        tags: issue.level.into_iter().collect(),
        url: issue.permalink,
    }
}

/// What it says of a refusal.
fn said(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    value["detail"].as_str().map(|text| format!(": {}", crate::output::one_line(text))).unwrap_or_default()
}
