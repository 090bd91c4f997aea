//! The audit over HTTP.

use access::permission::AuditRead;
use axum::Json;
use chrono::{DateTime, Utc};
use kernel::audit::{self, Filter};
use serde::Deserialize;
use wire::audit::AuditPage;
use wire::problem::Problem;

use super::body::Parameters;
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Which changes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Only those of this author, as an entry names one; `user` is another name for it.
    #[serde(alias = "user")]
    actor: Option<String>,
    /// Only those of things of this kind, such as `task`.
    entity_type: Option<String>,
    /// Only those of the thing with this id.
    entity_id: Option<String>,
    /// Only those from this moment on.
    since: Option<DateTime<Utc>>,
    /// Only those before this moment.
    until: Option<DateTime<Utc>>,
    /// Only those before this entry: the `next` of the page before.
    before: Option<i64>,
    /// At most this many, 1,000 when absent and at most.
    limit: Option<i64>,
}

/// What was changed, by whom, when, from what to what, and why; newest first.
#[utoipa::path(
    get, path = "/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<AuditRead>,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    let AuditQuery { actor, entity_type, entity_id, since, until, before, limit } = query;
    let filter = Filter { actor, entity_type, entity_id, since, until, before, limit };
    Ok(Json(audit::list(&app.ctx, caller.tenant, &filter).await?))
}
