//! Who changed what.

use chrono::{DateTime, SecondsFormat, Utc};
use wire::audit::AuditPage;

use super::Control;
use crate::Error;

/// Which changes to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those of this author, such as `system/scheduler`.
    pub actor: Option<String>,
    /// Only those of things of this kind, such as `task`.
    pub entity_type: Option<String>,
    /// Only those of the thing with this id.
    pub entity_id: Option<String>,
    /// Only those from this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Only those before this entry: the `next` of the page before.
    pub before: Option<i64>,
    /// At most this many; 1,000 when absent and at most.
    pub limit: Option<u32>,
}

impl Control {
    /// A page of the audit, newest first.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, Error> {
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(filter.actor.clone().map(|actor| ("actor", actor)));
        query.extend(filter.entity_type.clone().map(|kind| ("entity_type", kind)));
        query.extend(filter.entity_id.clone().map(|id| ("entity_id", id)));
        query.extend(filter.since.map(|at| ("since", moment(at))));
        query.extend(filter.until.map(|at| ("until", moment(at))));
        query.extend(filter.before.map(|before| ("before", before.to_string())));
        query.extend(filter.limit.map(|limit| ("limit", limit.to_string())));
        self.service.json(self.get("/v1/audit").query(&query)).await
    }
}
