//! `/v1/apps/{app}/certificates`. A certificate waits for ever for its validation,
//! as one at Fly does whose host name nobody has pointed there.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::{Body, Query};
use crate::refusal::Refusal;
use crate::registry::{AppRecord, CertificateRecord, Which, no_certificate};

/// Fly's page of certificates, and its largest.
const PAGE: usize = 25;
const PAGE_MAX: usize = 500;
/// Where a certificate of Fly's and one that was brought stand without an answer of the DNS.
const ASKED: &str = "pending_validation";
const BROUGHT: &str = "pending_ownership";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A part of the host name.
    filter: String,
    /// The last host name of the page before.
    cursor: String,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(registry): Emulated,
    Path(app): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    let all: Vec<_> = app.certificates.values().filter(|one| one.hostname.contains(&asked.filter)).collect();
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let rest = &all[all.partition_point(|one| one.hostname <= asked.cursor)..];
    let page = &rest[..rest.len().min(limit)];
    let next = page.last().filter(|_| page.len() < rest.len()).map_or("", |last| &last.hostname);
    let shown: Vec<Value> = page.iter().map(|record| summary(record)).collect();
    Ok(Json(json!({ "certificates": shown, "total_count": all.len(), "next_cursor": next })))
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    hostname: String,
}

pub(super) async fn ask(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let record = registry.add_certificate(&app, &wanted.hostname, Which::Asked).await?;
    Ok((StatusCode::CREATED, Json(detail(&registry.app(&app)?, &record))))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Brought {
    hostname: String,
    fullchain: String,
    private_key: String,
}

pub(super) async fn bring(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(brought): Body<Brought>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    for (field, text, label) in [
        ("fullchain", &brought.fullchain, "CERTIFICATE-----"),
        ("private_key", &brought.private_key, "PRIVATE KEY-----"),
    ] {
        if !text.contains("-----BEGIN ") || !text.contains(label) {
            return Err(Refusal::unprocessable(format!("Validation failed: {field} is not PEM")));
        }
    }
    let record = registry.add_certificate(&app, &brought.hostname, Which::Brought).await?;
    Ok((StatusCode::CREATED, Json(detail(&registry.app(&app)?, &record))))
}

/// An app and a host name in the path.
type Certificate = Path<(String, String)>;

pub(super) async fn read(
    State(registry): Emulated,
    Path((app, hostname)): Certificate,
) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    let record = app.certificates.get(&hostname.to_ascii_lowercase()).ok_or_else(no_certificate)?;
    Ok(Json(detail(&app, record)))
}

/// What was not found in the DNS, for nobody looked.
pub(super) async fn check(
    State(registry): Emulated,
    Path((app, hostname)): Certificate,
) -> Result<Json<Value>, Refusal> {
    let Json(mut shown) = read(State(registry), Path((app, hostname))).await?;
    let none: [&str; 0] = [];
    shown["dns_records"] = json!({ "a": none, "aaaa": none, "cname": none, "resolved_addresses": none });
    Ok(Json(shown))
}

pub(super) async fn remove(
    State(registry): Emulated,
    Path((app, hostname)): Certificate,
) -> Result<StatusCode, Refusal> {
    registry.remove_certificate(&app, &hostname).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_asked(
    State(registry): Emulated,
    Path((app, hostname)): Certificate,
) -> Result<Json<Value>, Refusal> {
    let record = registry.take_certificate(&app, &hostname, Which::Asked).await?;
    Ok(Json(detail(&registry.app(&app)?, &record)))
}

pub(super) async fn remove_brought(
    State(registry): Emulated,
    Path((app, hostname)): Certificate,
) -> Result<Json<Value>, Refusal> {
    let record = registry.take_certificate(&app, &hostname, Which::Brought).await?;
    Ok(Json(detail(&registry.app(&app)?, &record)))
}

fn status(record: &CertificateRecord) -> &'static str {
    if record.asked_at.is_some() { ASKED } else { BROUGHT }
}

fn summary(record: &CertificateRecord) -> Value {
    json!({
        "hostname": record.hostname,
        "status": status(record),
        "configured": false,
        "acme_requested": record.asked_at.is_some(),
        "acme_alpn_configured": false,
        "acme_dns_configured": false,
        "acme_http_configured": false,
        "ownership_txt_configured": false,
        "has_fly_certificate": false,
        "has_custom_certificate": record.brought_at.is_some(),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    })
}

fn detail(app: &AppRecord, record: &CertificateRecord) -> Value {
    let asked = record.asked_at.map(|at| json!({ "source": "fly", "status": ASKED, "created_at": at, "issued": [] }));
    let brought =
        record.brought_at.map(|at| json!({ "source": "custom", "status": BROUGHT, "created_at": at, "issued": [] }));
    let (aaaa, a): (Vec<&str>, Vec<&str>) =
        app.addresses.iter().map(|address| address.ip.as_str()).partition(|ip| ip.contains(':'));
    let bare = record.hostname.strip_prefix("*.").unwrap_or(&record.hostname);
    json!({
        "hostname": record.hostname,
        "status": status(record),
        "configured": false,
        "acme_requested": record.asked_at.is_some(),
        "certificates": asked.into_iter().chain(brought).collect::<Vec<_>>(),
        "dns_requirements": {
            "a": a,
            "aaaa": aaaa,
            "cname": format!("{}.fly.dev", app.name),
            "acme_challenge": { "name": format!("_acme-challenge.{bare}"), "target": format!("{bare}.{}.flydns.net", app.id) },
            "ownership": { "name": format!("_fly-ownership.{bare}"), "app_value": format!("app-{}", app.id) },
        },
        "validation": {
            "dns_configured": false,
            "alpn_configured": false,
            "http_configured": false,
            "ownership_txt_configured": false,
        },
        "validation_errors": [],
    })
}
