//! SQL of the leader's lease. Its time is the database's, which all of them share.

use sqlx::types::Uuid;

use crate::{Result, Tx, execute, fetch_optional};

/// The lease of all background work.
const NAME: &str = "background";

crate::sql! {
    RENEW: "UPDATE leadership SET until_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $3 \
            WHERE name = $1 AND holder = $2 RETURNING epoch",
        postgres "UPDATE leadership SET until_us = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $3 \
            WHERE name = $1 AND holder = $2 RETURNING epoch";
    TAKE: "INSERT INTO leadership (name, epoch, holder, until_us) \
           VALUES ($1, 1, $2, CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $3) \
           ON CONFLICT (name) DO UPDATE SET epoch = leadership.epoch + 1, holder = excluded.holder, until_us = excluded.until_us \
           WHERE leadership.until_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) RETURNING epoch",
        postgres "INSERT INTO leadership (name, epoch, holder, until_us) \
           VALUES ($1, 1, $2, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $3) \
           ON CONFLICT (name) DO UPDATE SET epoch = leadership.epoch + 1, holder = excluded.holder, until_us = excluded.until_us \
           WHERE leadership.until_us < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) RETURNING epoch";
    RELEASE: "UPDATE leadership SET until_us = 0 WHERE name = $1 AND holder = $2";
    STILL: "SELECT epoch FROM leadership WHERE name = $1 AND epoch = $2",
        postgres "SELECT epoch FROM leadership WHERE name = $1 AND epoch = $2 FOR KEY SHARE";
}

/// The epoch in which the holder leads, if the lease is its own or has lapsed; it has it for so long from now on.
pub(super) async fn claim(tx: &mut Tx, holder: Uuid, term_us: i64) -> Result<Option<i64>> {
    if let Some((epoch,)) = fetch_optional!(tx, (i64,), RENEW, NAME, holder, term_us)? {
        return Ok(Some(epoch));
    }
    Ok(fetch_optional!(tx, (i64,), TAKE, NAME, holder, term_us)?.map(|(epoch,)| epoch))
}

/// Lets anybody lead from now on.
pub(super) async fn release(tx: &mut Tx, holder: Uuid) -> Result<()> {
    execute!(tx, RELEASE, NAME, holder)?;
    Ok(())
}

/// Whether nobody has led since the epoch began; nobody else will before this transaction has ended.
pub(crate) async fn is_still(tx: &mut Tx, epoch: i64) -> Result<bool> {
    Ok(fetch_optional!(tx, (i64,), STILL, NAME, epoch)?.is_some())
}
