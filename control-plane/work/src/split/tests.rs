//! Splitting on both databases: what the parts are, and when the whole is done.

use std::sync::Arc;

use kit::Tasks;
use wire::claim::NewClaim;
use wire::dependency::NewDependency;
use wire::execution::ExecutionResult;
use wire::metadata::MetadataAnswer;
use wire::split::NewSubtask;
use wire::task::{TaskChange, TaskView};

use super::*;
use crate::claims;
use crate::tests::{begins, begun, code, first_reason, hand, migrations, note, status, submit, tenant};

fn part(title: &str, depends_on: &[usize]) -> NewSubtask {
    let (description, depends_on) = ("d".to_owned(), depends_on.to_vec());
    NewSubtask { title: title.into(), description, effort_estimate: Some(5), depends_on, ..NewSubtask::default() }
}

fn typed(title: &str, agent_type: &str) -> NewSubtask {
    NewSubtask { agent_type: Some(agent_type.into()), ..part(title, &[]) }
}

fn parts(parts: &[NewSubtask]) -> Split {
    Split { subtasks: parts.to_vec(), execution_id: None }
}

async fn into(ctx: &Ctx, tenant: TenantId, task: TaskId, new: Split) -> Result<Vec<TaskId>> {
    split(ctx, &Settings::default(), tenant, task.into(), new).await.map(|done| done.subtask_ids)
}

async fn get(ctx: &Ctx, tenant: TenantId, id: TaskId) -> TaskView {
    tasks::get(ctx, tenant, id).await.expect("found")
}

async fn set(ctx: &Ctx, tenant: TenantId, id: TaskId, to: TaskStatus) {
    let change = TaskChange { status: Some(to), ..TaskChange::default() };
    tasks::update(ctx, &Settings::default(), tenant, id, change).await.expect("is allowed");
}

async fn finish(ctx: &Ctx, tenant: TenantId, id: TaskId, end: TaskStatus) {
    for to in [TaskStatus::Assigned, TaskStatus::InProgress, end] {
        set(ctx, tenant, id, to).await;
    }
}

async fn depend(
    ctx: &Ctx,
    tenant: TenantId,
    task: TaskId,
    on: TaskId,
    dependency_type: DependencyType,
) -> DependencyId {
    let new = NewDependency { dependency_type, ..NewDependency::on(on) };
    dependencies::add(ctx, tenant, task, new, None).await.expect("adds").id
}

