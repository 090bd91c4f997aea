//! SQL of rests.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional};
use wire::id::MachineId;

kernel::sql! {
    LIST: "SELECT scope, until, times, why FROM provider_rests ORDER BY scope";
    FIND: "SELECT scope, until, times, why FROM provider_rests WHERE scope = $1";
    PUT: "INSERT INTO provider_rests (scope, until, times, why) VALUES ($1, $2, $3, $4) \
          ON CONFLICT (scope) DO UPDATE SET until = excluded.until, times = excluded.times, why = excluded.why";
    REMOVE: "DELETE FROM provider_rests WHERE scope = $1";
    IMAGE_WORKS: "DELETE FROM provider_rests WHERE scope = (SELECT 'image/' || image FROM machines WHERE id = $1)";
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) scope: String,
    pub(super) until: DateTime<Utc>,
    pub(super) times: i32,
    pub(super) why: String,
}

pub(super) async fn list(tx: &mut Tx) -> Result<Vec<Row>> {
    Ok(fetch_all!(tx, Row, LIST)?)
}

pub(super) async fn find(tx: &mut Tx, scope: &str) -> Result<Option<Row>> {
    Ok(fetch_optional!(tx, Row, FIND, scope)?)
}

pub(super) async fn put(tx: &mut Tx, scope: &str, until: DateTime<Utc>, times: i32, why: &str) -> Result<()> {
    execute!(tx, PUT, scope, until, times, why)?;
    Ok(())
}

/// Says whether it was there.
pub(super) async fn remove(tx: &mut Tx, scope: &str) -> Result<bool> {
    Ok(execute!(tx, REMOVE, scope)? == 1)
}

pub(super) async fn image_works(tx: &mut Tx, machine: MachineId) -> Result<()> {
    execute!(tx, IMAGE_WORKS, machine.uuid())?;
    Ok(())
}
