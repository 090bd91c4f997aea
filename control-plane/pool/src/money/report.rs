//! What the machines cost, and what should not be (row FLY-027).

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kernel::{Ctx, Result};
use wire::cost::{CostFinding, CostProblem, CostView, MachineCostView, Period, SpendingView};
use wire::id::MachineId;
use wire::machine::{MachineState, SweepView};

use super::store::Open;
use super::{budgets, open_micros, policy, spent, store};
use crate::machines::{self, Machine};
use crate::orphans;
use crate::plan::{Closed, Demand, Outlook, plan};
use crate::recovery::STUCK_MINUTES;
use crate::regions::Rests;
use crate::{Settings, forecast};

/// A machine that is awake and has nothing to do may be on its way to sleep; after so long it is not.
const IDLE_MINUTES: i64 = 10;
/// Registry and provider are compared every two seconds.
const COMPARED_MINUTES: i64 = 5;

/// What runs, what it costs, and what should not be there.
pub async fn report(ctx: &Ctx, settings: &Settings) -> Result<CostView> {
    let now = ctx.now();
    let mut tx = ctx.read("pool.money.report").await?;
    let machines = machines::store::list(&mut tx).await?;
    let open = store::open(&mut tx).await?;
    let rate: i64 = open.iter().map(Open::rate).sum();
    let mut spending = Vec::new();
    for period in [Period::Day, Period::Month] {
        let spent_micros = spent(&mut tx, period, now).await?;
        let ends_at = policy::end(period, now);
        spending.push(SpendingView {
            period,
            began_at: policy::begin(period, now),
            ends_at,
            spent_micros,
            forecast_micros: policy::forecast_micros(spent_micros, u64::try_from(rate).unwrap_or(0), now, ends_at),
            budget_micros: budgets(settings).into_iter().find(|(of, _)| *of == period).map(|(_, budget)| budget),
        });
    }
    let today = sums(&mut tx, &open, Period::Day, now).await?;
    let month = sums(&mut tx, &open, Period::Month, now).await?;
    let cost = |machine: &Machine| MachineCostView {
        id: machine.id,
        name: machine.name.clone(),
        state: machine.state,
        state_since: machine.state_since,
        load: machine.load,
        region: machine.region.clone(),
        size: settings.provider.size(),
        hourly_micros: hourly(&open, machine.id),
        today_micros: today.get(&machine.id).copied().unwrap_or(0),
        month_micros: month.get(&machine.id).copied().unwrap_or(0),
    };
    let sweep = orphans::view(&mut tx, now).await?;
    let warm = settings.warm.machines(now).max(forecast::machines(&mut tx, settings, now).await?);
    // First what is behind others.
    let rests = Rests::read(&mut tx).await?;
    let mut findings: Vec<_> = rests.refusal_of_token().map(of_token).into_iter().collect();
    findings.extend(rests.away(now).map(of_provider));
    findings.extend(rests.missing_image(&settings.provider.image).map(of_image));
    findings.extend(of_machines(&machines, warm, settings, now));
    let marked = orphans::marked(&mut tx).await?;
    findings.extend(of_sweep(&sweep, marked, machines.len(), settings.cap(), now));
    findings.extend(spending.iter().filter_map(of_budget));
    let view = machines::view(&mut tx, settings, now).await?;
    Ok(CostView {
        as_of: now,
        prices_of: fly::price::PRICES_OF.to_owned(),
        machines: machines.iter().map(cost).collect(),
        strangers: usize::try_from(sweep.strangers).unwrap_or(0),
        machines_max: settings.cap(),
        spending,
        findings,
        held: held(&plan(&view, &Demand { queued: 1, ..Demand::default() }, settings.into(), now).outlook),
    })
}

/// Why a task would get no machine, and until when.
fn held(outlook: &Outlook) -> Option<String> {
    let until = outlook.until().map(|until| format!(" (until {})", until.to_rfc3339_opts(SecondsFormat::Secs, true)));
    Some(outlook.obstacle()? + &until.unwrap_or_default())
}

/// What each machine has cost in a period, to the present moment.
async fn sums(
    tx: &mut kernel::Tx,
    open: &[Open],
    period: Period,
    now: DateTime<Utc>,
) -> Result<HashMap<MachineId, i64>> {
    let began = policy::begin(period, now);
    let mut sums: HashMap<MachineId, i64> = store::sums_since(tx, began.date_naive()).await?.into_iter().collect();
    for open in open {
        *sums.entry(open.machine_id.into()).or_default() += open_micros(open, began, now);
    }
    Ok(sums)
}

fn hourly(open: &[Open], machine: MachineId) -> i64 {
    let of_machine = open.iter().filter(|open| open.machine_id == machine.uuid());
    let rate: i64 = of_machine.map(Open::rate).sum();
    policy::cost_micros(u64::try_from(rate).unwrap_or(0), 3_600.0)
}

fn of_token(why: &str) -> CostFinding {
    let message = format!("no machine is made or woken: {why}");
    CostFinding { problem: CostProblem::TokenRefused, message, machine_id: None }
}

fn of_provider(away: Closed) -> CostFinding {
    let message = format!("no machine is made or woken: {}", away.why);
    CostFinding { problem: CostProblem::ProviderAway, message, machine_id: None }
}

