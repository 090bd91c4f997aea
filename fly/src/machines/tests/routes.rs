//! Every route that the client calls is in the OpenAPI document, and every name
//! that it reads in an answer is the document's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wiremock::{Request, Respond};

use super::conformance::DOCUMENT;
use super::*;
use crate::{
    AddressKind, Lease, MachineEvent, MachineFilter, MachineUpdate, MachineVersion, NewAddress, OrgMachine, OrgVolume,
    Placement, PlacementQuery, Regions, Secret, Snapshot, VolumeUpdate,
};

/// Routes of the document that no control plane of ours needs.
const LEFT_OUT: [(&str, &str); 14] = [
    ("/certificates", "runners are not reached by name from outside"),
    ("/deploy_token", "tokens are made by people, with flyctl"),
    ("/exec", "Fly ends it after 30 s; work goes through the runner"),
    ("/memory", "machines are chosen by size, and never resized while they run"),
    ("/ps", "the runner reports its processes"),
    ("/secretkeys", "keys are derived on this side"),
    ("/secrets/{secret_name}", "the route for all secrets sets, removes and lists"),
    ("/signal", "a stop names its signal"),
    ("/tokens/authenticate", "no caller of ours comes with a Fly token"),
    ("/tokens/authorize", "no caller of ours comes with a Fly token"),
    ("/tokens/current", "what a token may do, its refusals tell"),
    ("/tokens/kms", "for machines, not for those who make them"),
    ("/tokens/oidc", "for machines, not for those who make them"),
    ("/metadata/{key} get", "all of it is read at once"),
];

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("the document is JSON")
}

/// The document's name for a path, and what it says of the method there.
fn route(document: &Value, method: &str, path: &str) -> Option<(String, Value)> {
    let asked: Vec<&str> = path.strip_prefix("/v1")?.split('/').collect();
    let is_it = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
    };
    let paths = document["paths"].as_object().expect("paths").iter();
    let mut found = paths.filter(|(template, methods)| is_it(template) && methods.get(method).is_some());
    // `/certificates/acme` and the like beat `/certificates/{hostname}`; no route of ours has such a twin.
    let (template, methods) = found.next()?;
    Some((template.clone(), methods[method].clone()))
}

/// A value in which everything that the schema knows is there.
fn sample(document: &Value, schema: &Value, field: &str) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        return sample(document, &document["components"]["schemas"][name], field);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return sample(document, &parts[0], field);
    }
    match schema["type"].as_str() {
        Some("array") => json!([sample(document, &schema["items"], field)]),
        Some("string") if field == "state" => json!("started"),
        Some("string") if field.ends_with("_at") => json!("2026-05-14T10:41:08Z"),
        Some("string") => schema["enum"].as_array().map_or(json!("text"), |words| words[0].clone()),
        Some("integer" | "number") => json!(7),
        Some("boolean") => json!(true),
        _ => {
            let named = schema["properties"].as_object().into_iter().flatten();
            let mut object: serde_json::Map<String, Value> =
                named.map(|(name, schema)| (name.clone(), sample(document, schema, name))).collect();
            if schema["additionalProperties"].is_object() {
                object.insert("key".to_owned(), sample(document, &schema["additionalProperties"], "key"));
            }
            Value::Object(object)
        }
    }
}

/// Answers as the document says, and notes which route it was; what is not in the document gets a 501.
struct AsDocumented {
    document: Value,
    called: Arc<Mutex<BTreeSet<String>>>,
}

impl Respond for AsDocumented {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let method = request.method.as_str().to_ascii_lowercase();
        let Some((template, operation)) = route(&self.document, &method, request.url.path()) else {
            return ResponseTemplate::new(501);
        };
        let responses = operation["responses"].as_object().expect("responses");
        let (status, response) = responses.iter().find(|(status, _)| status.starts_with('2')).expect("a success");
        // Against the document: what lease answers come in.
        let schema = &response["content"]["application/json"]["schema"];
        let body = sample(&self.document, schema, "");
        let mut body = if template.ends_with("/lease") { json!({"status": "success", "data": body}) } else { body };
        // Or the pages never end.
        if let Some(page) = body.as_object_mut() {
            page.remove("next_cursor");
        }
        self.called.lock().expect("not poisoned").insert(format!("{template} {method}"));
        answer(status.parse().expect("a status"), body)
    }
}

