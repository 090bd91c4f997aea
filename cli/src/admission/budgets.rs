//! `bifrost budgets`.

use wire::budget::{BudgetChange, BudgetView, NewBudget, TaskBudgetView};
use wire::task::FieldError;

use super::{gone, print};
use crate::args::BudgetsCommand;
use crate::connect::Server;
use crate::duration::show_time;
use crate::exit;
use crate::invocation::Invocation;
use crate::output::one_line;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &BudgetsCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        BudgetsCommand::List => {
            let budgets = server.ask(async |control| control.budgets().await).await?;
            print_budgets(invocation, &budgets)
        }
        BudgetsCommand::Show { id } => {
            let budget = server.ask(async |control| control.budget(*id).await).await?;
            if invocation.output.is_json {
                return invocation.output.json(&budget);
            }
            print_budgets(invocation, &[budget])
        }
        BudgetsCommand::Create { project, period, dollars, alert_at, reserve } => {
            let new = NewBudget {
                project: project.clone(),
                period: *period,
                allocated_dollars: dollars.clone(),
                alert_threshold: alert_at.clone(),
                reservation_dollars: reserve.clone(),
            };
            new.validate().map_err(|error| refusal(&error))?;
            let key = invocation.chance.hex::<16>();
            let budget = server.ask(async |control| control.create_budget(&new, &key).await).await?;
            print_budgets(invocation, &[budget])
        }
        BudgetsCommand::Change { id, dollars, alert_at, reserve } => {
            let change = BudgetChange {
                allocated_dollars: dollars.clone(),
                alert_threshold: alert_at.clone(),
                reservation_dollars: reserve.clone(),
            };
            change.validate().map_err(|error| refusal(&error))?;
            let budget = server.ask(async |control| control.update_budget(*id, &change).await).await?;
            print_budgets(invocation, &[budget])
        }
        BudgetsCommand::Delete { id } => {
            // Not asked twice: after a lost answer the second would find no budget.
            server.control.delete_budget(*id).await.map_err(|error| server.explain(error))?;
            gone(invocation, id, "deleted")
        }
    }
}

/// The server's words for a field, with the name it has on the command line.
fn refusal(error: &FieldError) -> anyhow::Error {
    let option = match error.field {
        "allocated_dollars" => "--dollars",
        "alert_threshold" => "--alert-at",
        "reservation_dollars" => "--reserve",
        "project" => "--project",
        other => other,
    };
    exit::refused("budgets create", option, error)
}

fn print_budgets(invocation: &Invocation, budgets: &[BudgetView]) -> anyhow::Result<()> {
    let row = |budget: &BudgetView| {
        vec![
            budget.id.to_string(),
            budget.project.as_deref().map_or_else(|| "-".into(), one_line),
            budget.period.to_string(),
            budget.allocated_dollars.clone(),
            budget.spent_dollars.clone(),
            budget.reserved_dollars.clone(),
            format!("{}{}", budget.alert_threshold, if budget.alerted { " (passed)" } else { "" }),
            show_time(budget.period_end),
        ]
    };
    let header = ["ID", "PROJECT", "PERIOD", "DOLLARS", "SPENT", "SET ASIDE", "ALERT AT", "UNTIL"];
    print(invocation, budgets, &header, "there is no budget: nothing bounds what work may spend", row)
}

/// What a task may use, and has used, on one line.
pub(crate) fn show_budget(budget: &TaskBudgetView) -> String {
    let limits = &budget.limits;
    let parts = [
        limits.dollars.as_ref().map(|most| format!("{} of {most} dollars", budget.spent_dollars)),
        limits.machine_seconds.map(|most| format!("{} of {most} machine-seconds", budget.spent_machine_seconds)),
        limits.tokens.map(|most| format!("{} of {most} tokens", budget.spent_tokens)),
        limits.attempts.map(|most| format!("{} of {most} attempts", budget.spent_attempts)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Code, classify};

    #[test]
    fn a_budget_that_cannot_be_is_refused_by_the_name_of_its_option() {
        let change = |dollars: &str, alert_at: &str, reserve: &str| BudgetChange {
            allocated_dollars: Some(dollars.into()),
            alert_threshold: Some(alert_at.into()),
            reservation_dollars: Some(reserve.into()),
        };
        for (change, expect) in [
            (change("abc", "0.8", "1"), "--dollars must be a decimal"),
            (change("-5", "0.8", "1"), "--dollars must be a decimal"),
            (change("5", "2", "1"), "--alert-at must be a decimal string from 0.0001 to 1"),
            (change("5", "0.8", "-1"), "--reserve must be a decimal"),
        ] {
            let refused = classify(&refusal(&change.validate().expect_err("is refused")));
            assert_eq!(refused.code, Code::Usage);
            assert!(refused.message.starts_with(expect), "{}", refused.message);
        }
        for (change, finest) in [
            (change("0.0000001", "0.8", "1"), "at most six decimals"),
            (change("5", "0.8", "0.0000001"), "at most six decimals"),
            (change("5", "0.80001", "1"), "at most four decimals"),
        ] {
            let refused = classify(&refusal(&change.validate().expect_err("is too fine")));
            assert!(refused.message.contains(finest), "{}", refused.message);
        }
    }
}
