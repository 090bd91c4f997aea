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

/// What the entries behind a place say.
async fn words_behind(ctx: &Ctx, place: i64) -> Vec<(i64, String)> {
    let mut tx = ctx.read("test.behind").await.expect("begins");
    let entries = behind(&mut tx, place, 100).await.expect("reads");
    entries.into_iter().map(|entry| (entry.place, entry.payload.as_str().expect("a word").to_owned())).collect()
}

async fn place_all(ctx: &Ctx, limit: i64) -> u64 {
    let mut tx = ctx.begin("test.place").await.expect("begins");
    let placed = place(&mut tx, limit).await.expect("places");
    tx.commit(placed).await.expect("commits")
}

crate::on_both! { MIGRATIONS;
    async fn places_have_no_gaps_and_follow_the_order_of_pushing(ctx) {
        let mut tx = ctx.begin("test.push").await.expect("begins");
        for word in ["a", "b", "c", "d", "e"] {
            say(&ctx, &mut tx, word, word).await;
        }
        tx.commit(()).await.expect("commits");
        assert_eq!((place_all(&ctx, 2).await, place_all(&ctx, 9).await, place_all(&ctx, 9).await), (2, 3, 0));
        let expect = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")].map(|(place, word)| (place, word.to_owned()));
        assert_eq!(words_behind(&ctx, 0).await, expect);
        assert_eq!(words_behind(&ctx, 3).await, expect[3..]);
        let mut tx = ctx.read("test.ends").await.expect("begins");
        assert_eq!(last_place(&mut tx).await.expect("reads"), (5, false));
    }

    async fn places_are_not_given_twice_once_their_entries_are_gone(ctx) {
        for word in ["a", "b"] {
            let mut tx = ctx.begin("test.push").await.expect("begins");
            say(&ctx, &mut tx, word, word).await;
            tx.commit(()).await.expect("commits");
            place_all(&ctx, 9).await;
            let mut tx = ctx.begin("test.prune").await.expect("begins");
            let ids: Vec<EventId> = pending(&mut tx, 9).await.expect("reads").iter().map(|event| event.id).collect();
            processed(&mut tx, &ids, ctx.now()).await.expect("notes");
            if word == "a" {
                let later = ctx.now() + chrono::TimeDelta::seconds(1);
                assert_eq!(prune(&mut tx, later, Some(0)).await.expect("prunes"), 0, "somebody has not read it");
                assert_eq!(prune(&mut tx, later, Some(1)).await.expect("prunes"), 1);
            }
            tx.commit(()).await.expect("commits");
        }
        assert_eq!(words_behind(&ctx, 0).await, [(2, "b".to_owned())]);
    }
}

/// On SQLite there is only one writer, so nothing can become visible late.
#[tokio::test]
async fn an_entry_that_becomes_visible_late_gets_a_late_place_on_postgres() {
    crate::testing::with_postgres(MIGRATIONS, |ctx| async move {
        let mut slow = ctx.begin("test.slow").await.expect("begins");
        say(&ctx, &mut slow, "pushed first", "a").await;
        let mut quick = ctx.begin("test.quick").await.expect("begins");
        say(&ctx, &mut quick, "committed first", "b").await;
        quick.commit(()).await.expect("commits");
        assert_eq!(place_all(&ctx, 9).await, 1);
        let first = words_behind(&ctx, 0).await;
        assert_eq!(first, [(1, "committed first".to_owned())]);
        slow.commit(()).await.expect("commits");
        assert_eq!(place_all(&ctx, 9).await, 1);
        assert_eq!(words_behind(&ctx, 1).await, [(2, "pushed first".to_owned())], "behind a reader that has seen 1");
    })
    .await;
}