#[tokio::test]
async fn every_route_of_the_document_is_called_or_left_out_for_a_reason() {
    let called = Arc::default();
    let server = MockServer::start().await;
    let responder = AsDocumented { document: document(), called: Arc::clone(&called) };
    Mock::given(wiremock::matchers::any()).respond_with(responder).mount(&server).await;
    call_everything(&client(&server)).await.expect("every answer of the document is understood");

    let called = called.lock().expect("not poisoned").clone();
    let document = document();
    let routes: BTreeSet<String> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys().filter(|method| *method != "parameters");
            methods.map(move |method| format!("{path} {method}"))
        })
        .collect();
    let is_left_out = |route: &&String| LEFT_OUT.iter().any(|(part, _)| route.contains(part));
    let expected: BTreeSet<String> = routes.iter().filter(|route| !is_left_out(route)).cloned().collect();
    assert_eq!(called, expected);
    let unused: Vec<_> = LEFT_OUT.iter().filter(|(part, _)| !routes.iter().any(|route| route.contains(part))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

async fn call_everything(client: &Machines) -> Result<(), Error> {
    let app = NewApp { name: "runners".to_owned(), org_slug: "o".to_owned(), network: None };
    client.create_app(&app).await?;
    client.apps("o").await?;
    client.delete_app("runners").await?;
    client.create_machine("runners", &new_machine()).await?;
    client.machines_where("runners", &MachineFilter::default()).await?;
    client.machine("runners", ID).await?;
    client.update("runners", ID, &MachineUpdate::default()).await?;
    client.start("runners", ID).await?;
    client.suspend("runners", ID).await?;
    client.stop("runners", ID, &StopOptions::default()).await?;
    client.restart("runners", ID, &StopOptions::default()).await?;
    client.cordon("runners", ID).await?;
    client.uncordon("runners", ID).await?;
    client.events("runners", ID).await?;
    client.versions("runners", ID).await?;
    client.wait("runners", ID, MachineState::Started, None, Duration::from_secs(1)).await?;
    client.destroy("runners", ID, true).await?;

    let lease = client.acquire_lease("runners", ID, "d", Duration::from_secs(5)).await?;
    client.lease("runners", ID).await?;
    client.release_lease("runners", ID, &lease.nonce).await?;
    client.metadata("runners", ID).await?;
    client.set_metadata("runners", ID, "k", "v").await?;
    client.remove_metadata("runners", ID, "k").await?;
    client.merge_metadata("runners", ID, &BTreeMap::new()).await?;
    client.replace_metadata("runners", ID, &BTreeMap::new(), Some("01J")).await?;

    client.create_volume("runners", &new_volume()).await?;
    client.volumes("runners").await?;
    client.volume("runners", "vol_1").await?;
    client.update_volume("runners", "vol_1", &VolumeUpdate::default()).await?;
    assert!(client.extend_volume("runners", "vol_1", 4).await?);
    client.snapshots("runners", "vol_1").await?;
    client.create_snapshot("runners", "vol_1").await?;
    client.destroy_volume("runners", "vol_1").await?;

    client.secrets("runners").await?;
    assert_eq!(client.set_secrets("runners", &BTreeMap::new()).await?, 7);
    let address = NewAddress { kind: AddressKind::PrivateV6, network: None, org_slug: None, region: None };
    client.assign_address("runners", &address).await?;
    client.addresses("runners").await?;
    client.release_address("runners", "fdaa::1").await?;
    client.placements(&PlacementQuery::default()).await?;
    client.regions().await?;
    client.org_machines("o", None).await?;
    client.org_volumes("o", None).await?;
    Ok(())
}

/// Whether all of `ours` is in `theirs`.
fn is_part(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.iter().all(|(name, ours)| theirs.get(name).is_some_and(|theirs| is_part(ours, theirs)))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.iter().zip(theirs).all(|(ours, theirs)| is_part(ours, theirs))
        }
        (ours, theirs) => ours == theirs,
    }
}

#[track_caller]
fn check_names<T: Serialize + DeserializeOwned>(schema: &str) {
    let document = document();
    let theirs = sample(&document, &json!({"$ref": format!("#/components/schemas/{schema}")}), "");
    let read: T = serde_json::from_value(theirs.clone()).expect("what the document shows is understood");
    let ours = serde_json::to_value(read).expect("JSON");
    assert!(is_part(&ours, &theirs), "{schema}: {ours:#} is not in {theirs:#}");
}

#[test]
fn what_is_read_has_the_documents_names_and_values() {
    check_names::<App>("App");
    check_names::<Machine>("Machine");
    check_names::<MachineEvent>("MachineEvent");
    check_names::<MachineVersion>("MachineVersion");
    check_names::<Lease>("Lease");
    check_names::<Volume>("Volume");
    check_names::<Snapshot>("VolumeSnapshot");
    check_names::<Secret>("AppSecret");
    check_names::<crate::Address>("IPAssignment");
    check_names::<Placement>("placement.RegionPlacement");
    check_names::<Regions>("main.regionResponse");
    check_names::<OrgMachine>("OrgMachine");
    check_names::<OrgVolume>("OrgVolume");
}

#[test]
fn a_configuration_that_is_read_and_sent_again_is_the_same() {
    let document = document();
    let theirs = sample(&document, &json!({"$ref": "#/components/schemas/fly.MachineConfig"}), "");
    let config: MachineConfig = serde_json::from_value(theirs.clone()).expect("it is understood");
    assert_eq!(serde_json::to_value(config).expect("JSON"), theirs);
}

