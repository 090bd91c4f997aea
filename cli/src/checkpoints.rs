//! `bifrost checkpoints`: what machines have saved of workspaces, and tasks that begin from it.

use wire::checkpoint::{
    ChangeKind, CheckpointDetail, CheckpointDiff, CheckpointView, FileChange, KeptWork, KeptWorkView, PathDiff, Restore,
};
use wire::id::{CheckpointId, TaskId};

use crate::args::CheckpointsCommand;
use crate::connect::Server;
use crate::duration::{show_age, show_time};
use crate::invocation::Invocation;
use crate::output::{file_name, one_line};
use crate::{run, table};

/// Carries out one of the commands; gives its exit code.
pub(crate) async fn run(invocation: &Invocation, command: &CheckpointsCommand) -> anyhow::Result<u8> {
    let server = Server::find(invocation)?;
    match command {
        CheckpointsCommand::List { task } => {
            let checkpoints = server.ask(async |control| control.checkpoints(*task).await).await?;
            list(invocation, &checkpoints)?;
        }
        CheckpointsCommand::Kept => {
            let work = server.ask(async |control| control.kept_work().await).await?;
            list_kept(invocation, &work)?;
        }
        CheckpointsCommand::Show { id } => {
            let checkpoint = server.ask(async |control| control.checkpoint(*id).await).await?;
            show(invocation, &checkpoint)?;
        }
        CheckpointsCommand::Diff { from, to } => {
            let diff = server.ask(async |control| control.checkpoint_diff(*from, *to).await).await?;
            show_diff(invocation, &diff)?;
        }
        CheckpointsCommand::Restore { task, checkpoint } => restore(invocation, &server, *task, *checkpoint).await?,
        CheckpointsCommand::Fork(arguments) => {
            let checkpoint = server.ask(async |control| control.checkpoint(arguments.id).await).await?.checkpoint;
            return run::fork(invocation, &server, &checkpoint, &arguments.run).await;
        }
        CheckpointsCommand::Pin { ids } => pin(invocation, &server, ids, true).await?,
        CheckpointsCommand::Unpin { ids } => pin(invocation, &server, ids, false).await?,
    }
    Ok(0)
}

fn list_kept(invocation: &Invocation, work: &[KeptWorkView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&work);
    }
    if work.is_empty() {
        output.say("nothing is on a machine alone: all that executions left was pushed, or there was nothing");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |one: &KeptWorkView| {
        let KeptWork { repository, reference, commit, .. } = &one.work;
        vec![
            // What git cannot give out lies there for whoever has the volume.
            if commit.is_empty() { "-".to_owned() } else { commit.clone() },
            one.url.as_ref().unwrap_or(repository).clone(),
            reference.clone(),
            one.task_id.to_string(),
            show_age(now, one.began_at),
            one.machine_id.to_string(),
        ]
    };
    let header = ["COMMIT", "REPOSITORY", "WHERE", "TASK", "BEGAN", "MACHINE"];
    let rows = work.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

fn list(invocation: &Invocation, checkpoints: &[CheckpointView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&checkpoints);
    }
    if checkpoints.is_empty() {
        output.say("no machine has saved anything: each attempt leaves a checkpoint when its command has ended");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |one: &CheckpointView| {
        vec![
            one.id.to_string(),
            one.task_id.to_string(),
            show_age(now, one.saved_at),
            changed(one),
            show_bytes(one.stored_bytes),
            pinned(one).to_owned(),
            one.machine_id.to_string(),
        ]
    };
    let header = ["CHECKPOINT", "TASK", "SAVED", "CHANGED", "STORED", "PINNED", "MACHINE"];
    let rows = checkpoints.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

fn changed(one: &CheckpointView) -> String {
    match (one.files, one.deleted) {
        (0, 0) => "nothing".into(),
        (files, 0) => format!("{files} written"),
        (0, deleted) => format!("{deleted} deleted"),
        (files, deleted) => format!("{files} written, {deleted} deleted"),
    }
}

fn pinned(one: &CheckpointView) -> &'static str {
    match (one.pinned, one.pin_is_heard) {
        (true, true) => "yes",
        // Its machine sleeps, or is about to poll: until then nothing is pruned there.
        (true, false) => "from its next poll on",
        (false, true) => "no",
        (false, false) => "until its next poll",
    }
}

/// `1.5 MiB`.
fn show_bytes(bytes: u64) -> String {
    let mut unit = "B";
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = bytes as f64;
    for larger in ["KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

fn show(invocation: &Invocation, detail: &CheckpointDetail) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&detail);
    }
    let one = &detail.checkpoint;
    let age = show_age(invocation.clock.now(), one.saved_at);
    for (name, value) in [
        ("checkpoint", one.id.to_string()),
        ("task", one.task_id.to_string()),
        ("execution", one.execution_id.to_string()),
        ("machine", one.machine_id.to_string()),
        ("repository", one.repository.clone()),
        ("commit", one.commit.clone()),
        ("saved", format!("{} ({age})", show_time(one.saved_at))),
        ("changed", changed(one)),
        ("stored", show_bytes(one.stored_bytes)),
        ("pinned", pinned(one).to_owned()),
    ] {
        output.line(&format!("{name:<12}{}", one_line(&value)))?;
    }
    for reference in &one.unpushed {
        output.line(&format!("{:<12}{}", "unpushed", one_line(reference)))?;
    }
    for change in &detail.changes {
        output.line(&change_line(change))?;
    }
    if detail.unnamed > 0 {
        output.say(&format!("and {} more that are not named here", detail.unnamed));
    }
    Ok(())
}

