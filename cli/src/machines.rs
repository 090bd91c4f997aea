//! `bifrost machines`: what there is to run on, and what an operator does to it.

use chrono::{DateTime, Utc};
use wire::cost::CostView;
use wire::id::VolumeId;
use wire::machine::{MachineView, OrphanView, SweepView};

use crate::args::MachinesCommand;
use crate::connect::Server;
use crate::count::counted;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table::{self, joined, or_dash};

/// Carries one of the commands out.
pub(crate) async fn run(invocation: &Invocation, command: &MachinesCommand) -> anyhow::Result<()> {
    let server = match command {
        MachinesCommand::List => return list(invocation).await,
        MachinesCommand::Sweep { reap } => return sweep(invocation, *reap).await,
        MachinesCommand::Abandon { app: Some(app), reason, .. } => return abandon_app(invocation, app, reason).await,
        MachinesCommand::Discard { volume } => return discard(invocation, *volume).await,
        _ => Server::find(invocation)?,
    };
    let machine = match command {
        MachinesCommand::List
        | MachinesCommand::Sweep { .. }
        | MachinesCommand::Discard { .. }
        | MachinesCommand::Abandon { id: None, .. } => {
            return Ok(());
        }
        MachinesCommand::Show { id } => server.ask(async |control| control.machine(*id).await).await?,
        MachinesCommand::Suspend { id } => server.ask(async |control| control.suspend_machine(*id).await).await?,
        MachinesCommand::Resume { id } => server.ask(async |control| control.resume_machine(*id).await).await?,
        MachinesCommand::Destroy { id, force } => {
            server.ask(async |control| control.destroy_machine(*id, *force).await).await?
        }
        MachinesCommand::Abandon { id: Some(id), reason, force, .. } => {
            server.ask(async |control| control.abandon_machine(*id, reason, *force).await).await?
        }
    };
    show(invocation, &machine)
}

fn show(invocation: &Invocation, machine: &MachineView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(machine);
    }
    let since = show_age(invocation.clock.now(), machine.state_since);
    let lines = [
        ("id", machine.id.to_string()),
        ("name", machine.name.clone()),
        ("at the provider", or_dash(machine.provider_id.clone())),
        ("state", format!("{} ({since})", machine.state)),
        ("region", or_dash(machine.region.clone())),
        ("image", machine.image.clone()),
        ("volume", or_dash(machine.volume_id.map(|id| id.to_string()))),
        ("repositories", or_dash(joined(&machine.repositories))),
        ("executions", machine.executions.to_string()),
        ("cold starts", machine.cold_starts.to_string()),
        ("being replaced", or_dash(machine.retiring.clone())),
        ("recovery", or_dash(machine.recovery.clone())),
        ("last error", or_dash(machine.error.clone())),
    ];
    for (name, value) in lines {
        output.line(&format!("{name:<16} {}", one_line(&value)))?;
    }
    Ok(())
}

/// Gives up all machines of an app that is gone.
async fn abandon_app(invocation: &Invocation, app: &str, reason: &str) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let machines = server.ask(async |control| control.abandon_app(app, reason).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&machines);
    }
    for machine in &machines {
        output.line(&machine.id.to_string())?;
    }
    output.say(&format!("{} of the app {app} given up", counted(machines.len(), "machine", "machines")));
    output.say(
        "the control plane makes the app anew within seconds; where runners have a network of their own, make it there: \
         scripts/deploy",
    );
    Ok(())
}

