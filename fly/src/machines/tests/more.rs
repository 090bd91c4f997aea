//! Leases, listings and pages, against a server that answers as Fly does.

use tokio::time::Instant;

use super::*;
use crate::{Launch, MachineFilter, MachineUpdate};

#[tokio::test]
async fn whatever_is_asked_of_a_machine_under_a_lease_shows_it_once() {
    let server = MockServer::start().await;
    Mock::given(header("fly-machine-lease-nonce", "n1"))
        .respond_with(answer(200, shown("started")))
        .mount(&server)
        .await;
    let client = client(&server).under("n1");
    client.suspend("runners", ID).await.expect("suspended");
    client.update("runners", ID, &MachineUpdate::default()).await.expect("updated");
    client.destroy("runners", ID, true).await.expect("destroyed");
    client.release_lease("runners", ID, "n1").await.expect("released");
    assert!(!format!("{client:?}").contains("n1"));
}

#[tokio::test]
async fn a_call_takes_no_longer_than_its_client_gives_it() {
    let server = MockServer::start().await;
    let slow = answer(200, shown("started")).set_delay(Duration::from_secs(60));
    serve(&server, "GET", MACHINE, slow.clone(), 1).await;
    serve(&server, "POST", &format!("{MACHINE}/start"), slow, 1).await;
    let client = client(&server).with_deadline(Duration::from_millis(50));
    let read = client.machine("runners", ID).await.expect_err("no answer").advice();
    let started = client.start("runners", ID).await.expect_err("no answer").advice();
    assert_eq!((read, started), (Advice::WaitAndRetry, Advice::WaitAndRetry));
}

#[tokio::test]
async fn a_filter_is_put_in_the_words_of_the_api() {
    let server = MockServer::start().await;
    serve(&server, "GET", &format!("{APP}/machines"), answer(200, json!([])), 1).await;
    let filter = MachineFilter {
        include_deleted: true,
        region: Some("fra".to_owned()),
        states: vec![MachineState::Started, MachineState::Suspended],
        metadata: BTreeMap::from([("pool".to_owned(), "a b".to_owned())]),
    };
    assert_eq!(client(&server).machines_where("runners", &filter).await.expect("listed"), []);
    let requests = server.received_requests().await.expect("recorded");
    let query = "include_deleted=true&region=fra&state=started%2Csuspended&metadata.pool=a+b";
    assert_eq!(requests[0].url.query(), Some(query));
}

#[tokio::test]
async fn an_organisation_is_read_to_its_last_page_and_silent_regions_are_named() {
    let server = MockServer::start().await;
    let page = |id: &str, silent: &str, next: &str| {
        let machine = json!({"id": id, "app_name": "runners", "state": "started"});
        answer(200, json!({"machines": [machine], "error_regions": [silent], "next_cursor": next}))
    };
    let second = Mock::given(method("GET")).and(path("/v1/orgs/o/machines")).and(query_param("cursor", "c1"));
    second.respond_with(page("b", "nrt", "")).expect(1).mount(&server).await;
    serve(&server, "GET", "/v1/orgs/o/machines", page("a", "nrt", "c1"), 1).await;
    let found = client(&server).org_machines("o", None).await.expect("listed");
    let ids: Vec<&str> = found.machines.iter().map(|machine| machine.id.as_str()).collect();
    assert_eq!((ids, found.silent_regions), (vec!["a", "b"], vec!["nrt".to_owned()]));
}

#[tokio::test]
async fn pages_that_never_end_are_no_answer() {
    let server = MockServer::start().await;
    serve(&server, "GET", "/v1/orgs/o/volumes", answer(200, json!({"volumes": [], "next_cursor": "c1"})), 100).await;
    let error = client(&server).org_volumes("o", None).await.expect_err("no end");
    assert!(matches!(error, Error::Unexpected { action: Action::ListOrgVolumes, .. }), "{error}");
}

#[tokio::test]
async fn an_update_is_sent_once_and_then_looked_at() {
    let concurrent = json!({"error": "aborted: machine update failed due to concurrent update"});
    for refusal in [answer(409, concurrent), answer(503, json!({}))] {
        let server = MockServer::start().await;
        serve(&server, "POST", MACHINE, refusal, 1).await;
        let error = client(&server).update("runners", ID, &MachineUpdate::default()).await.expect_err("refused");
        assert_eq!(error.advice(), Advice::LookAgain);
    }
}

