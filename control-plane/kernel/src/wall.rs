//! The second wall between tenants, on Postgres (row T-1.12): row-level security on every table that has a
//! `tenant_id`, besides the `WHERE` of every statement. A transaction of a request sees its tenant's rows and those
//! that belong to nobody; one of the control plane's own sees all.
//!
//! The wall is built after the migrations, on whatever table lacks it, so that no migration can forget it. It is
//! forced upon the tables' owner too; only a superuser passes it, so the control plane should not be one.

pub(crate) mod store;

use wire::id::TenantId;

use crate::{Class, Ctx, Result};

/// The beginning of a transaction on Postgres: its bounds, and whose it is. Both end with it, so that a pooled
/// connection takes nothing from one to the next.
pub(crate) fn begin(head: &str, ctx: &Ctx) -> String {
    let timeout_ms = ctx.class().statement_timeout().map_or(0, |limit| limit.as_millis());
    let owner = match ctx.tenant() {
        // An id is hexadecimal digits and hyphens.
        Some(tenant) => format!("app.tenant_id = '{}'", TenantId::uuid(tenant)),
        None => "app.is_admin = 'true'".to_owned(),
    };
    let mut text = format!("{head}; SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL {owner}");
    if ctx.epoch().is_some() {
        let idle_ms = crate::leader::IDLE_LIMIT.as_millis();
        text.push_str(&format!("; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}"));
    }
    if ctx.class() == Class::Maintenance {
        text.push_str("; SET LOCAL idle_in_transaction_session_timeout = 0");
    }
    text
}

/// Tables of tenants' rows that have no wall; none on SQLite, where the `WHERE` is the only one.
pub async fn unwalled(ctx: &Ctx) -> Result<Vec<String>> {
    let mut tx = ctx.read("kernel.unwalled").await?;
    store::unwalled(&mut tx).await
}

#[cfg(test)]
mod tests;
