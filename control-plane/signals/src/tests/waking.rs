//! A store whose machine sleeps (row TEL-3b).

use super::*;

const APP: &str = "/v1/apps/bifrost-events/machines";

/// The Machines API with the store's machine, which sleeps until it is started.
async fn provider(store: &Store, answer: u16) -> MockServer {
    let server = MockServer::start().await;
    let store = store.clone();
    let machine = json!({
        "id": "148ed599c14698", "name": "events", "state": "stopped", "region": "sea", "instance_id": "01J",
        "config": {"image": "events", "mounts": [{"volume": "vol_1", "path": "/data"}]},
    });
    let listed = ResponseTemplate::new(200).set_body_json(json!([machine]));
    Mock::given(method("GET")).and(path(APP)).respond_with(listed).mount(&server).await;
    let start = move |_: &Request| {
        store.set_down(answer != 200);
        ResponseTemplate::new(answer).set_body_json(json!({"previous_state": "stopped"}))
    };
    Mock::given(method("POST"))
        .and(path(format!("{APP}/148ed599c14698/start")))
        .respond_with(start)
        .mount(&server)
        .await;
    server
}

fn waker(provider: &MockServer) -> Waker {
    let token = "FlyV1 fm2_secret".parse().expect("a token");
    Waker::new(Machines::with_pace(&provider.uri(), &token, Pace::Unlimited), "bifrost-events")
}

async fn starts(provider: &MockServer) -> usize {
    let requests = provider.received_requests().await.expect("recorded");
    requests.iter().filter(|request| request.method.as_str() == "POST").count()
}

/// How often the outage was recorded.
fn recorded(store: &Store) -> usize {
    let kept = store.0.lock().unwrap();
    kept.events.iter().filter(|event| event.kind == kind::EVENT_STORE_AWAY).count()
}

kernel::on_both! { MIGRATIONS;
    async fn a_failed_probe_starts_the_stores_machine_and_the_batch_is_delivered_after_it(ctx) {
        let store = Store::default();
        let (server, provider) = (store.serve().await, provider(&store, 200).await);
        let delivery = delivery(&ctx, &server, Some(waker(&provider)));
        store.set_down(true);
        say(&ctx, "test", 1).await;
        delivery.tick(&ctx).await.expect_err("the store is down");
        assert_eq!(starts(&provider).await, 0, "one failure may be a broken connection");
        ctx.clock.advance(LONG);
        delivery.tick(&ctx).await.expect_err("the store is down");
        assert_eq!(starts(&provider).await, 1);
        settle(&ctx, &delivery).await;
        assert_eq!(store.arrived()[0], 1);
        assert_eq!((recorded(&store), starts(&provider).await), (1, 1));
    }

    async fn a_store_that_only_runners_wait_for_is_woken_too(ctx) {
        let store = Store::default();
        let (server, provider) = (store.serve().await, provider(&store, 200).await);
        let delivery = delivery(&ctx, &server, Some(waker(&provider)));
        delivery.tick(&ctx).await.expect("the store answers");
        store.set_down(true);
        for _ in 0..2 {
            ctx.clock.advance(LONG);
            delivery.tick(&ctx).await.expect_err("the store is down");
        }
        assert_eq!(starts(&provider).await, 1);
        settle(&ctx, &delivery).await;
        assert_eq!(recorded(&store), 1);
    }

    async fn an_idle_store_is_looked_at_now_and_then_only(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        let delivery = delivery(&ctx, &server, None);
        for _ in 0..60 {
            delivery.tick(&ctx).await.expect("the store answers");
            ctx.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(store.requests(), ["probe"; 6]);
    }

    async fn a_start_that_is_refused_is_tried_again_but_not_at_every_probe(ctx) {
        let store = Store::default();
        let (server, provider) = (store.serve().await, provider(&store, 412).await);
        let delivery = delivery(&ctx, &server, Some(waker(&provider)));
        store.set_down(true);
        say(&ctx, "test", 1).await;
        for _ in 0..60 {
            drop(delivery.tick(&ctx).await);
            ctx.clock.advance(Duration::from_secs(1));
        }
        let probes = store.requests().len();
        let starts = starts(&provider).await;
        assert!((4..=6).contains(&starts) && probes > starts, "{starts} starts, {probes} requests to the store");
        store.set_down(false);
        settle(&ctx, &delivery).await;
        assert_eq!(recorded(&store), 1, "one outage is said once");
    }

    async fn without_an_app_the_outage_is_only_recorded(ctx) {
        let store = Store::default();
        let server = store.serve().await;
        let delivery = delivery(&ctx, &server, None);
        for outages in 1..=2 {
            store.set_down(true);
            for _ in 0..3 {
                ctx.clock.advance(LONG);
                delivery.tick(&ctx).await.expect_err("the store is down");
            }
            store.set_down(false);
            settle(&ctx, &delivery).await;
            assert_eq!(recorded(&store), outages);
        }
    }
}