async fn sweep(invocation: &Invocation, reap: bool) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let found = server.ask(async |control| control.sweep(reap).await).await?;
    let is_refused = warn_of_refusals(invocation, &server).await.is_some_and(|cost| cost.refusal_of_token().is_some());
    let output = invocation.output;
    if output.is_json {
        return output.json(&found);
    }
    let now = invocation.clock.now();
    let SweepView { compared_at, strangers, orphans, astray, kept } = found;
    match compared_at {
        Some(at) => output.say(&compared(now, at)),
        None => output.say("registry and provider have not been compared yet"),
    }
    for machine in astray {
        output.say(&format!("machine {} is {}: {}", machine.id, machine.state, one_line(&or_dash(machine.error))));
    }
    if strangers > 0 {
        let machines = counted(strangers, "machine of the app has no row", "machines of the app have no row");
        output.say(&format!("{machines}; what is without this pool's mark is left alone"));
    }
    for volume in kept {
        output.say(&format!(
            "volume {} ({} in {}, {} GB) of machine {} is kept since {}: it alone has {}; when nothing on it is wanted \
             any more: bifrost machines discard {}",
            volume.id,
            or_dash(volume.provider_id),
            volume.region,
            volume.size_gb,
            or_dash(volume.machine_id.map(|id| id.to_string())),
            show_age(now, volume.kept_since),
            volume.what,
            volume.id
        ));
    }
    if reap && (compared_at.is_some() || !orphans.is_empty()) {
        output.say(&to_be_reaped(&orphans, is_refused));
    }
    if orphans.is_empty() {
        output.say(without_orphans(compared_at, is_refused));
        return Ok(());
    }
    let unforeseen = orphans.iter().filter(|orphan| orphan.needs_approval && orphan.reaped_at.is_none()).count();
    if unforeseen > 0 {
        let orphans = counted(unforeseen, "orphan was", "orphans were");
        output.say(&format!(
            "{orphans} there before this database and may hold work: restore the database that knows them, or destroy \
             them with: bifrost machines sweep --reap"
        ));
    }
    let row = |orphan: &OrphanView| {
        vec![
            orphan.provider_id.clone(),
            orphan.kind.to_string(),
            orphan.name.clone(),
            orphan.region.clone(),
            show_age(now, orphan.first_seen_at),
            match orphan.reaped_at {
                None if orphan.needs_approval => "on approval".to_owned(),
                reaped_at => or_dash(reaped_at.map(|at| show_age(now, at))),
            },
            or_dash(orphan.error.clone()),
        ]
    };
    let header = ["ID", "KIND", "NAME", "REGION", "SEEN", "REAPED", "LAST ERROR"];
    let rows = orphans.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// Where nothing has changed, the time of a comparison is written down every half minute only.
fn compared(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    match show_age(now, at) {
        age if age == "now" => "registry and provider were compared now".into(),
        age => format!("registry and provider were compared at most {age}"),
    }
}

/// Where none is listed: as much as the last comparison can say, if there was one.
fn without_orphans(compared_at: Option<DateTime<Utc>>, is_refused: bool) -> &'static str {
    match (compared_at, is_refused) {
        (None, false) => "nothing is known of orphans before that",
        (None, true) => "nothing is known of orphans while the token is refused",
        (Some(_), true) => "there were no orphans then",
        (Some(_), false) => "no orphans",
    }
}

/// What an approval is for, and when: nothing is compared while the token is refused.
fn to_be_reaped(orphans: &[OrphanView], is_refused: bool) -> String {
    let when = if is_refused { "when another token is accepted" } else { "at the next comparisons, within seconds" };
    match orphans.iter().filter(|orphan| orphan.reaped_at.is_none()).count() {
        0 => "there is nothing to reap".into(),
        count => {
            format!("{} {when}; see: bifrost machines sweep", counted(count, "orphan is reaped", "orphans are reaped"))
        }
    }
}

/// What all machines are refused for, which is said with the cure: the server's token, its provider that is away, or their
/// image.
async fn warn_of_refusals(invocation: &Invocation, server: &Server) -> Option<CostView> {
    let cost = server.control.cost().await.ok()?;
    for refusal in cost.refusals() {
        invocation.output.warn(&refusal.message);
    }
    Some(cost)
}

/// What is said where there are none: what keeps the first task from bringing one up, unless there was a warning of it.
fn none(cost: Option<&CostView>) -> String {
    let is_said = cost.is_some_and(|cost| cost.refusals().next().is_some());
    match cost.and_then(|cost| cost.held.as_ref()) {
        _ if is_said => "no machines".into(),
        None => "no machines: the first task brings one up".into(),
        Some(held) => format!("no machines, and no task brings one up now: {held}"),
    }
}

