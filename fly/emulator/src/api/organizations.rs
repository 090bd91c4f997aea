//! `/v1/orgs/{org}`: machines and volumes of all its apps, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Emulated;
use super::body::Query;
use super::machines::is_asked;
use super::volumes;
use crate::machine::Record;
use crate::refusal::Refusal;
use crate::registry::{Registry, VolumeRecord};

/// A page, when nothing is said and at most.
const PAGE: usize = 1_000;

/// The query: besides what is for pages, what machines are asked for in a list of one app.
type Asked = Query<BTreeMap<String, String>>;

pub(super) async fn machines(
    State(registry): Emulated,
    Path(org): Path<String>,
    Query(query): Asked,
) -> Result<Json<Value>, Refusal> {
    let page = Page::parse(&query)?;
    let include_deleted = query.get("include_deleted").is_some_and(|value| value == "true");
    let mut machines: Vec<Arc<Record>> = Vec::new();
    for app in registry.apps(Some(&org)) {
        // An app may be deleted meanwhile.
        machines.extend(registry.machines(&app.name, include_deleted).unwrap_or_default());
    }
    machines.retain(|record| is_asked(record, &query) && page.is_new_enough(record.updated_at));
    machines.sort_by(|a, b| a.id.cmp(&b.id));
    let (shown, next_cursor) = page.cut(&machines, |record| &record.id);
    let shown: Vec<Value> = shown.iter().map(|record| show(record)).collect();
    Ok(Json(json!({ "machines": shown, "error_regions": [], "next_cursor": next_cursor.unwrap_or_default() })))
}

pub(super) async fn volumes(
    State(registry): Emulated,
    Path(org): Path<String>,
    Query(query): Asked,
) -> Result<Json<Value>, Refusal> {
    let page = Page::parse(&query)?;
    let mut found: Vec<VolumeRecord> = Vec::new();
    for app in registry.apps(Some(&org)) {
        found.extend(registry.volumes(&app.name).unwrap_or_default());
    }
    found.retain(|volume| {
        query.get("region").is_none_or(|region| *region == volume.region) && page.is_new_enough(volume.created_at)
    });
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let (shown, next_cursor) = page.cut(&found, |volume| &volume.id);
    let shown: Vec<Value> = shown.iter().map(|volume| show_volume(&registry, volume)).collect();
    Ok(Json(json!({ "volumes": shown, "next_cursor": next_cursor.unwrap_or_default() })))
}

/// Which part of a list is asked for. A cursor is the last id of the page before.
struct Page<'a> {
    after: &'a str,
    limit: usize,
    updated_after: Option<DateTime<Utc>>,
}

impl<'a> Page<'a> {
    fn parse(query: &'a BTreeMap<String, String>) -> Result<Self, Refusal> {
        let limit = query.get("limit").map(|limit| limit.parse::<usize>()).transpose();
        let limit = limit.map_err(|_| Refusal::invalid_argument("limit must be a number"))?.unwrap_or(PAGE);
        let updated_after = query.get("updated_after").map(|at| at.parse()).transpose();
        let updated_after =
            updated_after.map_err(|_| Refusal::invalid_argument("updated_after must be a time as in RFC 3339"))?;
        let after = query.get("cursor").map_or("", String::as_str);
        Ok(Self { after, limit: limit.clamp(1, PAGE), updated_after })
    }

    fn is_new_enough(&self, updated_at: DateTime<Utc>) -> bool {
        self.updated_after.is_none_or(|after| updated_at > after)
    }

    /// The page of a list that is sorted by id, and where the next begins.
    fn cut<'b, T>(&self, sorted: &'b [T], id: impl Fn(&T) -> &str) -> (&'b [T], Option<String>) {
        let rest = &sorted[sorted.partition_point(|one| id(one) <= self.after)..];
        let page = &rest[..rest.len().min(self.limit)];
        let next = page.last().filter(|_| page.len() < rest.len()).map(|last| id(last).to_owned());
        (page, next)
    }
}

fn show(record: &Record) -> Value {
    json!({
        "id": record.id,
        "app_name": record.app,
        "name": record.name,
        "state": record.state.as_str(),
        "region": record.region,
        "instance_id": record.instance_id,
        "version": record.instance_id,
        "private_ip": crate::registry::PRIVATE_IP,
        "config": {
            "image": record.config.get("image").cloned().unwrap_or_default(),
            "metadata": record.metadata(),
        },
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    })
}

fn show_volume(registry: &Registry, volume: &VolumeRecord) -> Value {
    let mut shown = volumes::show(registry, volume, "created");
    shown["app_name"] = json!(volume.app);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let ids = ["a", "b", "c"];
        let mut query = BTreeMap::from([("limit".to_owned(), "2".to_owned())]);
        let page = Page::parse(&query).expect("a page");
        assert_eq!(page.cut(&ids, |id| id), (&ids[..2], Some("b".to_owned())));
        query.insert("cursor".to_owned(), "b".to_owned());
        let page = Page::parse(&query).expect("a page");
        assert_eq!(page.cut(&ids, |id| id), (&ids[2..], None));
        for (name, value) in [("limit", "few"), ("updated_after", "yesterday")] {
            let query = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(Page::parse(&query).err().map(|refusal| refusal.status), Some(400), "{name}");
        }
    }
}
