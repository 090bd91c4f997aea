//! The client against a server that answers as Fly does.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate, Times};

use super::*;
use crate::{
    Advice, App, Guest, Init, MachineConfig, MachineState, Mount, NewApp, NewVolume, Restart, RestartPolicy,
    StopConfig, Volume,
};

mod conformance;
mod more;
mod routes;

const APP: &str = "/v1/apps/runners";
const MACHINE: &str = "/v1/apps/runners/machines/148ed599c14698";
const ID: &str = "148ed599c14698";

fn client(server: &MockServer) -> Machines {
    Machines::with_pace(&server.uri(), &"FlyV1 fm2_secret".parse().expect("a token"), Pace::Unlimited)
}

fn answer(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

async fn serve(server: &MockServer, verb: &str, at: &str, response: ResponseTemplate, times: impl Into<Times>) {
    Mock::given(method(verb)).and(path(at)).respond_with(response).expect(times).mount(server).await;
}

fn shown(state: &str) -> Value {
    json!({
        "id": ID, "name": "runner-1", "state": state, "region": "fra", "instance_id": "01J", "private_ip": "fdaa::1",
        "config": {"image": "registry.fly.io/runner@sha256:1", "env": null, "init": {"exec": null}, "guest": null},
        "created_at": "2026-05-14T10:41:08Z", "checks": [{"name": "x"}]
    })
}

fn new_machine() -> NewMachine {
    NewMachine {
        name: "runner-1".to_owned(),
        region: Some("fra".to_owned()),
        config: MachineConfig {
            image: "registry.fly.io/runner@sha256:1".to_owned(),
            env: BTreeMap::from([("BIFROST_MACHINE_TOKEN".to_owned(), "hunter2".to_owned())]),
            init: Init { exec: Some(vec!["bifrost-runner".to_owned()]), ..Init::default() },
            guest: Guest { cpus: 2, memory_mb: 2_048, ..Guest::default() },
            mounts: vec![Mount { volume: Some("vol_1".to_owned()), path: "/.sprite".to_owned(), ..Mount::default() }],
            restart: Restart { policy: RestartPolicy::No, ..Restart::default() },
            auto_destroy: true,
            metadata: BTreeMap::from([("bifrost".to_owned(), "1".to_owned())]),
            stop_config: Some(StopConfig {
                signal: Some("SIGTERM".to_owned()),
                timeout: Some("30s".to_owned()),
                ..StopConfig::default()
            }),
            ..MachineConfig::default()
        },
        ..NewMachine::default()
    }
}

fn new_volume() -> NewVolume {
    NewVolume {
        name: "cache".to_owned(),
        region: Some("fra".to_owned()),
        size_gb: Some(10),
        compute: Some(Guest::default()),
        ..NewVolume::default()
    }
}

#[tokio::test]
async fn a_machine_is_created_as_the_token_and_read_back() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("{APP}/machines")))
        .and(header("authorization", "FlyV1 fm2_secret"))
        .and(body_json(serde_json::to_value(new_machine()).expect("JSON")))
        .respond_with(answer(200, shown("created")))
        .expect(1)
        .mount(&server)
        .await;
    let machine = client(&server).create_machine("runners", &new_machine()).await.expect("created");
    assert_eq!((machine.id.as_str(), machine.state), (ID, MachineState::Created));
    assert_eq!(machine.config.expect("a config").guest, Guest::default());
}

#[tokio::test]
async fn a_plain_token_goes_as_bearer() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer plain")).respond_with(answer(200, json!([]))).mount(&server).await;
    let client = Machines::new(&server.uri(), &"plain".parse().expect("a token"));
    assert_eq!(client.machines("runners").await.expect("listed"), []);
}

