//! Workers and the states of their machines, on both databases.

use kernel::Migration;
use wire::worker::PROTOCOL;

use super::*;
use crate::Settings;
use crate::plan::Action;

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

/// A machine that the pool has decided to have.
async fn machine(ctx: &Ctx) -> MachineId {
    let mut tx = ctx.begin("test").await.expect("begins");
    machines::apply(ctx, &mut tx, &Settings::default(), &[Action::Create]).await.expect("applies");
    tx.commit(()).await.expect("commits");
    machines::list(ctx).await.expect("lists").last().expect("one").id
}

fn hello(machine_id: MachineId, boot: u128) -> Register {
    let boot = Uuid::from_u128(boot);
    Register { machine_id, boot, protocol: PROTOCOL, version: "t".into(), capacity: 1, repositories: vec![] }
}

async fn registered(ctx: &Ctx, machine_id: MachineId, boot: u128) -> Registration {
    let mut tx = ctx.begin("test").await.expect("begins");
    let registration = register(ctx, &mut tx, &hello(machine_id, boot)).await.expect("registers");
    tx.commit(registration).await.expect("commits")
}

async fn polled(ctx: &Ctx, id: WorkerId, checkpointed_batch: Option<i64>) -> Standing {
    let mut tx = ctx.begin("test").await.expect("begins");
    let worker = find(&mut tx, id).await.expect("looks").expect("is there");
    let poll = Poll { checkpointed_batch, ..Poll::default() };
    let standing = contact(ctx, &mut tx, &worker, &poll, Arrival::Fresh).await.expect("contacts");
    tx.commit(standing).await.expect("commits")
}

async fn acted(ctx: &Ctx, action: Action) {
    let mut tx = ctx.begin("test").await.expect("begins");
    assert_eq!(machines::apply(ctx, &mut tx, &Settings::default(), &[action]).await.expect("applies"), 1);
    tx.commit(()).await.expect("commits");
}

async fn state(ctx: &Ctx) -> MachineState {
    machines::list(ctx).await.expect("lists")[0].state
}

async fn free(ctx: &Ctx) -> usize {
    let mut tx = ctx.begin("test").await.expect("begins");
    available(&mut tx, ctx.now(), Duration::from_secs(45)).await.expect("looks").len()
}

fn new_worker(worker_type: &str, capacity: i32) -> NewWorker {
    let metadata = serde_json::json!({ "team": "a" });
    NewWorker { worker_type: worker_type.into(), capacity, agent_types: vec![], metadata }
}

