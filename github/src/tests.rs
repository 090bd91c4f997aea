//! The client against a host that speaks as GitHub's documentation says: pages by `Link`, refusals with
//! `message` and `errors`, limits by `Retry-After` and `x-ratelimit-*`.

use std::time::Duration;

use kit::Chance;
use serde_json::{Value, json};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Error, NewPull, Place, Pull, Repository, Token};

const NEW: NewPull<'_> = NewPull { head: "bifrost/x", base: "main", title: "Mend it", body: "How", draft: true };

async fn host() -> (MockServer, Repository) {
    let host = MockServer::start().await;
    let place = Place::of(&format!("{}/owner/name.git", host.uri())).expect("a place");
    let http = kit::http::client(Duration::from_secs(10));
    let token = Token::new("the-token\n").expect("a token");
    (host, Repository::new(http, place, Some(token), Chance::seeded(1)))
}

fn pull(number: i64) -> Value {
    json!({"number": number, "html_url": format!("https://git.example/owner/name/pull/{number}"), "state": "open"})
}

fn listing(found: &Value) -> Mock {
    let asked = Mock::given(method("GET")).and(path("/api/v3/repos/owner/name/pulls"));
    let asked = asked.and(query_param("head", "owner:bifrost/x")).and(query_param("base", "main"));
    asked.and(query_param("state", "open")).respond_with(ResponseTemplate::new(200).set_body_json(found))
}

#[tokio::test]
async fn a_pull_request_is_opened_as_the_documentation_says() {
    let (host, repository) = host().await;
    listing(&json!([])).mount(&host).await;
    Mock::given(method("POST"))
        .and(path("/api/v3/repos/owner/name/pulls"))
        .and(header("authorization", "Bearer the-token"))
        .and(header("accept", "application/vnd.github+json"))
        .and(header("x-github-api-version", "2022-11-28"))
        .and(body_json(json!({"head": "bifrost/x", "base": "main", "title": "Mend it", "body": "How", "draft": true})))
        .respond_with(ResponseTemplate::new(201).set_body_json(pull(7)))
        .expect(1)
        .mount(&host)
        .await;
    let expect = Pull { number: 7, html_url: "https://git.example/owner/name/pull/7".into() };
    assert_eq!(repository.pull(NEW).await.expect("opens"), (expect, true));
}

#[tokio::test]
async fn one_that_is_open_is_found_and_no_second_is_made() {
    let (host, repository) = host().await;
    listing(&json!([pull(7)])).mount(&host).await;
    let (found, is_new) = repository.pull(NEW).await.expect("finds");
    assert_eq!((found.number, is_new), (7, false));
    assert!(host.received_requests().await.expect("kept").iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn after_an_unclear_answer_one_looks() {
    for answer in [
        ResponseTemplate::new(502),
        ResponseTemplate::new(201).set_body_string("not JSON"),
        ResponseTemplate::new(422).set_body_json(json!({"message": "Validation Failed", "errors": [
            {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for owner:bifrost/x."}]})),
    ] {
        let (host, repository) = host().await;
        listing(&json!([])).up_to_n_times(1).mount(&host).await;
        listing(&json!([pull(9)])).mount(&host).await;
        Mock::given(method("POST")).respond_with(answer).expect(1).mount(&host).await;
        let (found, is_new) = repository.pull(NEW).await.expect("finds");
        assert_eq!((found.number, is_new), (9, true));
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_hosts_words_and_without_the_token() {
    for (status, body, expect) in [
        (
            401,
            json!({"message": "Bad credentials"}),
            "owner/name refuses (401): Bad credentials; the token is wrong or has expired",
        ),
        (
            403,
            json!({"message": "Resource not accessible"}),
            "owner/name refuses (403): Resource not accessible; the token may not do this",
        ),
        (
            422,
            json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "field": "base", "code": "invalid"}]}),
            "owner/name refuses (422): Validation Failed: base is invalid",
        ),
    ] {
        let (host, repository) = host().await;
        listing(&json!([])).mount(&host).await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&host).await;
        let error = repository.pull(NEW).await.expect_err("refused");
        assert_eq!(error.to_string(), expect);
        assert!(!format!("{error:?} {repository:?}").contains("the-token"));
    }
}

#[tokio::test]
async fn what_only_reads_is_tried_again_but_not_beyond_anybodys_patience() {
    let (host, repository) = host().await;
    let itself = || Mock::given(method("GET")).and(path("/api/v3/repos/owner/name"));
    itself()
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "0"))
        .up_to_n_times(2)
        .mount(&host)
        .await;
    itself()
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"default_branch": "trunk"})))
        .mount(&host)
        .await;
    assert_eq!(repository.default_branch().await.expect("reads"), "trunk");

    let (host, repository) = self::host().await;
    let limited = ResponseTemplate::new(403).insert_header("x-ratelimit-remaining", "0");
    itself().respond_with(limited).expect(1).mount(&host).await;
    assert!(matches!(repository.default_branch().await, Err(Error::Limited { .. })));
}

#[tokio::test]
async fn issues_are_read_page_by_page_without_pull_requests_and_from_no_other_host() {
    let (host, repository) = host().await;
    let issue = |number: i64| {
        json!({"number": number, "title": format!("issue {number}"), "body": null,
        "html_url": "https://git.example/i", "labels": [{"name": "bug"}]})
    };
    let mut pull = issue(2);
    pull["pull_request"] = json!({"url": "x"});
    let link = format!("<{}/api/v3/repositories/1/issues?page=2>; rel=\"next\", <x>; rel=\"last\"", host.uri());
    Mock::given(path("/api/v3/repos/owner/name/issues"))
        .and(query_param("labels", "bug,help wanted"))
        .and(query_param("state", "open"))
        .respond_with(ResponseTemplate::new(200).insert_header("link", link).set_body_json(json!([issue(1), pull])))
        .mount(&host)
        .await;
    let elsewhere = "<https://evil.example/issues?page=3>; rel=\"next\"";
    Mock::given(path("/api/v3/repositories/1/issues"))
        .respond_with(
            ResponseTemplate::new(200).insert_header("link", elsewhere).set_body_json(json!([issue(3), issue(4)])),
        )
        .mount(&host)
        .await;
    let labels = ["bug".to_owned(), "help wanted".to_owned()];
    let numbers = async |most| -> Vec<i64> {
        let found = repository.open_issues(&labels, most).await.expect("reads");
        found.iter().map(|issue| issue.number).collect()
    };
    assert_eq!(numbers(100).await, [1, 3, 4]);
    assert_eq!(numbers(2).await, [1, 3]);
}
