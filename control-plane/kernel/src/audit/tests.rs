//! What is kept of a change, and how it is found again, on both databases.

use serde_json::json;
use wire::audit::AuditEntry;
use wire::id::{ApiKeyId, TaskId};

use super::*;
use crate::{Actor, MIGRATIONS};

/// Longer than what is kept of one value.
const LONG: usize = 100_000;

async fn note(ctx: &Ctx, action: &str, entity: &Entity, change: Change) {
    let mut tx = ctx.begin("test.note").await.expect("begins");
    write(ctx, &mut tx, action, entity, &change).await.expect("writes");
    tx.commit(()).await.expect("commits");
}

async fn all(ctx: &Ctx, tenant: TenantId) -> Vec<AuditEntry> {
    list(ctx, tenant, &Filter::default()).await.expect("lists").entries
}

#[test]
fn a_change_is_told_by_the_fields_that_differ() {
    let between = Change::between(
        &json!({ "same": 1, "other": 1, "gone": 1, "absent": null }),
        &json!({ "same": 1, "other": 2, "new": [1], "absent": null }),
    );
    let change = between.expect("objects");
    assert_eq!(Value::Object(change.old), json!({ "other": 1, "gone": 1 }));
    assert_eq!(Value::Object(change.new), json!({ "other": 2, "new": [1] }));
    Change::created(&1).expect_err("the audit takes objects");
}

crate::on_both! { MIGRATIONS;
    async fn an_entry_says_who_what_when_from_what_to_what_and_why(ctx) {
        let (tenant, task) = (ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        let key = ctx.id(ApiKeyId::mint);
        let request = ctx.of_request(Some("it is late".into()));
        // The handler's own context was made before its caller was known.
        request.clone().identify(Actor::ApiKey(key));
        let change = Change::between(&json!({ "priority": 3 }), &json!({ "priority": 5 })).expect("objects");
        note(&request, "task.updated", &Entity::new(tenant, "task", task), change).await;
        let expect = AuditEntry {
            seq: 1,
            at: ctx.now(),
            actor: format!("api-key/{key}"),
            action: "task.updated".into(),
            entity_type: "task".into(),
            entity_id: task.to_string(),
            old_values: json!({ "priority": 3 }),
            new_values: json!({ "priority": 5 }),
            reason: Some("it is late".into()),
        };
        assert_eq!(all(&ctx, tenant).await, [expect]);
    }

    async fn the_first_word_of_who_asks_counts_and_nobody_is_the_system(ctx) {
        let tenant = ctx.id(TenantId::mint);
        let thing = Entity::new(tenant, "thing", 1);
        let request = ctx.of_request(None);
        note(&request, "a", &thing, Change::default().because("its own")).await;
        let (first, second) = (ctx.id(ApiKeyId::mint), ctx.id(ApiKeyId::mint));
        request.identify(Actor::ApiKey(first));
        request.identify(Actor::ApiKey(second));
        note(&request, "b", &thing, Change::default()).await;
        note(&request.of_system("scheduler"), "c", &thing, Change::default()).await;
        let found: Vec<_> = all(&ctx, tenant).await.into_iter().map(|entry| (entry.actor, entry.reason)).collect();
        let key = format!("api-key/{first}");
        let expect = [("system/scheduler".into(), None), (key, None), ("system/control-plane".into(), Some("its own".into()))];
        assert_eq!(found, expect);
    }

    async fn a_change_that_is_rolled_back_leaves_no_entry(ctx) {
        let tenant = ctx.id(TenantId::mint);
        let mut tx = ctx.begin("test.note").await.expect("begins");
        write(&ctx, &mut tx, "a", &Entity::new(tenant, "thing", 1), &Change::default()).await.expect("writes");
        drop(tx);
        assert_eq!(all(&ctx, tenant).await, []);
    }

    async fn what_is_kept_of_a_value_is_bounded_and_fit_for_both_databases(ctx) {
        let tenant = ctx.id(TenantId::mint);
        let new = json!({ "text": "é".repeat(LONG), "list": vec![1; LONG], "nul": "a\0b", "deep": { "nul": "\0" }, "short": "x" });
        note(&ctx, "a", &Entity::new(tenant, "thing", 1), Change::created(&new).expect("an object")).await;
        let kept = all(&ctx, tenant).await.remove(0).new_values;
        assert!(kept["text"].as_str().is_some_and(|text| text.ends_with("é… (100000 characters)")), "{kept}");
        assert_eq!(kept["list"], "[200001 bytes of JSON]");
        assert_eq!((&kept["nul"], &kept["short"]), (&json!("ab… (3 characters)"), &json!("x")));
        assert_eq!(kept["deep"], "[16 bytes of JSON]");
        assert!(kept.to_string().len() < 3 * VALUE_BYTES);
    }

    async fn entries_are_found_by_author_time_and_thing_page_by_page(ctx) {
        let (tenant, other) = (ctx.id(TenantId::mint), ctx.id(TenantId::mint));
        let began = ctx.now();
        for number in 0..6 {
            let part = if number % 2 == 0 { "even" } else { "odd" };
            let kind = if number < 3 { "task" } else { "worker" };
            note(&ctx.of_system(part), "a", &Entity::new(tenant, kind, number), Change::default()).await;
            ctx.clock.advance(std::time::Duration::from_secs(1));
        }
        note(&ctx, "a", &Entity::new(other, "task", "theirs"), Change::default()).await;
        note(&ctx, "a", &Entity::shared("machine", "everybody's"), Change::default()).await;
        let found = async |filter: Filter| {
            let page = list(&ctx, tenant, &filter).await.expect("lists");
            let ids: Vec<String> = page.entries.into_iter().map(|entry| entry.entity_id).collect();
            (ids.join(" "), page.next.is_some())
        };
        let any = Filter::default;
        let at = |seconds| Some(began + chrono::TimeDelta::seconds(seconds));
        assert_eq!(found(any()).await, ("everybody's 5 4 3 2 1 0".into(), false));
        assert_eq!(found(Filter { actor: Some("system/odd".into()), ..any() }).await.0, "5 3 1");
        assert_eq!(found(Filter { entity_type: Some("task".into()), ..any() }).await.0, "2 1 0");
        assert_eq!(found(Filter { entity_id: Some("4".into()), ..any() }).await.0, "4");
        assert_eq!(found(Filter { since: at(2), until: at(4), ..any() }).await.0, "3 2");
        assert_eq!(found(Filter { actor: Some("system/none".into()), ..any() }).await, (String::new(), false));
        let first = list(&ctx, tenant, &Filter { limit: Some(4), ..any() }).await.expect("lists");
        assert_eq!(first.entries.len(), 4);
        assert_eq!(found(Filter { before: first.next, limit: Some(4), ..any() }).await, ("2 1 0".into(), false));
        for (field, wrong) in [
            ("limit", Filter { limit: Some(0), ..any() }),
            ("limit", Filter { limit: Some(1_001), ..any() }),
            ("actor", Filter { actor: Some("\0".into()), ..any() }),
        ] {
            let refused = list(&ctx, tenant, &wrong).await.expect_err(field);
            assert!(refused.to_string().starts_with(field), "{refused}");
        }
    }
}
