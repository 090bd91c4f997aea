//! Metadata and tags on both databases.

use kernel::Ctx;
use wire::task::{TaskChange, TaskStatus};

use super::*;
use crate::Settings;
use crate::tests::{code, hand, migrations, note, submit, tenant};

fn entry(key: &str, value: &str) -> NewMetadata {
    NewMetadata { key: key.into(), value: value.into() }
}

async fn write_entry(ctx: &Ctx, tenant: TenantId, task: TaskId, key: &str, value: &str) -> MetadataView {
    set(ctx, tenant, task, entry(key, value)).await.expect("is set")
}

async fn put_tags(ctx: &Ctx, tenant: TenantId, task: TaskId, tags: &[&str]) -> Result<Tags> {
    tag(ctx, tenant, task, Tags { tags: tags.iter().map(ToString::to_string).collect() }).await
}

async fn all(ctx: &Ctx, tenant: TenantId, task: TaskId) -> MetadataAnswer {
    get(ctx, tenant, task, None).await.expect("found")
}

fn entries(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn tagged_ids(ctx: &Ctx, tenant: TenantId, tag: &str) -> Vec<TaskId> {
    tagged(ctx, tenant, tag).await.expect("lists").into_iter().map(|task| task.id).collect()
}

kernel::on_both! { migrations();
    async fn a_second_value_replaces_the_first_in_the_same_row(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let first = write_entry(&ctx, tenant, task, "branch", "a").await;
        ctx.clock.advance(std::time::Duration::from_secs(1));
        let second = write_entry(&ctx, tenant, task, "branch", "'; DROP TABLE tasks; --").await;
        assert_eq!(second, MetadataView { value: "'; DROP TABLE tasks; --".into(), ..first });
        let expect = entries(&[("branch", "'; DROP TABLE tasks; --")]);
        assert_eq!(all(&ctx, tenant, task).await, MetadataAnswer::All(expect));
    }

    async fn whoever_waits_for_a_task_looks_again_when_one_is_tagged_or_asks_for_an_agent(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let mut ready = ctx.nudges.subscribe(tasks::READY_NUDGE);
        write_entry(&ctx, tenant, task, "branch", "a").await;
        assert!(!ready.has_changed().expect("lasts"));
        put_tags(&ctx, tenant, task, &["api"]).await.expect("is set");
        assert!(ready.has_changed().expect("lasts"));
        ready.borrow_and_update();
        assert_eq!(code(set(&ctx, tenant, task, entry(AGENT_TYPE_KEY, " ")).await), "invalid", "nobody could claim it");
        write_entry(&ctx, tenant, task, AGENT_TYPE_KEY, "codex").await;
        assert!(ready.has_changed().expect("lasts"));
    }

    async fn the_database_itself_refuses_a_key_twice_and_a_key_of_nothing(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        const TEXT: &str = "INSERT INTO task_metadata (id, tenant_id, task_id, metadata_key, metadata_value, created_at) \
                            VALUES ($1, $2, $3, 'k', 'v', $4)";
        let sql = kernel::Sql { sqlite: TEXT, postgres: TEXT };
        for (of, is_fine) in [(task, true), (task, false), (ctx.id(TaskId::mint), false)] {
            let mut tx = ctx.begin("test").await.expect("begins");
            let done = kernel::execute!(tx, sql, ctx.id(MetadataId::mint).uuid(), tenant.uuid(), of.uuid(), ctx.now());
            assert_eq!(done.is_ok(), is_fine, "{of}");
            if is_fine {
                tx.commit(()).await.expect("commits");
            }
        }
    }

    async fn one_key_gives_its_value_and_an_unknown_one_is_not_found(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        write_entry(&ctx, tenant, task, "שפה", "🙂").await;
        assert_eq!(get(&ctx, tenant, task, Some("שפה")).await.expect("found"), MetadataAnswer::One("🙂".into()));
        for unknown in ["branch", "", "a\0b"] {
            assert_eq!(code(get(&ctx, tenant, task, Some(unknown)).await), "not_found");
        }
    }

    async fn what_cannot_be_a_key_or_a_value_is_refused_by_name(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let (long_key, long_value) = ("k".repeat(201), "v".repeat(65_537));
        let cases = [("", "v", "key"), ("a\0", "v", "key"), (&long_key, "v", "key"), ("k", "a\0b", "value"), ("k", &long_value, "value"), ("tags", "api", "value"), ("tags", "[1]", "value"), ("priority_score", "high", "value"), ("priority_score", "100.01", "value")];
        for (key, value, field) in cases {
            let refused = set(&ctx, tenant, task, entry(key, value)).await.expect_err("is refused").to_string();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
        }
        assert_eq!(all(&ctx, tenant, task).await, MetadataAnswer::All(BTreeMap::new()));
    }

    async fn several_tasks_are_read_at_once_and_strangers_are_left_out(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b, c] = [submit(&ctx, tenant, note("a")).await.id, submit(&ctx, tenant, note("b")).await.id, submit(&ctx, tenant, note("c")).await.id];
        write_entry(&ctx, tenant, a, "x", "1").await;
        write_entry(&ctx, tenant, a, "y", "2").await;
        write_entry(&ctx, tenant, b, "x", "3").await;
        let read = of_tasks(&ctx, tenant, &[a, b, c, ctx.id(TaskId::mint)]).await.expect("reads");
        let expect = [(a, entries(&[("x", "1"), ("y", "2")])), (b, entries(&[("x", "3")])), (c, entries(&[]))];
        assert_eq!(read, BTreeMap::from(expect));
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(of_tasks(&ctx, stranger, &[a]).await.expect("reads"), BTreeMap::new());
        assert_eq!(code(get(&ctx, stranger, a, None).await), "not_found");
        assert_eq!(code(set(&ctx, stranger, a, entry("x", "1")).await), "not_found");
    }

    async fn the_keys_in_use_are_counted(ctx) {
        let tenant = tenant(&ctx).await;
        for keys in [&["x", "y"][..], &["x"]] {
            let task = submit(&ctx, tenant, note("n")).await.id;
            for key in keys {
                write_entry(&ctx, tenant, task, key, "v").await;
            }
        }
        let field = |name: &str, usage_count| CustomField { name: name.into(), usage_count };
        assert_eq!(custom_fields(&ctx, tenant).await.expect("lists"), [field("x", 2), field("y", 1)]);
        assert_eq!(custom_fields(&ctx, ctx.id(TenantId::mint)).await.expect("lists"), []);
    }

    async fn a_tag_finds_its_own_tasks_and_no_others(ctx) {
        let tenant = tenant(&ctx).await;
        let api = submit(&ctx, tenant, note("a")).await.id;
        let apis = submit(&ctx, tenant, note("b")).await.id;
        let odd = submit(&ctx, tenant, note("c")).await.id;
        put_tags(&ctx, tenant, api, &["api", "v1", "api"]).await.expect("tags");
        put_tags(&ctx, tenant, apis, &["apis"]).await.expect("tags");
        put_tags(&ctx, tenant, odd, &["a\"api", "%", "עברית"]).await.expect("tags");
        // Not a tag, though it looks like a list of them.
        write_entry(&ctx, tenant, apis, "notes", "[\"api\"]").await;
        assert_eq!(get(&ctx, tenant, api, Some("tags")).await.expect("found"), MetadataAnswer::One("[\"api\",\"v1\"]".into()));
        for (tag, expect) in [("api", vec![api]), ("apis", vec![apis]), ("API", vec![]), ("a\"api", vec![odd]), ("%", vec![odd]), ("עברית", vec![odd]), ("", vec![])] {
            assert_eq!(tagged_ids(&ctx, tenant, tag).await, expect, "{tag}");
        }
        put_tags(&ctx, tenant, api, &[]).await.expect("tags");
        assert_eq!(tagged_ids(&ctx, tenant, "api").await, []);
        assert_eq!(code(put_tags(&ctx, tenant, api, &[" "]).await), "invalid");
        assert_eq!(code(put_tags(&ctx, tenant, api, &["a"; 101]).await), "invalid");
    }

    async fn a_retry_forgets_to_whom_the_task_was_given(ctx) {
        let tenant = tenant(&ctx).await;
        let hand = hand(&ctx, "claude_code", 1).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let to = wire::metadata::Assignment { worker_id: hand };
        assert_eq!(tasks::assign(&ctx, tenant, task, to.clone()).await.expect("assigns").status, TaskStatus::Assigned);
        assert_eq!(all(&ctx, tenant, task).await, MetadataAnswer::All(entries(&[("assigned_worker", &hand.to_string())])));
        assert_eq!(code(tasks::assign(&ctx, tenant, task, to).await), "task_not_ready");
        for status in [TaskStatus::InProgress, TaskStatus::Failed] {
            let change = TaskChange { status: Some(status), ..TaskChange::default() };
            tasks::update(&ctx, &Settings::default(), tenant, task, change).await.expect("is allowed");
        }
        for count in ["1", "2"] {
            tasks::retry(&ctx, tenant, task, None).await.expect("retries");
            assert_eq!(all(&ctx, tenant, task).await, MetadataAnswer::All(entries(&[("retry_count", count)])));
            for status in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Failed] {
                let change = TaskChange { status: Some(status), ..TaskChange::default() };
                tasks::update(&ctx, &Settings::default(), tenant, task, change).await.expect("is allowed");
            }
        }
    }
}
