//! SQL of the history of arrivals.

use kernel::{Result, Tx, execute, fetch_all, fetch_one};

use super::Hour;

kernel::sql! {
    OF_HOUR: "SELECT hour, arrivals, burst, busy_seconds FROM arrivals WHERE hour = $1";
    BOUNDS: "SELECT min(hour), max(hour) FROM arrivals";
    PUT: "INSERT INTO arrivals (hour, arrivals, burst, busy_seconds) VALUES ($1, $2, $3, $4) \
          ON CONFLICT (hour) DO UPDATE SET arrivals = excluded.arrivals, burst = excluded.burst, \
            busy_seconds = excluded.busy_seconds";
    PRUNE: "DELETE FROM arrivals WHERE hour < $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    hour: i64,
    arrivals: i64,
    burst: i64,
    busy_seconds: i64,
}

/// What came in these few hours.
pub(super) async fn of_slots(tx: &mut Tx, hours: &[i64]) -> Result<Vec<Hour>> {
    let mut found = Vec::new();
    for hour in hours {
        let rows = fetch_all!(tx, Row, OF_HOUR, hour)?;
        found.extend(rows.into_iter().map(|Row { hour, arrivals, burst, busy_seconds }| Hour {
            hour,
            arrivals,
            burst,
            busy_seconds,
        }));
    }
    Ok(found)
}

/// The first hour of the history.
pub(super) async fn first(tx: &mut Tx) -> Result<Option<i64>> {
    Ok(fetch_one!(tx, (Option<i64>, Option<i64>), BOUNDS)?.0)
}

/// The last one.
pub(super) async fn last(tx: &mut Tx) -> Result<Option<i64>> {
    Ok(fetch_one!(tx, (Option<i64>, Option<i64>), BOUNDS)?.1)
}

pub(super) async fn put(tx: &mut Tx, hour: &Hour) -> Result<()> {
    let Hour { hour, arrivals, burst, busy_seconds } = *hour;
    execute!(tx, PUT, hour, arrivals, burst, busy_seconds)?;
    Ok(())
}

pub(super) async fn prune(tx: &mut Tx, before: i64) -> Result<()> {
    execute!(tx, PRUNE, before)?;
    Ok(())
}
