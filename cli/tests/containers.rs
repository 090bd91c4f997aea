//! `bifrost up --machines container` on an engine without the image of machines: who starts it learns what to do at
//! once, and not from a machine's log.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with a network and no image, on a computer without a registry.
async fn engine() -> MockServer {
    let engine = MockServer::start().await;
    let network = json!({ "Internal": true, "IPAM": { "Config": [{ "Gateway": "127.0.0.2" }] } });
    for (at, body) in [
        ("/version", json!({ "ApiVersion": "1.47", "Components": [] })),
        ("/v1.47/info", json!({ "SecurityOptions": [] })),
        ("/v1.47/networks/fleet-egress", network),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&engine).await;
    }
    let denied = ResponseTemplate::new(404).set_body_json(json!({ "message": "pull access denied" }));
    let pulls = Mock::given(method("POST")).and(path("/v1.47/images/create"));
    pulls.and(query_param("fromImage", "bifrost-runner")).respond_with(denied).expect(1).mount(&engine).await;
    engine
}

#[tokio::test]
async fn a_system_whose_machines_would_have_no_image_does_not_start_and_says_how_it_is_built() {
    let (engine, home) = (engine().await, tempfile::tempdir().expect("a directory"));
    let mut command = kit::process::command(env!("CARGO_BIN_EXE_bifrost"));
    command.args(["up", "--listen", "127.0.0.1:0", "--machines", "container", "--json", "--engine"]);
    command.arg(format!("tcp://{}", engine.address()));
    command.current_dir(home.path()).env_clear().env("HOME", home.path()).env("BIFROST_DATA", home.path().join("data"));
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("ends").expect("runs");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success());
    assert!(stderr.contains("has no image bifrost-runner"), "{stderr}");
    assert!(stderr.contains("pull access denied") && stderr.contains("scripts/images runner"), "{stderr}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).ok(), None, "it welcomes nobody");
}