fn of_image(missing: Closed) -> CostFinding {
    let message = format!("no machine is made: {}", missing.why);
    CostFinding { problem: CostProblem::ImageMissing, message, machine_id: None }
}

fn of_machines(machines: &[Machine], warm: usize, settings: &Settings, now: DateTime<Utc>) -> Vec<CostFinding> {
    let minutes = |since: DateTime<Utc>| (now - since).num_minutes();
    let patience = i64::try_from(settings.suspend_after.as_secs() / 60).unwrap_or(0) + IDLE_MINUTES;
    let mut findings = Vec::new();
    let idle = machines.iter().filter(|machine| {
        machine.state == MachineState::Ready
            && machine.load == 0
            && machine.idle_since.is_some_and(|since| minutes(since) >= patience)
    });
    findings.extend(idle.skip(warm).map(|machine| CostFinding {
        problem: CostProblem::Idle,
        message: format!(
            "machine {} is awake and has had nothing to do for {} minutes; put it to sleep with: bifrost machines suspend {}",
            machine.name,
            minutes(machine.idle_since.unwrap_or(now)),
            machine.id
        ),
        machine_id: Some(machine.id),
    }));
    let stuck = machines.iter().filter(|machine| machine.stuck_minutes >= STUCK_MINUTES);
    findings.extend(stuck.map(|machine| CostFinding {
        problem: CostProblem::Stuck,
        message: format!(
            "machine {} has been {} for {} minutes; look at it with: bifrost machines show {}",
            machine.name,
            machine.state,
            minutes(machine.state_since),
            machine.id
        ),
        machine_id: Some(machine.id),
    }));
    findings
}

/// `marked` of the strangers are the pool's own, reaped ones that are going among them.
fn of_sweep(sweep: &SweepView, marked: usize, rows: usize, cap: usize, now: DateTime<Utc>) -> Vec<CostFinding> {
    let finding = |problem, message: String| CostFinding { problem, message, machine_id: None };
    let mut findings = Vec::new();
    let strangers = usize::try_from(sweep.strangers).unwrap_or(0);
    if rows + strangers > cap {
        let message = format!(
            "{} machines exist and {cap} are allowed; destroy one with: bifrost machines destroy ID",
            rows + strangers
        );
        findings.push(finding(CostProblem::OverCap, message));
    }
    for orphan in sweep.orphans.iter().filter(|orphan| orphan.reaped_at.is_none()) {
        let origin = if orphan.needs_approval { " and was there before this database" } else { "" };
        let message = format!(
            "the {} {} of this pool has no row{origin}; reap it with: bifrost machines sweep --reap",
            orphan.kind, orphan.provider_id
        );
        findings.push(finding(CostProblem::Orphan, message));
    }
    if strangers > marked {
        let message = match strangers - marked {
            1 => "1 machine of the app is not the pool's: it counts against the cap, and only its owner may destroy it"
                .to_owned(),
            many => format!(
                "{many} machines of the app are not the pool's: they count against the cap, and only their owner may destroy them"
            ),
        };
        findings.push(finding(CostProblem::Stranger, message));
    }
    let is_fresh = sweep.compared_at.is_some_and(|at| now - at < TimeDelta::minutes(COMPARED_MINUTES));
    if !is_fresh {
        let message =
            "registry and provider have not been compared lately, so this may not be all; see the server's log";
        findings.push(finding(CostProblem::NotCompared, message.to_owned()));
    }
    findings
}

fn of_budget(spending: &SpendingView) -> Option<CostFinding> {
    let budget = spending.budget_micros?;
    let period = spending.period;
    let (problem, message) = if spending.spent_micros >= budget {
        (CostProblem::OverBudget, format!("the {period}'s budget is used up; machines wake again when the next begins"))
    } else if spending.forecast_micros > budget {
        (
            CostProblem::Forecast,
            format!("if what is awake stays awake, the {period}'s budget will be used up before its end"),
        )
    } else {
        return None;
    };
    Some(CostFinding { problem, message, machine_id: None })
}

#[cfg(test)]
mod tests {
    use wire::machine::{OrphanKind, OrphanView};

    use super::*;

    #[test]
    fn what_carries_the_pools_mark_is_no_stranger() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let orphan = OrphanView {
            provider_id: "m".into(),
            kind: OrphanKind::Machine,
            name: "m".into(),
            region: "iad".into(),
            sightings: 2,
            first_seen_at: now - TimeDelta::hours(1),
            reaped_at: None,
            error: None,
            needs_approval: false,
        };
        let found = |strangers, marked, orphans| {
            let sweep = SweepView { compared_at: Some(now), strangers, orphans, astray: vec![], kept: vec![] };
            let findings = of_sweep(&sweep, marked, 0, 10, now).into_iter();
            findings.map(|finding| format!("{}: {}", finding.problem, finding.message)).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(found(1, 1, vec![]), "", "it was reaped and goes");
        let one = found(1, 0, vec![]);
        assert!(one.starts_with("stranger: 1 machine of the app is not the pool's: it counts"), "{one}");
        let two = found(3, 1, vec![]);
        assert!(two.starts_with("stranger: 2 machines of the app are not"), "{two}");
        let still_there = found(1, 1, vec![orphan]);
        assert!(still_there.starts_with("orphan: ") && !still_there.contains("stranger"), "{still_there}");
    }
}
