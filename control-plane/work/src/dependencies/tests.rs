//! Dependencies on both databases: what they block, what they refuse, and that
//! the ready set is what a small model says it is.

mod model;

use kernel::Ctx;
use wire::execution::Outcome;
use wire::task::{NewTask, Priority, TaskChange};
use wire::why::{Reason, ReasonCode};

use super::*;
use crate::tests::{
    begun, code, ended, first_reason, leased, migrations, note, run, schedule, status, submit, tenant, worker,
};
use crate::{Settings, leases, why};

fn on(needed: TaskId) -> NewDependency {
    NewDependency::on(needed)
}

fn softly_on(needed: TaskId) -> NewDependency {
    NewDependency { dependency_type: DependencyType::Soft, ..on(needed) }
}

async fn depend(ctx: &Ctx, tenant: TenantId, task: TaskId, needed: TaskId) -> DependencyView {
    add(ctx, tenant, task, on(needed), None).await.expect("is added")
}

async fn notes<const N: usize>(ctx: &Ctx, tenant: TenantId) -> [TaskId; N] {
    let mut ids = Vec::new();
    for number in 0..N {
        ids.push(submit(ctx, tenant, note(&format!("n{number}"))).await.id);
    }
    ids.try_into().expect("as many as asked for")
}

async fn set(ctx: &Ctx, tenant: TenantId, id: TaskId, to: TaskStatus) -> Result<TaskView> {
    let change = TaskChange { status: Some(to), ..TaskChange::default() };
    tasks::update(ctx, &Settings::default(), tenant, id, change).await
}

/// Does a note by hand.
async fn finish(ctx: &Ctx, tenant: TenantId, id: TaskId, end: TaskStatus) {
    for to in [TaskStatus::Assigned, TaskStatus::InProgress, end] {
        set(ctx, tenant, id, to).await.expect("is allowed");
    }
}

