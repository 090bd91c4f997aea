//! SQL of scores: the open tasks and what they need of each other.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, fetch_all};
use sqlx::types::Uuid;
use wire::id::{TaskId, TenantId};
use wire::task::{Priority, TaskStatus};

kernel::sql! {
    OPEN: "SELECT id, status, priority, effort_estimate, waits_for, created_at FROM tasks \
           WHERE tenant_id = $1 AND status IN ('ready', 'assigned', 'in_progress', 'failed', 'split')";
    EDGES: "SELECT depends_on_task_id, task_id FROM dependencies WHERE tenant_id = $1 AND dependency_type = 'hard'";
}

/// A task that is not over, as far as a score needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    pub(super) id: TaskId,
    pub(super) status: TaskStatus,
    pub(super) priority: Priority,
    pub(super) effort_estimate: Option<i32>,
    pub(super) waits_for: i32,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    #[sqlx(try_from = "String")]
    status: TaskStatus,
    #[sqlx(try_from = "i16")]
    priority: Priority,
    effort_estimate: Option<i32>,
    waits_for: i32,
    created_at: DateTime<Utc>,
}

/// Every task that is not over.
pub(super) async fn open(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Open>> {
    let rows = fetch_all!(tx, Row, OPEN, tenant.uuid())?;
    let open = rows.into_iter().map(|row| Open {
        id: row.id.into(),
        status: row.status,
        priority: row.priority,
        effort_estimate: row.effort_estimate,
        waits_for: row.waits_for,
        created_at: row.created_at,
    });
    Ok(open.collect())
}

/// Every hard dependency, the task that is needed first.
pub(super) async fn edges(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(TaskId, TaskId)>> {
    let rows = fetch_all!(tx, (Uuid, Uuid), EDGES, tenant.uuid())?;
    Ok(rows.into_iter().map(|(needed, task)| (needed.into(), task.into())).collect())
}
