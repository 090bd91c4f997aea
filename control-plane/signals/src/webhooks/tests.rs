//! Webhooks against receivers that are slow, broken or gone, on both databases
//! (rows CAIRN-37 to CAIRN-42, decision C-44).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::outbox::{About, Snapshot};
use kernel::{Migration, Reconciler};
use kit::Tasks;
use serde_json::Value;
use wire::event::kind;
use wire::id::TaskId;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};
use wire::webhook::HEADER_PLAIN_SIGNATURE;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;
use crate::Housekeeping;

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

/// A receiver that answers as it was told, and with 200 after that.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    answers: VecDeque<ResponseTemplate>,
    requests: Vec<Request>,
}

impl Respond for Receiver {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut heard = self.0.lock().unwrap();
        heard.requests.push(request.clone());
        heard.answers.pop_front().unwrap_or_else(|| ResponseTemplate::new(200).set_body_string("thanks"))
    }
}

impl Receiver {
    async fn serve(&self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(wiremock::matchers::any()).respond_with(self.clone()).mount(&server).await;
        server
    }

    fn answer(&self, codes: &[u16]) {
        let answers = codes.iter().map(|code| ResponseTemplate::new(*code));
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap().requests.clone()
    }

    /// The messages since the last call, each as its type and the number in its details.
    fn told(&self) -> Vec<(String, i64)> {
        let requests = std::mem::take(&mut self.0.lock().unwrap().requests);
        let bodies = requests.iter().map(|request| serde_json::from_slice::<Value>(&request.body).expect("JSON"));
        let told = |body: Value| {
            let number = body["data"]["details"]["n"].as_i64().unwrap_or(-1);
            (body["type"].as_str().expect("a type").to_owned(), number)
        };
        bodies.map(told).collect()
    }

    /// Their numbers, as they came.
    fn sequence(&self) -> Vec<i64> {
        self.told().into_iter().map(|(_, number)| number).collect()
    }

    /// Their numbers: messages of different tasks may overtake each other.
    fn numbers(&self) -> Vec<i64> {
        let mut numbers = self.sequence();
        numbers.sort_unstable();
        numbers
    }
}

/// A control plane's webhooks.
struct Scene {
    ctx: Ctx,
    sender: Sender,
    delivery: WebhookDelivery,
    tenant: TenantId,
}

impl Scene {
    fn new(ctx: &Ctx) -> Self {
        let sender = Sender::new(&Key::from_bytes([3; 32]), Reach::Loopback);
        let delivery = WebhookDelivery::new(sender.clone(), Tasks::new());
        Self { ctx: ctx.clone(), sender, delivery, tenant: ctx.id(TenantId::mint) }
    }

    async fn add(&self, server: &MockServer, event_types: &[&str]) -> WebhookWithSecret {
        let types: Vec<&str> = event_types.to_vec();
        let new = json!({ "url": server.uri(), "event_types": types });
        let new = serde_json::from_value(new).expect("a webhook");
        add(&self.ctx, &self.sender, self.tenant, new, None).await.expect("is added")
    }

    /// Something happens to a task.
    async fn happens(&self, kind: &str, task: TaskId, number: i64) {
        let mut tx = self.ctx.begin("test.happens").await.expect("begins");
        let old = json!({ "n": number - 1 }).as_object().cloned().expect("an object");
        let snapshot = Some(Snapshot { thing: json!({ "id": task, "title": "t" }), old });
        let about = About { snapshot, ..About::task(self.tenant, task) };
        outbox::push(&self.ctx, &mut tx, kind, about, &json!({ "n": number })).await.expect("pushes");
        tx.commit(()).await.expect("commits");
    }

    async fn fan_out(&self) {
        while FanOut.tick(&self.ctx).await.expect("fans out") > 0 {}
    }

    /// Makes the messages and sends those that are due, to one webhook.
    async fn deliver(&self, id: WebhookId) {
        self.fan_out().await;
        self.delivery.serve(&self.ctx, id).await.expect("serves");
    }

    async fn view(&self, id: WebhookId) -> WebhookView {
        get(&self.ctx, self.tenant, id).await.expect("is there")
    }

    async fn log(&self, id: WebhookId) -> Vec<DeliveryView> {
        let mut log = deliveries(&self.ctx, self.tenant, id, None, None).await.expect("lists");
        log.sort_by_key(|delivery| (delivery.delivered_at, delivery.id));
        log
    }

