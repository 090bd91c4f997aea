//! Deleting, searching and estimating tasks, on both databases.

use kernel::{Ctx, outbox};
use wire::dependency::NewDependency;
use wire::execution::Outcome;
use wire::metadata::NewMetadata;

use super::*;
use crate::tests::{begun, code, ended, migrations, note, run, status, submit, tenant};
use crate::{dependencies, leases};

async fn found(ctx: &Ctx, tenant: TenantId, text: &str) -> Vec<String> {
    search(ctx, tenant, text).await.expect("searches").into_iter().map(|task| task.title).collect()
}

async fn describe(ctx: &Ctx, tenant: TenantId, title: &str, description: &str) {
    submit(ctx, tenant, NewTask { description: description.into(), ..note(title) }).await;
}

/// How many rows of this task each table has.
async fn rows_of(ctx: &Ctx, id: TaskId) -> Vec<i64> {
    const TEXT: &str = "SELECT (SELECT count(*) FROM tasks WHERE id = $1), \
                               (SELECT count(*) FROM executions WHERE task_id = $1), \
                               (SELECT count(*) FROM task_metadata WHERE task_id = $1), \
                               (SELECT count(*) FROM dependencies WHERE task_id = $1 OR depends_on_task_id = $1)";
    let mut tx = ctx.read("test").await.expect("begins");
    let sql = kernel::Sql { sqlite: TEXT, postgres: TEXT };
    let (a, b, c, d) = kernel::fetch_one!(tx, (i64, i64, i64, i64), sql, id.uuid()).expect("counts");
    vec![a, b, c, d]
}

