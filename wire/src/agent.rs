//! Coding agents: what one is asked to do, and what it says of itself in the end.

use serde::{Deserialize, Serialize};

use crate::limit;
use crate::task::{FieldError, wrong};

/// Instructions for a coding agent, in place of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentSpec {
    /// Which one: `claude_code`, `codex`, `gemini`, `opencode`, `mock`, or one that the runner's operator added.
    pub name: String,
    /// What it is to do; it reads this from its standard input. Up to 200,000 characters.
    pub prompt: String,
    /// The model it is to use, as it names models; its own choice when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A session of an earlier execution to go on with; a new one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl AgentSpec {
    /// Refuses what no runner could carry out, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        let is_name = |text: &str| {
            let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
            first && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if !is_name(&self.name) || self.name.len() > limit::AGENT_NAME_CHARS {
            return Err(wrong("spec.agent.name", "must be the name of an agent, such as claude_code"));
        }
        if self.prompt.trim().is_empty() || self.prompt.contains('\0') {
            return Err(wrong("spec.agent.prompt", "must say what the agent is to do, without NUL characters"));
        }
        if self.prompt.chars().count() > limit::PROMPT_CHARS {
            return Err(wrong("spec.agent.prompt", format!("must have at most {} characters", limit::PROMPT_CHARS)));
        }
        for (field, word) in [("spec.agent.model", &self.model), ("spec.agent.session", &self.session)] {
            // It becomes an argument of the agent's program, which must not read it as an option.
            let is_word = |word: &String| {
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
                !word.starts_with('-') && word.chars().all(plain) && (1..=limit::AGENT_WORD_CHARS).contains(&word.len())
            };
            if word.as_ref().is_some_and(|word| !is_word(word)) {
                let message = format!(
                    "must have 1 to {} letters, digits or any of . _ - / : @, and not begin with -",
                    limit::AGENT_WORD_CHARS
                );
                return Err(wrong(field, message));
            }
        }
        Ok(())
    }
}

/// What an agent said that a request to its model took: the payload of `agent.usage`, told when it says so. Some say it
/// once for several requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentUsage {
    /// Which agent.
    pub agent: String,
    /// Tokens it read, cached ones included.
    pub input_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
}

/// What an agent said of itself: the payload of `agent.report`, told once at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentReport {
    /// Which agent.
    pub agent: String,
    /// Its session, which a later execution may go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Tokens it read, cached ones included.
    pub input_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
    /// What it says that cost, in dollars, as a decimal string; nothing where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<String>,
    /// Its last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it wants to know before it goes on: with that its turn has ended, and the answer is the next prompt of
    /// its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named() {
        let good = AgentSpec { name: "claude_code".into(), prompt: "fix it".into(), model: None, session: None };
        let long = "x".repeat(limit::PROMPT_CHARS + 1);
        let word = |word: &str| Some(word.to_owned());
        for (spec, expect) in [
            (good.clone(), None),
            (AgentSpec { model: word("openai/gpt-5.5"), session: word("0199-ab"), ..good.clone() }, None),
            (AgentSpec { prompt: long, ..good.clone() }, Some("spec.agent.prompt")),
            (AgentSpec { prompt: " \n".into(), ..good.clone() }, Some("spec.agent.prompt")),
            (AgentSpec { prompt: "a\0".into(), ..good.clone() }, Some("spec.agent.prompt")),
            (AgentSpec { name: "../bin/sh".into(), ..good.clone() }, Some("spec.agent.name")),
            (AgentSpec { name: String::new(), ..good.clone() }, Some("spec.agent.name")),
            (AgentSpec { model: word("--dangerous"), ..good.clone() }, Some("spec.agent.model")),
            (AgentSpec { session: word("a b"), ..good.clone() }, Some("spec.agent.session")),
            (AgentSpec { session: word(""), ..good }, Some("spec.agent.session")),
        ] {
            assert_eq!(spec.validate().err().map(|error| error.field), expect, "{:?}", spec.name);
        }
    }
}
