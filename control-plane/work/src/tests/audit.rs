//! Who is said to have done what in a task's life (row CAIRN-75): one row for each
//! decision, and none for a sign of life or a repeat.

use kernel::audit::{self, Filter};
use wire::audit::AuditEntry;

use super::*;

async fn entries(ctx: &Ctx, tenant: TenantId, filter: Filter) -> Vec<AuditEntry> {
    let mut entries = audit::list(ctx, tenant, &filter).await.expect("lists").entries;
    entries.reverse();
    entries
}

async fn of_task(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Vec<AuditEntry> {
    entries(ctx, tenant, Filter { entity_id: Some(task.to_string()), ..Filter::default() }).await
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

kernel::on_both! { migrations();
    async fn each_step_of_a_task_is_one_entry_and_its_repeats_are_none(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx.of_system("test"), tenant).await;
        for _ in 0..2 {
            leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
            let heartbeat = Heartbeat { running: vec![holding(&lease)] };
            leases::heartbeat(&ctx, &Settings::default(), worker, &heartbeat).await.expect("is heard");
        }
        for _ in 0..2 {
            let completion = ended(&lease, Outcome::Failed);
            leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, completion).await.expect("ends");
        }
        let entries = of_task(&ctx, tenant, task).await;
        assert_eq!(actions(&entries), ["task.submitted", "task.assigned", "task.started", "task.failed"]);
        let status = |value: &serde_json::Value| value["status"].as_str().map(str::to_owned);
        let turns: Vec<_> = entries.iter().map(|entry| (status(&entry.old_values), status(&entry.new_values))).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            turns,
            [
                (None, some("ready")),
                (some("ready"), some("assigned")),
                (some("assigned"), some("in_progress")),
                (some("in_progress"), some("failed")),
            ]
        );
        assert_eq!(entries[1].new_values["execution_id"], lease.execution_id.to_string());
        assert_eq!((&entries[3].old_values["attempts"], &entries[3].new_values["attempts"]), (&0.into(), &1.into()));
        let authors: Vec<_> = entries.iter().map(|entry| entry.actor.as_str()).collect();
        assert_eq!(authors, ["system/test", "system/test", "system/test", "system/control-plane"]);
    }

    async fn a_machines_states_are_one_entry_each_however_often_it_is_looked_at(ctx) {
        let tenant = tenant(&ctx).await;
        begun(&ctx, tenant).await;
        for _ in 0..3 {
            schedule(&ctx).await;
        }
        let machines = entries(&ctx, tenant, Filter { entity_type: Some("machine".into()), ..Filter::default() }).await;
        assert_eq!(actions(&machines), ["machine.created", "machine.state"]);
        assert_eq!(machines[1].new_values["state"], "ready");
        let workers = entries(&ctx, tenant, Filter { entity_type: Some("worker".into()), ..Filter::default() }).await;
        assert_eq!(actions(&workers), ["worker.registered"]);
    }

    async fn calling_off_and_trying_again_are_one_entry_each(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        for _ in 0..2 {
            tasks::cancel(&ctx, &Settings::default(), tenant, task).await.expect("is called off");
        }
        let completion = ended(&lease, Outcome::Cancelled);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, completion).await.expect("ends");
        let entries = of_task(&ctx, tenant, task).await;
        assert_eq!(actions(&entries)[3..], ["task.cancel_requested", "task.cancelled"]);
        let other = submit(&ctx, tenant, note("b")).await.id;
        let set = async |status| {
            let change = TaskChange { status: Some(status), ..TaskChange::default() };
            tasks::update(&ctx, &Settings::default(), tenant, other, change).await.expect("is set");
        };
        for status in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Failed] {
            set(status).await;
        }
        tasks::retry(&ctx, tenant, other, None).await.expect("is ready again");
        let entries = of_task(&ctx, tenant, other).await;
        let expect = ["task.submitted", "task.updated", "task.updated", "task.failed", "task.requeued"];
        assert_eq!(actions(&entries), expect);
    }
}