fn change_line(change: &FileChange) -> String {
    let path = file_name(&change.path);
    match change.change {
        ChangeKind::Written => format!("  M {path} ({})", show_bytes(change.bytes)),
        ChangeKind::Deleted => format!("  D {path}"),
    }
}

fn show_diff(invocation: &Invocation, diff: &CheckpointDiff) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&diff);
    }
    for path in &diff.paths {
        output.line(&difference_line(path))?;
    }
    if diff.paths.is_empty() {
        output.say("nothing differs in what is known of them");
    }
    if !diff.same_commit {
        output.say("they began with different commits; what differs between those is not shown");
    }
    if diff.is_cut {
        output.say("one of them has more changes than are named here, and they may differ as well");
    }
    Ok(())
}

fn difference_line(path: &PathDiff) -> String {
    format!("{} {}", letter(path), file_name(&path.path))
}

/// What became of the path between the two. Where one side does not have it, it is there as in the commit.
fn letter(path: &PathDiff) -> char {
    let is = |side: &Option<FileChange>, kind: ChangeKind| side.as_ref().is_some_and(|change| change.change == kind);
    if is(&path.to, ChangeKind::Deleted) {
        'D'
    } else if path.to.is_none() {
        'U'
    } else if is(&path.from, ChangeKind::Deleted) {
        'A'
    } else {
        'M'
    }
}

async fn restore(
    invocation: &Invocation,
    server: &Server,
    task: TaskId,
    checkpoint_id: Option<CheckpointId>,
) -> anyhow::Result<()> {
    let restore = Restore { checkpoint_id };
    // Not asked twice: after a lost answer the task may be in hand already.
    let restored = server.control.restore(task, &restore).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&restored);
    }
    let from = restored.spec.and_then(|spec| spec.checkpoint).map(|id| id.to_string()).unwrap_or_default();
    output.line(&format!("{task} {} from {from}", restored.status))?;
    output.say(&format!("follow it with: bifrost tasks logs {task} --follow"));
    Ok(())
}

async fn pin(invocation: &Invocation, server: &Server, ids: &[CheckpointId], is_wanted: bool) -> anyhow::Result<()> {
    let output = invocation.output;
    for id in ids {
        let view = server.ask(async |control| control.pin_checkpoint(*id, is_wanted).await).await?;
        if output.is_json {
            output.json(&view)?;
        } else {
            output.line(&format!("{id} {}", if is_wanted { "pinned" } else { "no longer pinned" }))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_three_digits_or_so() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (1024 * 1024 * 20, "20.0 MiB"),
            (u64::MAX, "17179869184.0 GiB"),
        ] {
            assert_eq!(show_bytes(bytes), expect);
        }
    }

    #[test]
    fn a_difference_has_a_letter() {
        let side = |change: ChangeKind| Some(FileChange { path: "a".into(), change, bytes: 1, digest: None });
        let (written, deleted) = (side(ChangeKind::Written), side(ChangeKind::Deleted));
        for (from, to, expect) in [
            (None, written.clone(), 'M'),
            (written.clone(), written.clone(), 'M'),
            (deleted.clone(), written.clone(), 'A'),
            (written.clone(), deleted.clone(), 'D'),
            (written, None, 'U'),
            (deleted, None, 'U'),
        ] {
            assert_eq!(letter(&PathDiff { path: "a".into(), from, to }), expect);
        }
    }

    #[test]
    fn each_file_is_one_line_whatever_it_is_called() {
        let path = "a\n  D b\u{1b}[2J";
        let change = |change| FileChange { path: path.into(), change, bytes: 3, digest: None };
        assert_eq!(change_line(&change(ChangeKind::Written)), r#"  M "a\n  D b\033[2J" (3 B)"#);
        assert_eq!(change_line(&change(ChangeKind::Deleted)), r#"  D "a\n  D b\033[2J""#);
        let difference = PathDiff { path: path.into(), from: None, to: Some(change(ChangeKind::Written)) };
        assert_eq!(difference_line(&difference), r#"M "a\n  D b\033[2J""#);
    }
}
