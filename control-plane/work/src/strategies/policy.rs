//! Which action a failure strategy takes. Pure.

use wire::agent::AgentSpec;
use wire::limit::{DESCRIPTION_CHARS, PROMPT_CHARS, TITLE_CHARS};
use wire::split::NewSubtask;
use wire::strategy::{FailureClass, FailureStrategyView, Recovery};
use wire::task::TaskSpec;

/// What is to be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    /// No rule is about it.
    Nothing,
    /// This.
    Do(&'a Recovery),
    /// It would be tried again, and has been often enough.
    Exhausted,
}

/// What a strategy looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) class: FailureClass,
    /// Attempts that count, with this one.
    pub(crate) attempts: i32,
    /// The type of agent that it is for.
    pub(crate) agent_type: Option<&'a str>,
}

/// Follows the first rule that fits.
pub(crate) fn decide<'a>(strategy: &'a FailureStrategyView, facts: Facts<'_>) -> Decision<'a> {
    let fits = |on: FailureClass| on == facts.class || on == FailureClass::Any;
    match strategy.rules.iter().find(|rule| fits(rule.on)).map(|rule| &rule.action) {
        None => Decision::Nothing,
        Some(action) if is_exhausted(strategy, action, facts) => Decision::Exhausted,
        Some(action) => Decision::Do(action),
    }
}

fn is_exhausted(strategy: &FailureStrategyView, action: &Recovery, facts: Facts<'_>) -> bool {
    // It was tried as often as a worker may be lost, which no attempt counts: not once more with the same.
    let was_lost = facts.class == FailureClass::WorkerLost;
    let is_spent = facts.attempts >= strategy.max_attempts;
    match action {
        Recovery::Retry {} | Recovery::Mend { .. } => is_spent || was_lost,
        Recovery::Reassign { agent_type } => is_spent || (was_lost && facts.agent_type == Some(agent_type)),
        Recovery::Split { .. } | Recovery::Escalate {} => false,
    }
}

/// What is said of a failure to whom it concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The title of the task that failed.
    pub(crate) title: &'a str,
    /// What its last attempt said.
    pub(crate) failure: &'a str,
}