async fn unsatisfied(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Vec<TaskId> {
    let readiness = readiness(ctx, tenant, id).await.expect("found");
    assert_eq!(readiness.ready, readiness.unsatisfied.is_empty(), "the count and the list agree");
    readiness.unsatisfied
}

async fn reasons(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Vec<Reason> {
    why(ctx, &Settings::default(), &pool::Settings::default(), tenant, id).await.expect("says why").reasons
}

fn urgent(title: &str) -> NewTask {
    NewTask { priority: Priority::try_from(5).expect("valid"), ..run(title) }
}

kernel::on_both! { migrations();
    async fn what_needs_another_task_is_not_assigned_before_that_is_completed_and_says_so(ctx) {
        let tenant = tenant(&ctx).await;
        let first = submit(&ctx, tenant, run("first")).await.id;
        let second = submit(&ctx, tenant, urgent("second")).await.id;
        depend(&ctx, tenant, second, first).await;
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        assert_eq!(lease.task_id, first, "the other is more urgent and has to wait");
        let [reason] = <[Reason; 1]>::try_from(reasons(&ctx, tenant, second).await).expect("one");
        assert_eq!((reason.code, reason.task_id), (ReasonCode::Dependency, Some(first)));
        assert_eq!(reason.message, format!("it needs task {first} (first), which is assigned"));
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Succeeded)).await.expect("ends");
        assert!(readiness(&ctx, tenant, second).await.expect("found").ready);
        schedule(&ctx).await;
        assert_eq!(leased(&ctx, worker).await.task_id, second);
    }

    async fn what_waits_for_another_task_brings_no_machine(ctx) {
        let tenant = tenant(&ctx).await;
        let [first] = notes(&ctx, tenant).await;
        for number in 0..6 {
            let waiting = submit(&ctx, tenant, run(&number.to_string())).await.id;
            depend(&ctx, tenant, waiting, first).await;
        }
        schedule(&ctx).await;
        assert!(pool::machines::list(&ctx).await.expect("lists").is_empty());
        finish(&ctx, tenant, first, TaskStatus::Completed).await;
        schedule(&ctx).await;
        assert_eq!(pool::machines::list(&ctx).await.expect("lists").len(), 2);
    }

    async fn what_needs_a_failed_task_waits_visibly_and_goes_on_after_its_retry(ctx) {
        let tenant = tenant(&ctx).await;
        let (first, worker, lease) = begun(&ctx, tenant).await;
        let second = submit(&ctx, tenant, run("second")).await.id;
        depend(&ctx, tenant, second, first).await;
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Failed)).await.expect("ends");
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, second).await, TaskStatus::Ready, "nothing cascades");
        let message = &reasons(&ctx, tenant, second).await[0].message;
        assert!(message.contains("which is failed") && message.contains("bifrost tasks retry"), "{message}");
        tasks::retry(&ctx, tenant, first, None).await.expect("retries");
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        assert_eq!(lease.task_id, first);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Succeeded)).await.expect("ends");
        schedule(&ctx).await;
        assert_eq!(leased(&ctx, worker).await.task_id, second);
    }

    async fn what_needs_a_cancelled_task_waits_until_the_dependency_is_taken_back(ctx) {
        let tenant = tenant(&ctx).await;
        let [first, second, other] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, second, other).await;
        let dependency = depend(&ctx, tenant, second, first).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, first).await.expect("cancels");
        let reasons = reasons(&ctx, tenant, second).await;
        assert_eq!(reasons.iter().map(|reason| reason.task_id).collect::<Vec<_>>(), [Some(first), Some(other)], "the stuck one first");
        remove(&ctx, tenant, second, dependency.id).await.expect("removes");
        assert_eq!(unsatisfied(&ctx, tenant, second).await, [other]);
    }

    async fn a_task_is_ready_when_every_task_it_needs_is_completed(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, a, b] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, task, a).await;
        depend(&ctx, tenant, task, b).await;
        assert_eq!(unsatisfied(&ctx, tenant, task).await, [a, b]);
        finish(&ctx, tenant, a, TaskStatus::Completed).await;
        assert_eq!(unsatisfied(&ctx, tenant, task).await, [b]);
        finish(&ctx, tenant, b, TaskStatus::Completed).await;
        assert_eq!(unsatisfied(&ctx, tenant, task).await, []);
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::NothingToRun);
    }

    async fn a_need_of_what_is_completed_already_blocks_nothing_also_when_it_is_taken_back(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, done] = notes(&ctx, tenant).await;
        finish(&ctx, tenant, done, TaskStatus::Completed).await;
        let dependency = depend(&ctx, tenant, task, done).await;
        assert_eq!(unsatisfied(&ctx, tenant, task).await, []);
        remove(&ctx, tenant, task, dependency.id).await.expect("removes");
        assert_eq!(unsatisfied(&ctx, tenant, task).await, []);
    }

    async fn a_soft_dependency_is_shown_and_blocks_nothing(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, wished] = notes(&ctx, tenant).await;
        add(&ctx, tenant, task, softly_on(wished), None).await.expect("is added");
        let readiness = readiness(&ctx, tenant, task).await.expect("found");
        assert_eq!(readiness, Readiness { task_id: task, ready: true, unsatisfied: vec![], unsatisfied_soft: vec![wished] });
        assert_eq!(blocks(&ctx, tenant, wished).await.expect("found").count, 0);
    }

    async fn a_blocked_task_is_given_to_nobody_by_hand_either(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, needed] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, task, needed).await;
        assert_eq!(code(set(&ctx, tenant, task, TaskStatus::Assigned).await), "task_blocked");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
    }

    async fn a_circle_is_refused_with_its_members_in_order(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b, c] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, a, b).await;
        assert_eq!(code(add(&ctx, tenant, b, on(a), None).await), "dependency_cycle");
        add(&ctx, tenant, b, softly_on(c), None).await.expect("is added");
        let refused = add(&ctx, tenant, c, on(a), None).await.expect_err("a soft one is part of a circle as well");
        assert!(refused.to_string().ends_with(&format!("{c} (n2) → {a} (n0) → {b} (n1) → {c} (n2)")), "{refused}");
        assert_eq!(code(add(&ctx, tenant, a, on(a), None).await), "invalid");
        assert_eq!(unsatisfied(&ctx, tenant, c).await, [], "nothing was half-done");
    }

    async fn a_circle_among_dependencies_that_have_no_places_yet_is_found(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b, c, d] = notes(&ctx, tenant).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        for (task, needed) in [(a, b), (b, c)] {
            store::insert(&mut tx, tenant, &stored(&ctx, task, needed)).await.expect("inserts");
        }
        tx.commit(()).await.expect("commits");
        assert_eq!(code(add(&ctx, tenant, c, on(a), None).await), "dependency_cycle");
        depend(&ctx, tenant, d, a).await;
        assert_eq!(code(add(&ctx, tenant, c, on(d), None).await), "dependency_cycle");
    }

    async fn of_two_dependencies_that_close_a_circle_together_one_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        for _ in 0..10 {
            let [a, b] = notes(&ctx, tenant).await;
            let (one, other) = tokio::join!(add(&ctx, tenant, a, on(b), None), add(&ctx, tenant, b, on(a), None));
            let refused: Vec<_> = [one.err(), other.err()].into_iter().flatten().map(|error| error.code()).collect();
            assert_eq!(refused, ["dependency_cycle"]);
        }
    }

    async fn tasks_completed_at_once_release_what_needs_all_of_them(ctx) {
        let tenant = tenant(&ctx).await;
        for _ in 0..5 {
            let [a, b, x, y, z] = notes(&ctx, tenant).await;
            for waiting in [z, x, y] {
                depend(&ctx, tenant, waiting, a).await;
                depend(&ctx, tenant, waiting, b).await;
            }
            tokio::join!(finish(&ctx, tenant, a, TaskStatus::Completed), finish(&ctx, tenant, b, TaskStatus::Completed));
            for waiting in [x, y, z] {
                assert_eq!(unsatisfied(&ctx, tenant, waiting).await, []);
            }
        }
    }

    async fn the_same_dependency_twice_is_refused_and_so_is_what_does_not_exist(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, a, b).await;
        assert_eq!(code(add(&ctx, tenant, a, softly_on(b), None).await), "dependency_exists");
        let nothing = ctx.id(TaskId::mint);
        assert_eq!(code(add(&ctx, tenant, a, on(nothing), None).await), "not_found");
        assert_eq!(code(add(&ctx, tenant, nothing, on(a), None).await), "not_found");
        assert_eq!(of_task(&ctx, tenant, a).await.expect("lists").len(), 1);
    }

    async fn another_tenants_tasks_do_not_exist(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let dependency = depend(&ctx, tenant, a, b).await;
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(add(&ctx, stranger, b, on(a), None).await), "not_found");
        assert_eq!(code(of_task(&ctx, stranger, a).await), "not_found");
        assert_eq!(code(readiness(&ctx, stranger, a).await), "not_found");
        assert_eq!(code(blocks(&ctx, stranger, b).await), "not_found");
        assert_eq!(code(blocking_impact(&ctx, stranger, b).await), "not_found");
        assert_eq!(code(remove(&ctx, stranger, a, dependency.id).await), "not_found");
        let graph = graph(&ctx, stranger).await.expect("is empty");
        assert_eq!((graph.nodes, graph.edges), (vec![], vec![]));
    }

    async fn a_dependency_is_removed_from_its_own_task_only_and_once(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let dependency = depend(&ctx, tenant, a, b).await.id;
        assert_eq!(code(remove(&ctx, tenant, b, dependency).await), "not_found");
        remove(&ctx, tenant, a, dependency).await.expect("removes");
        assert_eq!(code(remove(&ctx, tenant, a, dependency).await), "not_found");
        assert_eq!(unsatisfied(&ctx, tenant, a).await, []);
    }

    async fn a_list_shows_each_dependency_with_the_whole_task_that_is_needed(ctx) {
        let tenant = tenant(&ctx).await;
        let (worked, ..) = begun(&ctx, tenant).await;
        let [task, other] = notes(&ctx, tenant).await;
        let first = depend(&ctx, tenant, task, worked).await;
        ctx.clock.advance(std::time::Duration::from_secs(1));
        let second = add(&ctx, tenant, task, softly_on(other), None).await.expect("is added");
        let view = async |id| tasks::get(&ctx, tenant, id).await.expect("found");
        let expect = [
            NeededTask { dependency: first, depends_on_task: view(worked).await },
            NeededTask { dependency: second, depends_on_task: view(other).await },
        ];
        assert_eq!(of_task(&ctx, tenant, task).await.expect("lists"), expect);
    }

    async fn blocks_are_direct_and_the_impact_counts_each_task_of_a_diamond_once(ctx) {
        let tenant = tenant(&ctx).await;
        let [top, left, right, bottom] = notes(&ctx, tenant).await;
        for (task, needed) in [(left, top), (right, top), (bottom, left), (bottom, right)] {
            depend(&ctx, tenant, task, needed).await;
        }
        let blocked = blocks(&ctx, tenant, top).await.expect("found");
        let view = async |id| tasks::get(&ctx, tenant, id).await.expect("found");
        assert_eq!(blocked, Blocks { task_id: top, count: 2, tasks: vec![view(left).await, view(right).await] });
        let impact = blocking_impact(&ctx, tenant, top).await.expect("found");
        assert_eq!(impact, BlockingImpact { task_id: top, blocking_count: 3, blocked_task_ids: vec![left, right, bottom] });
    }

    async fn the_impact_comes_to_an_end_on_a_stored_circle(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        for (task_id, depends_on_task_id) in [(a, b), (b, a)] {
            store::insert(&mut tx, tenant, &stored(&ctx, task_id, depends_on_task_id)).await.expect("inserts");
        }
        tx.commit(()).await.expect("commits");
        assert_eq!(blocking_impact(&ctx, tenant, a).await.expect("ends").blocked_task_ids, [b]);
    }

    async fn every_edge_of_the_graph_leads_between_its_nodes(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let dependency = depend(&ctx, tenant, b, a).await;
        let graph = graph(&ctx, tenant).await.expect("shows");
        let node = |id, label: &str| GraphNode { id, label: label.into(), status: TaskStatus::Ready, priority: Priority::default() };
        assert_eq!(graph.nodes, [node(a, "n0"), node(b, "n1")]);
        let edge = wire::dependency::GraphEdge { id: dependency.id, source: a, target: b, dependency_type: DependencyType::Hard, condition: Condition::Completed, group: None };
        assert_eq!((graph.edges, graph.truncated), (vec![edge], false));
    }

    async fn the_news_of_dependencies_go_out_with_them(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let dependency = depend(&ctx, tenant, a, b).await.id;
        remove(&ctx, tenant, a, dependency).await.expect("removes");
        let mut tx = ctx.read("test").await.expect("begins");
        let events = outbox::pending(&mut tx, 100).await.expect("reads");
        let kinds: Vec<_> = events.iter().filter(|event| event.task_id == Some(a)).map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["task.submitted", "task.dependency_added", "task.dependency_removed"]);
    }

    async fn the_database_itself_refuses_what_is_no_dependency(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = notes(&ctx, tenant).await;
        let nothing = ctx.id(TaskId::mint);
        for (task, needed, word, is_fine) in [(a, nothing, "hard", false), (nothing, a, "hard", false), (a, b, "firm", false), (a, a, "hard", false), (a, b, "hard", true), (a, b, "soft", false)] {
            assert_eq!(insert_raw(&ctx, tenant, task, needed, word).await, is_fine, "{task} {needed} {word}");
        }
    }
}

