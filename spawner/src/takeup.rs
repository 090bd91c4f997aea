//! Taking an agent's session up again with words that came while it ran (pure): by which session, as what, and what the
//! runs come to together.

use std::time::Duration;

use runner::Drivers;
use runner::local::Finished;
use wire::agent::{AgentReport, AgentSpec};
use wire::execution::Outcome;
use wire::money;
use wire::task::TaskSpec;

/// The session that an agent can be taken up again by; nothing where it has none, cannot, or was ended by somebody.
pub(crate) fn session_of(drivers: &Drivers, spec: &TaskSpec, finished: &Finished) -> Option<String> {
    let agent = spec.agent.as_ref().filter(|agent| drivers.can_resume(&agent.name))?;
    let ended_by_itself = matches!(finished.outcome, Outcome::Succeeded | Outcome::Failed);
    let told = finished.report.as_ref().and_then(|report| report.session.clone());
    told.or_else(|| agent.session.clone()).filter(|_| ended_by_itself)
}

/// The session again, with these words, for what is left of the agent's time.
pub(crate) fn again(spec: &TaskSpec, session: String, words: &str, left: Duration) -> TaskSpec {
    let agent = spec.agent.clone().map(|agent| AgentSpec { prompt: words.to_owned(), session: Some(session), ..agent });
    TaskSpec { agent, timeout_seconds: Some(left.as_secs().max(1)), ..spec.clone() }
}

/// What several runs come to: how the last one ended, and what all of them took.
pub(crate) fn joined(before: Finished, after: Finished) -> Finished {
    let report = match (before.report, after.report) {
        (Some(before), Some(after)) => Some(AgentReport {
            input_tokens: before.input_tokens.saturating_add(after.input_tokens),
            output_tokens: before.output_tokens.saturating_add(after.output_tokens),
            cost_dollars: sum(before.cost_dollars, after.cost_dollars),
            session: after.session.or(before.session),
            agent: after.agent,
            message: after.message,
        }),
        (before, said) => said.or(before),
    };
    Finished { report, outcome: after.outcome, exit: after.exit, message: after.message }
}

fn sum(before: Option<String>, after: Option<String>) -> Option<String> {
    match (before.as_deref().and_then(money::micros), after.as_deref().and_then(money::micros)) {
        (Some(before), Some(after)) => {
            let dollars = money::dollars(before.saturating_add(after));
            Some(dollars.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        _ => after.or(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, session: Option<&str>) -> TaskSpec {
        let agent =
            AgentSpec { name: name.into(), prompt: "begin".into(), model: None, session: session.map(str::to_owned) };
        TaskSpec { agent: Some(agent), timeout_seconds: Some(60), ..TaskSpec::default() }
    }

    fn finished(outcome: Outcome, session: Option<&str>, cost: Option<&str>) -> Finished {
        let report = AgentReport {
            agent: "codex".into(),
            session: session.map(str::to_owned),
            input_tokens: 10,
            output_tokens: 1,
            cost_dollars: cost.map(str::to_owned),
            message: None,
        };
        Finished { outcome, exit: None, message: None, report: Some(report) }
    }

    #[test]
    fn an_agent_is_taken_up_again_by_the_session_that_it_told_or_was_given_unless_somebody_ended_it() {
        use Outcome::{Cancelled, Failed, Succeeded, TimedOut};
        let drivers = Drivers::built_in();
        for (spec, ended, expect) in [
            (spec("codex", None), finished(Succeeded, Some("s-1"), None), Some("s-1")),
            (spec("codex", Some("s-0")), finished(Failed, None, None), Some("s-0")),
            (spec("codex", None), finished(Succeeded, None, None), None),
            (spec("codex", None), finished(Cancelled, Some("s-1"), None), None),
            (spec("codex", None), finished(TimedOut, Some("s-1"), None), None),
            (spec("nobody", None), finished(Succeeded, Some("s-1"), None), None),
            (TaskSpec::default(), finished(Succeeded, Some("s-1"), None), None),
        ] {
            assert_eq!(session_of(&drivers, &spec, &ended).as_deref(), expect, "{spec:?}");
        }
    }

    #[test]
    fn the_words_are_the_prompt_and_the_time_goes_on() {
        let taken = again(&spec("codex", None), "s-1".into(), "go on", Duration::from_secs(7));
        let agent = taken.agent.expect("is one");
        assert_eq!((agent.prompt.as_str(), agent.session.as_deref()), ("go on", Some("s-1")));
        assert_eq!((agent.name.as_str(), taken.timeout_seconds), ("codex", Some(7)));
        let late = again(&spec("codex", None), "s-1".into(), "go on", Duration::ZERO);
        assert_eq!(late.timeout_seconds, Some(1));
    }

    #[test]
    fn runs_add_up_and_the_last_one_says_how_it_ended() {
        let first = || finished(Outcome::Succeeded, Some("s-1"), Some("0.25"));
        let both = joined(first(), finished(Outcome::Failed, None, Some("0.5")));
        let report = both.report.expect("is there");
        assert_eq!((both.outcome, report.input_tokens, report.output_tokens), (Outcome::Failed, 20, 2));
        assert_eq!((report.session.as_deref(), report.cost_dollars.as_deref()), (Some("s-1"), Some("0.75")));
        let both = joined(first(), finished(Outcome::Succeeded, Some("s-2"), None));
        let report = both.report.expect("is there");
        assert_eq!((report.session.as_deref(), report.cost_dollars.as_deref()), (Some("s-2"), Some("0.25")));
    }
}
