//! SQL of the dry run of what is stored.

use kernel::{Result, Tx, fetch_all};
use sqlx::types::Uuid;
use wire::id::{TaskId, TenantId};
use wire::outcome::Condition;
use wire::task::TaskStatus;

kernel::sql! {
    NEEDS: "SELECT d.task_id, d.depends_on_task_id, d.condition, d.group_label, d.is_satisfied, n.title, n.status \
            FROM tasks t JOIN dependencies d ON d.task_id = t.id JOIN tasks n ON n.id = d.depends_on_task_id \
            WHERE t.tenant_id = $1 AND t.status IN ('ready', 'assigned', 'in_progress', 'failed') \
              AND d.dependency_type = 'hard' ORDER BY d.created_at, d.id";
}

/// What an open task needs (hard).
#[derive(Debug)]
pub(super) struct StoredNeed {
    pub(super) task: TaskId,
    pub(super) needed: TaskId,
    pub(super) condition: Condition,
    pub(super) group: Option<String>,
    pub(super) is_satisfied: bool,
    pub(super) title: String,
    pub(super) status: TaskStatus,
}

#[derive(sqlx::FromRow)]
struct Row {
    task_id: Uuid,
    depends_on_task_id: Uuid,
    #[sqlx(try_from = "String")]
    condition: Condition,
    group_label: Option<String>,
    is_satisfied: bool,
    title: String,
    #[sqlx(try_from = "String")]
    status: TaskStatus,
}

pub(super) async fn needs(tx: &mut Tx, tenant: TenantId) -> Result<Vec<StoredNeed>> {
    let rows = fetch_all!(tx, Row, NEEDS, tenant.uuid())?;
    let need = |row: Row| StoredNeed {
        task: row.task_id.into(),
        needed: row.depends_on_task_id.into(),
        condition: row.condition,
        group: row.group_label,
        is_satisfied: row.is_satisfied,
        title: row.title,
        status: row.status,
    };
    Ok(rows.into_iter().map(need).collect())
}
