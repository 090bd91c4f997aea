//! Claims on both databases: who gets what, whose word counts, and that no task has two owners.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kernel::{Actor, Reconciler as _, audit};
use kit::Tasks;
use wire::admission::NewLimit;
use wire::claim::{Claim, ClaimCompletion, Completions, LeaseView, NewClaim, ReleaseClaim, RenewClaim, StartClaim};
use wire::dependency::NewDependency;
use wire::execution::Outcome;
use wire::metadata::{AGENT_TYPE_KEY, NewMetadata, Tags};
use wire::task::{NewTask, Priority, TaskStatus, TaskView};
use wire::worker::{NewWorker, WorkerStatus};

use super::*;
use crate::admission::tests::held_project;
use crate::tests::{code, migrations, note, run, schedule, status, submit, take_back, tenant};
use crate::{dependencies, executions, holds, limits, metadata, tasks};

fn desk(ctx: &Ctx) -> Desk {
    Desk::open(ctx, &Arc::default(), &Tasks::new())
}

fn by(worker: &str) -> NewClaim {
    NewClaim { worker: Some(worker.into()), ..NewClaim::default() }
}

fn by_hand(worker_type: &str, capacity: i32) -> NewWorker {
    NewWorker { worker_type: worker_type.into(), capacity, agent_types: vec![], metadata: serde_json::json!({}) }
}

fn titles(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.task.title.as_str()).collect()
}

fn start(claim: &Claim) -> StartClaim {
    StartClaim { fence: Some(claim.fence) }
}

fn release(claim: &Claim) -> ReleaseClaim {
    ReleaseClaim { fence: Some(claim.fence), reason: None }
}

fn result(claim: &Claim, success: bool) -> ExecutionResult {
    ExecutionResult {
        success,
        fence: Some(claim.fence),
        cost_dollars: Some("0.5".into()),
        tokens: None,
        error_message: None,
    }
}

/// One claim of one task.
async fn one(ctx: &Ctx, desk: &Desk, tenant: TenantId, claim: NewClaim) -> Claim {
    desk.claim(ctx, tenant, claim).await.expect("claims").pop().expect("a task is ready")
}

async fn load(ctx: &Ctx, claim: &Claim) -> (i32, WorkerStatus) {
    let worker = pool::workers::get(ctx, claim.worker_id).await.expect("is there");
    (worker.current_load, worker.status)
}

async fn kinds(ctx: &Ctx, task: &TaskView) -> Vec<String> {
    let mut tx = ctx.read("test").await.expect("begins");
    let events = kernel::outbox::pending(&mut tx, 1_000).await.expect("reads");
    events.into_iter().filter(|event| event.task_id == Some(task.id)).map(|event| event.kind).collect()
}

