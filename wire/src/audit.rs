//! The audit as the API speaks of it: who changed what, when, from what to what,
//! and why.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The header in which a caller says why it asks for a change.
pub const REASON_HEADER: &str = "x-reason";

/// One change that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its place in the audit; later changes have greater ones.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `api-key/ID`, `worker/ID`, `machine/ID`, or `system/` and the part of the control plane that decided.
    pub actor: String,
    /// What was done, such as `task.updated`.
    pub action: String,
    /// The kind of thing it was done to, such as `task`.
    pub entity_type: String,
    /// The thing's id.
    pub entity_id: String,
    /// The fields that changed, with their old values; empty for something new.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub old_values: Value,
    /// The fields that changed, with their new values; empty for something that was deleted.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub new_values: Value,
    /// Why, where somebody said so.
    pub reason: Option<String>,
}

/// A page of the audit, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// The changes.
    pub entries: Vec<AuditEntry>,
    /// The `before` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}