/// Has a volume destroyed that was kept for the work on it.
async fn discard(invocation: &Invocation, volume: VolumeId) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let gone = server.ask(async |control| control.discard_volume(volume).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&gone);
    }
    output.say(&format!("volume {} goes, and with it {}", gone.id, gone.what));
    Ok(())
}

/// Lists the machines of the pool.
async fn list(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let machines = server.ask(async |control| control.machines().await).await?;
    let cost = warn_of_refusals(invocation, &server).await;
    let output = invocation.output;
    if output.is_json {
        return output.json(&machines);
    }
    if machines.is_empty() {
        output.say(&none(cost.as_ref()));
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |machine: &MachineView| {
        vec![
            machine.id.to_string(),
            machine.name.clone(),
            machine.state.to_string(),
            show_age(now, machine.state_since),
            or_dash(machine.region.clone()),
            or_dash(joined(&machine.repositories)),
            or_dash(machine.error.clone()),
        ]
    };
    let header = ["ID", "NAME", "STATE", "SINCE", "REGION", "REPOSITORIES", "LAST ERROR"];
    let rows = machines.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

#[cfg(test)]
mod tests {
    use wire::cost::{CostFinding, CostProblem};

    use super::*;

    #[test]
    fn an_age_of_a_comparison_is_the_most_that_it_can_be() {
        let at = DateTime::UNIX_EPOCH;
        assert_eq!(compared(at, at), "registry and provider were compared now");
        let later = at + chrono::TimeDelta::seconds(29);
        assert_eq!(compared(later, at), "registry and provider were compared at most 29 s ago");
    }

    #[test]
    fn where_no_task_would_bring_a_machine_up_that_is_said_with_what_holds_it() {
        let finding = |problem| CostFinding { problem, message: "m".into(), machine_id: None };
        let cost = |problems: &[CostProblem], held: Option<&str>| CostView {
            as_of: DateTime::UNIX_EPOCH,
            prices_of: String::new(),
            machines: vec![],
            strangers: 0,
            machines_max: 3,
            spending: vec![],
            findings: problems.iter().map(|&problem| finding(problem)).collect(),
            held: held.map(str::to_owned),
        };
        assert_eq!(none(None), "no machines: the first task brings one up");
        assert_eq!(none(Some(&cost(&[], None))), "no machines: the first task brings one up");
        let spent = cost(&[CostProblem::OverBudget], Some("the budget pays for no more"));
        assert_eq!(none(Some(&spent)), "no machines, and no task brings one up now: the budget pays for no more");
        for problem in [CostProblem::TokenRefused, CostProblem::ProviderAway, CostProblem::ImageMissing] {
            assert_eq!(none(Some(&cost(&[problem], Some("it is refused")))), "no machines", "{problem}");
        }
    }

    #[test]
    fn an_approval_says_how_much_goes() {
        let orphan = |reaped_at| OrphanView {
            provider_id: "m".into(),
            kind: wire::machine::OrphanKind::Machine,
            name: "m".into(),
            region: "iad".into(),
            sightings: 1,
            first_seen_at: DateTime::UNIX_EPOCH,
            reaped_at,
            error: None,
            needs_approval: true,
        };
        let gone = orphan(Some(DateTime::UNIX_EPOCH));
        assert_eq!(to_be_reaped(&[], false), "there is nothing to reap");
        assert_eq!(to_be_reaped(std::slice::from_ref(&gone), false), "there is nothing to reap");
        assert!(to_be_reaped(&[orphan(None), gone.clone()], false).starts_with("1 orphan is reaped at the next"));
        let both = [orphan(None), orphan(None), gone];
        assert!(to_be_reaped(&both, false).starts_with("2 orphans are reaped at the next"));
        assert!(to_be_reaped(&both, true).starts_with("2 orphans are reaped when another token is accepted"));
    }

    #[test]
    fn there_are_no_orphans_only_where_somebody_could_look() {
        let once = Some(DateTime::UNIX_EPOCH);
        for (compared_at, is_refused, said) in [
            (once, false, "no orphans"),
            (once, true, "there were no orphans then"),
            (None, true, "nothing is known of orphans while the token is refused"),
            (None, false, "nothing is known of orphans before that"),
        ] {
            assert_eq!(without_orphans(compared_at, is_refused), said);
        }
    }
}
