//! Which action a failure strategy takes. Pure.

use wire::limit::{DESCRIPTION_CHARS, TITLE_CHARS};
use wire::split::NewSubtask;
use wire::strategy::{FailureClass, FailureStrategyView, Recovery};

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
        Recovery::Retry {} => is_spent || was_lost,
        Recovery::Reassign { agent_type } => is_spent || (was_lost && facts.agent_type == Some(agent_type)),
        Recovery::Split { .. } | Recovery::Escalate {} => false,
    }
}

/// Parts whose texts name the task that failed, and stay within their bounds.
pub(crate) fn named_after(title: &str, parts: &[NewSubtask]) -> Vec<NewSubtask> {
    let fill = |text: &str, most: usize| text.replace("{title}", title).chars().take(most).collect();
    let part = |part: &NewSubtask| NewSubtask {
        title: fill(&part.title, TITLE_CHARS),
        description: fill(&part.description, DESCRIPTION_CHARS),
        ..part.clone()
    };
    parts.iter().map(part).collect()
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
        let rules =
            [(FailureClass::TimedOut, &reassign), (FailureClass::SetupFailed, &escalate), (FailureClass::Any, &retry)];
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
    fn parts_are_named_after_the_task_and_stay_in_bounds() {
        let part = NewSubtask {
            title: "Find out why: {title}".into(),
            description: "{title} and {title}".into(),
            ..NewSubtask::default()
        };
        let named = named_after("Login", std::slice::from_ref(&part));
        assert_eq!(
            (named[0].title.as_str(), named[0].description.as_str()),
            ("Find out why: Login", "Login and Login")
        );
        assert_eq!(named_after(&"x".repeat(500), &[part])[0].title.chars().count(), 500);
    }
}