/// A task that has been tried, that needs another and is needed by a third, with an entry beside it.
async fn laden(ctx: &Ctx, tenant: TenantId) -> (TaskId, TaskId) {
    let (task, worker, lease) = begun(ctx, tenant).await;
    let word = ended(&lease, Outcome::Failed);
    leases::complete(ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
    let (needed, needing) = (submit(ctx, tenant, note("a")).await.id, submit(ctx, tenant, note("b")).await.id);
    for (task, depends_on_task_id) in [(task, needed), (needing, task)] {
        let new = NewDependency::on(depends_on_task_id);
        dependencies::add(ctx, tenant, task, new, None).await.expect("is added");
    }
    let entry = NewMetadata { key: "k".into(), value: "v".into() };
    metadata::set(ctx, tenant, task, entry).await.expect("is set");
    (task, needing)
}

kernel::on_both! { migrations();
    async fn a_deleted_task_leaves_nothing_behind_and_nobody_waits_for_it(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, needing) = laden(&ctx, tenant).await;
        assert_eq!(rows_of(&ctx, task).await, [1, 1, 2, 2]);
        assert_eq!(code(delete(&ctx, ctx.id(TenantId::mint), task).await), "not_found");
        delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(rows_of(&ctx, task).await, [0; 4]);
        assert!(dependencies::readiness(&ctx, tenant, needing).await.expect("found").ready);
        assert_eq!(code(delete(&ctx, tenant, task).await), "not_found");
        let mut tx = ctx.read("test").await.expect("begins");
        let events = outbox::pending(&mut tx, 100).await.expect("reads");
        let last = events.iter().rfind(|event| event.task_id == Some(task)).map(|event| event.kind.clone());
        assert_eq!(last.as_deref(), Some("task.deleted"), "the record keeps what was told");
    }

    async fn a_deletion_that_fails_halfway_leaves_everything(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, needing) = laden(&ctx, tenant).await;
        // What the deletion does not know of holds the task's own row, which goes last.
        let sql = kernel::Sql {
            sqlite: "CREATE TABLE pins (task_id BLOB NOT NULL REFERENCES tasks (id)) STRICT",
            postgres: "CREATE TABLE pins (task_id UUID NOT NULL REFERENCES tasks (id))",
        };
        let mut tx = ctx.begin("test").await.expect("begins");
        kernel::execute!(tx, sql).expect("creates");
        const PIN: &str = "INSERT INTO pins (task_id) VALUES ($1)";
        let sql = kernel::Sql { sqlite: PIN, postgres: PIN };
        kernel::execute!(tx, sql, task.uuid()).expect("pins");
        tx.commit(()).await.expect("commits");
        assert_eq!(code(delete(&ctx, tenant, task).await), "internal");
        assert_eq!(rows_of(&ctx, task).await, [1, 1, 2, 2]);
        assert!(!dependencies::readiness(&ctx, tenant, needing).await.expect("found").ready);
    }

    async fn a_task_that_a_worker_has_is_not_deleted(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        assert_eq!(code(delete(&ctx, tenant, task).await), "task_in_hand");
        cancel(&ctx, &Settings::default(), tenant, task).await.expect("cancels");
        assert_eq!(code(delete(&ctx, tenant, task).await), "task_in_hand");
        let word = ended(&lease, Outcome::Cancelled);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
        delete(&ctx, tenant, task).await.expect("deletes");
    }

    async fn a_search_finds_either_case_and_gives_what_is_nothing_but_the_text_first(ctx) {
        let tenant = tenant(&ctx).await;
        describe(&ctx, tenant, "Mend the Login page", "").await;
        describe(&ctx, tenant, "about", "the LOGIN is slow").await;
        describe(&ctx, tenant, "login", "").await;
        describe(&ctx, tenant, "exactly", "Login").await;
        describe(&ctx, tenant, "logout", "").await;
        assert_eq!(found(&ctx, tenant, "LogIn").await, ["login", "exactly", "Mend the Login page", "about"]);
        assert_eq!(found(&ctx, ctx.id(TenantId::mint), "login").await, [""; 0]);
    }

    async fn a_search_folds_every_alphabet_and_follows_changes(ctx) {
        let tenant = tenant(&ctx).await;
        for title in ["Straßenbahn ÄPFEL", "Ωmega", "🙂 שלום"] {
            describe(&ctx, tenant, title, "").await;
        }
        assert_eq!(found(&ctx, tenant, "äpfel").await, ["Straßenbahn ÄPFEL"]);
        assert_eq!(found(&ctx, tenant, "ωMEGA").await, ["Ωmega"]);
        assert_eq!(found(&ctx, tenant, "שלום").await, ["🙂 שלום"]);
        let task = search(&ctx, tenant, "🙂").await.expect("searches")[0].id;
        let change = TaskChange { title: Some("Birnen".into()), ..TaskChange::default() };
        update(&ctx, &Settings::default(), tenant, task, change).await.expect("changes");
        assert_eq!(found(&ctx, tenant, "BIRNEN").await, ["Birnen"]);
        assert_eq!(found(&ctx, tenant, "🙂").await, [""; 0]);
    }

    async fn a_search_takes_every_character_as_it_is(ctx) {
        let tenant = tenant(&ctx).await;
        for title in ["100% done", "100 done", "a_b", "axb", "c\\d", "it's"] {
            describe(&ctx, tenant, title, "").await;
        }
        for (text, expect) in [("0%", "100% done"), ("a_b", "a_b"), ("c\\d", "c\\d"), ("'s", "it's")] {
            assert_eq!(found(&ctx, tenant, text).await, [expect], "{text}");
        }
        assert_eq!(found(&ctx, tenant, "%").await, ["100% done"]);
        assert_eq!(found(&ctx, tenant, "' OR 1=1 --").await, [""; 0]);
        for wrong in ["", "a\0b", &"x".repeat(501)] {
            assert_eq!(code(search(&ctx, tenant, wrong).await), "invalid");
        }
    }

    async fn of_fifty_one_matches_fifty_are_given(ctx) {
        let tenant = tenant(&ctx).await;
        for number in 0..51 {
            describe(&ctx, tenant, &format!("many {number}"), "").await;
        }
        assert_eq!(found(&ctx, tenant, "MANY").await.len(), 50);
    }

    async fn an_estimate_changes_its_field_alone(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await;
        let settings = Settings::default();
        let minutes = |effort_minutes| estimate(&ctx, &settings, tenant, task.id, Estimate { effort_minutes });
        assert_eq!(minutes(90).await.expect("changes"), TaskView { effort_estimate: Some(90), version: 2, ..task.clone() });
        let refused = minutes(-1).await.expect_err("is refused").to_string();
        assert!(refused.starts_with("effort_minutes: "), "{refused}");
    }

    async fn a_task_is_given_by_hand_only_to_a_worker_that_takes_work_so(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, pooled, _) = begun(&ctx, tenant).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        for worker_id in [pooled, ctx.id(wire::id::WorkerId::mint)] {
            assert_eq!(code(assign(&ctx, tenant, task, Assignment { worker_id }).await), "invalid");
        }
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
    }
}
