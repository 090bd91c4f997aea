//! The file that says where work is looked for, and what its tasks are like (pure).

use std::fmt;
use std::path::PathBuf;

use kit::Vars;
use serde::Deserialize;
use wire::agent::AgentSpec;
use wire::metadata::AGENT_TYPE_KEY;
use wire::proposal::NewProposal;
use wire::task::{Priority, TaskSpec};

/// What is looked at where the file does not say: the newest ones.
const MOST: usize = 100;
/// No tracker is emptied into a list that a person has to go through.
const MOST_OF_ALL: usize = 1_000;
const SENTRY: &str = "https://sentry.io";

/// Where to look.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) sources: Vec<Source>,
}

/// One place, and what the tasks of what is found there are like.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) place: Place,
    pub(super) task: Template,
}

/// A place.
#[derive(Debug)]
pub(super) enum Place {
    Github(Github),
    Sentry(Sentry),
    Git(Git),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Github(asked) => f.write_str(&asked.repository),
            Self::Sentry(asked) => write!(f, "{}/{} at {}", asked.organization, asked.project, asked.url),
            Self::Git(asked) => write!(f, "{}", asked.path.display()),
        }
    }
}

/// Open issues of a repository.
#[derive(Debug)]
pub(super) struct Github {
    pub(super) repository: String,
    pub(super) place: github::Place,
    pub(super) labels: Vec<String>,
    pub(super) token: Option<github::Token>,
    pub(super) most: usize,
}

/// What a program that runs somewhere stumbled over.
#[derive(Debug)]
pub(super) struct Sentry {
    pub(super) url: String,
    pub(super) organization: String,
    pub(super) project: String,
    pub(super) query: String,
    pub(super) token: Secret,
    pub(super) most: usize,
}

/// Notes that people left in the source.
#[derive(Debug)]
pub(super) struct Git {
    pub(super) path: PathBuf,
    pub(super) words: Vec<String>,
    pub(super) most: usize,
}

/// Is shown nowhere.
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What all tasks of a place have. `{title}` and `{description}` in an agent's prompt stand for those of what was found.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    priority: Option<Priority>,
    effort_estimate: Option<i32>,
    project: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    agent_type: Option<String>,
    spec: Option<TaskSpec>,
}

impl Template {
    /// The task of something that was found; its source is for the caller to name.
    pub(super) fn proposal(&self, title: &str, description: &str) -> NewProposal {
        let filled = |spec: &TaskSpec| {
            let prompt = |agent: &AgentSpec| fill(&agent.prompt, title, description);
            let agent = spec.agent.as_ref().map(|agent| AgentSpec { prompt: prompt(agent), ..agent.clone() });
            TaskSpec { agent, ..spec.clone() }
        };
        let agent_type = self.agent_type.clone().map(|agent_type| (AGENT_TYPE_KEY.to_owned(), agent_type));
        NewProposal {
            title: title.to_owned(),
            description: description.to_owned(),
            priority: self.priority.unwrap_or_default(),
            effort_estimate: self.effort_estimate,
            spec: self.spec.as_ref().map(filled),
            project: self.project.clone(),
            keys: self.keys.clone(),
            tags: self.tags.clone(),
            metadata: agent_type.into_iter().collect(),
            ..NewProposal::default()
        }
    }
}

/// In one pass: what was found is no pattern.
fn fill(pattern: &str, title: &str, description: &str) -> String {
    let (mut text, mut rest) = (String::new(), pattern);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let known = [("{title}", title), ("{description}", description)];
        match known.into_iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value))) {
            Some((after, value)) => {
                text.push_str(value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = &from[1..];
            }
        }
    }
    text + rest
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    source: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Github {
        repository: String,
        #[serde(default)]
        labels: Vec<String>,
        token: Option<String>,
        most: Option<usize>,
        #[serde(default)]
        task: Template,
    },
    Sentry {
        url: Option<String>,
        organization: String,
        project: String,
        query: Option<String>,
        token: String,
        most: Option<usize>,
        #[serde(default)]
        task: Template,
    },
    Git {
        path: PathBuf,
        words: Option<Vec<String>>,
        most: Option<usize>,
        #[serde(default)]
        task: Template,
    },
}

impl Sources {
    /// Reads the file; tokens are taken from the variables that it names.
    pub(super) fn read(text: &str, vars: &Vars) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if file.source.is_empty() {
            return Err("it names no source".into());
        }
        let read = |(at, entry): (usize, Entry)| {
            let source = source(entry, vars).map_err(|(field, what)| format!("source[{at}].{field} {what}"))?;
            let probe = NewProposal { source: "probe".into(), ..source.task.proposal("probe", "") };
            probe.validate().map_err(|error| format!("source[{at}].task.{error}"))?;
            Ok(source)
        };
        Ok(Self { sources: file.source.into_iter().enumerate().map(read).collect::<Result<_, String>>()? })
    }
}

type Complaint = (&'static str, String);

fn source(entry: Entry, vars: &Vars) -> Result<Source, Complaint> {
    let secret = |name: &str| match vars.text(name).map(str::trim) {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        Some(_) => Err(("token", format!("names the variable {name}, which holds no token"))),
        None => Err(("token", format!("names the variable {name}, which is not set"))),
    };
    Ok(match entry {
        Entry::Github { repository, labels, token, most, task } => {
            let place = github::Place::of(&repository).map_err(|error| ("repository", error.to_string()))?;
            if labels.iter().any(|label| label.is_empty() || label.contains(',')) {
                return Err(("labels", "must be labels, each without a comma".into()));
            }
            let token = token.as_deref().map(secret).transpose()?.and_then(|text| github::Token::new(&text));
            let most = bounded(most)?;
            Source { place: Place::Github(Github { repository, place, labels, token, most }), task }
        }
        Entry::Sentry { url, organization, project, query, token, most, task } => {
            let url = url.unwrap_or_else(|| SENTRY.into()).trim_end_matches('/').to_owned();
            let is_http = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
            if !is_http || url.contains(['?', '#', '@']) {
                return Err(("url", "must be like https://sentry.example.org".into()));
            }
            for (field, slug) in [("organization", &organization), ("project", &project)] {
                if slug.is_empty() || !slug.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
                    return Err((field, "must be a slug: letters, digits, - and _".into()));
                }
            }
            let query = query.unwrap_or_else(|| "is:unresolved".into());
            let (token, most) = (Secret(secret(&token)?), bounded(most)?);
            Source { place: Place::Sentry(Sentry { url, organization, project, query, token, most }), task }
        }
        Entry::Git { path, words, most, task } => {
            let words = words.unwrap_or_else(|| ["TODO", "FIXME"].map(str::to_owned).to_vec());
            let is_word = |word: &String| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
            if words.is_empty() || !words.iter().all(is_word) {
                return Err(("words", "must be words of letters, digits and _, and at least one".into()));
            }
            Source { place: Place::Git(Git { path, words, most: bounded(most)? }), task }
        }
    })
}

fn bounded(most: Option<usize>) -> Result<usize, Complaint> {
    match most.unwrap_or(MOST) {
        most @ 1..=MOST_OF_ALL => Ok(most),
        _ => Err(("most", format!("must be from 1 to {MOST_OF_ALL}"))),
    }
}