#[tokio::test]
async fn machines_are_read_listed_and_moved_between_states() {
    let server = MockServer::start().await;
    serve(&server, "GET", MACHINE, answer(200, shown("brand_new_word")), 1).await;
    serve(&server, "GET", &format!("{APP}/machines"), answer(200, json!([shown("started")])), 1).await;
    for verb in ["start", "suspend", "stop"] {
        serve(&server, "POST", &format!("{MACHINE}/{verb}"), answer(200, json!({"ok": true})), 1).await;
    }
    serve(&server, "DELETE", MACHINE, answer(200, json!({"ok": true})), 1).await;

    let client = client(&server);
    assert_eq!(client.machine("runners", ID).await.expect("read").state, MachineState::Unknown);
    assert_eq!(client.machines("runners").await.expect("listed")[0].state, MachineState::Started);
    client.start("runners", ID).await.expect("started");
    client.suspend("runners", ID).await.expect("suspended");
    let options = StopOptions { signal: Some("SIGTERM".to_owned()), timeout: Some(Duration::from_millis(1_500)) };
    client.stop("runners", ID, &options).await.expect("stopped");
    client.destroy("runners", ID, true).await.expect("destroyed");

    let requests = server.received_requests().await.expect("recorded");
    let stop = requests.iter().find(|request| request.url.path().ends_with("/stop")).expect("a stop");
    assert_eq!(stop.body_json::<Value>().expect("JSON"), json!({"signal": "SIGTERM", "timeout": "1500ms"}));
    let destroy = requests.iter().find(|request| request.method.as_str() == "DELETE").expect("a destroy");
    assert_eq!(destroy.url.query(), Some("force=true"));
}

#[tokio::test]
async fn what_is_gone_counts_as_destroyed() {
    let server = MockServer::start().await;
    let gone = answer(404, json!({"error": "machine not found"}));
    serve(&server, "DELETE", MACHINE, gone.clone(), 1).await;
    serve(&server, "DELETE", &format!("{APP}/volumes/vol_1"), gone.clone(), 1).await;
    serve(&server, "GET", &format!("{MACHINE}/wait"), gone, 1).await;
    let client = client(&server);
    client.destroy("runners", ID, false).await.expect("gone");
    client.destroy_volume("runners", "vol_1").await.expect("gone");
    client.wait("runners", ID, MachineState::Destroyed, None, Duration::from_secs(5)).await.expect("gone");
}

#[tokio::test]
async fn an_app_that_is_ours_already_is_taken_and_anothers_is_not() {
    let app = NewApp { name: "runners".to_owned(), org_slug: "personal".to_owned(), network: None };
    for (read, is_ours) in [(answer(200, json!({"name": "runners"})), true), (answer(403, json!({})), false)] {
        let server = MockServer::start().await;
        let taken = json!({"error": "Validation failed: Name has already been taken", "status": "name_taken"});
        serve(&server, "POST", "/v1/apps", answer(422, taken), 1).await;
        serve(&server, "GET", APP, read, 1).await;
        assert_eq!(client(&server).create_app(&app).await.is_ok(), is_ours);
    }
}

#[tokio::test]
async fn a_new_app_is_waited_for_until_it_is_readable() {
    let server = MockServer::start().await;
    serve(&server, "POST", "/v1/apps", answer(201, json!({})), 1).await;
    for status in [404, 401] {
        let not_yet = Mock::given(method("GET")).and(path(APP)).respond_with(answer(status, json!({"error": "later"})));
        not_yet.up_to_n_times(1).expect(1).mount(&server).await;
    }
    serve(&server, "GET", APP, answer(200, json!({"name": "runners"})), 1).await;
    let app = NewApp { name: "runners".to_owned(), org_slug: "personal".to_owned(), network: None };
    client(&server).create_app(&app).await.expect("created");
}

#[tokio::test]
async fn leases_come_out_of_their_envelope_and_metadata_plain() {
    let server = MockServer::start().await;
    let lease = json!({"status": "success", "data": {"nonce": "n1", "expires_at": 1_800_000_000, "owner": "me"}});
    serve(&server, "POST", &format!("{MACHINE}/lease"), answer(201, lease), 1).await;
    Mock::given(method("DELETE"))
        .and(path(format!("{MACHINE}/lease")))
        .and(header("fly-machine-lease-nonce", "n1"))
        .respond_with(answer(200, json!({"ok": true})))
        .expect(1)
        .mount(&server)
        .await;
    serve(&server, "GET", &format!("{MACHINE}/metadata"), answer(200, json!({"a": "b"})), 1).await;
    Mock::given(method("POST"))
        .and(path(format!("{MACHINE}/metadata/a")))
        .and(body_json(json!({"value": "c"})))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;

    let client = client(&server);
    let lease = client.acquire_lease("runners", ID, "reaping", Duration::from_secs(30)).await.expect("leased");
    assert_eq!(format!("{lease:?}"), "Lease { expires_at: 1800000000, owner: \"me\", .. }");
    client.release_lease("runners", ID, &lease.nonce).await.expect("released");
    assert_eq!(client.metadata("runners", ID).await.expect("read")["a"], "b");
    client.set_metadata("runners", ID, "a", "c").await.expect("set");
}