kernel::on_both! { migrations();
    async fn a_claimed_task_goes_from_claim_to_end(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let task = submit(&ctx, tenant, note("a")).await;
        let claim = one(&ctx, &desk, tenant, NewClaim { agent_type: Some("claude_code".into()), ..by("w") }).await;
        assert_eq!((claim.fence, claim.task.id, claim.task.status), (1, task.id, TaskStatus::Assigned));
        assert_eq!(claim.lease_until, ctx.now() + TimeDelta::seconds(300));
        assert_eq!(claim.task, tasks::get(&ctx, tenant, task.id).await.expect("found"), "as everybody sees it");
        assert_eq!(load(&ctx, &claim).await, (1, WorkerStatus::Active));
        ctx.clock.advance(Duration::from_secs(2));
        for _ in 0..2 {
            desk.start(&ctx, tenant, claim.execution_id, start(&claim)).await.expect("starts, and twice is no error");
        }
        ctx.clock.advance(Duration::from_secs(3));
        let first = desk.complete(&ctx, tenant, claim.execution_id, result(&claim, true)).await.expect("ends");
        assert_eq!((first.success, first.duration_seconds, first.cost_dollars.as_str()), (Some(true), Some(3), "0.500000"));
        assert_eq!(first.agent_type, "claude_code");
        assert_eq!(executions::history(&ctx, tenant, task.id).await.expect("lists").executions, std::slice::from_ref(&first));
        let again = desk.complete(&ctx, tenant, claim.execution_id, result(&claim, true)).await.expect("twice is no error");
        assert_eq!(again, first);
        assert_eq!(code(desk.complete(&ctx, tenant, claim.execution_id, result(&claim, false)).await), "lease_lost");
        let view = tasks::get(&ctx, tenant, task.id).await.expect("found");
        assert_eq!((view.status, view.attempts), (TaskStatus::Completed, 1));
        assert_eq!(load(&ctx, &claim).await, (0, WorkerStatus::Idle));
        assert_eq!(kinds(&ctx, &task).await, ["task.submitted", "task.assigned", "task.started", "task.completed"]);
    }

    async fn the_most_urgent_comes_first_then_the_oldest_and_never_what_waits_for_another(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let with = |title: &str, priority: i16| NewTask { priority: Priority::try_from(priority).expect("1 to 5"), ..note(title) };
        let first = submit(&ctx, tenant, with("old", 3)).await;
        submit(&ctx, tenant, with("new", 3)).await;
        submit(&ctx, tenant, with("urgent", 5)).await;
        let blocked = submit(&ctx, tenant, with("blocked", 5)).await;
        let needs = NewDependency::on(first.id);
        dependencies::add(&ctx, tenant, blocked.id, needs, None).await.expect("adds");
        let all = desk.claim(&ctx, tenant, NewClaim { limit: Some(100), start: true, ..by("w") }).await.expect("claims");
        assert_eq!(titles(&all), ["urgent", "old", "new"]);
        assert!(all.iter().all(|claim| claim.task.status == TaskStatus::InProgress));
        assert_eq!(desk.claim(&ctx, tenant, by("w")).await.expect("answers"), []);
        desk.complete(&ctx, tenant, all[1].execution_id, result(&all[1], true)).await.expect("ends");
        assert_eq!(one(&ctx, &desk, tenant, by("w")).await.task.title, "blocked", "what it needs is completed");
    }

    async fn a_claim_leaves_the_pools_tasks_alone_unless_it_asks_for_them(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        submit(&ctx, tenant, run("the pool's")).await;
        submit(&ctx, tenant, note("anybody's")).await;
        let limit = Some(10);
        assert_eq!(titles(&desk.claim(&ctx, tenant, NewClaim { limit, ..by("w") }).await.expect("claims")), ["anybody's"]);
        let claims = desk.claim(&ctx, tenant, NewClaim { limit, include_spec: true, ..by("w") }).await.expect("claims");
        assert_eq!(titles(&claims), ["the pool's"]);
        assert!(claims[0].task.spec.is_some(), "its claimer runs it");
        schedule(&ctx).await;
        assert!(pool::machines::list(&ctx).await.expect("lists").is_empty(), "nothing is left for the pool");
    }

    async fn a_task_that_asks_for_a_type_of_agent_goes_to_no_other(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let careful = submit(&ctx, tenant, note("for careful hands")).await;
        submit(&ctx, tenant, note("for anybody")).await;
        let value = NewMetadata { key: AGENT_TYPE_KEY.into(), value: "careful".into() };
        metadata::set(&ctx, tenant, careful.id, value).await.expect("is set");
        let as_type = |name: &str, agent_type: &str| NewClaim { agent_type: Some(agent_type.into()), limit: Some(5), ..by(name) };
        let claims = desk.claim(&ctx, tenant, NewClaim { limit: Some(5), ..by("plain") }).await.expect("claims");
        assert_eq!((titles(&claims), claims[0].task.status), (vec!["for anybody"], TaskStatus::Assigned));
        assert_eq!(desk.claim(&ctx, tenant, as_type("hasty", "hasty")).await.expect("answers"), []);
        let why = crate::why(&ctx, &Settings::default(), &pool::Settings::default(), tenant, careful.id).await.expect("says why");
        assert!(why.reasons[0].message.contains("an agent of the type \"careful\""), "{why:?}");
        let claims = desk.claim(&ctx, tenant, as_type("ada", "careful")).await.expect("claims");
        assert_eq!(titles(&claims), ["for careful hands"]);
        desk.release(&ctx, tenant, claims[0].execution_id, ReleaseClaim::default()).await.expect("is given back");
        // A worker that is registered with its types need not say which.
        let mut new = by_hand("person", 5);
        new.agent_types = vec!["careful".into(), "codex".into()];
        let worker = pool::workers::add(&ctx, new, None).await.expect("adds").id;
        let claims = desk.claim(&ctx, tenant, NewClaim { worker_id: Some(worker), ..NewClaim::default() }).await.expect("claims");
        assert_eq!(titles(&claims), ["for careful hands"]);
        let history = executions::history(&ctx, tenant, careful.id).await.expect("lists");
        assert_eq!(history.executions[0].agent_type, "careful");
    }

    async fn a_claim_by_tags_takes_only_what_carries_all_of_them(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for (title, tags) in [("none", vec![]), ("one", vec!["a"]), ("both", vec!["b", "a", "%"])] {
            let task = submit(&ctx, tenant, note(title)).await.id;
            let tags = Tags { tags: tags.into_iter().map(String::from).collect() };
            metadata::tag(&ctx, tenant, task, tags).await.expect("tags");
        }
        submit(&ctx, tenant, note("untagged")).await;
        let tagged = |tags: &[&str]| NewClaim { limit: Some(9), tags: tags.iter().map(|t| (*t).into()).collect(), ..by("w") };
        assert_eq!(titles(&desk.claim(&ctx, tenant, tagged(&["a", "%"])).await.expect("claims")), ["both"]);
        assert_eq!(titles(&desk.claim(&ctx, tenant, tagged(&["a"])).await.expect("claims")), ["one"]);
        assert_eq!(titles(&desk.claim(&ctx, tenant, tagged(&["c"])).await.expect("claims")), [""; 0]);
        assert_eq!(titles(&desk.claim(&ctx, tenant, tagged(&[])).await.expect("claims")), ["none", "untagged"]);
    }

    async fn a_claim_takes_nothing_that_is_held_or_too_early_and_no_more_than_a_key_allows(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let all = NewClaim { limit: Some(100), ..by("w") };
        let not_before = Some(ctx.now() + TimeDelta::hours(1));
        submit(&ctx, tenant, NewTask { not_before, priority: Priority::try_from(5).expect("1 to 5"), ..note("early") }).await;
        for number in 0..3 {
            submit(&ctx, tenant, NewTask { project: Some("held".into()), ..note(&format!("held {number}")) }).await;
            submit(&ctx, tenant, NewTask { keys: vec!["db".into()], ..note(&format!("limited {number}")) }).await;
        }
        submit(&ctx, tenant, note("free")).await;
        let held = holds::set(&ctx, tenant, "me", held_project("held"), None).await.expect("holds");
        let limit = NewLimit { max_running: Some(2), ..NewLimit::default() };
        limits::set(&ctx, tenant, "db", limit).await.expect("limits");
        let claims = desk.claim(&ctx, tenant, all.clone()).await.expect("claims");
        assert_eq!(titles(&claims), ["limited 0", "limited 1", "free"]);
        desk.complete(&ctx, tenant, claims[0].execution_id, result(&claims[0], true)).await.expect("ends");
        holds::remove(&ctx, tenant, held.id).await.expect("lets go");
        let claims = desk.claim(&ctx, tenant, all).await.expect("claims");
        assert_eq!(titles(&claims), ["held 0", "held 1", "held 2", "limited 2"]);
    }

    async fn a_claims_cost_is_what_it_says_since_no_machine_of_ours_carried_it(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        submit(&ctx, tenant, note("a")).await;
        let claim = one(&ctx, &desk, tenant, NewClaim { lease_seconds: Some(86_400), start: true, ..by("w") }).await;
        ctx.clock.advance(Duration::from_secs(7_200));
        let told = ExecutionResult { tokens: Some(7), ..result(&claim, true) };
        let ended = desk.complete(&ctx, tenant, claim.execution_id, told).await.expect("ends");
        assert_eq!((ended.cost_dollars.as_str(), ended.tokens), ("0.500000", 7));
    }

    async fn a_lease_that_runs_out_gives_the_task_back_and_spends_no_attempt(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let task = submit(&ctx, tenant, note("a")).await.id;
        let lost = one(&ctx, &desk, tenant, NewClaim { lease_seconds: Some(10), start: true, ..by("w") }).await;
        ctx.clock.advance(Duration::from_secs(9));
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
        ctx.clock.advance(Duration::from_secs(2));
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
        let second = one(&ctx, &desk, tenant, by("v")).await;
        assert_eq!((second.task.id, second.fence, second.task.attempts), (task, 2, 0));
        let renew = RenewClaim { fence: Some(lost.fence), lease_seconds: None };
        for refused in [
            code(desk.start(&ctx, tenant, lost.execution_id, start(&lost)).await),
            code(desk.renew(&ctx, tenant, lost.execution_id, renew).await),
            code(desk.complete(&ctx, tenant, lost.execution_id, result(&lost, true)).await),
            code(desk.release(&ctx, tenant, lost.execution_id, release(&lost)).await),
        ] {
            assert_eq!(refused, "lease_lost");
        }
        assert_eq!(load(&ctx, &lost).await.0, 0);
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Assigned, "the second holds it still");
    }

    async fn a_heartbeat_renews_a_lease_and_never_shortens_it(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        submit(&ctx, tenant, note("a")).await;
        let claim = one(&ctx, &desk, tenant, NewClaim { lease_seconds: Some(3_600), ..by("w") }).await;
        // Long past the silence after which a runner counts as gone.
        ctx.clock.advance(Duration::from_secs(1_800));
        pool::workers::disable_stale(&ctx).await.expect("looks");
        take_back(&ctx).await;
        assert_eq!(load(&ctx, &claim).await, (1, WorkerStatus::Disabled));
        let renewed = async |lease_seconds| {
            let renew = RenewClaim { fence: Some(claim.fence), lease_seconds };
            let LeaseView { lease_until, is_called_off, .. } =
                desk.renew(&ctx, tenant, claim.execution_id, renew).await.expect("renews");
            assert!(!is_called_off);
            (lease_until - ctx.now()).num_seconds()
        };
        assert_eq!(renewed(None).await, 1_800);
        assert_eq!(renewed(Some(7_200)).await, 7_200);
        assert_eq!(load(&ctx, &claim).await, (1, WorkerStatus::Active), "it was heard");
        ctx.clock.advance(Duration::from_secs(7_100));
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, claim.task.id).await, TaskStatus::Assigned);
    }

    async fn what_is_released_is_ready_again_however_often_and_the_next_one_gets_it(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let task = submit(&ctx, tenant, note("a")).await.id;
        for fence in 1..=15 {
            let claim = one(&ctx, &desk, tenant, NewClaim { start: fence % 2 == 0, ..by("w") }).await;
            assert_eq!(claim.fence, fence);
            for _ in 0..2 {
                let reason = ReleaseClaim { reason: Some("not mine".into()), ..release(&claim) };
                let view = desk.release(&ctx, tenant, claim.execution_id, reason).await.expect("twice is no error");
                assert_eq!((view.outcome, view.error_message.as_deref()), (Some(Outcome::Released), Some("not mine")));
            }
        }
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts), (TaskStatus::Ready, 0));
    }

    async fn what_was_called_off_is_told_with_the_heartbeat_and_does_not_come_back(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for begun in [false, true] {
            submit(&ctx, tenant, note("a")).await;
            let claim = one(&ctx, &desk, tenant, NewClaim { start: begun, ..by("w") }).await;
            tasks::cancel(&ctx, &Settings::default(), tenant, claim.task.id).await.expect("cancels");
            let renewed = desk.renew(&ctx, tenant, claim.execution_id, RenewClaim { fence: Some(claim.fence), lease_seconds: None }).await;
            if begun {
                assert!(renewed.expect("renews").is_called_off);
                desk.release(&ctx, tenant, claim.execution_id, release(&claim)).await.expect("gives back");
            } else {
                assert_eq!(code(renewed), "lease_lost");
            }
            assert_eq!(status(&ctx, tenant, claim.task.id).await, TaskStatus::Cancelled);
        }
    }

    async fn a_word_without_the_right_fence_counts_for_nothing(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        submit(&ctx, tenant, note("a")).await;
        let claim = one(&ctx, &desk, tenant, by("w")).await;
        let forged = Claim { fence: 2, ..claim.clone() };
        assert_eq!(code(desk.start(&ctx, tenant, claim.execution_id, start(&forged)).await), "lease_lost");
        assert_eq!(code(desk.complete(&ctx, tenant, claim.execution_id, result(&forged, true)).await), "lease_lost");
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(desk.complete(&ctx, stranger, claim.execution_id, result(&claim, true)).await), "not_found");
        let unknown = ctx.id(ExecutionId::mint);
        assert_eq!(code(desk.complete(&ctx, tenant, unknown, result(&claim, true)).await), "not_found");
        assert_eq!(status(&ctx, tenant, claim.task.id).await, TaskStatus::Assigned);
        let bare = ExecutionResult { fence: None, ..result(&claim, true) };
        desk.complete(&ctx, tenant, claim.execution_id, bare).await.expect("the execution's id names the attempt");
    }

    async fn a_worker_gets_no_more_than_its_capacity_and_one_of_the_pool_nothing(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for _ in 0..5 {
            submit(&ctx, tenant, note("a")).await;
        }
        let worker = pool::workers::add(&ctx, by_hand("claude_code", 2), None).await.expect("adds").id;
        let claim = NewClaim { worker_id: Some(worker), limit: Some(9), ..NewClaim::default() };
        let two = desk.claim(&ctx, tenant, claim.clone()).await.expect("claims");
        assert_eq!(two.len(), 2);
        assert_eq!(code(desk.claim(&ctx, tenant, claim.clone()).await), "worker_full");
        desk.release(&ctx, tenant, two[0].execution_id, release(&two[0])).await.expect("gives back");
        assert_eq!(desk.claim(&ctx, tenant, claim).await.expect("claims").len(), 1);
        let unknown = NewClaim { worker_id: Some(ctx.id(wire::id::WorkerId::mint)), ..NewClaim::default() };
        assert_eq!(code(desk.claim(&ctx, tenant, unknown).await), "invalid");
        submit(&ctx, tenant, run("b")).await;
        schedule(&ctx).await;
        let pooled = crate::tests::worker(&ctx, 1).await;
        assert_eq!(code(desk.claim(&ctx, tenant, NewClaim { worker_id: Some(pooled), ..NewClaim::default() }).await), "invalid");
    }

    async fn a_name_is_one_worker_of_one_tenant(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for _ in 0..4 {
            submit(&ctx, tenant, note("a")).await;
        }
        let claims = join_all((0..4).map(|n| desk.claim(&ctx, tenant, by(if n % 2 == 0 { "even" } else { "odd" })))).await;
        let workers: BTreeSet<_> = claims.into_iter().map(|claims| claims.expect("claims")[0].worker_id).collect();
        assert_eq!(workers.len(), 2);
        let even = pool::workers::list(&ctx).await.expect("lists").into_iter().find(|w| w.name.as_deref() == Some("even"));
        let even = even.expect("is registered");
        assert_eq!((even.worker_type.as_str(), even.current_load, even.machine_id), ("agent", 2, None));
        let stranger = ctx.id(TenantId::mint);
        let theirs = NewClaim { worker_id: Some(even.id), ..NewClaim::default() };
        assert_eq!(code(desk.claim(&ctx, stranger, theirs).await), "invalid");
    }

    async fn who_came_by_a_name_and_has_nothing_is_forgotten_after_a_day(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        submit(&ctx, tenant, note("a")).await;
        desk.claim(&ctx, tenant, NewClaim { lease_seconds: Some(86_400), ..by("busy") }).await.expect("claims");
        desk.claim(&ctx, tenant, by("gone")).await.expect("answers");
        pool::workers::add(&ctx, by_hand("by hand", 1), None).await.expect("adds");
        ctx.clock.advance(Duration::from_secs(86_401));
        let sweep = pool::StaleWorkers::default();
        sweep.tick(&ctx).await.expect("sweeps");
        let left: BTreeSet<_> = pool::workers::list(&ctx).await.expect("lists").into_iter().map(|worker| worker.name).collect();
        assert_eq!(left, BTreeSet::from([None, Some("busy".to_owned())]));
    }

    async fn who_waits_is_woken_by_what_becomes_ready(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        let waiting = async || one(&ctx, &desk, tenant, NewClaim { wait_seconds: Some(30), ..by("w") }).await;
        let submitted = async || {
            // The claim has found nothing by now, since both take turns at one database.
            assert_eq!(desk.claim(&ctx, tenant, by("v")).await.expect("answers"), []);
            submit(&ctx, tenant, note("submitted")).await
        };
        let (claim, task) = tokio::join!(waiting(), submitted());
        assert_eq!(claim.task.id, task.id);
        let next = submit(&ctx, tenant, note("needs it")).await.id;
        let needs = NewDependency::on(task.id);
        dependencies::add(&ctx, tenant, next, needs, None).await.expect("adds");
        let completed = async || {
            assert_eq!(desk.claim(&ctx, tenant, by("v")).await.expect("answers"), []);
            desk.complete(&ctx, tenant, claim.execution_id, result(&claim, true)).await.expect("ends")
        };
        let (woken, _) = tokio::join!(waiting(), completed());
        assert_eq!(woken.task.id, next);
    }

    async fn many_ends_at_once_count_each_by_itself(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for title in ["a", "b", "c"] {
            submit(&ctx, tenant, note(title)).await;
        }
        let claims = desk.claim(&ctx, tenant, NewClaim { limit: Some(3), start: true, ..by("w") }).await.expect("claims");
        let end = |claim: &Claim, success: bool| ClaimCompletion {
            execution_id: claim.execution_id, fence: Some(claim.fence), success, cost_dollars: None, tokens: None, error_message: None,
        };
        let dear = ClaimCompletion { cost_dollars: Some("1e3".into()), ..end(&claims[2], true) };
        let late = ClaimCompletion { fence: Some(7), ..end(&claims[2], true) };
        let completions = vec![end(&claims[0], true), dear, late, end(&claims[1], false), end(&claims[0], true)];
        let answers = desk.complete_all(&ctx, tenant, Completions { completions }).await.expect("answers");
        let said: Vec<_> = answers.iter().map(|(_, answer)| answer.as_ref().map_err(Error::code).copied()).collect();
        let (completed, failed) = (Ok(TaskStatus::Completed), Ok(TaskStatus::Failed));
        assert_eq!(said, [completed, Err("invalid"), Err("lease_lost"), failed, completed]);
        assert_eq!(status(&ctx, tenant, claims[2].task.id).await, TaskStatus::InProgress);
        assert_eq!(code(desk.complete_all(&ctx, tenant, Completions { completions: vec![] }).await), "invalid");
    }

    async fn each_is_the_author_of_what_it_claims_and_ends_though_all_go_together(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for _ in 0..6 {
            submit(&ctx, tenant, note("a")).await;
        }
        let life = async |number: u8| {
            let key = wire::id::ApiKeyId::mint(ctx.now(), [number; 10]);
            let ctx = ctx.of_request(Some(format!("reason {number}")));
            ctx.identify(Actor::ApiKey(key));
            let claim = one(&ctx, &desk, tenant, by(&format!("w{number}"))).await;
            desk.start(&ctx, tenant, claim.execution_id, start(&claim)).await.expect("starts");
            desk.complete(&ctx, tenant, claim.execution_id, result(&claim, true)).await.expect("ends");
            let filter = audit::Filter { entity_id: Some(claim.task.id.to_string()), ..audit::Filter::default() };
            let said = audit::list(&ctx, tenant, &filter).await.expect("lists").entries;
            for action in ["task.assigned", "task.started", "task.completed"] {
                let entry = said.iter().find(|entry| entry.action == action).expect("is audited");
                assert_eq!(entry.actor, Actor::ApiKey(key).to_string());
                assert_eq!(entry.reason, Some(format!("reason {number}")));
            }
            let filter = audit::Filter { entity_id: Some(claim.worker_id.to_string()), ..audit::Filter::default() };
            let worker = audit::list(&ctx, tenant, &filter).await.expect("lists").entries;
            assert_eq!((worker[0].action.as_str(), &worker[0].actor), ("worker.added", &Actor::ApiKey(key).to_string()));
        };
        join_all((0..6).map(life)).await;
    }

    async fn a_thousand_claimers_of_a_thousand_tasks_get_one_each(ctx) {
        let (tenant, desk) = (tenant(&ctx).await, desk(&ctx));
        for _ in 0..10 {
            let tasks = (0..100).map(|n| note(&n.to_string())).collect();
            let graph = wire::batch::NewGraph { tasks, dependencies: vec![] };
            tasks::batch::submit(&ctx, &Settings::default(), tenant, graph, None).await.expect("submits");
        }
        // A second control plane on the same database.
        let other = Desk::open(&ctx, &Arc::default(), &Tasks::new());
        let claim = async |number: usize| {
            let desk = if number.is_multiple_of(2) { &desk } else { &other };
            let claim = NewClaim { start: true, wait_seconds: Some(30), ..by(&format!("w{}", number % 50)) };
            let claim = one(&ctx, desk, tenant, claim).await;
            desk.complete(&ctx, tenant, claim.execution_id, result(&claim, true)).await.expect("ends");
            claim
        };
        let claims = join_all((0..1_000).map(claim)).await;
        assert_eq!(claims.iter().map(|claim| claim.task.id).collect::<BTreeSet<_>>().len(), 1_000);
        assert!(claims.iter().all(|claim| claim.fence == 1), "nobody had it before");
        let done = tasks::Filter { status: Some(TaskStatus::Completed), ..tasks::Filter::default() };
        assert_eq!(tasks::list(&ctx, tenant, done).await.expect("lists").total, 1_000);
        assert!(pool::workers::list(&ctx).await.expect("lists").iter().all(|worker| worker.current_load == 0));
    }
}
