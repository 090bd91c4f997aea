//! Wake-up calls between several control planes on one Postgres: what is nudged in one process wakes whoever
//! listens for it in the others. On SQLite there is only one process, and this does nothing.
//!
//! Calls go out after the commit that they belong to, on a connection of their own, all that are due in one
//! notification. NOTIFY inside the commit would hold a lock of the whole server until that commit is on disk, and so
//! make all commits one after another. A call that a crash keeps from going out costs only time, as any
//! lost one does: every listener also looks by itself.

use std::time::Duration;

use kit::backoff::Backoff;
use kit::{Chance, Tasks};
use sqlx::postgres::{PgListener, PgPool};

use crate::{Ctx, Db, Nudges};

/// The channel of all wake-up calls.
const CHANNEL: &str = "bifrost_nudges";
/// Between two notifications: what is due meanwhile goes out with the next.
const GATHER: Duration = Duration::from_millis(2);
/// Waits before a lost connection is made anew.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(5) };

/// Lets the wake-up calls of this context reach other control planes, and theirs reach it.
pub fn share_nudges(ctx: &Ctx, tasks: &Tasks) {
    let Db::Postgres(pool) = ctx.apart().db else { return };
    let own = ctx.chance.hex::<8>();
    ctx.nudges.go_abroad();
    let (nudges, chance, name, calling) = (ctx.nudges.clone(), ctx.chance.clone(), own.clone(), pool.clone());
    tasks.spawn_until_stopped("nudges-out", async move { call(&calling, &nudges, &chance, &name).await });
    let (nudges, chance) = (ctx.nudges.clone(), ctx.chance.clone());
    tasks.spawn_until_stopped("nudges-in", async move { listen(&pool, &nudges, &chance, &own).await });
}

/// Sends what is due.
async fn call(pool: &PgPool, nudges: &Nudges, chance: &Chance, own: &str) {
    let mut failures = 0;
    loop {
        let due = nudges.due_abroad().await;
        let text = [vec![own], due].concat().join(" ");
        match sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(pool).await {
            Ok(_) => failures = 0,
            // The others notice that their own connection was lost, or look by themselves.
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "wake-up calls to other control planes were not sent");
                tokio::time::sleep(RECONNECT.wait(failures, chance)).await;
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Hears what others send. After a connection was lost, everybody is woken once.
async fn listen(pool: &PgPool, nudges: &Nudges, chance: &Chance, own: &str) {
    let mut failures = 0;
    loop {
        if let Err(error) = hear(pool, nudges, own, &mut failures).await {
            tracing::warn!(%error, "wake-up calls of other control planes are not heard");
        }
        failures += 1;
        tokio::time::sleep(RECONNECT.wait(failures, chance)).await;
    }
}

/// Hears until the connection is lost.
async fn hear(pool: &PgPool, nudges: &Nudges, own: &str, failures: &mut u32) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    *failures = 0;
    // Whatever was called before this connection was heard by nobody here.
    nudges.wake_all();
    while let Some(call) = listener.try_recv().await? {
        let mut words = call.payload().split(' ');
        if words.next() != Some(own) {
            words.for_each(|name| nudges.wake(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