#[tokio::test]
async fn volumes_are_created_read_and_listed() {
    let server = MockServer::start().await;
    let volume = json!({"id": "vol_1", "name": "cache", "state": "created", "region": "fra", "size_gb": 10,
        "encrypted": true, "attached_machine_id": ID, "created_at": "2026-05-14T10:41:08.5Z", "zone": "a1"});
    serve(&server, "POST", &format!("{APP}/volumes"), answer(200, volume.clone()), 1).await;
    serve(&server, "GET", &format!("{APP}/volumes/vol_1"), answer(200, volume.clone()), 1).await;
    serve(&server, "GET", &format!("{APP}/volumes"), answer(200, json!([volume])), 1).await;
    let client = client(&server);
    let created = client.create_volume("runners", &new_volume()).await.expect("created");
    assert_eq!(created.attached_machine_id.as_deref(), Some(ID));
    assert_eq!(client.volume("runners", "vol_1").await.expect("read"), created);
    assert_eq!(client.volumes("runners").await.expect("listed"), [created]);
}

#[tokio::test]
async fn a_refused_create_is_sent_once_and_gives_its_advice() {
    let clash =
        "already_exists: unique machine name violation, machine ID 7840ddda44d628 already exists with name \"a\"";
    for (status, body, advice) in [
        (409, json!({"error": clash}), Advice::Adopt("7840ddda44d628".to_owned())),
        (422, json!({"error": "x", "status": "insufficient_capacity"}), Advice::AnotherRegion),
        (422, json!({"message": "could not find a candidate host"}), Advice::AnotherRegion),
        (401, json!({"error": "token validation error"}), Advice::GiveUp),
        (429, json!({"error": "rate limit exceeded"}), Advice::SlowDown),
        (503, json!({}), Advice::LookAgain),
        (408, json!({"error": "deadline_exceeded"}), Advice::LookAgain),
    ] {
        let server = MockServer::start().await;
        serve(&server, "POST", &format!("{APP}/machines"), answer(status, body), 1).await;
        let error = client(&server).create_machine("runners", &new_machine()).await.expect_err("refused");
        assert_eq!((error.status(), error.advice()), (Some(status), advice));
    }
}

#[tokio::test]
async fn what_may_be_repeated_survives_two_hiccups_and_not_three() {
    for (hiccups, is_ok) in [(2, true), (3, false)] {
        let server = MockServer::start().await;
        let start = format!("{MACHINE}/start");
        let hiccup = Mock::given(method("POST")).and(path(&start)).respond_with(ResponseTemplate::new(502));
        hiccup.up_to_n_times(hiccups).expect(hiccups).mount(&server).await;
        serve(&server, "POST", &start, answer(200, json!({})), u64::from(is_ok)).await;
        assert_eq!(client(&server).start("runners", ID).await.is_ok(), is_ok, "{hiccups} hiccups");
    }
}

