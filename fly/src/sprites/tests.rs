//! What each function asks of the Sprites API, and what it makes of the answer
//! (row FLY-030).

use serde_json::Value;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::MachineState;
use crate::sprite::{SpriteAction, SpriteRule, SpriteStatus};

const ENDPOINTS: &str = include_str!("../../spec/sprites-endpoints.json");

async fn server() -> (MockServer, Sprites) {
    let server = MockServer::start().await;
    let sprites = Sprites::new(&server.uri(), &"org/secret".parse().expect("a token"));
    (server, sprites)
}

fn shown(status: &str) -> Value {
    json!({ "id": "sprite-1", "name": "one", "status": status, "created_at": "2026-05-14T10:41:08Z", "url": "x" })
}

async fn shows(server: &MockServer, status: &str) {
    let answer = ResponseTemplate::new(200).set_body_json(shown(status));
    Mock::given(method("GET")).and(path("/v1/sprites/one")).respond_with(answer).mount(server).await;
}

/// An exec that ends with this code, and has printed something.
async fn executes(server: &MockServer, code: u8) {
    let answer = ResponseTemplate::new(200).set_body_bytes([&[1][..], b"said", &[EXIT, code]].concat());
    Mock::given(method("POST")).and(path("/v1/sprites/one/exec")).respond_with(answer).mount(server).await;
}

/// The words of every program that was run.
async fn commands(server: &MockServer) -> Vec<Vec<String>> {
    let words = |request: &Request| {
        let pairs = request.url.query_pairs().filter(|(name, _)| name == "cmd");
        pairs.map(|(_, word)| word.into_owned()).collect()
    };
    let requests = server.received_requests().await.expect("recorded");
    requests.iter().filter(|request| request.url.path().ends_with("/exec")).map(words).collect()
}

#[tokio::test]
async fn a_sprite_is_made_by_its_name_with_a_bearer_token() {
    let (server, sprites) = server().await;
    let answer = ResponseTemplate::new(201).set_body_json(shown("running"));
    Mock::given(method("POST"))
        .and(path("/v1/sprites"))
        .and(header("authorization", "Bearer org/secret"))
        .and(body_json(json!({ "name": "one", "labels": ["bifrost"] })))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    let sprite = sprites.create_sprite("one", &["bifrost".to_owned()]).await.expect("made");
    assert_eq!((sprite.name.as_str(), sprite.status.as_machine()), ("one", MachineState::Started));
}

#[tokio::test]
async fn a_name_that_is_in_use_is_this_sprite_and_a_refusal_for_good_is_told() {
    for (status, is_taken) in [(409, true), (400, true), (401, false), (429, false)] {
        let (server, sprites) = server().await;
        let refusal = ResponseTemplate::new(status).set_body_json(json!({ "error": "word", "message": "text" }));
        Mock::given(method("POST")).and(path("/v1/sprites")).respond_with(refusal).mount(&server).await;
        shows(&server, "warm").await;
        let made = sprites.create_sprite("one", &[]).await;
        assert_eq!(made.is_ok(), is_taken, "{status}");
    }
    let (server, sprites) = server().await;
    let refusal = ResponseTemplate::new(400).set_body_json(json!({ "error": "bad name" }));
    Mock::given(method("POST")).respond_with(refusal).mount(&server).await;
    let error = sprites.create_sprite("one", &[]).await.expect_err("there is none");
    assert_eq!(error.status(), Some(400));
}

#[tokio::test]
async fn to_pause_is_to_let_go_and_to_resume_is_to_hold() {
    let (server, sprites) = server().await;
    executes(&server, 0).await;
    shows(&server, "warm").await;
    let paused = sprites.pause_sprite("one").await.expect("paused");
    assert_eq!(paused.status.as_machine(), MachineState::Suspended);
    sprites.resume_sprite("one", Duration::from_secs(300)).await.expect("resumed");
    let commands = commands(&server).await;
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0][4..], ["--unix-socket", SOCKET, "-X", "DELETE", "http://sprite/v1/tasks/bifrost"]);
    let hold: Value = serde_json::from_str(&commands[1][11]).expect("JSON");
    assert_eq!(hold, json!({ "name": "bifrost", "expire": "300s" }));
    assert_eq!(commands[1][7], "PUT");
}

#[tokio::test]
async fn a_sprite_without_a_hold_is_paused_already_and_one_that_cannot_be_held_is_a_failure() {
    let (server, sprites) = server().await;
    executes(&server, NOT_FOUND).await;
    shows(&server, "cold").await;
    assert_eq!(sprites.pause_sprite("one").await.expect("paused").status.as_machine(), MachineState::Stopped);
    let error = sprites.resume_sprite("one", Duration::from_secs(9_999)).await.expect_err("not held").to_string();
    assert!(error.contains("curl: 22") && error.contains("said"), "{error}");
    let hold: Value = serde_json::from_str(&commands(&server).await[1][11]).expect("JSON");
    assert_eq!(hold["expire"], "3600s", "no hold may last longer");
}

