//! What each function asks of the Sprites API, and what it makes of the answer
//! (row FLY-030).

use serde_json::Value;
use wiremock::matchers::{any, body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::sprite::{SpriteAction, SpriteRule, SpriteService, SpriteStatus};
use crate::{Advice, MachineState, Program};

const ENDPOINTS: &str = include_str!("../../spec/sprites-endpoints.json");

async fn server() -> (MockServer, Sprites) {
    let server = MockServer::start().await;
    let sprites = Sprites::with_pace(&server.uri(), &"org/secret".parse().expect("a token"), Pace::Unlimited);
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
async fn what_a_sprite_runs_is_defined_in_the_body_alone_and_runs_or_has_failed() {
    for (lines, is_done) in [
        ("{\"type\":\"started\"}\n{\"type\":\"stdout\",\"data\":\"x\"}\n{\"type\":\"complete\"}\n", true),
        ("{\"type\":\"exit\",\"exit_code\":0}\n{\"type\":\"started\"}\n{\"type\":\"complete\"}\n", true),
        ("{\"type\":\"started\"}\n{\"type\":\"exit\",\"exit_code\":1}\n{\"type\":\"complete\"}\n", false),
        ("{\"type\":\"error\",\"error\":\"no such file\"}\n", false),
        ("{\"type\":\"started\"}\n", false),
    ] {
        let (server, sprites) = server().await;
        let answer = ResponseTemplate::new(200).set_body_string(lines);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let service = SpriteService {
            cmd: "/home/sprite/runner".to_owned(),
            env: [("TOKEN".to_owned(), "hunter2".to_owned())].into(),
            dir: Some("/home/sprite".to_owned()),
            ..SpriteService::default()
        };
        assert!(!format!("{service:?}").contains("hunter2"));
        let defined = sprites.define_service("one", "runner", &service).await;
        let restarted = sprites.restart_service("one", "runner").await;
        assert_eq!((defined.is_ok(), restarted.is_ok()), (is_done, is_done), "{lines}");
        let requests = server.received_requests().await.expect("recorded");
        let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
        let expect =
            json!({ "cmd": "/home/sprite/runner", "args": [], "env": { "TOKEN": "hunter2" }, "dir": "/home/sprite" });
        assert_eq!((requests[0].method.as_str(), body), ("PUT", expect));
        assert!(requests.iter().all(|request| !request.url.as_str().contains("hunter2")));
    }
}

/// Answers each program that is run with the exit code that these say, in their order.
async fn answers(server: &MockServer, codes: &[u8]) {
    for (place, code) in codes.iter().enumerate() {
        let answer = ResponseTemplate::new(200).set_body_bytes([1, b'o', b'n', b'e', EXIT, *code]);
        let priority = u8::try_from(place + 1).expect("few");
        let mock = Mock::given(path("/v1/sprites/one/exec")).respond_with(answer).with_priority(priority);
        mock.up_to_n_times(1).mount(server).await;
    }
}

#[tokio::test]
async fn a_program_is_fetched_once_and_in_its_place_only_when_it_is_the_one() {
    let digest = "0123456789abcdef".repeat(4);
    let program: Program = format!("https://example.org/r@sha256:{digest}").parse().expect("is one");
    let check = ["sha256sum", "--check", "--status"].map(str::to_owned).to_vec();
    for (codes, expect) in [
        (&[0][..], Ok(1)),
        (&[1, 0, 0, 0, 0][..], Ok(5)),
        (&[1, 0, 1][..], Err("does not have the SHA-256")),
        (&[1, 6][..], Err("curl ended with exit code 6: one")),
        (&[1, 0, 0, 0, 1][..], Err("mv ended with exit code 1")),
    ] {
        let (server, sprites) = server().await;
        answers(&server, codes).await;
        let installed = sprites.install("one", &program, "/home/sprite/r").await;
        let commands = commands(&server).await;
        match expect {
            Ok(count) => assert_eq!((installed.is_ok(), commands.len()), (true, count), "{codes:?}"),
            Err(why) => {
                assert!(installed.as_ref().is_err_and(|error| error.to_string().contains(why)), "{installed:?}")
            }
        }
        assert_eq!(commands[0], check);
        let requests = server.received_requests().await.expect("recorded");
        assert_eq!(requests[0].body, format!("{digest}  /home/sprite/r\n").as_bytes());
        if let Some(curl) = commands.get(1) {
            assert_eq!(curl[curl.len() - 4..], ["--output", "/home/sprite/r.new", "--", "https://example.org/r"]);
        }
        let is_wrong = installed.is_err_and(|error| error.advice() == Advice::Undo);
        assert_eq!(is_wrong, codes == [1, 0, 1], "only what is pinned and is another is of no use");
    }
}

#[tokio::test]
async fn who_waits_for_sleep_takes_either_kind_and_gives_up_in_time() {
    for (status, state, is_reached) in [
        ("warm", MachineState::Suspended, true),
        ("cold", MachineState::Suspended, true),
        ("running", MachineState::Started, true),
        ("running", MachineState::Suspended, false),
        ("hibernating", MachineState::Suspended, false),
    ] {
        let (server, sprites) = server().await;
        shows(&server, status).await;
        let waited = sprites.wait_for_sprite("one", state, Duration::ZERO).await;
        assert_eq!(waited.is_ok(), is_reached, "{status}");
        assert!(waited.is_ok() || matches!(waited, Err(Error::NotReached { .. })));
    }
}

#[tokio::test]
async fn null_is_read_as_nothing() {
    let nothing = json!({ "sprites": null, "has_more": null, "next_continuation_token": null, "rules": null });
    let page: SpritePage = serde_json::from_value(nothing.clone()).expect("a page");
    assert_eq!(page, SpritePage::default());
    assert_eq!(serde_json::from_value::<SpritePolicy>(nothing).expect("a policy"), SpritePolicy::default());
    let sprite = json!({ "name": "one", "status": null, "labels": null, "created_at": null });
    let bare = Sprite { name: "one".to_owned(), ..Sprite::default() };
    assert_eq!(serde_json::from_value::<Sprite>(sprite).expect("a sprite"), bare);
    let service = json!({ "cmd": "run", "args": null, "env": null, "dir": null });
    let bare = SpriteService { cmd: "run".to_owned(), ..SpriteService::default() };
    assert_eq!(serde_json::from_value::<SpriteService>(service).expect("a service"), bare);
    let checkpoint = json!({ "id": "v7", "comment": null, "create_time": null, "is_auto": null });
    let bare = SpriteCheckpoint { id: "v7".to_owned(), ..SpriteCheckpoint::default() };
    assert_eq!(serde_json::from_value::<SpriteCheckpoint>(checkpoint).expect("a checkpoint"), bare);
    let (server, sprites) = server().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(Value::Null)).mount(&server).await;
    assert_eq!(sprites.checkpoints("one").await.expect("read"), []);
}

#[tokio::test]
async fn pages_of_sprites_that_never_end_are_no_answer() {
    let (server, sprites) = server().await;
    let page = json!({ "sprites": [], "has_more": true, "next_continuation_token": "again" });
    let answer = ResponseTemplate::new(200).set_body_json(page);
    Mock::given(path("/v1/sprites")).respond_with(answer).expect(100).mount(&server).await;
    let error = sprites.sprites("").await.expect_err("no end");
    assert!(matches!(error, Error::Unexpected { action: Action::ListSprites, .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_says_its_word_its_text_and_for_how_long() {
    let refusal = |word: &str| json!({ "error": word, "message": "a text", "limit": 3, "retry_after_seconds": 45, "upgrade_available": true });
    for (word, header, seconds, advice) in [
        ("sprite_creation_rate_limited", None, 45, Advice::SlowDown),
        ("sprite_creation_rate_limited", Some("7"), 7, Advice::SlowDown),
        ("concurrent_sprite_limit_exceeded", None, 45, Advice::AnotherRegion),
    ] {
        let (server, sprites) = server().await;
        let mut answer = ResponseTemplate::new(429).set_body_json(refusal(word));
        if let Some(seconds) = header {
            answer = answer.insert_header("retry-after", seconds);
        }
        Mock::given(method("POST")).respond_with(answer).mount(&server).await;
        let error = sprites.create_sprite("one", &[]).await.expect_err("refused");
        assert_eq!((error.advice(), error.retry_after()), (advice, Some(Duration::from_secs(seconds))));
        let said = error.to_string();
        assert_eq!(said, "the Sprites API refused to create the sprite: a text (HTTP 429)");
        // One that exists sleeps on: it is no reason to make another.
        let error = sprites.exec("one", &["true"]).await.expect_err("refused");
        assert_eq!(error.advice(), Advice::SlowDown);
        let unfinished = Error::Unfinished { name: "one".into(), cause: Box::new(error) };
        assert_eq!((unfinished.advice(), unfinished.status()), (Advice::SlowDown, Some(429)));
    }
}

#[test]
fn a_sprite_that_is_not_finished_is_never_taken_for_one_that_is() {
    let lost = Error::Unexpected { action: Action::ExecInSprite, detail: "lost".to_owned() };
    assert_eq!(lost.advice(), Advice::LookAgain);
    let unfinished = Error::Unfinished { name: "one".into(), cause: Box::new(lost) };
    assert_eq!(unfinished.advice(), Advice::WaitAndRetry);
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
    drop(sprites.define_service("one", "runner", &SpriteService::default()).await);
    drop(sprites.restart_service("one", "runner").await);
    drop(sprites.destroy_sprite("one").await);
    let document: Value = serde_json::from_str(ENDPOINTS).expect("JSON");
    let endpoints = document["endpoints"].as_array().expect("a list");
    let requests = server.received_requests().await.expect("recorded");
    assert!(requests.len() >= 11);
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
