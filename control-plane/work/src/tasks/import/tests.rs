//! Imports and exports on both databases: all or nothing, and there and back again.

use serde_json::{Value, json};
use wire::limit::NEEDS_PER_TASK;

use super::*;
use crate::tasks::{self, Filter};
use crate::tests::{code, migrations, note, submit, tenant};

fn lines(values: &[Value]) -> Vec<Line> {
    let read = |value: &Value| serde_json::from_value(value.clone()).expect("a line");
    (1..).zip(values).map(|(number, value)| Line { number, task: read(value) }).collect()
}

async fn send(ctx: &Ctx, tenant: TenantId, values: &[Value]) -> Result<Imported> {
    import(ctx, &Settings::default(), tenant, lines(values), None).await
}

async fn count(ctx: &Ctx, tenant: TenantId) -> i64 {
    tasks::list(ctx, tenant, Filter::default()).await.expect("lists").total
}

/// What was exported, with each id replaced by its place, so that two databases can be compared.
async fn exported(ctx: &Ctx, tenant: TenantId) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = export(ctx, tenant, after, 3).await.expect("exports");
        let Some(last) = page.last() else { break };
        after = last.key.as_deref().map(|key| key.parse().expect("an id"));
        all.extend(page);
    }
    let places: HashMap<String, String> =
        all.iter().zip(0..).map(|(line, place)| (line.key.clone().expect("an id"), format!("#{place}"))).collect();
    let named = |mut line: ImportedTask| {
        line.key = line.key.and_then(|key| places.get(&key).cloned());
        line.needs.iter_mut().for_each(|need| need.key = places[&need.key].clone());
        line.needs.sort_by(|one, other| (&one.key, &one.condition).cmp(&(&other.key, &other.condition)));
        serde_json::to_value(line).expect("plain data")
    };
    all.into_iter().map(named).collect()
}

