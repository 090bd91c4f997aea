//! Any change of the schema that no migration made is seen (row T-1.11b).

use super::*;
use crate::{MIGRATIONS, execute};

/// A column is of another type; SQLite cannot change one, so there it is one more.
const ALTER: Sql = Sql {
    sqlite: "ALTER TABLE outbox ADD COLUMN event_kind ANY",
    postgres: "ALTER TABLE outbox ALTER COLUMN event_type TYPE VARCHAR(100)",
};
const DROP_INDEX: Sql = Sql { sqlite: "DROP INDEX outbox_pending", postgres: "DROP INDEX outbox_pending" };

crate::on_both! { MIGRATIONS;
    async fn what_the_migrations_made_is_what_is_expected(ctx) {
        let mut tx = ctx.read("test.describe").await.expect("begins");
        let described = describe(&mut tx).await.expect("describes");
        drop(tx);
        let expected = expected(&ctx, MIGRATIONS).await.expect("tries the migrations");
        assert_eq!(differences(&described, &expected), [""; 0]);
        assert!(described.contains_key("outbox") && described.contains_key("leadership"), "{described:?}");
    }

    async fn a_column_of_another_type_and_a_missing_index_are_named(ctx) {
        let expected = expected(&ctx, MIGRATIONS).await.expect("tries the migrations");
        for (change, word) in [(ALTER, "event_"), (DROP_INDEX, "outbox_pending")] {
            let mut tx = ctx.begin("test.change").await.expect("begins");
            execute!(tx, change).expect("is done");
            let described = describe(&mut tx).await.expect("describes");
            let found = differences(&described, &expected);
            assert!(!found.is_empty() && found.iter().all(|line| line.starts_with("outbox: ")), "{found:?}");
            assert!(found.iter().any(|line| line.contains(word)), "{found:?}");
        }
    }
}
