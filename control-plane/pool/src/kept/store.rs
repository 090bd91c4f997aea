//! SQL of volumes that are kept for the work on them.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all};
use sqlx::types::Uuid;
use wire::id::{MachineId, VolumeId};
use wire::machine::KeptVolumeView;

kernel::sql! {
    KEEP: "UPDATE volumes SET kept_from = $2, kept_work = $3, released_at = $4 WHERE id = $1";
    DISCARD: "UPDATE volumes SET kept_work = NULL, released_at = $2 WHERE id = $1";
    LIST: "SELECT id, provider_id, region, size_gb, kept_from, kept_work, released_at FROM volumes \
           WHERE released_at IS NOT NULL AND state <> 'destroyed' AND kept_work IS NOT NULL \
           ORDER BY released_at DESC, id LIMIT 1000";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    provider_id: Option<String>,
    region: String,
    size_gb: i32,
    kept_from: Option<Uuid>,
    kept_work: String,
    released_at: DateTime<Utc>,
}

impl From<Row> for KeptVolumeView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            provider_id: row.provider_id,
            region: row.region,
            size_gb: row.size_gb,
            machine_id: row.kept_from.map(MachineId::from),
            what: row.kept_work,
            kept_since: row.released_at,
        }
    }
}

pub(super) async fn keep(tx: &mut Tx, id: VolumeId, machine: MachineId, what: &str, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, KEEP, id.uuid(), machine.uuid(), what, now)?;
    Ok(())
}

/// From now on the volume is one that was replaced then.
pub(crate) async fn discard(tx: &mut Tx, id: VolumeId, released_at: DateTime<Utc>) -> Result<()> {
    execute!(tx, DISCARD, id.uuid(), released_at)?;
    Ok(())
}

/// Those that are kept, the newest first.
pub(crate) async fn list(tx: &mut Tx) -> Result<Vec<KeptVolumeView>> {
    Ok(fetch_all!(tx, Row, LIST)?.into_iter().map(KeptVolumeView::from).collect())
}