/// A dependency as older programs stored it: without a place for either task.
pub(crate) fn stored(ctx: &Ctx, task_id: TaskId, depends_on_task_id: TaskId) -> DependencyView {
    DependencyView {
        id: ctx.id(DependencyId::mint),
        task_id,
        depends_on_task_id,
        dependency_type: DependencyType::Hard,
        condition: Condition::Completed,
        group: None,
        satisfied: false,
        created_at: ctx.now(),
    }
}

/// Past every check of ours.
async fn insert_raw(ctx: &Ctx, tenant: TenantId, task: TaskId, needed: TaskId, word: &str) -> bool {
    const TEXT: &str = "INSERT INTO dependencies (id, tenant_id, task_id, depends_on_task_id, dependency_type, condition, \
                                                  is_satisfied, created_at) \
                        VALUES ($1, $2, $3, $4, $5, 'completed', FALSE, $6)";
    let sql = kernel::Sql { sqlite: TEXT, postgres: TEXT };
    let mut tx = ctx.begin("test").await.expect("begins");
    let (id, now) = (ctx.id(DependencyId::mint), ctx.now());
    let done = kernel::execute!(tx, sql, id.uuid(), tenant.uuid(), task.uuid(), needed.uuid(), word, now);
    match done {
        Ok(_) => tx.commit(true).await.expect("commits"),
        Err(_) => false,
    }
}