#[tokio::test]
async fn a_program_without_an_exit_code_has_not_ended() {
    let (server, sprites) = server().await;
    let answer = ResponseTemplate::new(200).set_body_bytes([1, b'a']);
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let error = sprites.exec("one", &["true"]).await.expect_err("no code").to_string();
    assert!(error.contains("exit code is missing"), "{error}");
}

#[tokio::test]
async fn every_page_of_sprites_is_read() {
    let (server, sprites) = server().await;
    let page = |more: bool, name: &str| json!({ "sprites": [{ "name": name, "status": "hibernating" }], "has_more": more, "next_continuation_token": "t" });
    Mock::given(method("GET"))
        .and(query_param("continuation_token", "t"))
        .respond_with(ResponseTemplate::new(200).set_body_json(page(false, "b")))
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(query_param("prefix", "bifrost-"))
        .respond_with(ResponseTemplate::new(200).set_body_json(page(true, "a")))
        .mount(&server)
        .await;
    let found = sprites.sprites("bifrost-").await.expect("read");
    let names: Vec<&str> = found.iter().map(|sprite| sprite.name.as_str()).collect();
    assert_eq!((names, found[0].status), (vec!["a", "b"], SpriteStatus::Unknown));
}

#[tokio::test]
async fn a_checkpoint_is_done_when_the_answer_says_so() {
    for (lines, is_done) in [
        ("{\"type\":\"info\",\"data\":\"x\"}\n{\"type\":\"complete\"}\n", true),
        ("{\"type\":\"info\"}\n{\"type\":\"error\",\"error\":\"disk\"}\n", false),
        ("{\"type\":\"info\"}\n", false),
    ] {
        let (server, sprites) = server().await;
        let answer = ResponseTemplate::new(200).set_body_string(lines);
        Mock::given(method("POST")).respond_with(answer).mount(&server).await;
        assert_eq!(sprites.checkpoint("one", "after a batch").await.is_ok(), is_done, "{lines}");
        assert_eq!(sprites.restore("one", "v7").await.is_ok(), is_done, "{lines}");
    }
}

#[tokio::test]
async fn checkpoints_policies_and_destruction_are_as_documented() {
    let (server, sprites) = server().await;
    let policy = json!({ "rules": [{ "domain": "*.example.org", "action": "allow" }, { "include": "defaults" }] });
    let saved = json!([{ "id": "v7", "create_time": "2026-05-14T10:41:08Z", "comment": "x" }]);
    Mock::given(path("/v1/sprites/one/checkpoints"))
        .respond_with(ResponseTemplate::new(200).set_body_json(saved))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/v1/sprites/one/policy/network"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&policy))
        .mount(&server)
        .await;
    Mock::given(method("POST")).and(body_json(&policy)).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    assert_eq!(sprites.checkpoints("one").await.expect("read")[0].id, "v7");
    let read = sprites.network_policy("one").await.expect("read");
    let rule = SpriteRule::Domain { domain: "*.example.org".to_owned(), action: SpriteAction::Allow };
    assert_eq!(read.rules[0], rule);
    sprites.set_network_policy("one", &read).await.expect("written");
    // Nothing is mounted for it: 404.
    sprites.destroy_sprite("one").await.expect("one that is gone is no error");
}

#[tokio::test]
async fn every_route_is_one_of_the_apis() {
    let (server, sprites) = server().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    let policy = SpritePolicy::default();
    drop(sprites.create_sprite("one", &[]).await);
    drop(sprites.sprites("").await);
    drop(sprites.exec("one", &["true"]).await);
    drop(sprites.checkpoint("one", "").await);
    drop(sprites.checkpoints("one").await);
    drop(sprites.restore("one", "v7").await);
    drop(sprites.network_policy("one").await);
    drop(sprites.set_network_policy("one", &policy).await);
    drop(sprites.destroy_sprite("one").await);
    let document: Value = serde_json::from_str(ENDPOINTS).expect("JSON");
    let endpoints = document["endpoints"].as_array().expect("a list");
    let requests = server.received_requests().await.expect("recorded");
    assert!(requests.len() >= 9);
    for request in requests {
        let is_it = |endpoint: &Value| {
            let template: Vec<&str> = endpoint["p"].as_str().expect("a path").split('/').collect();
            let asked: Vec<&str> = request.url.path().split('/').collect();
            endpoint["m"].as_str().expect("methods").split('|').any(|method| method == request.method.as_str())
                && template.len() == asked.len()
                && template.iter().zip(asked).all(|(part, asked)| part.starts_with('{') || *part == asked)
        };
        assert!(endpoints.iter().any(is_it), "{} {}", request.method, request.url);
    }
}
