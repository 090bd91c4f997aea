//! SQL of the queue's depth.

use kernel::{Result, Tx, fetch_one};
use wire::id::TenantId;
use wire::queue::QueueView;

use crate::tasks::COUNTED_MOST;

kernel::sql! {
    // SQLite goes by the index of states else, through all that is ready.
    DEPTHS: "SELECT \
               (SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_waiting WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                  AND parked_until IS NULL AND tenant_id = $1 LIMIT $2) machines), \
               (SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_claimable WHERE status = 'ready' AND spec IS NULL AND waits_for = 0 \
                  AND parked_until IS NULL AND tenant_id = $1 LIMIT $2) claims), \
               (SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_parked WHERE parked_until IS NOT NULL AND status = 'ready' \
                  AND waits_for = 0 AND tenant_id = $1 LIMIT $2) parked), \
               (SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_blocked WHERE waits_for > 0 AND status = 'ready' \
                  AND tenant_id = $1 LIMIT $2) blocked), \
               (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status IN ('assigned', 'in_progress') \
                  AND tenant_id = $1 LIMIT $2) in_hand)",
        postgres "SELECT \
                 (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                    AND parked_until IS NULL AND tenant_id = $1 LIMIT $2) machines), \
                 (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'ready' AND spec IS NULL AND waits_for = 0 \
                    AND parked_until IS NULL AND tenant_id = $1 LIMIT $2) claims), \
                 (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE parked_until IS NOT NULL AND status = 'ready' \
                    AND waits_for = 0 AND tenant_id = $1 LIMIT $2) parked), \
                 (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE waits_for > 0 AND status = 'ready' \
                    AND tenant_id = $1 LIMIT $2) blocked), \
                 (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status IN ('assigned', 'in_progress') \
                    AND tenant_id = $1 LIMIT $2) in_hand)";
}

/// How many of the tenant's tasks stand how; of the workers nothing.
pub(super) async fn depths(tx: &mut Tx, tenant: TenantId) -> Result<QueueView> {
    let depths = fetch_one!(tx, (i64, i64, i64, i64, i64), DEPTHS, tenant.uuid(), COUNTED_MOST)?;
    let (for_machines, for_claims, parked, blocked, in_hand) = depths;
    Ok(QueueView { for_machines, for_claims, parked, blocked, in_hand, ..QueueView::default() })
}
