//! Issues.

use serde::Deserialize;
use serde_json::Value;

use crate::Repository;
use crate::error::Error;

/// An open issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Issue {
    /// By which people know it.
    pub number: i64,
    /// One line.
    pub title: String,
    /// What it says, in Markdown.
    #[serde(default)]
    pub body: Option<String>,
    /// Its page.
    pub html_url: String,
    /// What it is marked with.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// There where it is a pull request, which the host lists among the issues.
    #[serde(default)]
    pull_request: Option<Value>,
}

/// A mark of an issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Label {
    /// What it says.
    pub name: String,
}

impl Repository {
    /// The open issues with all of these labels, at most so many, the newest first. Pull requests are left out.
    pub async fn open_issues(&self, labels: &[String], most: usize) -> Result<Vec<Issue>, Error> {
        let question = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("state", "open"), ("labels", &labels.join(",")), ("per_page", "100")])
            .finish();
        let mut next = Some(self.place().path(&format!("/issues?{question}")));
        let mut found = Vec::new();
        while let Some(url) = next.filter(|_| found.len() < most) {
            let page = self.read::<Vec<Issue>>(&url).await?;
            found.extend(page.value.into_iter().filter(|issue| issue.pull_request.is_none()));
            // A host that leads elsewhere gets no token there.
            next = page.next.filter(|url| url.starts_with(&self.place().root()));
        }
        found.truncate(most);
        Ok(found)
    }
}
