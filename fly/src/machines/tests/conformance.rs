//! What is sent conforms to the OpenAPI document, and names no field that the document does not know.

use serde_json::{Value, json};

use super::*;
use crate::{Launch, MachineUpdate};

pub(super) const DOCUMENT: &str = include_str!("../../../spec/machines-openapi.json");

/// The document's schema of that name, closed: a field it does not know is an error.
fn validator(schema: &str) -> jsonschema::Validator {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let mut components = document["components"].clone();
    for schema in components["schemas"].as_object_mut().expect("schemas").values_mut() {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    let root = json!({"$ref": format!("#/components/schemas/{schema}"), "components": components});
    jsonschema::options().build(&root).expect("a schema")
}

#[track_caller]
fn check(schema: &str, body: &Value) {
    let problems: Vec<String> =
        validator(schema).iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{body} is no {schema}: {problems:#?}");
}

/// The body of the only request that was sent.
async fn sent(server: &MockServer) -> Value {
    let requests = server.received_requests().await.expect("recorded");
    requests.first().expect("a request").body_json().expect("JSON")
}

#[tokio::test]
async fn bodies_conform_to_the_document() {
    let app = NewApp { name: "a".to_owned(), org_slug: "o".to_owned(), network: Some("n".to_owned()) };
    let full_volume = NewVolume {
        encrypted: Some(true),
        require_unique_zone: Some(false),
        snapshot_retention: Some(5),
        auto_backup_enabled: Some(false),
        source_volume_id: Some("vol_0".to_owned()),
        ..new_volume()
    };
    let full_machine = NewMachine {
        launch: Launch {
            skip_launch: true,
            skip_service_registration: true,
            skip_secrets: true,
            min_secrets_version: Some(3),
            lease_ttl: Some(60),
        },
        ..new_machine()
    };
    let update: MachineUpdate = {
        let mut update = serde_json::to_value(&full_machine).expect("JSON");
        update["current_version"] = json!("01J");
        serde_json::from_value(update).expect("an update")
    };
    let stop = StopOptions { signal: Some("SIGTERM".to_owned()), timeout: Some(Duration::from_secs(10)) };
    for schema in [
        "CreateAppRequest",
        "CreateMachineRequest",
        "UpdateMachineRequest",
        "CreateVolumeRequest",
        "StopRequest",
        "CreateLeaseRequest",
        "upsertMetadataKeyRequest",
    ] {
        let server = MockServer::start().await;
        let client = client(&server);
        // Nothing is mounted: each call is refused with 404, and what it sent is kept.
        let is_refused = match schema {
            "CreateAppRequest" => client.create_app(&app).await.is_err(),
            "CreateMachineRequest" => client.create_machine("a", &full_machine).await.is_err(),
            "UpdateMachineRequest" => client.update("a", ID, &update).await.is_err(),
            "CreateVolumeRequest" => client.create_volume("a", &full_volume).await.is_err(),
            "StopRequest" => client.stop("a", ID, &stop).await.is_err(),
            "CreateLeaseRequest" => client.acquire_lease("a", ID, "d", Duration::from_secs(5)).await.is_err(),
            _ => client.set_metadata("a", ID, "k", "v").await.is_err(),
        };
        assert!(is_refused);
        check(schema, &sent(&server).await);
    }
}

#[test]
fn what_is_read_can_be_shown_again_in_the_documents_words() {
    let machine: Machine = serde_json::from_value(shown("started")).expect("a machine");
    check("Machine", &serde_json::to_value(machine).expect("JSON"));
    let volume = Volume { id: "vol_1".to_owned(), state: "created".to_owned(), ..Volume::default() };
    check("Volume", &serde_json::to_value(volume).expect("JSON"));
    let app = App { name: "a".to_owned(), ..App::default() };
    check("App", &serde_json::to_value(app).expect("JSON"));
}

#[test]
fn the_check_refuses_a_wrong_type_and_an_unknown_field() {
    let schema = validator("CreateMachineRequest");
    assert!(!schema.is_valid(&json!({"name": 7})));
    assert!(!schema.is_valid(&json!({"config": {"guest": {"cpus": "2"}}})));
    assert!(!schema.is_valid(&json!({"nmae": "x"})));
}