/// The value with `null` in place of each thing in it that has a name, one at a time, and that name.
fn with_nulls(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(fields) => {
            let replaced = |name: &str, inner: Value| {
                let mut fields = fields.clone();
                fields.insert(name.to_owned(), inner);
                Value::Object(fields)
            };
            let below =
                fields.iter().flat_map(|(name, inner)| with_nulls(inner).into_iter().map(move |one| (name, one)));
            let below = below.map(|(name, (inner_name, inner))| (inner_name, replaced(name, inner)));
            below.chain(fields.keys().map(|name| (name.clone(), replaced(name, Value::Null)))).collect()
        }
        Value::Array(items) => {
            items.first().into_iter().flat_map(with_nulls).map(|(name, item)| (name, json!([item]))).collect()
        }
        _ => Vec::new(),
    }
}

/// `needed` is what a thing cannot be without; `key` stands for any word of a map.
#[track_caller]
fn check_nulls<T: DeserializeOwned>(theirs: &Value, needed: &[&str]) {
    serde_json::from_value::<T>(theirs.clone()).expect("it is understood as it is");
    for (name, theirs) in with_nulls(theirs) {
        let read = serde_json::from_value::<T>(theirs);
        assert!(read.is_ok() || needed.contains(&name.as_str()) || name == "key", "{name}: {:?}", read.err());
    }
}

#[test]
fn null_is_read_as_nothing_wherever_fly_may_write_it() {
    let document = document();
    let shown = |schema: &str| sample(&document, &json!({"$ref": format!("#/components/schemas/{schema}")}), "");
    check_nulls::<App>(&shown("App"), &["name"]);
    check_nulls::<Machine>(&shown("Machine"), &["id", "state"]);
    check_nulls::<MachineEvent>(&shown("MachineEvent"), &[]);
    check_nulls::<MachineVersion>(&shown("MachineVersion"), &["version"]);
    check_nulls::<Lease>(&shown("Lease"), &["nonce", "expires_at"]);
    check_nulls::<Volume>(&shown("Volume"), &["id"]);
    check_nulls::<Snapshot>(&shown("VolumeSnapshot"), &["id"]);
    check_nulls::<Secret>(&shown("AppSecret"), &["name"]);
    check_nulls::<crate::Address>(&shown("IPAssignment"), &["ip"]);
    check_nulls::<Placement>(&shown("placement.RegionPlacement"), &["region"]);
    check_nulls::<Regions>(&shown("main.regionResponse"), &["code"]);
    check_nulls::<OrgMachine>(&shown("OrgMachine"), &["id", "state"]);
    check_nulls::<OrgVolume>(&shown("OrgVolume"), &["id"]);
    check_nulls::<NewMachine>(&shown("CreateMachineRequest"), &["name", "config"]);
    check_nulls::<MachineUpdate>(&shown("UpdateMachineRequest"), &["config"]);
    check_nulls::<NewVolume>(&shown("CreateVolumeRequest"), &["name"]);
}

#[tokio::test]
async fn an_empty_list_comes_as_null() {
    let server = MockServer::start().await;
    let nothing = json!({"apps": null, "ips": null, "machines": null, "volumes": null, "secrets": null,
        "regions": null, "error_regions": null, "next_cursor": null});
    let enveloped = [
        "/v1/apps",
        "/v1/apps/a/ip_assignments",
        "/v1/orgs/o/machines",
        "/v1/orgs/o/volumes",
        "/v1/apps/a/secrets",
        "/v1/platform/placements",
        "/v1/platform/regions",
    ];
    for at in enveloped {
        Mock::given(path(at)).respond_with(answer(200, nothing.clone())).mount(&server).await;
    }
    Mock::given(wiremock::matchers::any()).respond_with(answer(200, Value::Null)).mount(&server).await;
    let client = client(&server);
    assert_eq!(client.machines("a").await.expect("read"), []);
    assert_eq!(client.machines_where("a", &MachineFilter::default()).await.expect("read"), []);
    assert_eq!(client.events("a", ID).await.expect("read"), []);
    assert_eq!(client.versions("a", ID).await.expect("read"), []);
    assert_eq!(client.metadata("a", ID).await.expect("read"), BTreeMap::new());
    assert_eq!(client.volumes("a").await.expect("read"), []);
    assert_eq!(client.snapshots("a", "vol_1").await.expect("read"), []);
    assert_eq!(client.apps("o").await.expect("read"), []);
    assert_eq!(client.addresses("a").await.expect("read"), []);
    assert_eq!(client.secrets("a").await.expect("read"), []);
    assert_eq!(client.placements(&PlacementQuery::default()).await.expect("read"), []);
    assert_eq!(client.regions().await.expect("read"), Regions::default());
    assert_eq!(client.org_machines("o", None).await.expect("read"), crate::OrgMachines::default());
    assert_eq!(client.org_volumes("o", None).await.expect("read"), []);
}
