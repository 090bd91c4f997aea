//! Checkpoints on both databases: what machines tell, pins, and tasks that begin from one.

use std::time::Duration;

use pool::workers::Worker;
use wire::checkpoint::ChangeKind;
use wire::execution::Outcome;
use wire::id::WorkerId;
use wire::test_report::{FailedTest, TestFormat, TestReport};
use wire::worker::{Completion, Lease, Poll};

use super::*;
use crate::tests::{
    begun, code, ended, leased, migrations, note as bare_note, run, schedule, status, submit, tenant, worker,
};
use crate::{Settings, leases};

pub(crate) fn saved(ctx: &Ctx, lease: &Lease, paths: &[(&str, &str)]) -> SavedCheckpoint {
    ctx.clock.advance(Duration::from_millis(1));
    let change = |(path, digest): &(&str, &str)| FileChange {
        path: (*path).into(),
        change: if digest.is_empty() { ChangeKind::Deleted } else { ChangeKind::Written },
        bytes: 1,
        digest: (!digest.is_empty()).then(|| (*digest).into()),
    };
    SavedCheckpoint {
        id: ctx.id(CheckpointId::mint),
        execution_id: lease.execution_id,
        commit: "c0ffee".into(),
        saved_at: ctx.now(),
        files: paths.iter().filter(|(_, digest)| !digest.is_empty()).count() as u64,
        deleted: paths.iter().filter(|(_, digest)| digest.is_empty()).count() as u64,
        stored_bytes: 7,
        unpushed: vec!["refs/bifrost/wip/x".into()],
        changes: paths.iter().map(change).collect(),
    }
}

async fn of(ctx: &Ctx, id: WorkerId) -> Worker {
    pool::workers::get(ctx, id).await.expect("found")
}