impl Told<'_> {
    /// Parts whose texts say so, and stay within their bounds.
    pub(crate) fn fill_in(&self, parts: &[NewSubtask]) -> Vec<NewSubtask> {
        let first_line = self.failure.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let in_title = Told { failure: &first_line.replace(char::is_control, " "), ..*self };
        let part = |part: &NewSubtask| NewSubtask {
            title: in_title.filled_or_title(&part.title, TITLE_CHARS),
            description: self.filled(&part.description, DESCRIPTION_CHARS),
            spec: part.spec.as_ref().map(|spec| self.asked(spec)),
            ..part.clone()
        };
        parts.iter().map(part).collect()
    }

    fn asked(&self, spec: &TaskSpec) -> TaskSpec {
        let prompt = |agent: &AgentSpec| self.filled_or_title(&agent.prompt, PROMPT_CHARS);
        let agent = spec.agent.as_ref().map(|agent| AgentSpec { prompt: prompt(agent), ..agent.clone() });
        TaskSpec { agent, ..spec.clone() }
    }

    /// As [`Told::filled`], of what must not be empty, though nothing was said.
    fn filled_or_title(&self, text: &str, most: usize) -> String {
        let filled = self.filled(text, most);
        if filled.trim().is_empty() { self.title.to_owned() } else { filled }
    }

    /// The text with what is known in the place of names. What is put in is not read again.
    fn filled(&self, text: &str, most: usize) -> String {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let known = [("{title}", self.title), ("{failure}", self.failure)];
            let found = known.into_iter().find_map(|(name, is)| from.strip_prefix(name).map(|after| (is, after)));
            let (put, after) = found.unwrap_or_else(|| from.split_at(1));
            filled.push_str(put);
            rest = after;
        }
        filled.push_str(rest);
        filled.chars().take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use wire::id::FailureStrategyId;
    use wire::strategy::FailureRule;

    use super::*;

    #[test]
    fn the_first_rule_that_fits_is_followed_within_the_budget() {
        let (retry, escalate) = (Recovery::Retry {}, Recovery::Escalate {});
        let reassign = Recovery::Reassign { agent_type: "b".into() };
        let at = DateTime::UNIX_EPOCH;
        let mend = Recovery::Mend { subtasks: vec![NewSubtask { title: "m".into(), ..NewSubtask::default() }] };
        let rules = [
            (FailureClass::TimedOut, &reassign),
            (FailureClass::SetupFailed, &escalate),
            (FailureClass::Stalled, &mend),
            (FailureClass::Any, &retry),
        ];
        let rules = rules.map(|(on, action)| FailureRule { on, action: action.clone() }).to_vec();
        let strategy = FailureStrategyView {
            id: FailureStrategyId::mint(at, [0; 10]),
            name: "s".into(),
            rules,
            max_attempts: 3,
            created_at: at,
            updated_at: at,
        };
        for (class, attempts, expect) in [
            (FailureClass::Failed, 1, Decision::Do(&retry)),
            (FailureClass::Failed, 2, Decision::Do(&retry)),
            (FailureClass::Failed, 3, Decision::Exhausted),
            (FailureClass::TimedOut, 2, Decision::Do(&reassign)),
            (FailureClass::TimedOut, 4, Decision::Exhausted),
            // What tries nothing again needs no budget.
            (FailureClass::SetupFailed, 9, Decision::Do(&escalate)),
            (FailureClass::WorkerLost, 0, Decision::Exhausted),
            (FailureClass::Stalled, 2, Decision::Do(&mend)),
            (FailureClass::Stalled, 3, Decision::Exhausted),
        ] {
            let facts = Facts { class, attempts, agent_type: Some("b") };
            assert_eq!(decide(&strategy, facts), expect, "{class} after {attempts}");
        }
        let lost = |agent_type| Facts { class: FailureClass::WorkerLost, attempts: 0, agent_type };
        let others = [FailureRule { on: FailureClass::Any, action: reassign.clone() }];
        let others = FailureStrategyView { rules: others.to_vec(), ..strategy.clone() };
        assert_eq!(decide(&others, lost(Some("a"))), Decision::Do(&reassign));
        assert_eq!(decide(&others, lost(Some("b"))), Decision::Exhausted, "it lost its worker there as well");
        let timed_out = FailureStrategyView { rules: strategy.rules[..1].to_vec(), ..strategy };
        assert_eq!(
            decide(&timed_out, Facts { class: FailureClass::Failed, attempts: 1, agent_type: None }),
            Decision::Nothing
        );
    }

    #[test]
    fn parts_say_what_failed_and_how_and_stay_in_bounds() {
        let failure = "\n2 of 9 failed:\t{title}\n- login {failure}";
        let told = |title, failure| {
            let part = |title: &str, description: &str| NewSubtask {
                title: title.into(),
                description: description.into(),
                ..NewSubtask::default()
            };
            let parts = [part("Mend {title}: {failure}", "{a} {title} said {failure}"), part("{failure}", "")];
            let filled = Told { title, failure }.fill_in(&parts);
            filled.into_iter().map(|part| (part.title, part.description)).collect::<Vec<_>>()
        };
        let [first, second] = &told("Login", failure)[..] else { panic!("there are two") };
        assert_eq!(first.0, "Mend Login: 2 of 9 failed: {title}");
        assert_eq!(first.1, format!("{{a}} Login said {failure}"));
        assert_eq!(second.0, "2 of 9 failed: {title}");
        assert_eq!(told("Login", "")[0], ("Mend Login: ".to_owned(), "{a} Login said ".to_owned()));
        assert_eq!(told("Login", " \n")[1].0, "Login", "a task has a title though nothing was said");
        assert_eq!(told(&"x".repeat(500), "")[0].0.chars().count(), 500);
    }

    #[test]
    fn an_agent_of_the_pool_is_asked_with_what_failed() {
        let spec =
            r#"{"repository": "https://example.org/a", "agent": {"name": "mock", "prompt": "{title}: {failure}"}}"#;
        let spec = serde_json::from_str(spec).expect("is a specification");
        let part = NewSubtask { title: "t".into(), spec: Some(spec), ..NewSubtask::default() };
        let filled = Told { title: "Login", failure: "red" }.fill_in(&[part]).remove(0);
        assert_eq!(filled.spec.and_then(|spec| spec.agent).map(|agent| agent.prompt).as_deref(), Some("Login: red"));
    }
}