kernel::on_both! { migrations();
    async fn what_is_exported_can_be_imported_and_is_the_same(ctx) {
        let tenant = tenant(&ctx).await;
        let spec = json!({ "repository": "https://example.org/a", "command": ["make"], "env": { "A": "b" } });
        let imported = send(&ctx, tenant, &[
            json!({ "key": "a", "title": "A", "description": "d", "priority": 5, "effort_estimate": 3, "spec": spec, "status": "completed", "outcomes": ["artefact:x", "merged"] }),
            json!({ "key": "b", "title": "B", "needs": ["a", { "key": "a", "condition": "merged" }], "tags": ["x", "y"], "metadata": { "m": "n" },
                "project": "web", "keys": ["db"], "not_before": "2100-01-01T00:00:00Z", "deadline": "2100-02-01T00:00:00Z", "budget": { "dollars": "2.500000", "attempts": 3 } }),
            json!({ "key": "c", "title": "C", "needs": ["b", { "key": "a", "condition": "approved", "group": "g" }, { "key": "b", "condition": "merged", "group": "g" }] }),
            json!({ "key": "d", "title": "D", "status": "cancelled", "needs": [{ "key": "c", "dependency_type": "soft" }] }),
            json!({ "title": "E", "status": "in_progress" }),
        ]).await.expect("imports");
        assert_eq!((imported.tasks.len(), imported.dependencies), (5, 6));
        let waits: Vec<i32> = async { let mut waits = vec![]; for task in &imported.tasks { waits.push(tasks::get(&ctx, tenant, task.id).await.expect("found").waits_for); } waits }.await;
        assert_eq!(waits, [0, 0, 2, 0, 0]);
        let first = exported(&ctx, tenant).await;
        assert_eq!(first[4]["status"], "ready", "nobody has it any more");
        assert_eq!((&first[1]["project"], &first[1]["budget"]["attempts"]), (&json!("web"), &json!(3)));
        let parked = tasks::get(&ctx, tenant, imported.tasks[1].id).await.expect("found");
        assert_eq!(parked.not_before.map(|time| time.timestamp()), Some(4_102_444_800));
        let late = json!({ "title": "late", "deadline": "2001-01-01T00:00:00Z" });
        assert!(send(&ctx, tenant, std::slice::from_ref(&late)).await.expect_err("is past").to_string().starts_with("lines[1].deadline"));
        for task in imported.tasks.iter().rev() {
            tasks::delete(&ctx, tenant, task.id).await.expect("deletes");
        }
        send(&ctx, tenant, &first).await.expect("imports");
        assert_eq!(exported(&ctx, tenant).await, first);
        // What has ended may have had one, and what was begun in time.
        for (status, is_kept) in [("completed", true), ("in_progress", false)] {
            let mut begun = late.clone();
            begun["status"] = json!(status);
            let id = send(&ctx, tenant, &[begun]).await.expect("imports").tasks[0].id;
            let deadline = tasks::get(&ctx, tenant, id).await.expect("found").deadline;
            assert_eq!(deadline.is_some(), is_kept, "{status}");
        }
    }

    async fn more_than_a_batch_is_imported_at_once_and_in_order(ctx) {
        let tenant = tenant(&ctx).await;
        let chain: Vec<Value> = (0..150).map(|at| json!({ "key": at.to_string(), "title": format!("t{at}"), "needs": if at > 0 { vec![(at - 1).to_string()] } else { vec![] } })).collect();
        let imported = send(&ctx, tenant, &chain).await.expect("imports");
        assert_eq!(imported.tasks.iter().map(|task| task.key.clone().expect("a key")).collect::<Vec<_>>(), (0..150).map(|at: i32| at.to_string()).collect::<Vec<_>>());
        let circle = wire::dependency::NewDependency::on(imported.tasks[149].id);
        assert_eq!(code(dependencies::add(&ctx, tenant, imported.tasks[0].id, circle, None).await), "dependency_cycle");
        assert_eq!(tasks::get(&ctx, tenant, imported.tasks[149].id).await.expect("found").waits_for, 1);
    }

    async fn a_line_may_need_a_task_that_is_there_already(ctx) {
        let tenant = tenant(&ctx).await;
        let there = submit(&ctx, tenant, note("there")).await.id;
        let later = submit(&ctx, tenant, note("later")).await.id;
        let imported = send(&ctx, tenant, &[json!({ "title": "a", "needs": [there] })]).await.expect("imports");
        let new = imported.tasks[0].id;
        assert_eq!(dependencies::readiness(&ctx, tenant, new).await.expect("found").unsatisfied, [there]);
        dependencies::add(&ctx, tenant, there, wire::dependency::NewDependency::on(later), None).await.expect("adds");
        assert_eq!(code(dependencies::add(&ctx, tenant, later, wire::dependency::NewDependency::on(new), None).await), "dependency_cycle");
        let stranger = ctx.id(TenantId::mint);
        let refused = send(&ctx, stranger, &[json!({ "title": "a", "needs": [there] })]).await.expect_err("is another's");
        assert_eq!(refused.to_string(), format!("lines[1].needs: names {there}, which is no task"));
    }

    async fn one_wrong_line_keeps_all_out_and_is_named_with_its_field(ctx) {
        let tenant = tenant(&ctx).await;
        let good = || json!({ "key": "a", "title": "a" });
        let many: Vec<String> = (0..=NEEDS_PER_TASK).map(|at| at.to_string()).collect();
        for (wrong, said) in [
            (json!({ "title": " " }), "lines[2].title: "),
            (json!({ "title": "b", "key": "a" }), "lines[2].key: is \"a\", which is that of lines[1] already"),
            (json!({ "title": "b", "needs": ["z"] }), "lines[2].needs: names \"z\""),
            (json!({ "title": "b", "needs": ["a", "a"] }), "lines[2].needs: names \"a\" twice"),
            (json!({ "title": "b", "key": "b", "needs": ["b"] }), "lines[2].needs: each of these tasks would wait for the next: b (b) → b (b)"),
            (json!({ "title": "b", "needs": many }), "lines[2].needs: must be at most 1000"),
            (json!({ "title": "b", "spec": { "repository": "file:///a", "command": ["x"] } }), "lines[2].spec.repository: "),
        ] {
            let error = send(&ctx, tenant, &[good(), wrong]).await.expect_err("is refused").to_string();
            assert!(error.starts_with(said), "{said}: {error}");
        }
        assert_eq!(code(send(&ctx, tenant, &[]).await), "invalid");
        assert_eq!(count(&ctx, tenant).await, 0);
    }

    async fn a_repeated_import_gives_the_first_answer(ctx) {
        let tenant = tenant(&ctx).await;
        let attempt = Attempt::new("k", "tasks.import", &"the same").expect("a key");
        let send = async || import(&ctx, &Settings::default(), tenant, lines(&[json!({ "title": "a" })]), Some(&attempt)).await.expect("imports");
        assert_eq!(send().await, send().await);
        assert_eq!(count(&ctx, tenant).await, 1);
    }
}
