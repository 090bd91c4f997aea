//! SQL of the critical path: everything that is open, in as few rows as can be. A row of
//! its own for each task and dependency would cost several times as much as the whole
//! walk over them, so they come packed, as hexadecimal digits, page by page.

use kernel::{Result, Tx, fetch_all, fetch_one};
use sqlx::types::Uuid;
use wire::id::TenantId;
use wire::plan::EFFORT_MINUTES_DEFAULT;

kernel::sql! {
    TASKS: "SELECT group_concat(hex(id) || printf('%08x', coalesce(effort_estimate, $4)), '') FROM ( \
              SELECT id, effort_estimate FROM tasks WHERE tenant_id = $1 AND id > $2 \
                AND status IN ('ready', 'assigned', 'in_progress', 'failed') ORDER BY tenant_id, id LIMIT $3)",
        postgres "SELECT encode(string_agg(uuid_send(id) || int4send(coalesce(effort_estimate, $4)), ''), 'hex') FROM ( \
                    SELECT id, effort_estimate FROM tasks WHERE tenant_id = $1 AND id > $2 \
                      AND status IN ('ready', 'assigned', 'in_progress', 'failed') ORDER BY tenant_id, id LIMIT $3) page";
    NEEDS: "SELECT group_concat(hex(task_id) || hex(depends_on_task_id), '') FROM ( \
              SELECT task_id, depends_on_task_id FROM dependencies \
              WHERE tenant_id = $1 AND task_id >= $2 AND dependency_type = 'hard' AND is_satisfied = FALSE \
                AND group_label IS NULL ORDER BY tenant_id, task_id, depends_on_task_id LIMIT $3)",
        postgres "SELECT encode(string_agg(uuid_send(task_id) || uuid_send(depends_on_task_id), ''), 'hex') FROM ( \
                    SELECT task_id, depends_on_task_id FROM dependencies \
                    WHERE tenant_id = $1 AND task_id >= $2 AND dependency_type = 'hard' AND is_satisfied = FALSE \
                      AND group_label IS NULL ORDER BY tenant_id, task_id, depends_on_task_id LIMIT $3) page";
    GROUPS: "SELECT d.task_id, d.depends_on_task_id, d.group_label FROM dependencies d \
             WHERE d.tenant_id = $1 AND d.group_label IS NOT NULL AND NOT EXISTS (SELECT 1 FROM dependencies o \
               WHERE o.task_id = d.task_id AND o.group_label = d.group_label AND o.is_satisfied = TRUE)";
}

/// How much is read at once.
pub(super) const PAGE: i64 = 20_000;

/// The open tasks in the order of their ids, with how long each lasts.
pub(super) async fn tasks(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(Uuid, i64)>> {
    let (mut tasks, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let (packed,) = fetch_one!(tx, (Option<String>,), TASKS, tenant.uuid(), after, PAGE, EFFORT_MINUTES_DEFAULT)?;
        let packed = packed.unwrap_or_default();
        let (rows, _) = packed.as_bytes().as_chunks::<40>();
        tasks.extend(rows.iter().map(|row| (id(&row[..32]), number(&row[32..]))));
        match tasks.last() {
            Some((last, _)) if i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE) => after = *last,
            _ => return Ok(tasks),
        }
    }
}

/// Every dependency by itself that stands in a task's way, as the task and the one it needs, a page at a time.
pub(super) async fn each_page_of_needs(
    tx: &mut Tx,
    tenant: TenantId,
    page: i64,
    mut take: impl FnMut(&[(Uuid, Uuid)]),
) -> Result<()> {
    let (mut from, mut limit) = (Uuid::nil(), page);
    loop {
        let (packed,) = fetch_one!(tx, (Option<String>,), NEEDS, tenant.uuid(), from, limit)?;
        let packed = packed.unwrap_or_default();
        let (rows, _) = packed.as_bytes().as_chunks::<64>();
        let needs: Vec<(Uuid, Uuid)> = rows.iter().map(|row| (id(&row[..32]), id(&row[32..]))).collect();
        let last = match needs.last() {
            Some((last, _)) if i64::try_from(needs.len()).is_ok_and(|count| count >= limit) => *last,
            _ => {
                take(&needs);
                return Ok(());
            }
        };
        // What the last task needs may go on behind the page: it is read again, and whole.
        take(&needs[..needs.partition_point(|(task, _)| *task < last)]);
        limit = if last == from { limit * 2 } else { page };
        from = last;
    }
}

/// What is in groups of which none is true yet, each with the group's label.
pub(super) async fn groups(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(Uuid, Uuid, String)>> {
    Ok(fetch_all!(tx, (Uuid, Uuid, String), GROUPS, tenant.uuid())?)
}

fn id(digits: &[u8]) -> Uuid {
    Uuid::try_parse_ascii(digits).unwrap_or_default()
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |number, digit| number * 16 + i64::from(char::from(*digit).to_digit(16).unwrap_or(0)))
}
