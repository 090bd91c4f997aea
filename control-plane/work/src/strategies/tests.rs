//! Failure strategies on both databases: one test for each action, the budget, the
//! log, and the tag of what stays failed.

use wire::execution::{Failure, Outcome};
use wire::id::TaskId;
use wire::metadata::{MetadataAnswer, NewMetadata, PARENT_TASK_KEY};
use wire::split::{NewSubtask, Split};
use wire::strategy::FailureRule;
use wire::task::{TaskChange, TaskView};
use wire::worker::Completion;

use super::*;
use crate::leases;
use crate::tests::{begun, code, ended, leased, migrations, note, schedule, status, submit, tenant, worker};

fn rule(on: FailureClass, action: Recovery) -> FailureRule {
    FailureRule { on, action }
}

fn part(title: &str, depends_on: &[usize]) -> NewSubtask {
    NewSubtask { title: title.into(), depends_on: depends_on.to_vec(), ..NewSubtask::default() }
}

async fn make(ctx: &Ctx, tenant: TenantId, rules: &[FailureRule]) -> Result<FailureStrategyView> {
    let new = NewFailureStrategy { name: "careful".into(), rules: rules.to_vec(), max_attempts: 2 };
    add(ctx, &Settings::default(), tenant, new, None).await
}

async fn follow(ctx: &Ctx, tenant: TenantId, task: TaskId, rules: &[FailureRule]) -> FailureStrategyId {
    let strategy = make(ctx, tenant, rules).await.expect("makes").id;
    say(ctx, tenant, task, STRATEGY_KEY, &strategy.to_string()).await.expect("is set");
    strategy
}

async fn say(ctx: &Ctx, tenant: TenantId, task: TaskId, key: &str, value: &str) -> Result<()> {
    let new = NewMetadata { key: key.into(), value: value.into() };
    metadata::set(ctx, tenant, task, new).await.map(drop)
}

async fn told(ctx: &Ctx, tenant: TenantId, task: TaskId, key: &str) -> Option<String> {
    match metadata::get(ctx, tenant, task, Some(key)).await.ok()? {
        MetadataAnswer::One(value) => Some(value),
        MetadataAnswer::All(_) => None,
    }
}

async fn blocked(ctx: &Ctx, tenant: TenantId) -> Vec<TaskId> {
    metadata::tagged(ctx, tenant, BLOCKED_TAG).await.expect("lists").into_iter().map(|task| task.id).collect()
}

async fn set(ctx: &Ctx, tenant: TenantId, id: TaskId, to: TaskStatus) -> TaskView {
    let change = TaskChange { status: Some(to), ..TaskChange::default() };
    tasks::update(ctx, &Settings::default(), tenant, id, change).await.expect("is allowed")
}

/// Works on a note by hand and fails; gives where it stands then.
async fn fail(ctx: &Ctx, tenant: TenantId, id: TaskId) -> TaskStatus {
    for to in [TaskStatus::Assigned, TaskStatus::InProgress] {
        set(ctx, tenant, id, to).await;
    }
    set(ctx, tenant, id, TaskStatus::Failed).await.status
}

/// What the log says was done, by action and attempts.
async fn log(ctx: &Ctx, task: TaskId) -> Vec<String> {
    let mut tx = ctx.read("test").await.expect("begins");
    let events = outbox::pending(&mut tx, 1_000).await.expect("reads");
    let of_task = events.into_iter().filter(|event| event.task_id == Some(task));
    let applied = of_task.filter(|event| event.kind == kind::STRATEGY_APPLIED);
    let payloads = applied.map(|event| serde_json::from_str::<serde_json::Value>(event.payload.get()).expect("JSON"));
    payloads.map(|log| format!("{} {} {}", log["strategy"], log["action"], log["attempts"]).replace('"', "")).collect()
}

