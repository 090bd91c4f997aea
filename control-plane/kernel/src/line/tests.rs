//! Wake-up calls between two control planes on one Postgres.

use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::testing::{another, with_postgres};
use crate::{MIGRATIONS, Sql, fetch_all};

const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "a-call";

async fn woken(listener: &mut watch::Receiver<()>) {
    timeout(PATIENCE, listener.changed()).await.expect("is woken").expect("is open");
}

async fn call_from(ctx: &Ctx) {
    let mut tx = ctx.begin("test.call").await.expect("begins");
    tx.nudge(NAME);
    tx.commit(()).await.expect("commits");
}

#[tokio::test]
async fn a_call_of_one_wakes_who_listens_in_another_and_after_a_lost_connection_everybody_is_woken_on_postgres() {
    with_postgres(MIGRATIONS, async |ctx| {
        let (other, tasks) = (another(&ctx), Tasks::new());
        let mut listener = other.nudges.subscribe(NAME);
        share_nudges(&ctx, &tasks);
        share_nudges(&other, &tasks);
        // Once it is connected it wakes everybody: something may have been missed.
        woken(&mut listener).await;
        call_from(&ctx).await;
        woken(&mut listener).await;

        let mut tx = ctx.begin("test.cut").await.expect("begins");
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let cut = fetch_all!(tx, (bool,), Sql { sqlite: cut, postgres: cut }).expect("may end its own connections");
        assert_eq!(cut, [(true,), (true,)]);
        drop(tx);
        woken(&mut listener).await;
        call_from(&ctx).await;
        woken(&mut listener).await;
        tasks.stop_within(PATIENCE).await.expect("ends");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_where_nobody_else_is() {
    let nudges = Nudges::default();
    nudges.nudge_everywhere(NAME);
    nudges.go_abroad();
    nudges.nudge_everywhere("another");
    assert_eq!(timeout(PATIENCE, nudges.due_abroad()).await.expect("is due"), ["another"]);
}
