//! `bifrost cost`: what the machines cost, and whether anything runs that should
//! not (row FLY-027).

use wire::cost::{CostView, MachineCostView, SpendingView};

use crate::args::CostCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table;
use crate::table::or_dash;

/// The exit code of a check that found something.
const FOUND: u8 = 1;

/// Carries one of the commands out; gives the exit code.
pub(crate) async fn run(invocation: &Invocation, command: &CostCommand) -> anyhow::Result<u8> {
    let server = Server::find(invocation)?;
    let cost = server.ask(async |control| control.cost().await).await?;
    match command {
        CostCommand::Report => report(invocation, &cost).map(|()| 0),
        CostCommand::Check => check(invocation, &cost),
    }
}

fn report(invocation: &Invocation, cost: &CostView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(cost);
    }
    let row = |machine: &MachineCostView| {
        vec![
            machine.id.to_string(),
            machine.state.to_string(),
            show_age(cost.as_of, machine.state_since),
            or_dash(machine.region.clone()),
            machine.size.clone(),
            dollars(machine.hourly_micros),
            dollars(machine.today_micros),
            dollars(machine.month_micros),
        ]
    };
    let header = ["MACHINE", "STATE", "SINCE", "REGION", "SIZE", "AN HOUR", "TODAY", "THIS MONTH"];
    if cost.machines.is_empty() {
        output.say("no machines");
    } else {
        let rows = cost.machines.iter().map(row).collect();
        output.line(&table::render(&header, rows, output.stdout()))?;
    }
    let row = |spending: &SpendingView| {
        vec![
            spending.period.to_string(),
            dollars(spending.spent_micros),
            dollars(spending.forecast_micros),
            or_dash(spending.budget_micros.map(dollars)),
        ]
    };
    let rows = cost.spending.iter().map(row).collect();
    output.line(&table::render(&["PERIOD", "SPENT", "AT ITS END", "BUDGET"], rows, output.stdout()))?;
    output.line(&format!("{}; prices of {}", headcount(cost), cost.prices_of))?;
    for finding in &cost.findings {
        output.warn(&finding.message);
    }
    Ok(())
}

fn check(invocation: &Invocation, cost: &CostView) -> anyhow::Result<u8> {
    let output = invocation.output;
    if output.is_json {
        output.json(cost)?;
    } else {
        output.say(&headcount(cost));
        for finding in &cost.findings {
            output.line(&format!("{}: {}", finding.problem, finding.message))?;
        }
        if cost.findings.is_empty() {
            output.say("nothing runs that should not");
        }
    }
    Ok(if cost.findings.is_empty() { 0 } else { FOUND })
}

/// What the cap counts.
fn headcount(cost: &CostView) -> String {
    let CostView { strangers, machines_max, .. } = cost;
    let exist = cost.exist();
    match strangers {
        0 => format!("{exist} of at most {machines_max} machines exist"),
        _ => {
            format!("{exist} of at most {machines_max} machines exist, {strangers} of them without a row of this pool")
        }
    }
}

/// Four places: a machine costs a fraction of a cent an hour.
pub(crate) fn dollars(micros: i64) -> String {
    let hundred_micros = (micros + 50) / 100;
    format!("${}.{:04}", hundred_micros / 10_000, hundred_micros % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_counts_what_the_cap_counts() {
        let of = |strangers| {
            headcount(&CostView {
                as_of: chrono::DateTime::UNIX_EPOCH,
                prices_of: String::new(),
                machines: vec![],
                strangers,
                machines_max: 3,
                spending: vec![],
                findings: vec![],
            })
        };
        assert_eq!(of(0), "0 of at most 3 machines exist");
        assert_eq!(of(1), "1 of at most 3 machines exist, 1 of them without a row of this pool");
    }

    #[test]
    fn money_is_shown_with_four_places() {
        for (micros, text) in
            [(0, "$0.0000"), (49, "$0.0000"), (50, "$0.0001"), (15_820, "$0.0158"), (12_345_678, "$12.3457")]
        {
            assert_eq!(dollars(micros), text);
        }
    }
}
