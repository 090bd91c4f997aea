//! Answers of services that others run: bounded, and asked for again where that may help.

use std::time::Duration;

use reqwest::header::{HeaderMap, LINK, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::Chance;
use crate::backoff::Backoff;

/// How often what only reads is asked for.
const TRIES: u32 = 4;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(8) };
/// A service may ask for more patience than anybody has.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// A page of a hundred issues with long texts is below.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a service said, whether it did what was asked or not.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What it says about the answer.
    pub headers: HeaderMap,
    /// The answer.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody answered, or not in time.
    #[error("{0}")]
    Unreachable(String),
    /// It is longer than anything that is asked for here.
    #[error("the answer is longer than {} MiB", BYTES_MAX / 1024 / 1024)]
    TooLong,
}

impl Answer {
    /// Whether the service asks for patience: too much was asked of it. A refusal for want of permission can have the
    /// same status.
    pub fn is_limited(&self) -> bool {
        let is_used_up = || self.headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0");
        self.status == StatusCode::TOO_MANY_REQUESTS
            || (self.status == StatusCode::FORBIDDEN && (self.headers.contains_key(RETRY_AFTER) || is_used_up()))
    }

    /// Where the header `Link` says that the next page is, and what else it says of it.
    pub fn next_page(&self) -> Option<(&str, &str)> {
        let links = self.headers.get(LINK)?.to_str().ok()?;
        links.split(',').find_map(|link| {
            let (target, parameters) = link.split_once(';')?;
            let is_next = parameters.split(';').any(|one| one.trim() == "rel=\"next\"");
            let target = target.trim().strip_prefix('<')?.strip_suffix('>')?;
            is_next.then_some((target, parameters))
        })
    }

    /// How long to wait before the same is asked again; nothing where that would not help.
    fn wait(&self, failures: u32, chance: &Chance) -> Option<Duration> {
        if !self.is_limited() && !self.status.is_server_error() {
            return None;
        }
        let seconds = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = seconds.map(Duration::from_secs);
        // What is limited by the hour says so in no header that is worth waiting for.
        let is_used_up = self.is_limited() && asked.is_none() && self.status == StatusCode::FORBIDDEN;
        let wait = asked.unwrap_or_else(|| BACKOFF.wait(failures, chance));
        (!is_used_up && wait <= WAIT_MAX).then_some(wait)
    }
}

/// Asks once. For what makes something.
pub async fn ask(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let answer = request.send().await.map_err(unreachable)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    Ok(Answer { status, headers, body: bounded(answer).await? })
}

/// Asks for what only reads, again where that may help; the last answer counts.
pub async fn read(request: impl Fn() -> RequestBuilder, chance: &Chance) -> Result<Answer, NoAnswer> {
    let mut failures = 0;
    loop {
        let answer = ask(request()).await;
        failures += 1;
        let wait = match &answer {
            Ok(answer) => answer.wait(failures, chance),
            Err(NoAnswer::Unreachable(_)) => Some(BACKOFF.wait(failures, chance)),
            Err(NoAnswer::TooLong) => None,
        };
        match wait {
            Some(wait) if failures < TRIES => tokio::time::sleep(wait).await,
            _ => return answer,
        }
    }
}

async fn bounded(mut answer: Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(NoAnswer::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The whole story without the URL, which may say more than is anybody's business.
fn unreachable(error: reqwest::Error) -> NoAnswer {
    NoAnswer::Unreachable(super::whole_story(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, headers: headers.collect(), body: Vec::new() }
    }

    #[test]
    fn patience_is_had_where_it_helps_and_not_beyond_anybodys() {
        let chance = Chance::seeded(1);
        for (status, headers, expect) in [
            (200, &[][..], false),
            (404, &[], false),
            (403, &[], false),
            (500, &[], true),
            (429, &[], true),
            (429, &[("retry-after", "3")], true),
            (429, &[("retry-after", "3600")], false),
            (403, &[("retry-after", "3")], true),
            (403, &[("x-ratelimit-remaining", "0")], false),
            (403, &[("x-ratelimit-remaining", "7")], false),
        ] {
            assert_eq!(answer(status, headers).wait(1, &chance).is_some(), expect, "{status} {headers:?}");
        }
        assert_eq!(answer(503, &[("retry-after", "3")]).wait(1, &chance), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_next_page_is_where_the_header_says() {
        let link =
            "<https://a.example/x?page=1>; rel=\"prev\", <https://a.example/x?page=3>; rel=\"next\"; results=\"true\"";
        let answer = answer(200, &[("link", link)]);
        assert_eq!(answer.next_page(), Some(("https://a.example/x?page=3", " rel=\"next\"; results=\"true\"")));
        assert_eq!(self::answer(200, &[("link", "nonsense")]).next_page(), None);
    }
}