/// Refuses the first call for so many seconds, in the header or in the body.
async fn asks_for_rest(server: &MockServer, at: &str, seconds: u64, in_header: bool) {
    let refusal = json!({"error": "rate limit exceeded"});
    let refusal = match in_header {
        true => answer(429, refusal).insert_header("retry-after", seconds.to_string()),
        false => answer(429, json!({"error": "rate limit exceeded", "retry_after_seconds": seconds})),
    };
    Mock::given(path(at)).respond_with(refusal).up_to_n_times(1).expect(1).mount(server).await;
}

#[tokio::test]
async fn a_call_is_not_repeated_before_the_api_wants_to_be_asked_again() {
    for in_header in [true, false] {
        let server = MockServer::start().await;
        asks_for_rest(&server, MACHINE, 1, in_header).await;
        serve(&server, "GET", MACHINE, answer(200, shown("started")), 1).await;
        let began = Instant::now();
        client(&server).machine("runners", ID).await.expect("read");
        assert!(began.elapsed() >= Duration::from_secs(1), "in a header: {in_header}");
    }
}

#[tokio::test]
async fn a_rest_that_is_longer_than_the_call_may_take_is_told_at_once() {
    for seconds in [10, 45, u64::MAX] {
        let server = MockServer::start().await;
        asks_for_rest(&server, MACHINE, seconds, true).await;
        serve(&server, "GET", MACHINE, answer(200, shown("started")), 0).await;
        let began = Instant::now();
        let error = client(&server).machine("runners", ID).await.expect_err("refused");
        assert_eq!((error.advice(), error.retry_after()), (Advice::SlowDown, Some(Duration::from_secs(seconds))));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_wait_leaves_the_api_alone_for_as_long_as_it_says() {
    let wait = format!("{MACHINE}/wait");
    let server = MockServer::start().await;
    asks_for_rest(&server, &wait, 1, true).await;
    serve(&server, "GET", &wait, answer(200, json!({"ok": true})), 1).await;
    let began = Instant::now();
    let timeout = Duration::from_secs(30);
    client(&server).wait("runners", ID, MachineState::Started, None, timeout).await.expect("started");
    assert!(began.elapsed() >= Duration::from_secs(1));

    let server = MockServer::start().await;
    asks_for_rest(&server, &wait, 45, true).await;
    let error = client(&server).wait("runners", ID, MachineState::Started, None, timeout).await.expect_err("too long");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(45)));
}

#[tokio::test]
async fn who_waits_for_a_stop_waits_for_it_in_the_version_that_there_is() {
    for (state, given, sent) in [
        (MachineState::Stopped, None, Some("01J")),
        (MachineState::Stopped, Some("01G"), Some("01G")),
        (MachineState::Suspended, None, None),
        (MachineState::Destroyed, None, None),
    ] {
        let server = MockServer::start().await;
        let is_read = u64::from(given.is_none() && sent.is_some());
        serve(&server, "GET", MACHINE, answer(200, shown("stopping")), is_read).await;
        serve(&server, "GET", &format!("{MACHINE}/wait"), answer(200, json!({"ok": true})), 1).await;
        client(&server).wait("runners", ID, state, given, Duration::from_secs(5)).await.expect("reached");
        let requests = server.received_requests().await.expect("recorded");
        let query = requests.last().expect("a wait").url.query_pairs();
        let version =
            query.into_iter().find(|(name, _)| name == "instance_id").map(|(_, version)| version.into_owned());
        assert_eq!(version.as_deref(), sent, "{state} in {given:?}");
    }
}

#[tokio::test]
async fn a_machine_that_is_made_under_a_lease_comes_with_a_nonce_that_is_not_printed() {
    let server = MockServer::start().await;
    let mut leased = shown("created");
    leased["nonce"] = json!("n1");
    serve(&server, "POST", &format!("{APP}/machines"), answer(200, leased), 1).await;
    let new = NewMachine { launch: Launch { lease_ttl: Some(60), ..Launch::default() }, ..new_machine() };
    let machine = client(&server).create_machine("runners", &new).await.expect("created");
    assert_eq!(machine.nonce.as_deref(), Some("n1"));
    assert!(!format!("{machine:?}").contains("n1"));
    let requests = server.received_requests().await.expect("recorded");
    assert_eq!(requests[0].body_json::<Value>().expect("JSON")["lease_ttl"], json!(60));
}
