//! Taking an agent's session up again with words that came while it ran (pure): by which session, as what, and what the
//! runs come to together.

use std::time::Duration;

use runner::Drivers;
use runner::local::Finished;
use wire::agent::{AgentReport, AgentSpec};
use wire::execution::Outcome;
use wire::money;
use wire::task::TaskSpec;

/// The session that an agent was given, where it can be taken up again by that.
pub(crate) fn given_session(drivers: &Drivers, agent: &AgentSpec) -> Option<String> {
    agent.session.clone().filter(|_| drivers.can_resume(&agent.name))
}

/// The session that an agent which has ended can be taken up again by; nothing where it has none, cannot, or was ended
/// by somebody.
pub(crate) fn session_of(drivers: &Drivers, agent: &AgentSpec, finished: &Finished) -> Option<String> {
    let ended_by_itself = matches!(finished.outcome, Outcome::Succeeded | Outcome::Failed);
    let told = finished.report.as_ref().and_then(|report| report.session.clone());
    let told = told.filter(|_| drivers.can_resume(&agent.name));
    told.or_else(|| given_session(drivers, agent)).filter(|_| ended_by_itself)
}

/// The session again, with these words, for what is left of the agent's time.
pub(crate) fn again(spec: &TaskSpec, agent: &AgentSpec, session: String, words: &str, left: Duration) -> TaskSpec {
    TaskSpec {
        agent: Some(AgentSpec { prompt: words.to_owned(), session: Some(session), ..agent.clone() }),
        command: Vec::new(),
        terminal: false,
        timeout_seconds: Some(left.as_secs().max(1)),
        ..spec.clone()
    }
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
            // What it asked before has been answered.
            asks: after.asks,
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

    fn agent(name: &str, session: Option<&str>) -> AgentSpec {
        let session = session.map(str::to_owned);
        AgentSpec { name: name.into(), prompt: "begin".into(), model: None, session }
    }

    fn finished(outcome: Outcome, session: Option<&str>, cost: Option<&str>) -> Finished {
        let report = AgentReport {
            agent: "codex".into(),
            session: session.map(str::to_owned),
            input_tokens: 10,
            output_tokens: 1,
            cost_dollars: cost.map(str::to_owned),
            message: None,
            asks: None,
        };
        Finished { outcome, exit: None, message: None, report: Some(report) }
    }

    #[test]
    fn an_agent_is_taken_up_again_by_the_session_that_it_told_or_was_given_unless_somebody_ended_it() {
        use Outcome::{Cancelled, Failed, Succeeded, TimedOut};
        let drivers = Drivers::built_in();
        for (agent, ended, expect) in [
            (agent("codex", None), finished(Succeeded, Some("s-1"), None), Some("s-1")),
            (agent("codex", Some("s-0")), finished(Failed, None, None), Some("s-0")),
            (agent("codex", None), finished(Succeeded, None, None), None),
            (agent("codex", None), finished(Cancelled, Some("s-1"), None), None),
            (agent("codex", None), finished(TimedOut, Some("s-1"), None), None),
            (agent("nobody", None), finished(Succeeded, Some("s-1"), None), None),
        ] {
            assert_eq!(session_of(&drivers, &agent, &ended).as_deref(), expect, "{agent:?}");
        }
    }

    #[test]
    fn the_words_are_the_prompt_and_the_time_goes_on() {
        let codex = agent("codex", None);
        let terminal = TaskSpec { command: vec!["codex".into()], terminal: true, ..TaskSpec::default() };
        let taken = again(&terminal, &codex, "s-1".into(), "go on", Duration::from_secs(7));
        let agent = AgentSpec { prompt: "go on".into(), session: Some("s-1".into()), ..codex.clone() };
        assert_eq!(taken, TaskSpec { agent: Some(agent), timeout_seconds: Some(7), ..TaskSpec::default() });
        let late = again(&terminal, &codex, "s-1".into(), "go on", Duration::ZERO);
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
