//! The outbox against a store that fails in every way, and against Fly's Machines
//! API as it answers (rows T-7.9c to f, TEL-3a, TEL-3b), on both databases.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::events::{EventStore, Signer};
use fly::{Machines, Pace};
use kernel::outbox::{self, About, Backlog};
use kernel::{Ctx, MIGRATIONS, Reconciler};
use kit::Chance;
use serde_json::{Value, json};
use wire::event::{Appended, Event, kind};
use wire::problem::Problem;
use wire::signature::Key;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::{OutboxDelivery, Waker};

mod interleavings;
mod waking;

/// Longer than any wait after a failure.
const LONG: Duration = Duration::from_secs(10);

/// What the store does with a write, when it is up.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Stores nothing.
    Before,
    /// Stores all, and the sender does not learn it.
    After,
    /// Something in between answers with a page of its own.
    Proxy,
}

/// A store that fails when told, and keeps events apart by id as the real one does.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    is_down: bool,
    faults: VecDeque<Fault>,
    /// A write with an event of this type is refused for good.
    refuses: Option<&'static str>,
    events: Vec<Event>,
    /// `probe` and `post`, as they came.
    requests: Vec<&'static str>,
}

impl Respond for Store {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut kept = self.0.lock().unwrap();
        if request.url.path() == "/health" {
            kept.requests.push("probe");
            return ResponseTemplate::new(if kept.is_down { 503 } else { 200 });
        }
        kept.requests.push("post");
        let refusal = |status| ResponseTemplate::new(status).set_body_json(Problem::new(status, "", "invalid", "no"));
        if kept.is_down {
            return refusal(503);
        }
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let events: Vec<Event> = serde_json::from_value(body["events"].clone()).expect("events");
        if events.iter().any(|event| kept.refuses == Some(event.kind.as_str())) {
            return refusal(400);
        }
        let fault = kept.faults.pop_front();
        match fault {
            Some(Fault::Before) => return refusal(503),
            Some(Fault::Proxy) => return ResponseTemplate::new(403).set_body_string("<html>Forbidden</html>"),
            Some(Fault::After) | None => (),
        }
        for event in events {
            if !kept.events.iter().any(|known| known.id == event.id) {
                kept.events.push(event);
            }
        }
        match fault {
            Some(_) => refusal(503),
            None => ResponseTemplate::new(201).set_body_json(Appended { events: vec![] }),
        }
    }
}

impl Store {
    async fn serve(&self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("POST")).and(path("/v1/events")).respond_with(self.clone()).mount(&server).await;
        Mock::given(method("GET")).and(path("/health")).respond_with(self.clone()).mount(&server).await;
        server
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    /// The requests since the last call.
    fn requests(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// The payloads of what arrived.
    fn arrived(&self) -> Vec<Value> {
        let kept = self.0.lock().unwrap();
        kept.events.iter().map(|event| serde_json::from_str(event.payload.get()).expect("JSON")).collect()
    }
}

/// As a control plane that has just started has it.
fn delivery(ctx: &Ctx, server: &MockServer, waker: Option<Waker>) -> OutboxDelivery {
    let key = Key::from_bytes([1; 32]);
    let signer = Signer { key, key_id: None, clock: ctx.clock.clone(), chance: Chance::system() };
    OutboxDelivery::new(EventStore::new(&server.uri(), signer), waker)
}

async fn say(ctx: &Ctx, kind: &str, number: u64) {
    let mut tx = ctx.begin("test.say").await.expect("begins");
    outbox::push(ctx, &mut tx, kind, About::default(), &number).await.expect("pushes");
    tx.commit(()).await.expect("commits");
}

async fn backlog(ctx: &Ctx) -> Backlog {
    let mut tx = ctx.read("test.backlog").await.expect("begins");
    outbox::backlog(&mut tx).await.expect("reads")
}

/// Ticks until nothing waits, past every wait.
async fn settle(ctx: &Ctx, delivery: &OutboxDelivery) {
    for _ in 0..1_000 {
        if backlog(ctx).await.entries == 0 {
            return;
        }
        // What it could not do now is tried again after the wait.
        drop(delivery.tick(ctx).await);
        ctx.clock.advance(LONG);
    }
    panic!("the outbox does not get empty: {:?}", backlog(ctx).await);
}

kernel::on_both! { MIGRATIONS;
    async fn after_a_failure_nothing_is_posted_to_a_store_that_is_not_healthy(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        let delivery = delivery(&ctx, &server, None);
        store.set_down(true);
        say(&ctx, "test", 1).await;
        for expect in [["post"], ["probe"], ["probe"]] {
            delivery.tick(&ctx).await.expect_err("the store is down");
            assert_eq!(store.requests(), expect);
            ctx.clock.advance(LONG);
        }
        assert_eq!(store.arrived(), [] as [Value; 0]);
        store.set_down(false);
        delivery.tick(&ctx).await.expect("delivers");
        assert_eq!(store.requests(), ["probe", "post"]);
        assert_eq!(store.arrived()[0], 1);
    }

    async fn a_failing_store_gets_fewer_and_fewer_requests_and_everything_in_the_end(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        let delivery = delivery(&ctx, &server, None);
        store.fail([Fault::Before; 6]);
        for number in 0..3 {
            say(&ctx, "test", number).await;
        }
        let mut posts = Vec::new();
        for second in 0..40 {
            drop(delivery.tick(&ctx).await);
            // A new entry, which wakes the delivery, does not cut the wait short.
            drop(delivery.tick(&ctx).await);
            if store.requests().contains(&"post") {
                posts.push(second);
            }
            let told = Backlog { entries: 0, retries: 0 };
            let expect = if posts.len() < 7 { Backlog { entries: 3, retries: posts.len() as i64 } } else { told };
            assert_eq!(backlog(&ctx).await, expect);
            ctx.clock.advance(Duration::from_secs(1));
        }
        let gaps: Vec<i32> = posts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted_by(|a, b| a <= b || *b >= 3) && gaps[5] >= 3, "{gaps:?}");
        assert_eq!(store.arrived(), [0, 1, 2]);
    }

    async fn what_a_crash_left_untold_is_told_after_it_once(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        // Before anything was sent: the change is committed, and the process is gone.
        say(&ctx, "test", 1).await;
        // After the store took it, and before that was noted.
        store.fail([Fault::After]);
        delivery(&ctx, &server, None).tick(&ctx).await.expect_err("the answer is lost");
        assert_eq!(backlog(&ctx).await.entries, 1);
        say(&ctx, "test", 2).await;
        settle(&ctx, &delivery(&ctx, &server, None)).await;
        assert_eq!(store.arrived(), [1, 2]);
    }

    async fn an_entry_that_is_refused_for_good_holds_up_no_other(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        store.0.lock().unwrap().refuses = Some("bad");
        for number in 0..20 {
            say(&ctx, if [0, 7, 8, 19].contains(&number) { "bad" } else { "test" }, number).await;
        }
        settle(&ctx, &delivery(&ctx, &server, None)).await;
        let expect: Vec<u64> = (0..20).filter(|number| ![0, 7, 8, 19].contains(number)).collect();
        assert_eq!(store.arrived(), expect);
    }

    async fn what_a_proxy_says_about_an_entry_is_not_final(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        store.fail([Fault::Proxy; 3]);
        say(&ctx, "test", 1).await;
        settle(&ctx, &delivery(&ctx, &server, None)).await;
        assert_eq!(store.arrived(), [1]);
    }
}
