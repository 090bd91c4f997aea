//! Leases, listings and pages, against a server that answers as Fly does.

use super::*;
use crate::{Lease, MachineFilter, MachineUpdate};

#[tokio::test]
async fn whatever_is_asked_of_a_machine_under_a_lease_shows_it_once() {
    let server = MockServer::start().await;
    Mock::given(header("fly-machine-lease-nonce", "n1"))
        .respond_with(answer(200, shown("started")))
        .mount(&server)
        .await;
    let lease: Lease = serde_json::from_value(json!({"nonce": "n1", "expires_at": 1})).expect("a lease");
    let client = client(&server).under(&lease);
    client.suspend("runners", ID).await.expect("suspended");
    client.update("runners", ID, &MachineUpdate::default()).await.expect("updated");
    client.destroy("runners", ID, true).await.expect("destroyed");
    client.release_lease("runners", ID, "n1").await.expect("released");
    assert!(!format!("{client:?}").contains("n1"));
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