/// A task that has failed and left a checkpoint.
async fn failed(ctx: &Ctx, tenant: TenantId) -> (TaskId, WorkerId, CheckpointView) {
    let (task, worker, lease) = begun(ctx, tenant).await;
    let checkpoint = saved(ctx, &lease, &[("a", "1"), ("gone", "")]);
    let word = Completion { checkpoint: Some(checkpoint.clone()), ..ended(&lease, Outcome::Failed) };
    leases::complete(ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("completes");
    let view = list(ctx, tenant, Some(task)).await.expect("lists").remove(0);
    assert_eq!(view.id, checkpoint.id);
    (task, worker, view)
}

async fn poll(ctx: &Ctx, worker: WorkerId, held: &[(CheckpointId, bool)]) -> Instruction {
    let held = held.iter().map(|(id, pinned)| HeldCheckpoint { id: *id, pinned: *pinned }).collect();
    let poll = Poll { checkpoints: Some(held), ..Poll::default() };
    leases::next(ctx, &Settings::default(), worker, &poll).await.expect("polls")
}

kernel::on_both! { migrations();
    async fn what_a_machine_tells_is_shown_to_its_tasks_tenant_and_nobody_else(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, view) = failed(&ctx, tenant).await;
        assert_eq!((view.task_id, view.files, view.deleted, view.stored_bytes), (task, 1, 1, 7));
        assert_eq!((view.commit.as_str(), view.repository.as_str()), ("c0ffee", "https://example.org/a"));
        assert_eq!(Some(view.machine_id), of(&ctx, worker).await.machine_id);
        let detail = get(&ctx, tenant, view.id).await.expect("found");
        assert_eq!((detail.changes.len(), detail.unnamed), (2, 0));
        assert_eq!(list(&ctx, tenant, None).await.expect("lists"), std::slice::from_ref(&view));
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(get(&ctx, stranger, view.id).await), "not_found");
        assert_eq!(code(pin(&ctx, stranger, view.id, true).await), "not_found");
        assert_eq!(list(&ctx, stranger, None).await.expect("lists"), []);
    }

    async fn only_the_worker_of_an_execution_tells_of_its_checkpoints_and_twice_counts_once(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let mut long = saved(&ctx, &lease, &[("a", "1")]);
        long.changes = vec![FileChange { path: "x".repeat(9_999), ..long.changes[0].clone() }; 999];
        for _ in 0..2 {
            tell(&ctx, &of(&ctx, worker).await, long.clone()).await.expect("heard");
        }
        let other = Worker { id: ctx.id(WorkerId::mint), ..of(&ctx, worker).await };
        tell(&ctx, &other, saved(&ctx, &lease, &[])).await.expect("ignored");
        let known = list(&ctx, tenant, Some(task)).await.expect("lists");
        assert_eq!(known.iter().map(|view| view.id).collect::<Vec<_>>(), [long.id]);
        let detail = get(&ctx, tenant, long.id).await.expect("found");
        assert_eq!(detail.changes.len(), CHECKPOINT_PATHS);
        assert_eq!(detail.changes[0].path.len(), CHECKPOINT_PATH_CHARS);
    }

    async fn a_pin_is_said_until_it_is_heard_and_what_a_machine_lost_is_forgotten(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, view) = failed(&ctx, tenant).await;
        let pinned = pin(&ctx, tenant, view.id, true).await.expect("pins");
        assert_eq!((pinned.pinned, pinned.pin_is_heard), (true, false));
        let said = Instruction::Pin { checkpoint_id: view.id, pinned: true };
        assert_eq!(poll(&ctx, worker, &[(view.id, false)]).await, said);
        assert_eq!(poll(&ctx, worker, &[(view.id, false)]).await, said);
        assert_eq!(poll(&ctx, worker, &[(view.id, true)]).await, Instruction::Wait);
        assert!(list(&ctx, tenant, None).await.expect("lists")[0].pin_is_heard);
        let back = pin(&ctx, tenant, view.id, false).await.expect("unpins");
        assert_eq!((back.pinned, back.pin_is_heard), (false, false));
        ctx.clock.advance(Duration::from_millis(1));
        let later = ctx.id(CheckpointId::mint);
        assert_eq!(poll(&ctx, worker, &[(later, false)]).await, Instruction::Wait);
        assert_eq!(list(&ctx, tenant, None).await.expect("lists"), []);
    }

    async fn a_restored_task_goes_to_the_machine_that_has_its_checkpoint(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, view) = failed(&ctx, tenant).await;
        let restored = restore(&ctx, tenant, task, Restore::default()).await.expect("restores");
        assert_eq!(restored.status, TaskStatus::Ready);
        assert_eq!(restored.spec.expect("has one").checkpoint, Some(view.id));
        assert!(get(&ctx, tenant, view.id).await.expect("found").checkpoint.pinned);
        schedule(&ctx).await;
        assert_eq!(leased(&ctx, worker).await.spec.checkpoint, Some(view.id));
        assert_eq!(code(restore(&ctx, tenant, task, Restore::default()).await), "task_not_failed");
    }

    async fn a_task_from_a_checkpoint_waits_for_its_machine_and_holds_nobody_up(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, view) = failed(&ctx, tenant).await;
        let from = |id: CheckpointId| {
            let mut new = run("fork");
            new.spec = new.spec.map(|spec| TaskSpec { checkpoint: Some(id), ..spec });
            new
        };
        let busy = submit(&ctx, tenant, run("busy")).await.id;
        schedule(&ctx).await;
        leased(&ctx, worker).await;
        let fork = submit(&ctx, tenant, from(view.id)).await;
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, busy).await, TaskStatus::Assigned);
        assert_eq!(status(&ctx, tenant, fork.id).await, TaskStatus::Ready);
        for (new, expect) in [
            (from(ctx.id(CheckpointId::mint)), "spec.checkpoint"),
            ({ let mut new = from(view.id); new.spec.as_mut().expect("has one").repository = "https://example.org/b".into(); new }, "spec.checkpoint"),
        ] {
            let refused = tasks::submit(&ctx, &Settings::default(), tenant, new, None).await.expect_err("refused");
            assert!(refused.to_string().contains(expect), "{refused}");
        }
        assert_eq!(code(restore(&ctx, tenant, submit(&ctx, tenant, bare_note("n")).await.id, Restore::default()).await), "not_found");
    }

    async fn a_task_that_is_imported_or_comes_with_others_is_bound_as_well(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, _, view) = failed(&ctx, tenant).await;
        let mut new = run("t");
        new.spec.as_mut().expect("has one").checkpoint = Some(view.id);
        let graph = wire::batch::NewGraph { tasks: vec![new.clone()], ..Default::default() };
        let batch = tasks::batch::submit(&ctx, &Settings::default(), tenant, graph, None).await.expect("submits");
        let mut tx = ctx.read("test").await.expect("begins");
        assert_eq!(tasks::load(&mut tx, tenant, batch[0].id).await.expect("found").machine, Some(view.machine_id));
    }

    async fn two_checkpoints_are_compared_by_path(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, lease) = begun(&ctx, tenant).await;
        let (old, new) = (saved(&ctx, &lease, &[("a", "1"), ("b", "1"), ("c", "1")]), saved(&ctx, &lease, &[("a", "1"), ("b", "2"), ("d", "1"), ("c", "")]));
        for one in [&old, &new] {
            tell(&ctx, &of(&ctx, worker).await, one.clone()).await.expect("heard");
        }
        let diff = diff(&ctx, tenant, old.id, new.id).await.expect("compares");
        assert_eq!(diff.paths.iter().map(|path| path.path.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
        assert!(diff.same_commit && !diff.is_cut && diff.paths[2].from.is_none());
    }

    async fn the_checkpoints_of_a_machine_that_is_gone_are_forgotten_and_so_are_a_deleted_tasks(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, view) = failed(&ctx, tenant).await;
        assert_eq!(LostCheckpoints.tick(&ctx).await.expect("looks"), 0);
        let mut tx = ctx.begin("test").await.expect("begins");
        let elsewhere = CheckpointView { id: ctx.id(CheckpointId::mint), machine_id: ctx.id(MachineId::mint), ..view.clone() };
        store::insert(&mut tx, tenant, &Checkpoint { view: elsewhere, changes: vec![] }).await.expect("inserts");
        tx.commit(()).await.expect("commits");
        assert_eq!(LostCheckpoints.tick(&ctx).await.expect("looks"), 1);
        assert_eq!(list(&ctx, tenant, None).await.expect("lists"), [view]);
        tasks::delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(list(&ctx, tenant, None).await.expect("lists"), []);
        assert!(of(&ctx, worker).await.machine_id.is_some());
    }

    async fn a_machine_is_kept_for_work_that_is_nowhere_else_and_for_pins(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, _, view) = failed(&ctx, tenant).await;
        let kept = async |since| {
            let mut tx = ctx.begin("test").await.expect("begins");
            machines_with_work(&mut tx, since).await.expect("looks")
        };
        let a_while = chrono::TimeDelta::seconds(1);
        assert_eq!(kept(view.saved_at - a_while).await, [view.machine_id].into(), "unpushed");
        assert_eq!(kept(view.saved_at + a_while).await, [].into(), "for too long");
        pin(&ctx, tenant, view.id, true).await.expect("pins");
        assert_eq!(kept(view.saved_at + a_while).await, [view.machine_id].into(), "pinned");
        pin(&ctx, tenant, view.id, false).await.expect("unpins");
        let mut tx = ctx.begin("test").await.expect("begins");
        let id = ctx.id(CheckpointId::mint);
        let pushed = CheckpointView { id, machine_id: ctx.id(MachineId::mint), unpushed: vec![], ..view.clone() };
        store::insert(&mut tx, tenant, &Checkpoint { view: pushed, changes: vec![] }).await.expect("inserts");
        tx.commit(()).await.expect("commits");
        assert_eq!(kept(view.saved_at - a_while).await, [view.machine_id].into(), "not for what was pushed");
        tasks::delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(kept(view.saved_at - a_while).await, [].into());
    }

    async fn a_machine_with_work_is_destroyed_by_force_alone_and_from_then_on_its_checkpoints_are_gone(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, _, view) = failed(&ctx, tenant).await;
        pin(&ctx, tenant, view.id, true).await.expect("pins");
        let work: pool::SharedWork = std::sync::Arc::new(OnDisks::new(&Settings::default()));
        // Whoever asks is of another tenant than whose work it is.
        let stranger = ctx.of_request(None);
        stranger.belongs_to(ctx.id(TenantId::mint));
        let destroy = async |force| pool::machines::destroy(&stranger, &work, view.machine_id, force).await;
        let refused = destroy(false).await.expect_err("has work");
        assert_eq!(refused.code(), "machine_has_work");
        let what = "1 pinned checkpoint and 1 checkpoint with work that was pushed nowhere";
        assert!(refused.to_string().contains(what), "{refused}");

        destroy(true).await.expect("ordered");
        let mut from_it = run("fork");
        from_it.spec.as_mut().expect("has one").checkpoint = Some(view.id);
        assert_eq!(code(tasks::submit(&ctx, &Settings::default(), tenant, from_it, None).await), "checkpoint_gone");
        assert_eq!(code(restore(&ctx, tenant, task, Restore::default()).await), "checkpoint_gone");
        assert_eq!(LostCheckpoints.tick(&ctx).await.expect("looks"), 1, "before the machine is destroyed");
        assert_eq!(list(&ctx, tenant, None).await.expect("lists"), []);
        let mut tx = ctx.begin("test").await.expect("begins");
        let told = kernel::outbox::pending(&mut tx, 1_000).await.expect("reads");
        let told: Vec<_> = told.into_iter().filter(|event| event.kind == kind::CHECKPOINT_GONE).collect();
        assert_eq!(told.iter().map(|event| event.task_id).collect::<Vec<_>>(), [Some(task)]);
        assert!(told[0].payload.get().contains(&view.id.to_string()), "{:?}", told[0]);
    }

    async fn what_a_machine_alone_has_is_said_in_words(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, _, view) = failed(&ctx, tenant).await;
        let said = async |later: Duration| {
            let mut tx = ctx.begin("test").await.expect("begins");
            let now = ctx.now() + later;
            pool::WorkOnDisks::of(&OnDisks::new(&Settings::default()), &mut tx, view.machine_id, now).await.expect("says")
        };
        let unpushed = "1 checkpoint with work that was pushed nowhere";
        assert_eq!(said(Duration::ZERO).await.as_deref(), Some(unpushed));
        assert_eq!(said(Settings::default().keep_work * 2).await, None, "for too long");
        pin(&ctx, tenant, view.id, true).await.expect("pins");
        assert_eq!(said(Settings::default().keep_work * 2).await.as_deref(), Some("1 pinned checkpoint"));
    }

    async fn an_agent_is_told_which_tests_failed_the_last_time(ctx) {
        let tenant = tenant(&ctx).await;
        let mut new = run("t");
        let agent = wire::agent::AgentSpec { name: "mock".into(), prompt: "Fix it.".into(), model: None, session: None };
        new.spec = new.spec.map(|spec| TaskSpec { command: vec![], agent: Some(agent), ..spec });
        let task = submit(&ctx, tenant, new).await.id;
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        assert_eq!(lease.spec.agent.as_ref().expect("asked").prompt, "Fix it.");
        let failure = FailedTest { name: "test_sum".into(), message: "expected 3, found 4".into(), duration_ms: Some(1) };
        let report = TestReport {
            format: Some(TestFormat::Pytest), command: vec!["pytest".into()], success: false,
            passed: 1, failed: 1, skipped: 0, duration_ms: 5, failures: vec![failure], unread: None,
            last_words: None,
        };
        let word = Completion { tests: Some(report.clone()), ..ended(&lease, Outcome::Failed) };
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("completes");
        assert_eq!(tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("has one").tests, Some(report));
        tasks::retry(&ctx, tenant, task, None).await.expect("retries");
        schedule(&ctx).await;
        let prompt = leased(&ctx, worker).await.spec.agent.expect("asked").prompt;
        assert!(prompt.starts_with("Fix it.\n\nAttempt 1 at this"), "{prompt}");
        assert!(prompt.contains("test_sum") && prompt.contains("expected 3, found 4"), "{prompt}");
        assert_eq!(tasks::get(&ctx, tenant, task).await.expect("found").spec.expect("has one").agent.expect("asked").prompt, "Fix it.");
    }
}
