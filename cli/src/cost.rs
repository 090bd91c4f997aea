//! `bifrost cost`: what the machines cost, and whether anything runs that should
//! not (row FLY-027).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::cost::{CostProblem, CostView, MachineCostView, SpendingView};
use wire::machine::MachineState;

use crate::args::CostCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table;
use crate::table::or_dash;

/// The exit code of a check that found something.
const FOUND: u8 = 1;
/// For how long a check waits for registry and provider to be compared, which happens every two seconds and at once
/// after a machine was given up.
const COMPARISON_LIMIT: Duration = Duration::from_secs(10);
const COMPARISON_BEAT: Duration = Duration::from_millis(200);

/// Carries one of the commands out; gives the exit code.
pub(crate) async fn run(invocation: &Invocation, command: &CostCommand) -> anyhow::Result<u8> {
    let server = Server::find(invocation)?;
    match command {
        CostCommand::Report => {
            let cost = server.ask(async |control| control.cost().await).await?;
            report(invocation, &cost).map(|()| 0)
        }
        CostCommand::Check => check(invocation, &compared(&server).await?),
    }
}

/// What there is by a comparison with the provider, or without one if none is made in time.
async fn compared(server: &Server) -> anyhow::Result<CostView> {
    let deadline = Instant::now() + COMPARISON_LIMIT;
    loop {
        let cost = server.ask(async |control| control.cost().await).await?;
        if !is_comparison_due(&cost) || Instant::now() >= deadline {
            return Ok(cost);
        }
        sleep(COMPARISON_BEAT).await;
    }
}

/// Whether registry and provider have not been compared, and may be within a moment: not where the token is refused
/// or the provider does not answer.
fn is_comparison_due(cost: &CostView) -> bool {
    cost.find(CostProblem::NotCompared).is_some() && cost.refusal_of_token().or(cost.absence_of_provider()).is_none()
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
        let running = running(cost);
        if !running.is_empty() {
            let header = ["MACHINE", "STATE", "SINCE", "LOAD"];
            output.line(&table::render(&header, running, output.stdout()))?;
        }
        for finding in &cost.findings {
            output.line(&format!("{}: {}", finding.problem, finding.message))?;
        }
        if cost.findings.is_empty() {
            output.say("nothing runs that should not");
        }
    }
    Ok(code(cost))
}

/// Whatever was found is a reason to look.
fn code(cost: &CostView) -> u8 {
    if cost.findings.is_empty() { 0 } else { FOUND }
}

/// A row for each machine that is not asleep.
fn running(cost: &CostView) -> Vec<Vec<String>> {
    let awake = cost.machines.iter().filter(|machine| machine.state != MachineState::Suspended);
    let row = |machine: &MachineCostView| {
        let since = show_age(cost.as_of, machine.state_since);
        vec![machine.id.to_string(), machine.state.to_string(), since, machine.load.to_string()]
    };
    awake.map(row).collect()
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
    use wire::cost::{CostFinding, CostProblem};

    use super::*;

    fn nothing() -> CostView {
        CostView {
            as_of: chrono::DateTime::UNIX_EPOCH,
            prices_of: String::new(),
            machines: vec![],
            strangers: 0,
            machines_max: 3,
            spending: vec![],
            findings: vec![],
            held: None,
        }
    }

    fn found(problems: &[CostProblem]) -> CostView {
        let finding = |&problem| CostFinding { problem, message: "m".into(), machine_id: None };
        CostView { findings: problems.iter().map(finding).collect(), ..nothing() }
    }

    #[test]
    fn a_check_waits_for_a_comparison_that_can_come() {
        use CostProblem::{Idle, NotCompared, ProviderAway, TokenRefused};
        for (problems, expect) in [
            (&[][..], false),
            (&[Idle], false),
            (&[Idle, NotCompared], true),
            (&[TokenRefused, NotCompared], false),
            (&[ProviderAway, NotCompared], false),
        ] {
            assert_eq!(is_comparison_due(&found(problems)), expect, "{problems:?}");
        }
    }

    #[test]
    fn a_check_ends_with_1_for_whatever_should_not_be() {
        assert_eq!(code(&nothing()), 0);
        for &problem in CostProblem::ALL {
            assert_eq!(code(&found(&[problem])), 1, "{problem}");
        }
    }

    #[test]
    fn a_check_lists_the_machines_that_are_awake_with_what_they_do() {
        let machine = |byte, state, load| MachineCostView {
            id: wire::id::MachineId::mint(chrono::DateTime::UNIX_EPOCH, [byte; 10]),
            name: String::new(),
            state,
            state_since: chrono::DateTime::UNIX_EPOCH,
            load,
            region: None,
            size: String::new(),
            hourly_micros: 0,
            today_micros: 0,
            month_micros: 0,
        };
        let machines = vec![machine(1, MachineState::Ready, 0), machine(2, MachineState::Suspended, 0)];
        let cost = CostView { machines: [machines, vec![machine(3, MachineState::Resuming, 2)]].concat(), ..nothing() };
        let rows = running(&cost);
        let shown = |row: usize| (rows[row][0].clone(), rows[row][1].as_str(), rows[row][3].as_str());
        assert_eq!(rows.len(), 2);
        assert_eq!(shown(0), (cost.machines[0].id.to_string(), "ready", "0"));
        assert_eq!(shown(1), (cost.machines[2].id.to_string(), "resuming", "2"));
    }

    #[test]
    fn the_headline_counts_what_the_cap_counts() {
        let of = |strangers| headcount(&CostView { strangers, ..nothing() });
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
