//! That what SQLite is told is there, once, whatever somebody's ANALYZE has put in its place.

use super::*;
use crate::migrate::script;
use crate::{MIGRATIONS, Sql};

async fn known(tx: &mut Tx) -> BTreeSet<Stat> {
    fetch_all!(tx, Stat, KNOWN).expect("reads").into_iter().collect()
}

#[tokio::test]
async fn what_analyze_found_in_empty_tables_is_replaced() {
    crate::testing::with_sqlite(MIGRATIONS, async |ctx| {
        let mut tx = ctx.begin("test.plans").await.expect("begins");
        let told = known(&mut tx).await;
        let of = |index: &str| told.iter().find(|(_, name, _)| name == index).map(|(_, _, stat)| stat.as_str());
        assert_eq!(of("audit_log_entity"), Some("1000000 5 1"));
        assert_eq!(of("outbox_processed"), Some("10000 1"));
        assert_eq!(of("sqlite_autoindex_outbox_1"), Some("1000000 1"));
        script(&mut tx, Sql { sqlite: "ANALYZE", postgres: "" }, "analyze").await.expect("analyzes");
        assert_ne!(known(&mut tx).await, told);
        settle(&mut tx).await.expect("tells it again");
        assert_eq!(known(&mut tx).await, told);
    })
    .await;
}
