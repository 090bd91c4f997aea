//! `/v1/platform`: one region, this computer, with room for all.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use crate::refusal::Refusal;
use crate::registry::{REGION, regions};

/// Room in a region, and machines that may be made at once: more than anybody asks a laptop for.
const ROOM: u64 = 100;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// `None` is refused, as Fly does.
    #[serde(default)]
    org_slug: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    count: u64,
}

pub(super) async fn placements(Body(wanted): Body<Wanted>) -> Result<Json<Value>, Refusal> {
    if wanted.org_slug.is_none_or(|org| org.is_empty()) {
        return Err(Refusal::invalid_argument("org_slug is required"));
    }
    let count = if wanted.count == 0 { ROOM } else { wanted.count.min(ROOM) };
    let asked: Vec<&str> = regions(wanted.region.as_deref()).collect();
    let asked = if asked.is_empty() { vec![REGION] } else { asked };
    let room = |region: &&str| json!({ "region": region, "count": count, "concurrency": ROOM });
    Ok(Json(json!({ "regions": asked.iter().map(room).collect::<Vec<_>>() })))
}

pub(super) async fn list_regions() -> Json<Value> {
    let here = json!({ "code": REGION, "name": "This computer", "deprecated": false, "requires_paid_plan": false });
    Json(json!({ "nearest": REGION, "regions": [here] }))
}