    async fn set_active(&self, id: WebhookId, active: bool) {
        let change = WebhookChange { active: Some(active), ..WebhookChange::default() };
        update(&self.ctx, &self.sender, self.tenant, id, change).await.expect("changes");
    }

    fn task(&self) -> TaskId {
        self.ctx.id(TaskId::mint)
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).expect(name).to_str().expect("text")
}

/// Whether both of a request's signatures are the key's.
fn is_signed(request: &Request, key: &Key, ctx: &Ctx) -> bool {
    let signed = Signed {
        id: header(request, HEADER_ID),
        timestamp: header(request, HEADER_TIMESTAMP),
        signature: header(request, HEADER_SIGNATURE),
    };
    key.verify(&signed, &request.body, ctx.now()).is_ok()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

kernel::on_both! { migrations();
    async fn a_message_is_signed_in_both_ways_and_says_what_happened(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let added = scene.add(&server, &["*"]).await;
        let (task, id) = (scene.task(), added.webhook.id);
        scene.happens(kind::TASK_SUBMITTED, task, 1).await;
        scene.deliver(id).await;
        let requests = receiver.requests();
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        let key = Key::parse(&added.secret).expect("a secret");
        assert!(is_signed(request, &key, &ctx));
        assert_eq!(header(request, HEADER_PLAIN_SIGNATURE), key.plain_signature(&request.body));
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(header(request, HEADER_ID), body["id"].as_str().expect("an id"));
        assert_eq!(body["type"], "task.created");
        assert_eq!(body["timestamp"], json!(ctx.now()));
        let expect = json!({
            "task_id": task,
            "task": { "id": task, "title": "t" },
            "old_values": { "n": 0 },
            "details": { "n": 1 },
        });
        assert_eq!(body["data"], expect);
        let [delivery] = &scene.log(id).await[..] else { panic!("one attempt") };
        assert_eq!((delivery.status_code, delivery.attempt, delivery.response_body.as_deref()), (Some(200), 1, Some("thanks")));
        assert_eq!(delivery.event_id.to_string(), header(request, HEADER_ID));
    }

    async fn a_failing_receiver_is_tried_after_30_seconds_2_minutes_and_5_minutes_and_then_left_alone(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.*"]).await.webhook.id;
        receiver.answer(&[500, 503, 502, 599]);
        let began = ctx.now();
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        for second in 0..=600_u64 {
            scene.deliver(id).await;
            if second == 10 {
                // It waits behind the trouble, without being tried.
                scene.happens(kind::TASK_SUBMITTED, scene.task(), 2).await;
            }
            ctx.clock.advance(seconds(1));
        }
        let log = scene.log(id).await;
        let tried: Vec<_> = log.iter().map(|one| ((one.delivered_at - began).num_seconds(), one.attempt, one.status_code)).collect();
        assert_eq!(tried, [(0, 1, Some(500)), (30, 2, Some(503)), (150, 3, Some(502)), (450, 4, Some(599))]);
        let view = scene.view(id).await;
        assert_eq!((view.active, view.undelivered), (false, 2));
        assert_eq!(view.deactivated_reason.as_deref(), Some("the receiver answered with 599, at attempt 4 for one message"));
        // Nothing is lost, and what happens meanwhile is not either.
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 3).await;
        receiver.told();
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [] as [i64; 0]);
        scene.set_active(id, true).await;
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [1, 2, 3]);
        let view = scene.view(id).await;
        assert_eq!((view.active, view.undelivered, view.deactivated_reason), (true, 0, None));
    }

    async fn giving_up_is_told_and_audited_once(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.*"]).await.webhook.id;
        receiver.answer(&[410, 410]);
        for number in 0..2 {
            scene.happens(kind::TASK_SUBMITTED, scene.task(), number).await;
        }
        scene.deliver(id).await;
        let view = scene.view(id).await;
        assert_eq!((view.active, view.undelivered), (false, 2));
        let page = audit::list(&ctx, scene.tenant, &audit::Filter::default()).await.expect("lists");
        let actions: Vec<_> = page.entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["webhook.deactivated", "webhook.added"]);
        assert_eq!(page.entries[0].old_values, json!({ "active": true }));
        let mut tx = ctx.read("test.pending").await.expect("begins");
        let events = outbox::pending(&mut tx, 9).await.expect("reads");
        assert_eq!(events.iter().filter(|event| event.kind == kind::WEBHOOK_DEACTIVATED).count(), 1);
    }

    async fn what_a_receiver_refuses_is_not_sent_again_and_holds_up_nothing(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.*"]).await.webhook.id;
        receiver.answer(&[400]);
        let task = scene.task();
        scene.happens(kind::TASK_SUBMITTED, task, 1).await;
        scene.happens(kind::TASK_UPDATED, task, 2).await;
        scene.deliver(id).await;
        ctx.clock.advance(seconds(3_600));
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [1, 2]);
        let view = scene.view(id).await;
        assert_eq!((view.active, view.undelivered), (true, 0));
        let codes: Vec<_> = scene.log(id).await.iter().filter_map(|one| one.status_code).collect();
        assert!(codes.len() == 2 && codes.contains(&400), "{codes:?}");
    }

    async fn a_receiver_that_asks_for_time_gets_it(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.*"]).await.webhook.id;
        let busy = ResponseTemplate::new(429).insert_header("retry-after", "90");
        receiver.0.lock().unwrap().answers.push_back(busy);
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(id).await;
        for (wait, expect) in [(89, 1), (1, 2)] {
            ctx.clock.advance(seconds(wait));
            scene.deliver(id).await;
            assert_eq!(receiver.requests().len(), expect);
        }
    }

    async fn changes_of_one_task_arrive_in_order_whatever_fails(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.*"]).await.webhook.id;
        let tasks = [scene.task(), scene.task(), scene.task()];
        for number in 0..30 {
            scene.happens(kind::TASK_UPDATED, tasks[number % 3], i64::try_from(number).expect("small")).await;
        }
        receiver.answer(&[500, 200, 503, 200, 500, 200, 200, 500]);
        for _ in 0..40 {
            scene.deliver(id).await;
            ctx.clock.advance(seconds(30));
        }
        let numbers = receiver.sequence();
        for task in 0..3 {
            let mut of_task: Vec<i64> = numbers.iter().copied().filter(|number| number % 3 == task).collect();
            // A message that failed comes again, before those behind it.
            of_task.dedup();
            assert_eq!(of_task, (0..10).map(|number| number * 3 + task).collect::<Vec<_>>(), "{numbers:?}");
        }
        assert_eq!(scene.view(id).await.undelivered, 0);
    }

    async fn a_slow_receiver_holds_up_nobody_else(ctx) {
        let (scene, slow, quick) = (Scene::new(&ctx), Receiver::default(), Receiver::default());
        let (slow_server, quick_server) = (slow.serve().await, quick.serve().await);
        slow.0.lock().unwrap().answers.push_back(ResponseTemplate::new(200).set_delay(seconds(9)));
        scene.add(&slow_server, &["*"]).await;
        scene.add(&quick_server, &["*"]).await;
        let mut nudged = ctx.nudges.subscribe(WebhookDelivery::NUDGE);
        for number in 0..3 {
            scene.happens(kind::TASK_SUBMITTED, scene.task(), number).await;
            scene.fan_out().await;
            nudged.borrow_and_update();
            scene.delivery.tick(&ctx).await.expect("starts");
            while quick.requests().len() <= usize::try_from(number).expect("small") {
                tokio::time::timeout(seconds(8), nudged.changed()).await.expect("in time").expect("served");
                scene.delivery.tick(&ctx).await.expect("starts");
            }
        }
        assert_eq!(quick.numbers(), [0, 1, 2]);
        assert_eq!(slow.requests().len(), 1, "it is still at its first message");
    }

    async fn an_event_makes_one_message_for_each_webhook_that_wants_it(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let (one, other) = (scene.add(&server, &["task.failed"]).await, scene.add(&server, &["task.*"]).await);
        let theirs = Scene { tenant: ctx.id(TenantId::mint), ..Scene::new(&ctx) };
        let foreign = theirs.add(&server, &["*"]).await;
        for (number, kind) in [kind::TASK_SUBMITTED, kind::TASK_STARTED, kind::TASK_FAILED, "machine.state"].into_iter().enumerate() {
            scene.happens(kind, scene.task(), i64::try_from(number).expect("small")).await;
        }
        let waiting = async |scene: &Scene, webhook: &WebhookWithSecret| scene.view(webhook.webhook.id).await.undelivered;
        for _ in 0..2 {
            scene.fan_out().await;
            assert_eq!((waiting(&scene, &one).await, waiting(&scene, &other).await), (1, 4));
            assert_eq!(waiting(&theirs, &foreign).await, 0);
        }
        scene.deliver(one.webhook.id).await;
        assert_eq!(receiver.told(), [("task.failed".to_owned(), 2)]);
        let found = get(&ctx, theirs.tenant, one.webhook.id).await.expect_err("another tenant's");
        assert_eq!(found.code(), "not_found");
    }

    async fn a_webhook_hears_of_what_happens_after_it_was_added(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        let first = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 2).await;
        let second = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 3).await;
        scene.deliver(first).await;
        assert_eq!(receiver.numbers(), [2, 3]);
        scene.deliver(second).await;
        assert_eq!(receiver.numbers(), [3]);
    }

    async fn a_message_whose_sender_died_is_sent_after_all(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.fan_out().await;
        let mut tx = ctx.begin("test.claim").await.expect("begins");
        let claimed = store::claim(&mut tx, id, ctx.now(), ctx.now() + TimeDelta::seconds(60), (8, 0)).await.expect("claims");
        tx.commit(()).await.expect("commits");
        assert_eq!(claimed.len(), 1);
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [] as [i64; 0], "it is in hand");
        ctx.clock.advance(seconds(60));
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [1]);
    }

    async fn a_replaced_secret_signs_for_a_while_longer(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let added = scene.add(&server, &["*"]).await;
        let id = added.webhook.id;
        let given = format!("whsec_{}", "AQEB".repeat(12));
        let rotation = Rotation { secret: Some(given.clone()), overlap_seconds: Some(600) };
        let rotated = rotate(&ctx, &scene.sender, scene.tenant, id, rotation).await.expect("rotates");
        assert_eq!(rotated.secret, given);
        let (old, new) = (Key::parse(&added.secret).expect("a secret"), Key::parse(&given).expect("a secret"));
        for (wait, expect) in [(0, (true, true)), (599, (true, true)), (1, (false, true))] {
            ctx.clock.advance(seconds(wait));
            scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
            scene.deliver(id).await;
            let request = receiver.requests().pop().expect("a message");
            assert_eq!((is_signed(&request, &old, &ctx), is_signed(&request, &new, &ctx)), expect, "after {wait} s more");
        }
        // And back to one of ours, while the given one still signs.
        let again = rotate(&ctx, &scene.sender, scene.tenant, id, Rotation::default()).await.expect("rotates");
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(id).await;
        let request = receiver.requests().pop().expect("a message");
        assert!(is_signed(&request, &new, &ctx) && is_signed(&request, &Key::parse(&again.secret).expect("a secret"), &ctx));
        assert!(!is_signed(&request, &old, &ctx));
    }

    async fn no_secret_is_in_the_database_in_clear(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let made = scene.add(&server, &["*"]).await;
        let given = format!("whsec_{}", "AQEB".repeat(12));
        let rotation = Rotation { secret: Some(given.clone()), overlap_seconds: None };
        rotate(&ctx, &scene.sender, scene.tenant, made.webhook.id, rotation).await.expect("rotates");
        let mut tx = ctx.read("test.rows").await.expect("begins");
        let webhook = store::get(&mut tx, scene.tenant, made.webhook.id).await.expect("reads").expect("is there");
        let entries = audit::list(&ctx, scene.tenant, &audit::Filter::default()).await.expect("lists").entries;
        let everything = format!("{webhook:?} {entries:?}");
        for secret in [&made.secret, &given] {
            let bytes = format!("{:?}", Key::parse(secret).expect("a secret").expose());
            for text in [secret.as_str(), &secret[6..], bytes.trim_matches(['[', ']'])] {
                assert!(!everything.contains(text), "{everything}");
            }
        }
    }

    async fn a_receiver_can_have_its_check_checked(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let webhook_id = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(webhook_id).await;
        let request = receiver.requests().remove(0);
        let good = Verification {
            webhook_id,
            payload: String::from_utf8(request.body.clone()).expect("text"),
            signature: header(&request, HEADER_SIGNATURE).into(),
            id: Some(header(&request, HEADER_ID).into()),
            timestamp: Some(header(&request, HEADER_TIMESTAMP).into()),
        };
        let plain = header(&request, HEADER_PLAIN_SIGNATURE);
        let plain = Verification { signature: plain.into(), id: None, timestamp: None, ..good.clone() };
        let check = async |message: Verification| verify(&ctx, &scene.sender, scene.tenant, message).await;
        let wrong = Verified { valid: false, reason: Some("the signature is wrong".into()) };
        for message in [&good, &plain] {
            assert_eq!(check(message.clone()).await.expect("looks"), Verified { valid: true, reason: None });
            let other = Verification { payload: format!("{} ", good.payload), ..message.clone() };
            assert_eq!(check(other).await.expect("looks"), wrong);
        }
        assert_eq!(check(Verification { signature: "00".into(), ..plain }).await.expect("looks"), wrong);
        let error = check(Verification { timestamp: None, ..good.clone() }).await.expect_err("incomplete");
        assert!(error.to_string().starts_with("id: and timestamp"), "{error}");
        ctx.clock.advance(seconds(301));
        let late = check(good).await.expect("looks");
        assert!(!late.valid && late.reason.is_some_and(|reason| reason.contains("5 minutes")));
    }

    async fn a_test_message_is_sent_at_once_also_to_a_webhook_that_rests(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["task.failed"]).await.webhook.id;
        scene.set_active(id, false).await;
        receiver.answer(&[202, 500]);
        for expect in [202, 500] {
            let delivery = ping(&ctx, &scene.sender, scene.tenant, id).await.expect("pings");
            assert_eq!((delivery.status_code, delivery.event_type.as_str()), (Some(expect), PING));
        }
        assert_eq!(scene.log(id).await.len(), 2);
        // Nothing comes of a test that failed.
        assert_eq!(receiver.told().len(), 2);
        let delivery = scene.log(id).await[0].id;
        let refused = redeliver(&ctx, scene.tenant, id, delivery).await.expect_err("a test");
        assert_eq!(refused.code(), "delivery_of_ping");
    }

    async fn a_delivery_can_be_repeated_under_the_same_id(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(id).await;
        let first = scene.log(id).await.remove(0);
        redeliver(&ctx, scene.tenant, id, first.id).await.expect("is sent again");
        scene.deliver(id).await;
        let requests = receiver.requests();
        assert_eq!((requests.len(), header(&requests[0], HEADER_ID)), (2, header(&requests[1], HEADER_ID)));
        assert_eq!(requests[0].body, requests[1].body);
        // It is kept for a week.
        ctx.clock.advance(seconds(8 * 86_400));
        Housekeeping.tick(&ctx).await.expect("forgets");
        assert_eq!(redeliver(&ctx, scene.tenant, id, first.id).await.expect_err("is gone").code(), "message_gone");
        let missing = redeliver(&ctx, scene.tenant, id, ctx.id(DeliveryId::mint)).await.expect_err("is none");
        assert_eq!(missing.code(), "not_found");
    }

    async fn nobody_is_followed_elsewhere(ctx) {
        let (scene, receiver, target) = (Scene::new(&ctx), Receiver::default(), Receiver::default());
        let (server, elsewhere) = (receiver.serve().await, target.serve().await);
        let id = scene.add(&server, &["*"]).await.webhook.id;
        let redirect = ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str());
        receiver.0.lock().unwrap().answers.push_back(redirect);
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(id).await;
        assert_eq!((receiver.requests().len(), target.requests().len()), (1, 0));
        assert_eq!(scene.view(id).await.undelivered, 0);
    }

    async fn an_address_that_may_no_longer_be_reached_is_not(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        let strict = Sender::new(&Key::from_bytes([3; 32]), Reach::Public);
        let strict = Scene { delivery: WebhookDelivery::new(strict.clone(), Tasks::new()), sender: strict, ..scene };
        strict.deliver(id).await;
        assert_eq!(receiver.requests().len(), 0);
        let [delivery] = &strict.log(id).await[..] else { panic!("one attempt") };
        assert_eq!((delivery.status_code, delivery.error_message.as_deref()), (None, Some("the URL must be an https URL")));
        assert_eq!(strict.view(id).await.undelivered, 1);
    }

    async fn a_receiver_that_is_not_there_is_named_in_the_log(ctx) {
        let scene = Scene::new(&ctx);
        let server = MockServer::start().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        drop(server);
        let change = WebhookChange { url: Some("http://127.0.0.1:1/".into()), ..WebhookChange::default() };
        update(&ctx, &scene.sender, scene.tenant, id, change).await.expect("changes");
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        scene.deliver(id).await;
        let [delivery] = &scene.log(id).await[..] else { panic!("one attempt") };
        assert!(delivery.error_message.as_deref().is_some_and(|error| error.contains("refused")), "{delivery:?}");
        assert_eq!(delivery.status_code, None);
    }

    async fn a_deleted_webhook_leaves_nothing_behind(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        for number in 0..2 {
            scene.happens(kind::TASK_SUBMITTED, scene.task(), number).await;
            scene.deliver(id).await;
        }
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 2).await;
        scene.fan_out().await;
        delete(&ctx, scene.tenant, id).await.expect("deletes");
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [0, 1]);
        assert_eq!(list(&ctx, scene.tenant).await.expect("lists"), []);
        let gone = delete(&ctx, scene.tenant, id).await.expect_err("is gone");
        assert_eq!(gone.code(), "not_found");
    }

    async fn what_a_webhook_was_not_given_yet_stays_in_the_outbox(ctx) {
        let (scene, receiver) = (Scene::new(&ctx), Receiver::default());
        let server = receiver.serve().await;
        let id = scene.add(&server, &["*"]).await.webhook.id;
        scene.happens(kind::TASK_SUBMITTED, scene.task(), 1).await;
        let mut tx = ctx.begin("test.processed").await.expect("begins");
        let ids: Vec<_> = outbox::pending(&mut tx, 9).await.expect("reads").iter().map(|event| event.id).collect();
        outbox::processed(&mut tx, &ids, ctx.now()).await.expect("notes");
        tx.commit(()).await.expect("commits");
        ctx.clock.advance(seconds(9 * 86_400));
        Housekeeping.tick(&ctx).await.expect("forgets");
        scene.deliver(id).await;
        assert_eq!(receiver.numbers(), [1]);
    }

    async fn bad_input_is_refused_by_name(ctx) {
        let scene = Scene::new(&ctx);
        let good = || json!({ "url": "https://example.org/hook" });
        let long = "x".repeat(3_000);
        for (field, value, named) in [
            ("url", json!("example.org"), "url"),
            ("url", json!("ftp://example.org"), "url"),
            ("url", json!("http://example.org"), "url"),
            ("url", json!("https://u:p@example.org"), "url"),
            ("url", json!("https://10.0.0.1"), "url"),
            ("url", json!(format!("https://example.org/{long}")), "url"),
            ("event_types", json!([]), "event_types"),
            ("event_types", json!(["task.created", "nonsense"]), "event_types[1]"),
            ("event_types", json!(["task.submitted"]), "event_types[0]"),
            ("event_types", json!(vec!["*"; 51]), "event_types"),
            ("description", json!(long), "description"),
            ("description", json!("a\nb"), "description"),
            ("secret", json!("hunter2"), "secret"),
        ] {
            let mut new = good();
            new[field] = value.clone();
            let new: NewWebhook = serde_json::from_value(new).expect("of the right shape");
            let refused = add(&ctx, &scene.sender, scene.tenant, new, None).await.expect_err(named);
            assert!(refused.to_string().starts_with(&format!("{named}: ")), "{field} {value}: {refused}");
        }
        for _ in 0..100 {
            let new = serde_json::from_value(good()).expect("a webhook");
            add(&ctx, &scene.sender, scene.tenant, new, None).await.expect("is added");
        }
        let new = serde_json::from_value(good()).expect("a webhook");
        let refused = add(&ctx, &scene.sender, scene.tenant, new, None).await.expect_err("too many");
        assert_eq!(refused.code(), "too_many_webhooks");
        let id = list(&ctx, scene.tenant).await.expect("lists")[0].id;
        let rotation = Rotation { overlap_seconds: Some(u64::MAX), secret: None };
        let refused = rotate(&ctx, &scene.sender, scene.tenant, id, rotation).await.expect_err("too long");
        assert!(refused.to_string().starts_with("overlap_seconds: "), "{refused}");
    }

    async fn every_statement_is_understood(ctx) {
        kernel::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