#[tokio::test]
async fn a_refusal_that_is_no_hiccup_is_not_repeated() {
    let server = MockServer::start().await;
    let body = json!({"error": "failed_precondition: machine still active, refusing to start"});
    serve(&server, "POST", &format!("{MACHINE}/start"), answer(412, body), 1).await;
    let error = client(&server).start("runners", ID).await.expect_err("refused");
    assert_eq!(error.advice(), Advice::WaitAndRetry);
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_quoted_in_short() {
    let server = MockServer::start().await;
    let page = ResponseTemplate::new(403).set_body_string("<html>".repeat(500)).insert_header("fly-request-id", "01J");
    serve(&server, "GET", MACHINE, page, 1).await;
    let error = client(&server).machine("runners", ID).await.expect_err("refused").to_string();
    assert!(error.len() < 500 && error.ends_with("(HTTP 403, fly-request-id 01J)"), "{error}");
}

#[tokio::test]
async fn a_web_page_is_told_from_an_answer_by_how_it_begins() {
    let server = MockServer::start().await;
    let page = |status| ResponseTemplate::new(status).set_body_string("<!DOCTYPE html>\n  <title>Hi</title>");
    let says = |error: Error, status: &str| {
        let text = error.lasting();
        assert!(
            text.contains(r#"begins with "<!DOCTYPE html> <title>Hi</title>""#) && text.ends_with(status),
            "{text}"
        );
    };
    serve(&server, "GET", MACHINE, page(200), 1).await;
    says(client(&server).machine("runners", ID).await.expect_err("no machine"), "\"");
    serve(&server, "GET", &format!("{APP}/volumes"), page(404), 1).await;
    says(client(&server).volumes("runners").await.expect_err("no volumes"), "(HTTP 404)");
}

#[tokio::test]
async fn an_answer_of_another_shape_is_told_from_a_refusal() {
    let server = MockServer::start().await;
    serve(&server, "GET", MACHINE, answer(200, json!({"id": 7})), 1).await;
    let error = client(&server).machine("runners", ID).await.expect_err("not a machine");
    assert!(matches!(error, Error::Unexpected { action: Action::ReadMachine, .. }), "{error}");
}

#[tokio::test]
async fn a_create_without_an_answer_must_be_looked_up_unless_it_was_never_sent() {
    let server = MockServer::start().await;
    let slow = answer(200, shown("created")).set_delay(Duration::from_secs(60));
    serve(&server, "POST", &format!("{APP}/machines"), slow, 1).await;
    let client = client(&server);
    let call = client.api.call(Action::CreateMachine, "runners", Method::POST, &["apps", "runners", "machines"]);
    let timed_out = call.deadline(Duration::from_millis(50)).done().await.expect_err("too slow");
    assert_eq!(timed_out.advice(), Advice::LookAgain);

    let nobody = Machines::with_pace("http://127.0.0.1:1", &"plain".parse().expect("a token"), Pace::Unlimited);
    let unsent = nobody.create_machine("runners", &new_machine()).await.expect_err("nobody listens");
    assert_eq!(unsent.advice(), Advice::WaitAndRetry);
    assert!(unsent.to_string().contains("http://127.0.0.1:1"), "{unsent}");
}

#[tokio::test]
async fn a_wait_goes_on_past_a_call_that_was_too_short() {
    let server = MockServer::start().await;
    let short =
        json!({"error": "deadline_exceeded: machine failed to reach desired state, started, currently created"});
    let too_short = Mock::given(method("GET")).and(path(format!("{MACHINE}/wait"))).respond_with(answer(408, short));
    too_short.up_to_n_times(1).expect(1).mount(&server).await;
    Mock::given(method("GET"))
        .and(path(format!("{MACHINE}/wait")))
        .and(query_param("state", "started"))
        .and(query_param("instance_id", "01J"))
        .respond_with(answer(200, json!({"ok": true})))
        .expect(1)
        .mount(&server)
        .await;
    let timeout = Duration::from_secs(600);
    client(&server).wait("runners", ID, MachineState::Started, Some("01J"), timeout).await.expect("started");
    let requests = server.received_requests().await.expect("recorded");
    assert!(requests.iter().all(|request| request.url.query().is_some_and(|query| query.contains("timeout=60"))));
}

#[tokio::test]
async fn a_wait_that_never_ends_says_where_the_machine_was_left() {
    let server = MockServer::start().await;
    let error = "deadline_exceeded: machine failed to reach desired state, started, currently stopped";
    serve(&server, "GET", &format!("{MACHINE}/wait"), answer(408, json!({"error": error})), 1..).await;
    let timeout = Duration::from_millis(50);
    let error = client(&server).wait("runners", ID, MachineState::Started, None, timeout).await.expect_err("never");
    assert_eq!(error.advice(), Advice::LookAgain);
    assert!(error.to_string().contains("currently stopped"), "{error}");
}

#[test]
fn a_machines_environment_is_not_printed() {
    let printed = format!("{:?}", new_machine());
    assert!(printed.contains("BIFROST_MACHINE_TOKEN") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_client_does_not_print_its_token() {
    let client = Machines::new("http://127.0.0.1:1/", &"FlyV1 fm2_secret".parse().expect("a token"));
    assert_eq!(format!("{client:?}"), "Machines { base: \"http://127.0.0.1:1\", .. }");
}
