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

#[test]
fn each_connection_forgets_its_plans_once_in_a_round_and_rounds_come_ever_later() {
    let begins: Vec<u64> = (0..300).filter(|at| *at > 0 && round(seconds(*at)) > round(seconds(at - 1))).collect();
    assert_eq!(begins, [1, 2, 4, 8, 16, 32, 60, 120, 180, 240]);
    let renewal = Renewal::new(2);
    let due = |at| (0..4).map(|_| renewal.is_due_after(seconds(at))).collect::<Vec<_>>();
    assert_eq!(due(0), [false; 4]);
    assert_eq!(due(1), [true, true, false, false]);
    assert_eq!(due(1), [false; 4]);
    assert_eq!(due(3_600), [true, true, false, false], "rounds that nobody was there for are not made up for");
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