kernel::on_both! { migrations();
    async fn three_parts_are_ready_and_know_their_whole_which_is_split(ctx) {
        let tenant = tenant(&ctx).await;
        let whole = submit(&ctx, tenant, wire::task::NewTask { priority: Priority::try_from(4).expect("valid"), ..note("whole") }).await.id;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[]), part("b", &[]), part("c", &[0])])).await.expect("splits");
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Split);
        for (id, (title, waits_for)) in ids.iter().zip([("a", 0), ("b", 0), ("c", 1)]) {
            let view = get(&ctx, tenant, *id).await;
            assert_eq!((view.title.as_str(), view.status, view.waits_for), (title, TaskStatus::Ready, waits_for));
            assert_eq!((view.priority.get(), view.effort_estimate, view.description.as_str()), (4, Some(5), "d"));
            let parent = metadata::get(&ctx, tenant, *id, Some("parent_task_id")).await.expect("found");
            assert_eq!(parent, MetadataAnswer::One(whole.to_string()));
        }
        assert_eq!(first_reason(&ctx, tenant, whole).await, wire::why::ReasonCode::Dependency);
        assert_eq!(code(into(&ctx, tenant, whole, parts(&[part("a", &[])])).await), "illegal_transition");
    }

    async fn a_part_is_for_its_own_type_of_agent(ctx) {
        let tenant = tenant(&ctx).await;
        let desk = claims::Desk::open(&ctx, &Arc::default(), &Tasks::new());
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let ids = into(&ctx, tenant, whole, parts(&[typed("a", "tester"), typed("b", "developer"), part("c", &[])])).await.expect("splits");
        let told = metadata::get(&ctx, tenant, ids[1], Some("agent_type")).await.expect("found");
        assert_eq!(told, MetadataAnswer::One("developer".into()));
        for (agent_type, expect) in [("developer", &[ids[1], ids[2]][..]), ("tester", &[ids[0]])] {
            let claim = NewClaim { worker: Some("w".into()), agent_type: Some(agent_type.into()), limit: Some(9), ..NewClaim::default() };
            let claims = desk.claim(&ctx, tenant, claim).await.expect("claims");
            assert_eq!(claims.iter().map(|claim| claim.task.id).collect::<Vec<_>>(), expect);
        }
    }

    async fn who_has_claimed_a_task_splits_it_and_nobody_gets_it_in_between(ctx) {
        let tenant = tenant(&ctx).await;
        let desk = claims::Desk::open(&ctx, &Arc::default(), &Tasks::new());
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let claim = NewClaim { worker: Some("lead".into()), start: true, ..NewClaim::default() };
        let claim = desk.claim(&ctx, tenant, claim).await.expect("claims").pop().expect("is ready");
        let under = |execution_id| Split { execution_id, ..parts(&[part("a", &[]), part("b", &[0])]) };
        assert_eq!(code(into(&ctx, tenant, whole, under(None)).await), "illegal_transition");
        assert_eq!(code(into(&ctx, tenant, whole, under(Some(ctx.id(ExecutionId::mint)))).await), "lease_lost");
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::InProgress);
        into(&ctx, tenant, whole, under(Some(claim.execution_id))).await.expect("splits");
        let view = get(&ctx, tenant, whole).await;
        let ended = view.execution.expect("has one");
        assert_eq!((view.status, view.attempts, ended.outcome), (TaskStatus::Split, 0, Some(Outcome::Released)));
        assert_eq!(pool::workers::get(&ctx, claim.worker_id).await.expect("is there").current_load, 0);
        let done = ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        assert_eq!(code(desk.complete(&ctx, tenant, claim.execution_id, done).await), "lease_lost");
        assert_eq!(code(into(&ctx, tenant, whole, under(Some(claim.execution_id))).await), "lease_lost");
    }

    async fn nothing_but_a_claim_is_given_back_by_a_split(ctx) {
        let tenant = tenant(&ctx).await;
        let (pooled, _, lease) = begun(&ctx, tenant).await;
        let by_hand = submit(&ctx, tenant, note("by hand")).await.id;
        set(&ctx, tenant, by_hand, TaskStatus::Assigned).await;
        let worker = hand(&ctx, "claude_code", 1).await;
        let begun = executions::start_by_hand(&ctx, tenant, by_hand, begins(worker), None).await.expect("starts");
        for (task, execution) in [(pooled, lease.execution_id), (by_hand, begun.id)] {
            let new = Split { execution_id: Some(execution), ..parts(&[part("a", &[])]) };
            assert_eq!(code(into(&ctx, tenant, task, new).await), "execution_not_claimed");
            assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
        }
    }

    async fn the_whole_is_completed_with_its_last_part_and_lets_go_what_waits_for_it(ctx) {
        let tenant = tenant(&ctx).await;
        let [whole, after] = [submit(&ctx, tenant, note("whole")).await.id, submit(&ctx, tenant, note("after")).await.id];
        depend(&ctx, tenant, after, whole, DependencyType::Hard).await;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[]), part("b", &[])])).await.expect("splits");
        finish(&ctx, tenant, ids[0], TaskStatus::Completed).await;
        assert_eq!((status(&ctx, tenant, whole).await, get(&ctx, tenant, after).await.waits_for), (TaskStatus::Split, 1));
        finish(&ctx, tenant, ids[1], TaskStatus::Completed).await;
        assert_eq!((status(&ctx, tenant, whole).await, get(&ctx, tenant, after).await.waits_for), (TaskStatus::Completed, 0));
    }

    async fn a_part_may_be_split_in_turn(ctx) {
        let tenant = tenant(&ctx).await;
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[])])).await.expect("splits");
        let smaller = into(&ctx, tenant, ids[0], parts(&[part("b", &[])])).await.expect("splits");
        finish(&ctx, tenant, smaller[0], TaskStatus::Completed).await;
        assert_eq!(status(&ctx, tenant, ids[0]).await, TaskStatus::Completed);
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Completed);
    }

    async fn a_failed_part_holds_the_whole_up_and_one_called_off_until_it_is_needed_no_more(ctx) {
        let tenant = tenant(&ctx).await;
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[]), part("b", &[]), part("c", &[])])).await.expect("splits");
        finish(&ctx, tenant, ids[0], TaskStatus::Completed).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, ids[1]).await.expect("cancels");
        finish(&ctx, tenant, ids[2], TaskStatus::Failed).await;
        assert_eq!(get(&ctx, tenant, whole).await.waits_for, 2);
        let needed = dependencies::of_task(&ctx, tenant, whole).await.expect("lists");
        let dead = needed.iter().find(|one| one.depends_on_task.id == ids[1]).expect("is there");
        dependencies::remove(&ctx, tenant, whole, dead.dependency.id).await.expect("removes");
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Split);
        tasks::delete(&ctx, tenant, ids[2]).await.expect("deletes");
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Completed);
    }

    async fn parts_wait_for_what_the_whole_waited_for(ctx) {
        let tenant = tenant(&ctx).await;
        let [open, done, nice, whole] = [submit(&ctx, tenant, note("open")).await.id, submit(&ctx, tenant, note("done")).await.id, submit(&ctx, tenant, note("nice")).await.id, submit(&ctx, tenant, note("whole")).await.id];
        for (on, kind) in [(open, DependencyType::Hard), (done, DependencyType::Hard), (nice, DependencyType::Soft)] {
            depend(&ctx, tenant, whole, on, kind).await;
        }
        finish(&ctx, tenant, done, TaskStatus::Completed).await;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[]), part("b", &[0])])).await.expect("splits");
        assert_eq!((get(&ctx, tenant, ids[0]).await.waits_for, get(&ctx, tenant, ids[1]).await.waits_for), (1, 2));
        let soft = dependencies::readiness(&ctx, tenant, ids[0]).await.expect("found").unsatisfied_soft;
        assert_eq!(soft, [nice]);
        finish(&ctx, tenant, open, TaskStatus::Completed).await;
        for id in &ids {
            finish(&ctx, tenant, *id, TaskStatus::Completed).await;
        }
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Completed);
    }

    async fn a_circle_through_the_parts_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[])])).await.expect("splits");
        let new = NewDependency::on(whole);
        assert_eq!(code(dependencies::add(&ctx, tenant, ids[0], new, None).await), "dependency_cycle");
    }

    async fn what_cannot_be_parts_is_refused_by_name_before_any_work(ctx) {
        let tenant = tenant(&ctx).await;
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        let local = wire::task::TaskSpec { repository: "file:///srv/a".into(), ..crate::tests::run("r").spec.expect("has one") };
        for (new, field) in [
            (parts(&[]), "subtasks"),
            (parts(&vec![part("a", &[]); 101]), "subtasks"),
            (parts(&[part("a", &[]), part(" ", &[])]), "subtasks[1].title"),
            (parts(&[NewSubtask { effort_estimate: Some(-1), ..part("a", &[]) }]), "subtasks[0].effort_estimate"),
            (parts(&[NewSubtask { spec: Some(local), ..part("a", &[]) }]), "subtasks[0].spec.repository"),
            (parts(&[part("a", &[]), typed("b", "")]), "subtasks[1].agent_type"),
            (parts(&[typed("a", &"x".repeat(101))]), "subtasks[0].agent_type"),
            (parts(&[typed("a", "x\0")]), "subtasks[0].agent_type"),
            (parts(&[part("a", &[1])]), "subtasks[0].depends_on"),
            (parts(&[part("a", &[0])]), "subtasks[0].depends_on"),
            (parts(&[part("a", &[1]), part("b", &[0])]), "subtasks[1].depends_on"),
            (parts(&[part("a", &[]), part("b", &[0, 0])]), "subtasks[1].depends_on"),
        ] {
            let refused = into(&ctx, tenant, whole, new).await.expect_err(field).to_string();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
        }
        assert_eq!(status(&ctx, tenant, whole).await, TaskStatus::Ready);
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(into(&ctx, stranger, whole, parts(&[part("a", &[])])).await), "not_found");
        set(&ctx, tenant, whole, TaskStatus::Assigned).await;
        let refused = into(&ctx, tenant, whole, parts(&[part("a", &[])])).await.expect_err("is assigned").to_string();
        assert_eq!(refused, "a task that is assigned cannot be split; only one that is ready or failed can");
    }

    async fn one_of_four_children_makes_a_quarter(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "claude_code", 5).await;
        let lead = submit(&ctx, tenant, note("lead")).await.id;
        set(&ctx, tenant, lead, TaskStatus::Assigned).await;
        let leading = executions::start_by_hand(&ctx, tenant, lead, begins(worker), None).await.expect("starts").id;
        assert_eq!(executions::subtasks(&ctx, tenant, leading).await.expect("found").percentage, 0, "of nothing");
        let mut children = Vec::new();
        for title in ["a", "b", "c", "d"] {
            let child = submit(&ctx, tenant, note(title)).await.id;
            set(&ctx, tenant, child, TaskStatus::Assigned).await;
            let new = wire::execution::NewExecution { parent_execution_id: Some(leading), ..begins(worker) };
            let execution = executions::start_by_hand(&ctx, tenant, child, new, None).await.expect("starts");
            assert_eq!(execution.parent_execution_id, Some(leading));
            children.push(child);
        }
        set(&ctx, tenant, children[0], TaskStatus::Completed).await;
        let progress = executions::subtasks(&ctx, tenant, leading).await.expect("found");
        assert_eq!((progress.total, progress.completed, progress.percentage), (4, 1, 25));
        assert_eq!(progress.subtasks.iter().map(|task| task.id).collect::<Vec<_>>(), children);
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(executions::subtasks(&ctx, stranger, leading).await), "not_found");
    }

    async fn an_execution_whose_task_was_split_afterwards_shows_the_parts(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "claude_code", 5).await;
        let whole = submit(&ctx, tenant, note("whole")).await.id;
        set(&ctx, tenant, whole, TaskStatus::Assigned).await;
        let tried = executions::start_by_hand(&ctx, tenant, whole, begins(worker), None).await.expect("starts");
        set(&ctx, tenant, whole, TaskStatus::Failed).await;
        assert_eq!(get(&ctx, tenant, whole).await.execution.and_then(|one| one.outcome), Some(Outcome::Failed));
        let ids = into(&ctx, tenant, whole, parts(&[part("a", &[]), part("b", &[])])).await.expect("splits");
        finish(&ctx, tenant, ids[1], TaskStatus::Completed).await;
        let progress = executions::subtasks(&ctx, tenant, tried.id).await.expect("found");
        assert_eq!((progress.total, progress.percentage), (2, 50));
        let unknown = wire::execution::NewExecution { parent_execution_id: Some(ctx.id(ExecutionId::mint)), ..begins(worker) };
        set(&ctx, tenant, ids[0], TaskStatus::Assigned).await;
        assert_eq!(code(executions::start_by_hand(&ctx, tenant, ids[0], unknown, None).await), "invalid");
    }
}
