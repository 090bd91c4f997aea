//! Rows T-7.9a, b and f as far as they concern the table, on both databases.
//! That entries are delivered is tested in `signals`.

use serde_json::json;

use super::*;
use crate::{MIGRATIONS, Sql, execute, fetch_all};

const SAME: fn(&'static str) -> Sql = |text| Sql { sqlite: text, postgres: text };

async fn say(ctx: &Ctx, tx: &mut Tx, word: &str, key: &str) {
    push_once(ctx, tx, "test", About::default(), &json!(word), key).await.expect("pushes");
}

/// What waits, as its payloads.
async fn waiting(ctx: &Ctx) -> Vec<String> {
    let mut tx = ctx.read("test.waiting").await.expect("begins");
    let events = pending(&mut tx, 100).await.expect("reads");
    events.iter().map(|event| serde_json::from_str(event.payload.get()).expect("a word")).collect()
}

crate::on_both! { MIGRATIONS;
    async fn the_table_has_the_columns_of_the_backlog(ctx) {
        let columns = "SELECT id, event_type, payload, created_at, processed_at, retry_count, dedup_key FROM outbox";
        crate::testing::prepare_all(&ctx, &[("columns", SAME(columns))]).await;
    }

    async fn a_second_entry_with_the_same_key_is_refused_by_the_table_and_says_nothing_more(ctx) {
        let mut tx = ctx.begin("test.push").await.expect("begins");
        for word in ["first", "second"] {
            say(&ctx, &mut tx, word, "key").await;
        }
        tx.commit(()).await.expect("commits");
        assert_eq!(waiting(&ctx).await, ["first"]);
        let copy = "INSERT INTO outbox (id, event_type, payload, created_at, retry_count, dedup_key) \
                    SELECT $1, event_type, payload, created_at, 0, dedup_key FROM outbox";
        let mut tx = ctx.begin("test.copy").await.expect("begins");
        let refused = execute!(tx, SAME(copy), ctx.id(EventId::mint).uuid()).expect_err("the key is taken");
        assert!(refused.as_database_error().is_some_and(|error| error.is_unique_violation()), "{refused}");
    }

    async fn a_told_entry_still_keeps_its_key(ctx) {
        for word in ["first", "second"] {
            let mut tx = ctx.begin("test.push").await.expect("begins");
            say(&ctx, &mut tx, word, "key").await;
            tx.commit(()).await.expect("commits");
            let mut tx = ctx.begin("test.told").await.expect("begins");
            let ids: Vec<EventId> = pending(&mut tx, 9).await.expect("reads").iter().map(|event| event.id).collect();
            processed(&mut tx, &ids, ctx.now()).await.expect("notes");
            tx.commit(()).await.expect("commits");
        }
        let mut tx = ctx.read("test.rows").await.expect("begins");
        let rows = fetch_all!(tx, (i32,), SAME("SELECT retry_count FROM outbox")).expect("reads");
        assert_eq!(rows.len(), 1);
    }

    async fn a_change_that_is_rolled_back_leaves_no_entry(ctx) {
        let mut tx = ctx.begin("test.push").await.expect("begins");
        say(&ctx, &mut tx, "never happened", "a").await;
        drop(tx);
        let mut tx = ctx.begin("test.push").await.expect("begins");
        say(&ctx, &mut tx, "happened", "b").await;
        tx.commit(()).await.expect("commits");
        assert_eq!(waiting(&ctx).await, ["happened"]);
    }

    async fn entries_come_in_the_order_in_which_they_were_pushed(ctx) {
        let mut tx = ctx.begin("test.push").await.expect("begins");
        // The clock does not move, and ids made within one moment are in no order.
        for word in ["a", "b", "c", "d"] {
            say(&ctx, &mut tx, word, word).await;
        }
        tx.commit(()).await.expect("commits");
        assert_eq!(waiting(&ctx).await, ["a", "b", "c", "d"]);
    }
}
