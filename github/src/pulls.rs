//! Pull requests.

use serde::Deserialize;
use serde_json::json;

use crate::Repository;
use crate::error::Error;

/// A pull request that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPull<'a> {
    /// The branch of the repository that has the change.
    pub head: &'a str,
    /// The branch that is to get it.
    pub base: &'a str,
    /// One line.
    pub title: &'a str,
    /// Markdown.
    pub body: &'a str,
    /// Whether it is not to be merged yet.
    pub draft: bool,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pull {
    /// By which people and the API know it.
    pub number: i64,
    /// Its page.
    pub html_url: String,
}

#[derive(Deserialize)]
struct Itself {
    default_branch: String,
}

impl Repository {
    /// The branch that the repository is about.
    pub async fn default_branch(&self) -> Result<String, Error> {
        Ok(self.read::<Itself>(&self.place().path("")).await?.value.default_branch)
    }

    /// The open pull request of a branch to another, if there is one. A branch has no more than one to each.
    pub async fn open_pull(&self, head: &str, base: &str) -> Result<Option<Pull>, Error> {
        let head = format!("{}:{head}", self.place().owner());
        let question = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("state", "open"), ("head", &head), ("base", base), ("per_page", "1")])
            .finish();
        let found = self.read::<Vec<Pull>>(&self.place().path(&format!("/pulls?{question}"))).await?;
        Ok(found.value.into_iter().next())
    }

    /// Opens a pull request, or finds the one that is open: asked any number of times, there is one.
    /// Says with it whether it is new.
    pub async fn pull(&self, new: NewPull<'_>) -> Result<(Pull, bool), Error> {
        if let Some(there) = self.open_pull(new.head, new.base).await? {
            return Ok((there, false));
        }
        let NewPull { head, base, title, body, draft } = new;
        let asked = json!({"head": head, "base": base, "title": title, "body": body, "draft": draft});
        match self.make(&self.place().path("/pulls"), &asked).await {
            Ok(made) => Ok((made, true)),
            // Somebody was faster, or our own answer was lost.
            Err(error) if error.is_unclear() => match self.open_pull(head, base).await {
                Ok(Some(there)) => Ok((there, true)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}