kernel::on_both! { migrations();
    async fn a_machine_is_capacity_only_once_its_worker_has_reported_in(ctx) {
        let machine = machine(&ctx).await;
        assert_eq!((state(&ctx).await, free(&ctx).await), (MachineState::Creating, 0));
        assert!(registered(&ctx, machine, 1).await.is_new_boot);
        assert_eq!((state(&ctx).await, free(&ctx).await), (MachineState::Ready, 1));
    }

    async fn registering_again_is_the_same_worker_and_a_new_boot_is_noticed(ctx) {
        let machine = machine(&ctx).await;
        let first = registered(&ctx, machine, 1).await;
        assert_eq!(registered(&ctx, machine, 1).await, Registration { is_new_boot: false, ..first });
        assert_eq!(registered(&ctx, machine, 2).await, first);
    }

    async fn a_silent_worker_gets_no_work_and_is_disabled_after_five_minutes(ctx) {
        let machine = machine(&ctx).await;
        registered(&ctx, machine, 1).await;
        ctx.clock.advance(Duration::from_secs(46));
        assert_eq!(free(&ctx).await, 0);
        ctx.clock.advance(Duration::from_secs(253));
        disable_stale(&ctx).await.expect("looks");
        assert_eq!(list(&ctx).await.expect("lists")[0].status, WorkerStatus::Idle, "after 4:59");
        ctx.clock.advance(Duration::from_secs(2));
        let stale = disable_stale(&ctx).await.expect("looks");
        assert_eq!(stale.len(), 1);
        assert_eq!(list(&ctx).await.expect("lists")[0].status, WorkerStatus::Disabled, "after 5:01");
        assert_eq!(state(&ctx).await, MachineState::Starting, "and its machine is started anew");
    }

    async fn a_batch_ends_with_a_checkpoint_and_sleep_and_a_poll_ends_the_sleep(ctx) {
        let machine = machine(&ctx).await;
        let worker = registered(&ctx, machine, 1).await.worker;
        assert_eq!(polled(&ctx, worker, None).await, Standing::Working);
        acted(&ctx, Action::Drain(machine)).await;
        assert_eq!(polled(&ctx, worker, None).await, Standing::Draining { batch: 1 });
        assert_eq!(free(&ctx).await, 0, "no work while it saves");
        assert_eq!(polled(&ctx, worker, Some(1)).await, Standing::Resting);
        assert_eq!(state(&ctx).await, MachineState::Suspending);
        let mut tx = ctx.begin("test").await.expect("begins");
        shift(&ctx, &mut tx, machine, MachineState::Suspending, MachineState::Suspended, None).await.expect("shifts");
        tx.commit(()).await.expect("commits");
        acted(&ctx, Action::Resume(machine)).await;
        assert_eq!(free(&ctx).await, 0, "it has not reported in");
        assert_eq!(polled(&ctx, worker, Some(1)).await, Standing::Working);
        assert_eq!((state(&ctx).await, free(&ctx).await), (MachineState::Ready, 1));
    }

    async fn a_destroyed_machines_runner_is_turned_away(ctx) {
        let machine = machine(&ctx).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        shift(&ctx, &mut tx, machine, MachineState::Creating, MachineState::Destroying, None).await.expect("shifts");
        let error = register(&ctx, &mut tx, &hello(machine, 1)).await.expect_err("refused");
        assert_eq!(error.code(), "unauthenticated");
    }

    async fn the_eleventh_machine_is_refused_in_the_transaction_that_would_make_it(ctx) {
        let mut tx = ctx.begin("test").await.expect("begins");
        let made = machines::apply(&ctx, &mut tx, &Settings::default(), &[Action::Create; 11]).await.expect("applies");
        assert_eq!(made, 10);
    }

    async fn a_worker_registered_by_hand_lives_by_its_heartbeats(ctx) {
        let worker = add(&ctx, new_worker("claude_code", 3), None).await.expect("adds");
        ctx.clock.advance(Duration::from_secs(301));
        let stale = disable_stale(&ctx).await.expect("looks");
        assert_eq!(stale.iter().map(|worker| (worker.id, worker.status)).collect::<Vec<_>>(), [(worker.id, WorkerStatus::Disabled)]);
        let back = heartbeat_by_hand(&ctx, worker.id, Some(2)).await.expect("heard");
        assert_eq!((back.status, back.current_load, back.last_heartbeat), (WorkerStatus::Active, 2, ctx.now()));
        assert_eq!(heartbeat_by_hand(&ctx, worker.id, Some(4)).await.expect_err("over capacity").code(), "invalid");
        assert_eq!(remove(&ctx, worker.id).await.expect_err("it has work").code(), "worker_busy");
        heartbeat_by_hand(&ctx, worker.id, Some(0)).await.expect("heard");
        remove(&ctx, worker.id).await.expect("removed");
        assert_eq!(list(&ctx).await.expect("lists"), []);
    }

    async fn a_worker_registered_by_hand_is_changed_in_what_is_named_and_takes_its_own_type_where_none_is(ctx) {
        let added = add(&ctx, new_worker("claude_code", 3), None).await.expect("adds");
        let worker = get(&ctx, added.id).await.expect("found");
        assert_eq!((WorkerView::from(worker.clone()), worker.agent_types.as_slice()), (added, ["claude_code".to_owned()].as_slice()));
        let named = vec!["codex".to_owned(), "claude_code".into(), "codex".into()];
        let change = WorkerChange { agent_types: Some(named), capacity: Some(1), ..WorkerChange::default() };
        let changed = update(&ctx, worker.id, change).await.expect("changes");
        let expect = Worker { agent_types: vec!["codex".into(), "claude_code".into()], capacity: 1, ..worker.clone() };
        assert_eq!(changed, expect);
        assert_eq!(get(&ctx, worker.id).await.expect("found"), expect);
        let unknown = update(&ctx, ctx.id(WorkerId::mint), WorkerChange::default()).await;
        assert_eq!(unknown.expect_err("there is none").code(), "not_found");
        let pooled = registered(&ctx, machine(&ctx).await, 1).await.worker;
        assert_eq!(get(&ctx, pooled).await.expect("found").agent_types, ["command"]);
        let refused = update(&ctx, pooled, WorkerChange::default()).await;
        assert_eq!(refused.expect_err("its machine describes it").code(), "worker_has_machine");
    }

    async fn what_cannot_be_a_worker_is_refused_by_name(ctx) {
        let worker = add(&ctx, new_worker("claude_code", 3), None).await.expect("adds").id;
        let none = WorkerChange::default;
        for (change, field) in [
            (WorkerChange { worker_type: Some(" ".into()), ..none() }, "worker_type"),
            (WorkerChange { worker_type: Some("x".repeat(101)), ..none() }, "worker_type"),
            (WorkerChange { capacity: Some(0), ..none() }, "capacity"),
            (WorkerChange { capacity: Some(101), ..none() }, "capacity"),
            (WorkerChange { agent_types: Some(vec!["a\0".into()]), ..none() }, "agent_types"),
            (WorkerChange { agent_types: Some((0..101).map(|n| n.to_string()).collect()), ..none() }, "agent_types"),
            (WorkerChange { metadata: Some(serde_json::json!("x".repeat(16_384))), ..none() }, "metadata"),
            (WorkerChange { metadata: Some(serde_json::json!("a\0")), ..none() }, "metadata"),
        ] {
            let refused = update(&ctx, worker, change).await.expect_err(field).to_string();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
        }
    }

    async fn a_worker_that_may_take_less_tells_of_what_it_still_has(ctx) {
        let worker = add(&ctx, new_worker("claude_code", 3), None).await.expect("adds").id;
        heartbeat_by_hand(&ctx, worker, Some(3)).await.expect("heard");
        update(&ctx, worker, WorkerChange { capacity: Some(1), ..WorkerChange::default() }).await.expect("changes");
        assert_eq!(heartbeat_by_hand(&ctx, worker, Some(3)).await.expect("heard").current_load, 3);
        assert_eq!(heartbeat_by_hand(&ctx, worker, Some(4)).await.expect_err("no more").code(), "invalid");
    }

    async fn every_statement_is_understood(ctx) {
        kernel::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
