//! The audit (row CAIRN-75): who changed what, when, from what to what, and why;
//! written in the transaction that makes the change, and kept when the thing
//! itself is deleted (decision C-27).
//!
//! How to call it. A use-case that changes something ends with one
//! [`write`], before its commit:
//!
//! ```ignore
//! let thing = Entity::new(tenant, "hold", hold.id);
//! audit::write(ctx, &mut tx, "hold.placed", &thing, &Change::created(&hold)?).await?;
//! audit::write(ctx, &mut tx, "hold.changed", &thing, &Change::between(&before, &after)?).await?;
//! audit::write(ctx, &mut tx, "hold.lifted", &thing, &Change::removed(&hold)?).await?;
//! ```
//!
//! *Who* and the caller's reason are in the [`Ctx`]: a request's is identified
//! where its caller is authenticated, a reconciler's by its name. A change that
//! was asked for and made is one row; a repeat that finds it made already is
//! none, and neither is a sign of life. What is handed in is a value as the API would
//! show it, without times of change; a secret is left out of it, or
//! [`withheld`](WITHHELD). Tasks have `work::tasks::tell`, which calls this.

pub(crate) mod store;

use std::fmt::Display;

use serde::Serialize;
use serde_json::{Map, Value};
use wire::audit::AuditPage;
use wire::id::TenantId;
use wire::limit::{AUDIT_PAGE, REASON_CHARS};

use crate::{Ctx, Error, Result, Tx};
pub use store::Filter;

/// What stands in the place of a value that nobody may read.
pub const WITHHELD: &str = "[withheld]";
/// The longest value of one field, as JSON; a longer one is told by its length.
const VALUE_BYTES: usize = 4_096;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    tenant: Option<TenantId>,
    kind: &'static str,
    id: String,
}

impl Entity {
    /// Something of a tenant's, such as a `task` with its id.
    pub fn new(tenant: TenantId, kind: &'static str, id: impl Display) -> Self {
        Self { tenant: Some(tenant), kind, id: id.to_string() }
    }

    /// Something that all tenants share, as the pool's machines are.
    pub fn shared(kind: &'static str, id: impl Display) -> Self {
        Self { tenant: None, kind, id: id.to_string() }
    }
}

/// What is other than before: the fields that changed, with their old and new values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// What the fields were.
    pub old: Map<String, Value>,
    /// What they are.
    pub new: Map<String, Value>,
    reason: Option<String>,
}

impl Change {
    /// Something new.
    pub fn created(new: &impl Serialize) -> Result<Self> {
        Ok(Self { new: fields(new)?, ..Self::default() })
    }

    /// Something that is gone.
    pub fn removed(old: &impl Serialize) -> Result<Self> {
        Ok(Self { old: fields(old)?, ..Self::default() })
    }

    /// Only the fields that differ.
    pub fn between(old: &impl Serialize, new: &impl Serialize) -> Result<Self> {
        let (mut old, mut new) = (fields(old)?, fields(new)?);
        let same: Vec<String> = old.iter().filter(|(key, value)| new.get(*key) == Some(*value)).map(key_of).collect();
        for key in same {
            old.remove(&key);
            new.remove(&key);
        }
        Ok(Self { old, new, reason: None })
    }

    /// With a reason of the system's own, where the caller gave none.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }
}

fn key_of((key, _): (&String, &Value)) -> String {
    key.clone()
}

/// The fields that have a value.
fn fields(value: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(value).map_err(|error| Error::Internal(error.into()))? {
        Value::Object(fields) => Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => Err(Error::Internal(anyhow::anyhow!("the audit takes objects, and this is {other}"))),
    }
}

/// Notes a change, in the transaction that makes it; the module says how. It is written with the commit.
pub async fn write(ctx: &Ctx, tx: &mut Tx, action: &str, entity: &Entity, change: &Change) -> Result<()> {
    let reason = ctx.reason().or(change.reason.as_deref());
    let reason = reason.map(|reason| reason.chars().filter(|c| *c != '\0').take(REASON_CHARS).collect::<String>());
    let row = store::New::of(entity, action, ctx.now(), ctx.actor().to_string());
    tx.audit(row.with(bounded(&change.old), bounded(&change.new), reason));
    Ok(())
}

/// The fields as they are kept: a page of text is told by its beginning.
fn bounded(fields: &Map<String, Value>) -> Value {
    let field = |(key, value): (&String, &Value)| (key.clone(), bounded_value(value));
    Value::Object(fields.iter().map(field).collect())
}

fn bounded_value(value: &Value) -> Value {
    let bytes = value.to_string().len();
    match value {
        // Postgres keeps no NUL.
        Value::String(text) if bytes > VALUE_BYTES || text.contains('\0') => {
            let cut: String = text.chars().filter(|c| *c != '\0').take(VALUE_BYTES / 4).collect();
            Value::String(format!("{cut}… ({} characters)", text.chars().count()))
        }
        _ if bytes > VALUE_BYTES || value.to_string().contains("\\u0000") => {
            Value::String(format!("[{bytes} bytes of JSON]"))
        }
        value => value.clone(),
    }
}

/// What was changed, newest first: of the tenant, and of what all share.
pub async fn list(ctx: &Ctx, tenant: TenantId, filter: &Filter) -> Result<AuditPage> {
    let limit = filter.limit.unwrap_or(AUDIT_PAGE);
    if !(1..=AUDIT_PAGE).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {AUDIT_PAGE}")));
    }
    let texts = [("actor", &filter.actor), ("entity_type", &filter.entity_type), ("entity_id", &filter.entity_id)];
    if let Some((field, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.contains('\0'))) {
        return Err(Error::invalid(*field, "must not have a NUL character"));
    }
    let mut tx = ctx.read("audit.list").await?;
    let mut entries = store::list(&mut tx, tenant, filter, limit + 1).await?;
    let more = entries.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        entries.pop();
    }
    let next = entries.last().filter(|_| more).map(|entry| entry.seq);
    Ok(AuditPage { entries, next })
}

#[cfg(test)]
mod tests;
