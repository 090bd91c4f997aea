//! What the emulator answers conforms to the OpenAPI document, and has no field
//! that the document does not know. Leases are known to be wrong there.

use serde_json::{Value, json};

use crate::world::*;

const DOCUMENT: &str = include_str!("../../../spec/machines-openapi.json");

/// The schema of an answer, in a copy of the document that is closed to unknown fields.
fn validator(method: &str, route: &str, status: &str) -> jsonschema::Validator {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let answer = &document["paths"][route][method]["responses"][status]["content"]["application/json"]["schema"];
    assert!(answer.is_object(), "the document has no {status} for {method} {route}");
    let mut components = document["components"].clone();
    for schema in components["schemas"].as_object_mut().expect("schemas").values_mut() {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    let root = json!({"allOf": [answer], "components": components});
    jsonschema::validator_for(&root).expect("a schema")
}

/// Sends the request and holds the answer against the document.
async fn check(world: &World, method: &str, route: &str, path: &str, body: Value, status: &str) -> Value {
    let request = world.http(&method.to_uppercase(), path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.expect("answered");
    assert_eq!(response.status().as_str(), status, "{method} {path}");
    let answer: Value = response.json().await.expect("JSON");
    let schema = validator(method, route, status);
    let problems: Vec<String> =
        schema.iter_errors(&answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{method} {path}: {answer:#} {problems:#?}");
    answer
}

#[tokio::test]
async fn answers_conform_to_the_document() {
    let world = World::start().await;
    let app = format!("/v1/apps/{APP}");
    check(&world, "get", "/apps", "/v1/apps?org_slug=personal", Value::Null, "200").await;
    check(&world, "get", "/apps/{app_name}", &app, Value::Null, "200").await;
    check(&world, "post", "/apps", "/v1/apps", json!([]), "400").await;

    let volumes = format!("{app}/volumes");
    let new = json!({"name": "cache", "size_gb": 1});
    let volume = check(&world, "post", "/apps/{app_name}/volumes", &volumes, new, "200").await;
    let volume = format!("{volumes}/{}", volume["id"].as_str().expect("an id"));

    let machines = format!("{app}/machines");
    let mut new = serde_json::to_value(script("one", "exec sleep 1000")).expect("JSON");
    let id = volume.rsplit('/').next().expect("an id");
    new["config"]["mounts"] = json!([{"volume": id, "path": "/.sprite"}]);
    new["config"]["services"] = json!([{"internal_port": 80, "protocol": "tcp"}]);
    let created = check(&world, "post", "/apps/{app_name}/machines", &machines, new.clone(), "200").await;
    assert_eq!(created["config"], new["config"], "a configuration is shown as it was sent");
    let id = created["id"].as_str().expect("an id").to_owned();
    world.until(&id, fly::MachineState::Started).await;

    let route = "/apps/{app_name}/machines/{machine_id}";
    let machine = format!("{machines}/{id}");
    check(&world, "get", "/apps/{app_name}/machines", &machines, Value::Null, "200").await;
    check(&world, "get", "/apps/{app_name}/machines", &format!("{machines}?summary=true"), Value::Null, "200").await;
    check(&world, "get", route, &machine, Value::Null, "200").await;
    check(&world, "get", &format!("{route}/wait"), &format!("{machine}/wait"), Value::Null, "200").await;
    check(&world, "get", &format!("{route}/wait"), &format!("{machine}/wait?timeout=0"), Value::Null, "400").await;
    check(&world, "get", &format!("{route}/events"), &format!("{machine}/events?limit=1"), Value::Null, "200").await;
    check(&world, "post", &format!("{route}/stop"), &format!("{machine}/stop"), json!([]), "400").await;
    world.machines.set_metadata(APP, &id, "k", "v").await.expect("set");
    check(&world, "get", &format!("{route}/metadata"), &format!("{machine}/metadata"), Value::Null, "200").await;
    check(&world, "get", &format!("{route}/metadata/{{key}}"), &format!("{machine}/metadata/k"), Value::Null, "200")
        .await;
    check(&world, "get", &format!("{route}/ps"), &format!("{machine}/ps"), Value::Null, "200").await;
    check(&world, "get", &format!("{route}/ps"), &format!("{machine}/ps?order=up"), Value::Null, "400").await;
    check(&world, "post", &format!("{route}/signal"), &format!("{machine}/signal"), json!({"signal": "9"}), "400")
        .await;
    let program = json!({"command": ["true"]});
    check(&world, "post", &format!("{route}/exec"), &format!("{machine}/exec"), program, "200").await;
    let (memory, of_memory) = (format!("{machine}/memory"), format!("{route}/memory"));
    check(&world, "get", &of_memory, &memory, Value::Null, "200").await;
    check(&world, "put", &of_memory, &memory, json!({"limit_mb": 100}), "200").await;
    check(
        &world,
        "post",
        &format!("{of_memory}/reclaim"),
        &format!("{memory}/reclaim"),
        json!({"amount_mb": 1}),
        "200",
    )
    .await;
    check(&world, "get", "/apps/{app_name}/volumes", &volumes, Value::Null, "200").await;
    check(&world, "get", "/apps/{app_name}/volumes/{volume_id}", &volume, Value::Null, "200").await;

    check(&world, "get", &format!("{route}/versions"), &format!("{machine}/versions"), Value::Null, "200").await;
    let update = json!({"config": new["config"]});
    check(&world, "post", route, &machine, update, "200").await;
    check(&world, "post", route, &machine, json!({"config": []}), "400").await;
    let of_org = "/orgs/{org_slug}";
    check(&world, "get", &format!("{of_org}/machines"), "/v1/orgs/personal/machines", Value::Null, "200").await;
    check(&world, "get", &format!("{of_org}/volumes"), "/v1/orgs/personal/volumes", Value::Null, "200").await;

    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    check(&world, "get", route, &machine, Value::Null, "200").await;
    check(&world, "delete", "/apps/{app_name}/volumes/{volume_id}", &volume, Value::Null, "200").await;
    world.stop().await;
}

#[tokio::test]
async fn answers_about_what_belongs_to_an_app_conform_too() {
    let world = World::start().await;
    let volume = world.volume().await.id;
    let (app, route) = (format!("/v1/apps/{APP}"), "/apps/{app_name}");
    let (volume, of_volume) = (format!("{app}/volumes/{volume}"), "/apps/{app_name}/volumes/{volume_id}");
    check(&world, "put", of_volume, &volume, json!({"snapshot_retention": 9}), "200").await;
    check(&world, "put", &format!("{of_volume}/extend"), &format!("{volume}/extend"), json!({"size_gb": 9}), "200")
        .await;
    let (snapshots, of_snapshots) = (format!("{volume}/snapshots"), format!("{of_volume}/snapshots"));
    assert_eq!(world.http("POST", &snapshots).send().await.expect("answered").status(), 200);
    check(&world, "get", &of_snapshots, &snapshots, Value::Null, "200").await;

    let (secrets, of_secrets) = (format!("{app}/secrets"), format!("{route}/secrets"));
    check(&world, "post", &of_secrets, &secrets, json!({"values": {"A": "b"}}), "200").await;
    check(&world, "get", &of_secrets, &secrets, Value::Null, "200").await;
    let (secret, of_secret) = (format!("{secrets}/B"), format!("{of_secrets}/{{secret_name}}"));
    check(&world, "post", &of_secret, &secret, json!({"value": "c"}), "201").await;
    check(&world, "get", &of_secret, &format!("{secret}?show_secrets=true"), Value::Null, "200").await;
    check(&world, "delete", &of_secret, &secret, Value::Null, "200").await;
    let (keys, of_keys) = (format!("{app}/secretkeys"), format!("{route}/secretkeys"));
    let (key, of_key) = (format!("{keys}/k"), format!("{of_keys}/{{secret_name}}"));
    for (word, of_word, body, status) in [
        ("generate", "/generate", json!({"type": "nacl_secretbox"}), "201"),
        ("encrypt", "/encrypt", json!({"plaintext": [1]}), "200"),
        ("decrypt", "/decrypt", json!({"ciphertext": [1]}), "400"),
        ("", "", json!({"type": "hs256", "value": [1]}), "400"),
        ("", "", json!({"type": "hs256", "value": vec![1; 32]}), "201"),
        ("sign", "/sign", json!({"plaintext": [1]}), "200"),
        ("verify", "/verify", json!({"plaintext": [1], "signature": [1]}), "400"),
    ] {
        let path = format!("{key}/{word}");
        check(&world, "post", &format!("{of_key}{of_word}"), path.trim_end_matches('/'), body, status).await;
    }
    check(&world, "get", &of_keys, &keys, Value::Null, "200").await;
    check(&world, "get", &of_key, &key, Value::Null, "200").await;
    check(&world, "delete", &of_key, &key, Value::Null, "200").await;
    let (certificates, of_certificates) = (format!("{app}/certificates"), format!("{route}/certificates"));
    let (acme, of_acme) = (format!("{certificates}/acme"), format!("{of_certificates}/acme"));
    check(&world, "post", &of_acme, &acme, json!({"hostname": "a.example"}), "201").await;
    check(&world, "post", &of_acme, &acme, json!({"hostname": "no"}), "422").await;
    let (certificate, of_one) = (format!("{certificates}/a.example"), format!("{of_certificates}/{{hostname}}"));
    let (own, of_own) = (format!("{certificates}/custom"), format!("{of_certificates}/custom"));
    let pem = |what: &str| format!("-----BEGIN {what}-----\n-----END {what}-----");
    let brought =
        json!({"hostname": "a.example", "fullchain": pem("CERTIFICATE"), "private_key": pem("EC PRIVATE KEY")});
    check(&world, "post", &of_own, &own, brought, "201").await;
    check(&world, "get", &of_certificates, &certificates, Value::Null, "200").await;
    check(&world, "get", &of_one, &certificate, Value::Null, "200").await;
    check(&world, "post", &format!("{of_one}/check"), &format!("{certificate}/check"), Value::Null, "200").await;
    check(&world, "delete", &format!("{of_one}/acme"), &format!("{certificate}/acme"), Value::Null, "200").await;
    check(&world, "delete", &format!("{of_one}/custom"), &format!("{certificate}/custom"), Value::Null, "200").await;
    let (addresses, of_addresses) = (format!("{app}/ip_assignments"), format!("{route}/ip_assignments"));
    check(&world, "post", &of_addresses, &addresses, json!({"type": "v4"}), "200").await;
    check(&world, "get", &of_addresses, &addresses, Value::Null, "200").await;
    let asked = json!({"org_slug": "personal", "region": "iad"});
    check(&world, "post", "/platform/placements", "/v1/platform/placements", asked, "200").await;
    check(&world, "get", "/platform/regions", "/v1/platform/regions", Value::Null, "200").await;
    world.stop().await;
}

#[tokio::test]
async fn a_lease_comes_in_its_envelope() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let path = format!("/v1/apps/{APP}/machines/{id}/lease");
    let taken = world.http("POST", &path).json(&json!({"description": "d", "ttl": 60})).send().await.expect("answered");
    assert_eq!(taken.status(), 201);
    let taken: Value = taken.json().await.expect("JSON");
    assert_eq!(taken["status"], "success");
    let schema = validator("get", "/apps/{app_name}/machines/{machine_id}/lease", "200");
    assert!(schema.is_valid(&taken["data"]), "{taken}");
    let read: Value = world.http("GET", &path).send().await.expect("answered").json().await.expect("JSON");
    assert_eq!(read, taken);
    world.stop().await;
}