kernel::on_both! { migrations();
    async fn a_failed_task_carries_the_tag_until_it_is_retried(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        metadata::tag(&ctx, tenant, task, wire::metadata::Tags { tags: vec!["api".into()] }).await.expect("tags");
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Failed)).await.expect("ends");
        assert_eq!((status(&ctx, tenant, task).await, blocked(&ctx, tenant).await), (TaskStatus::Failed, vec![task]));
        assert_eq!(told(&ctx, tenant, task, "tags").await.as_deref(), Some("[\"api\",\"swarm:blocked\"]"));
        tasks::retry(&ctx, tenant, task, None).await.expect("retries");
        assert_eq!(blocked(&ctx, tenant).await, []);
        assert_eq!(told(&ctx, tenant, task, "tags").await.as_deref(), Some("[\"api\"]"));
    }

    async fn however_a_task_comes_to_fail_and_recovers_the_tag_goes_with_it(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b, c] = [submit(&ctx, tenant, note("a")).await.id, submit(&ctx, tenant, note("b")).await.id, submit(&ctx, tenant, note("c")).await.id];
        for id in [a, b, c] {
            assert_eq!(fail(&ctx, tenant, id).await, TaskStatus::Failed);
        }
        assert_eq!(blocked(&ctx, tenant).await, [a, b, c]);
        set(&ctx, tenant, a, TaskStatus::Ready).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, b).await.expect("cancels");
        split::split(&ctx, &Settings::default(), tenant, c.into(), Split { subtasks: vec![part("d", &[])], execution_id: None }).await.expect("splits");
        assert_eq!(blocked(&ctx, tenant).await, []);
        assert_eq!(told(&ctx, tenant, a, "tags").await, None, "nothing is left of it");
    }

    async fn a_task_is_retried_within_its_attempts_and_then_left_to_a_person(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, first) = begun(&ctx, tenant).await;
        follow(&ctx, tenant, task, &[rule(FailureClass::Any, Recovery::Retry {})]).await;
        leases::complete(&ctx, &Settings::default(), worker, first.execution_id, ended(&first, Outcome::TimedOut)).await.expect("ends");
        assert_eq!((status(&ctx, tenant, task).await, blocked(&ctx, tenant).await), (TaskStatus::Ready, vec![]));
        schedule(&ctx).await;
        let second = leased(&ctx, worker).await;
        leases::complete(&ctx, &Settings::default(), worker, second.execution_id, ended(&second, Outcome::Failed)).await.expect("ends");
        assert_eq!((status(&ctx, tenant, task).await, blocked(&ctx, tenant).await), (TaskStatus::Failed, vec![task]));
        assert!(told(&ctx, tenant, task, ESCALATION_KEY).await.is_some_and(|why| why.contains("2 times")));
        assert_eq!(log(&ctx, task).await, ["careful retry 1", "careful escalate 2"]);
        tasks::retry(&ctx, tenant, task, None).await.expect("a person may always");
        assert_eq!(told(&ctx, tenant, task, ESCALATION_KEY).await, None);
    }

    async fn what_the_infrastructure_broke_is_no_failure(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, machine_worker, lease) = begun(&ctx, tenant).await;
        follow(&ctx, tenant, task, &[rule(FailureClass::Any, Recovery::Escalate {})]).await;
        let fault = Completion { failure: Some(Failure::MachineFault), exit: None, ..ended(&lease, Outcome::SetupFailed) };
        leases::complete(&ctx, &Settings::default(), machine_worker, lease.execution_id, fault).await.expect("ends");
        schedule(&ctx).await;
        worker(&ctx, 2).await;
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts, log(&ctx, task).await), (TaskStatus::Ready, 0, vec![]));
    }

    async fn a_task_that_lost_its_worker_too_often_follows_its_strategy(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        let to = Recovery::Reassign { agent_type: "careful_hands".into() };
        follow(&ctx, tenant, task, &[rule(FailureClass::WorkerLost, to)]).await;
        for boot in 2..=11 {
            worker(&ctx, boot).await;
            schedule(&ctx).await;
        }
        assert_eq!(log(&ctx, task).await, ["careful reassign 0"]);
        assert_eq!(told(&ctx, tenant, task, AGENT_TYPE_KEY).await.as_deref(), Some("careful_hands"));
    }

    async fn a_task_is_given_to_agents_of_another_type(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("t")).await.id;
        say(&ctx, tenant, task, AGENT_TYPE_KEY, "junior").await.expect("is set");
        let hand = crate::tests::hand(&ctx, "senior", 1).await;
        let to = Recovery::Reassign { agent_type: "senior".into() };
        follow(&ctx, tenant, task, &[rule(FailureClass::Failed, to)]).await;
        assert_eq!(fail(&ctx, tenant, task).await, TaskStatus::Ready);
        assert_eq!(told(&ctx, tenant, task, ASSIGNED_WORKER_KEY).await, None);
        let assigned = crate::assignments::optimal(&ctx, tenant, task.into()).await.expect("assigns");
        assert_eq!(assigned.worker.id, hand);
    }

    async fn a_task_is_split_into_parts_that_are_named_after_it(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("Login")).await.id;
        let subtasks = vec![part("Find out why: {title}", &[]), part("Do the rest of {title}", &[0])];
        follow(&ctx, tenant, task, &[rule(FailureClass::Failed, Recovery::Split { subtasks })]).await;
        assert_eq!(fail(&ctx, tenant, task).await, TaskStatus::Split);
        assert_eq!(blocked(&ctx, tenant).await, []);
        let needed = crate::dependencies::of_task(&ctx, tenant, task).await.expect("lists");
        let mut parts: Vec<(String, i32)> = needed.into_iter().map(|one| (one.depends_on_task.title, one.depends_on_task.waits_for)).collect();
        parts.sort();
        assert_eq!(parts, [("Do the rest of Login".to_owned(), 1), ("Find out why: Login".to_owned(), 0)]);
        assert_eq!(log(&ctx, task).await, ["careful split 0"]);
    }

    async fn a_task_is_tried_again_once_it_was_mended_and_then_left_to_a_person(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, first) = begun(&ctx, tenant).await;
        let mend = NewSubtask { description: "It said:\n{failure}".into(), agent_type: Some("developer".into()), ..part("Mend {title}", &[]) };
        follow(&ctx, tenant, task, &[rule(FailureClass::Failed, Recovery::Mend { subtasks: vec![mend] })]).await;
        let red = |lease| Completion { message: Some("1 of 2 failed:\nlogin".into()), ..ended(lease, Outcome::Failed) };
        leases::complete(&ctx, &Settings::default(), worker, first.execution_id, red(&first)).await.expect("ends");
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts, view.waits_for), (TaskStatus::Ready, 1, 1));
        let needed = crate::dependencies::of_task(&ctx, tenant, task).await.expect("lists").remove(0).depends_on_task;
        assert_eq!((needed.title.as_str(), needed.description.as_str()), ("Mend a", "It said:\n1 of 2 failed:\nlogin"));
        assert_eq!(told(&ctx, tenant, needed.id, AGENT_TYPE_KEY).await.as_deref(), Some("developer"));
        assert_eq!(told(&ctx, tenant, needed.id, PARENT_TASK_KEY).await, Some(task.to_string()));
        assert_eq!(told(&ctx, tenant, needed.id, STRATEGY_KEY).await, None, "what mends follows no strategy by itself");
        for to in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Completed] {
            set(&ctx, tenant, needed.id, to).await;
        }
        schedule(&ctx).await;
        let second = leased(&ctx, worker).await;
        leases::complete(&ctx, &Settings::default(), worker, second.execution_id, red(&second)).await.expect("ends");
        assert_eq!((status(&ctx, tenant, task).await, blocked(&ctx, tenant).await), (TaskStatus::Failed, vec![task]));
        assert_eq!(crate::dependencies::of_task(&ctx, tenant, task).await.expect("lists").len(), 1, "nothing more mends it");
        assert_eq!(log(&ctx, task).await, ["careful mend 1", "careful escalate 2"]);
    }

    async fn a_task_is_left_to_a_person_who_is_told(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("t")).await.id;
        let strategy = follow(&ctx, tenant, task, &[rule(FailureClass::Failed, Recovery::Escalate {})]).await;
        assert_eq!(fail(&ctx, tenant, task).await, TaskStatus::Failed);
        assert_eq!(blocked(&ctx, tenant).await, [task]);
        let mut tx = ctx.read("test").await.expect("begins");
        let events = outbox::pending(&mut tx, 1_000).await.expect("reads");
        assert!(events.iter().any(|event| event.kind == kind::TASK_ESCALATED && event.task_id == Some(task)));
        drop(tx);
        let filter = audit::Filter { entity_id: Some(task.to_string()), ..audit::Filter::default() };
        let entries = audit::list(&ctx, tenant, &filter).await.expect("lists").entries;
        let row = entries.iter().find(|entry| entry.action == kind::STRATEGY_APPLIED).expect("is logged");
        assert_eq!(row.new_values["strategy_id"], json!(strategy));
        assert!(row.reason.as_deref().is_some_and(|reason| reason.contains("careful")), "{row:?}");
    }

    async fn a_strategy_without_a_fitting_rule_or_that_is_gone_does_nothing(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b] = [submit(&ctx, tenant, note("a")).await.id, submit(&ctx, tenant, note("b")).await.id];
        follow(&ctx, tenant, a, &[rule(FailureClass::TimedOut, Recovery::Retry {})]).await;
        let gone = follow(&ctx, tenant, b, &[rule(FailureClass::Any, Recovery::Retry {})]).await;
        delete(&ctx, tenant, gone).await.expect("deletes");
        for id in [a, b] {
            assert_eq!((fail(&ctx, tenant, id).await, log(&ctx, id).await), (TaskStatus::Failed, vec![]));
        }
        assert_eq!(blocked(&ctx, tenant).await, [a, b]);
    }

    async fn strategies_are_kept_changed_and_deleted_by_their_tenant_alone(ctx) {
        let tenant = tenant(&ctx).await;
        let made = make(&ctx, tenant, &[rule(FailureClass::Any, Recovery::Retry {})]).await.expect("makes");
        assert_eq!(get(&ctx, tenant, made.id).await.expect("found"), made);
        ctx.clock.advance(std::time::Duration::from_secs(1));
        let change = FailureStrategyChange { max_attempts: Some(9), ..FailureStrategyChange::default() };
        let changed = update(&ctx, &Settings::default(), tenant, made.id, change.clone()).await.expect("changes");
        assert_eq!(changed, FailureStrategyView { max_attempts: 9, updated_at: ctx.now(), ..made.clone() });
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [changed]);
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(list(&ctx, stranger).await.expect("lists"), []);
        assert_eq!(code(get(&ctx, stranger, made.id).await), "not_found");
        assert_eq!(code(update(&ctx, &Settings::default(), stranger, made.id, change).await), "not_found");
        assert_eq!(code(delete(&ctx, stranger, made.id).await), "not_found");
        let task = submit(&ctx, tenant, note("t")).await.id;
        for wrong in ["careful", &ctx.id(FailureStrategyId::mint).to_string()] {
            assert_eq!(code(say(&ctx, tenant, task, STRATEGY_KEY, wrong).await), "invalid");
        }
    }

    async fn what_cannot_be_a_strategy_is_refused_by_name(ctx) {
        let tenant = tenant(&ctx).await;
        let retry = rule(FailureClass::Any, Recovery::Retry {});
        let good = NewFailureStrategy { name: "s".into(), rules: vec![retry.clone()], max_attempts: 3 };
        let split = |subtasks: Vec<NewSubtask>| vec![retry.clone(), rule(FailureClass::Failed, Recovery::Split { subtasks })];
        for (new, field) in [
            (NewFailureStrategy { name: " ".into(), ..good.clone() }, "name"),
            (NewFailureStrategy { name: "a\0".into(), ..good.clone() }, "name"),
            (NewFailureStrategy { rules: vec![], ..good.clone() }, "rules"),
            (NewFailureStrategy { rules: vec![retry.clone(); 21], ..good.clone() }, "rules"),
            (NewFailureStrategy { max_attempts: 0, ..good.clone() }, "max_attempts"),
            (NewFailureStrategy { rules: vec![rule(FailureClass::Any, Recovery::Reassign { agent_type: " ".into() })], ..good.clone() }, "rules.action.agent_type"),
            (NewFailureStrategy { rules: split(vec![]), ..good.clone() }, "rules.action.subtasks"),
            (NewFailureStrategy { rules: vec![rule(FailureClass::Any, Recovery::Mend { subtasks: vec![] })], ..good.clone() }, "rules.action.subtasks"),
            (NewFailureStrategy { rules: vec![rule(FailureClass::Any, Recovery::Mend { subtasks: vec![part(" ", &[])] })], ..good.clone() }, "rules[0].action.subtasks[0].title"),
            (NewFailureStrategy { rules: split(vec![NewSubtask { agent_type: Some(" ".into()), ..part("a", &[]) }]), ..good.clone() }, "rules[1].action.subtasks[0].agent_type"),
            (NewFailureStrategy { rules: split(vec![part(" ", &[])]), ..good.clone() }, "rules[1].action.subtasks[0].title"),
            (NewFailureStrategy { rules: split(vec![part("a", &[0])]), ..good.clone() }, "rules[1].action.subtasks[0].depends_on"),
        ] {
            let refused = add(&ctx, &Settings::default(), tenant, new, None).await.expect_err(field).to_string();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
        }
        assert_eq!(list(&ctx, tenant).await.expect("lists"), []);
    }
}
