//! SQL of assignments: which task is next, and which makes way first.

use kernel::{Result, Tx, fetch_all, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};

use super::policy::Requirement;
use crate::admission::LaneId;
use crate::executions::COMMAND_AGENT;

kernel::sql! {
    // A score is a number, since nothing else can be set under its key; Postgres may look at other keys' values all
    // the same, hence the CASE.
    NEXT: "SELECT t.id, t.spec IS NOT NULL, t.effort_estimate, agent.metadata_value FROM tasks t \
           LEFT JOIN task_metadata score ON score.task_id = t.id AND score.metadata_key = 'priority_score' \
           LEFT JOIN task_metadata agent ON agent.task_id = t.id AND agent.metadata_key = 'agent_type' \
           WHERE t.tenant_id = $1 AND t.status = 'ready' AND t.waits_for = 0 AND t.parked_until IS NULL \
             AND t.lane_id NOT IN (SELECT unhex(value) FROM json_each($3)) \
           ORDER BY coalesce(CAST(score.metadata_value AS REAL), t.priority * 20.0) DESC, t.priority DESC, t.created_at, \
                    t.id LIMIT $2",
        postgres "SELECT t.id, t.spec IS NOT NULL, t.effort_estimate, agent.metadata_value FROM tasks t \
                  LEFT JOIN task_metadata score ON score.task_id = t.id AND score.metadata_key = 'priority_score' \
                  LEFT JOIN task_metadata agent ON agent.task_id = t.id AND agent.metadata_key = 'agent_type' \
                  WHERE t.tenant_id = $1 AND t.status = 'ready' AND t.waits_for = 0 AND t.parked_until IS NULL \
                    AND t.lane_id <> ALL (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($3 AS JSON)))) \
                  ORDER BY coalesce(CASE WHEN score.metadata_value ~ '^[0-9]{1,3}([.][0-9]{1,9})?$' \
                                         THEN CAST(score.metadata_value AS DOUBLE PRECISION) END, t.priority * 20.0) DESC, \
                           t.priority DESC, t.created_at, t.id LIMIT $2";
    LEAST_URGENT: "SELECT e.task_id, e.id FROM executions e JOIN tasks t ON t.id = e.task_id \
                   WHERE e.tenant_id = $1 AND e.worker_id = $2 AND e.completed_at IS NULL AND e.lease_until IS NULL \
                   ORDER BY t.priority, e.assigned_at DESC, e.id DESC LIMIT 1";
}

/// The next tasks that may start and what they ask of a worker: highest score first, then most urgent and oldest.
/// Those of closed lanes are left out.
pub(super) async fn next(
    tx: &mut Tx,
    tenant: TenantId,
    closed: &[LaneId],
    limit: i64,
) -> Result<Vec<(TaskId, Requirement)>> {
    let closed = kernel::id_list(closed.iter().map(|lane| lane.0));
    let rows = fetch_all!(tx, (Uuid, bool, Option<i32>, Option<String>), NEXT, tenant.uuid(), limit, &closed)?;
    let next = |(id, has_spec, effort_minutes, named): (Uuid, bool, Option<i32>, Option<String>)| {
        let agent_type = named.or_else(|| has_spec.then(|| COMMAND_AGENT.to_owned()));
        (id.into(), Requirement { agent_type, effort_minutes })
    };
    Ok(rows.into_iter().map(next).collect())
}

/// What a worker has by hand that would make way first: the least urgent, of several the newest.
pub(super) async fn least_urgent(
    tx: &mut Tx,
    tenant: TenantId,
    worker: WorkerId,
) -> Result<Option<(TaskId, ExecutionId)>> {
    let row = fetch_optional!(tx, (Uuid, Uuid), LEAST_URGENT, tenant.uuid(), worker.uuid())?;
    Ok(row.map(|(task, execution)| (task.into(), execution.into())))
}
