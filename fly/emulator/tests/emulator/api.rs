//! Routes, refusals and their words.

use std::collections::BTreeMap;
use std::time::Duration;

use emulator::Config;
use fly::{Advice, MachineState, Machines, NewApp, Pace};
use kit::{Tasks, Vars};
use serde_json::{Value, json};

use crate::world::*;

/// Sends the request and compares status and the `error` text.
async fn check(request: reqwest::RequestBuilder, status: u16, error: &str) {
    let response = request.send().await.expect("answered");
    let shown = format!("{response:?}");
    assert!(response.headers().contains_key("fly-request-id"), "{shown}");
    assert_eq!(response.status().as_u16(), status, "{shown}");
    let body: Value = response.json().await.expect("JSON");
    let text = body["error"].as_str().expect("an error");
    assert!(text.starts_with(error), "{text}");
}

#[tokio::test]
async fn a_malformed_request_is_refused_with_its_reason() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let machine = format!("/v1/apps/{APP}/machines/{id}");
    let machines = format!("/v1/apps/{APP}/machines");
    let exec = json!({"exec": ["true"]});
    for (method, path, body, status, error) in [
        (
            "POST",
            format!("{machine}/stop"),
            json!([]),
            400,
            "json: cannot unmarshal array into Go value of type main.stop",
        ),
        ("POST", format!("{machine}/stop"), json!({"signal": "SIGSTOP"}), 400, "invalid_argument: signal: "),
        ("POST", format!("{machine}/stop"), json!({"timeout": "soon"}), 400, "invalid duration"),
        ("POST", machines.clone(), json!({"name": 7}), 400, "json: "),
        ("POST", machines.clone(), json!({}), 400, "invalid_argument: config is required"),
        ("POST", machines.clone(), json!({"config": {"env": {"A": 1}}}), 400, "json: cannot unmarshal number"),
        ("POST", machines.clone(), json!({"config": {"image": "x"}}), 422, "the process driver needs init.exec"),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "mounts": [{"path": "x"}]}}),
            400,
            "invalid_argument",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "mounts": [{"path": "/x"}]}}),
            400,
            "invalid_argument: config.mounts",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "mounts": [{"path": "/x", "name": "none"}]}}),
            412,
            "failed_precondition: no volume named \"none\" is free",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"processes": [{"exec": ["true"]}, {"exec": ["true"]}]}}),
            422,
            "config.processes: ",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "mounts": [{"path": "/x", "volume": "a"}, {"path": "/y", "volume": "b"}]}}),
            400,
            "invalid_argument: config.mounts: a machine has one volume",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "guest": {"cpu_kind": "shared", "cpus": 2, "memory_mb": 256}}}),
            400,
            "invalid config.guest.memory_mb, minimum required 512 MiB",
        ),
        (
            "POST",
            machine.clone(),
            json!({"config": {"init": exec, "guest": {"cpu_kind": "performance", "cpus": 3, "memory_mb": 8_192}}}),
            400,
            "invalid config.guest.cpus, must be one of",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec}}),
            400,
            "invalid_argument: config.image is required",
        ),
        (
            "POST",
            machines.clone(),
            json!({"config": {"init": exec, "image": ""}}),
            400,
            "invalid_argument: config.image",
        ),
        (
            "POST",
            machines.clone(),
            json!({"name": "a b", "config": {"init": exec, "image": "x"}}),
            400,
            "invalid_argument: name must be",
        ),
        ("POST", format!("/v1/apps/{APP}/secrets/A"), json!({}), 400, "invalid_argument: value"),
        (
            "POST",
            format!("/v1/apps/{APP}/secrets"),
            json!({"values": {"A-B": "c"}}),
            400,
            "invalid_argument: secret name \"A-B\"",
        ),
        ("POST", format!("/v1/apps/{APP}/volumes"), json!({}), 400, "invalid_argument: name"),
        ("POST", format!("/v1/apps/{APP}/volumes"), json!({"name": "my-cache"}), 400, "invalid_argument: name"),
        ("POST", format!("/v1/apps/{APP}/volumes"), json!({"name": "v", "size_gb": 0}), 400, "invalid_argument: size"),
        (
            "POST",
            format!("/v1/apps/{APP}/volumes"),
            json!({"name": "v", "size_gb": 501}),
            400,
            "invalid_argument: size",
        ),
        ("POST", format!("/v1/apps/{APP}/volumes"), json!({"name": "v", "snapshot_id": "s"}), 404, "snapshot"),
        ("POST", "/v1/apps".to_owned(), json!({"name": "../x", "org_slug": "o"}), 422, "Validation failed"),
        ("POST", "/v1/apps".to_owned(), json!({"name": "x-", "org_slug": "o"}), 422, "Validation failed"),
        (
            "POST",
            "/v1/apps".to_owned(),
            json!({"name": APP, "org_slug": "o"}),
            422,
            "Validation failed: Name has already",
        ),
        ("POST", "/v1/apps".to_owned(), json!({"name": "x"}), 400, "invalid_argument: org_slug is required"),
        ("PUT", format!("{machine}/metadata"), json!({"machine_version": "old"}), 412, "failed_precondition"),
        ("POST", format!("{machine}/metadata/k"), json!({"value": 7}), 400, "json: "),
        ("POST", format!("{machine}/lease"), json!({"ttl": 0}), 400, "invalid_argument: ttl"),
    ] {
        check(world.http(method, &path).json(&body), status, error).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let other = NewApp { name: "other".to_owned(), org_slug: "personal".to_owned(), network: None };
    world.machines.create_app(&other).await.expect("created");
    for (method, path, error) in [
        ("GET", "/v1/apps/nobody".to_owned(), "app not found"),
        ("GET", "/v1/apps/nobody/machines".to_owned(), "app not found"),
        ("GET", "/v1/apps/nobody/volumes".to_owned(), "app not found"),
        ("GET", format!("/v1/apps/{APP}/machines/148ed599c14698"), "machine not found"),
        ("GET", format!("/v1/apps/{APP}/machines/..%2F..%2Fx"), "machine not found"),
        ("POST", format!("/v1/apps/other/machines/{id}/start"), "machine not found"),
        ("DELETE", format!("/v1/apps/{APP}/machines/148ed599c14698?force=true"), "machine not found"),
        ("GET", format!("/v1/apps/{APP}/machines/{id}/lease"), "lease not found"),
        ("GET", format!("/v1/apps/{APP}/machines/{id}/metadata/k"), "metadata key not found"),
        ("DELETE", format!("/v1/apps/{APP}/volumes/vol_x"), "volume not found"),
        ("GET", format!("/v1/apps/{APP}/secrets/A"), "secret not found"),
        ("DELETE", format!("/v1/apps/{APP}/secrets/A"), "secret not found"),
        ("POST", format!("/v1/apps/{APP}/secretkeys/k/sign"), "secret key not found"),
        ("DELETE", format!("/v1/apps/{APP}/secretkeys/k"), "secret key not found"),
        ("GET", format!("/v1/apps/{APP}/certificates/example.com"), "certificate not found"),
        ("DELETE", format!("/v1/apps/{APP}/certificates/example.com/acme"), "certificate not found"),
        ("GET", "/v2".to_owned(), "page not found"),
        ("PUT", "/v1/apps".to_owned(), "page not found"),
    ] {
        check(world.http(method, &path), 404, error).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn what_fly_has_and_the_emulator_has_not_says_so() {
    let world = World::start().await;
    for (method, path, template) in [
        ("POST", "/v1/tokens/oidc", "POST /tokens/oidc;"),
        ("POST", "/v1/apps/nobody/deploy_token", "POST /apps/{app_name}/deploy_token;"),
    ] {
        check(world.http(method, path), 501, &format!("unimplemented: this emulator does not serve {template}")).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_machine_may_say_what_it_runs_and_which_volume_it_has_in_other_ways() {
    let world = World::start().await;
    let volume = world.volume().await;
    let new = json!({"name": "", "region": "", "config": {
        "image": "example/image:1", "mounts": [{"name": "cache", "path": "/cache"}], "restart": {"policy": "no"},
        "processes": [{"entrypoint": ["sh", "-c"], "cmd": ["echo $OF_IT >cache/told"], "env": {"OF_IT": "told"}}],
    }});
    let machines = format!("/v1/apps/{APP}/machines");
    let made: Value =
        world.http("POST", &machines).json(&new).send().await.expect("answered").json().await.expect("JSON");
    assert_eq!(made["config"]["mounts"][0]["volume"], json!(volume.id), "{made}");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(made["name"], json!(format!("machine-{id}")));
    world.until(id, MachineState::Stopped).await;
    let told = world.data.path().join("volumes").join(&volume.id).join("told");
    assert_eq!(std::fs::read_to_string(told).expect("there"), "told\n");
    let again = json!({"name": made["name"], "config": new["config"]});
    check(world.http("POST", &machines).json(&again), 409, "already_exists: unique machine name violation").await;
    // It is taken now, but by this machine, which may be given it anew.
    check(world.http("POST", &machines).json(&new), 412, "failed_precondition: no volume named").await;
    let update = json!({"config": new["config"], "skip_launch": true});
    let updated = world.http("POST", &format!("{machines}/{id}")).json(&update).send().await.expect("answered");
    assert_eq!(updated.status(), 200);
    world.stop().await;
}

#[tokio::test]
async fn secret_keys_sign_and_seal_and_survive_a_stop() {
    let world = World::start().await;
    let keys = format!("/v1/apps/{APP}/secretkeys");
    let make = async |world: &World, rest: &str, body: Value| {
        let answer = world.http("POST", &format!("{keys}/{rest}")).json(&body).send().await.expect("answered");
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let value = vec![0x0b; 32];
    let (status, made) = make(&world, "signs", json!({"type": "hs256", "value": value})).await;
    assert_eq!((status, &made["type"], &made["version"]), (201, &json!("hs256"), &json!(1)));
    let (status, made) = make(&world, "seals/generate", json!({"type": "SECRET_TYPE_KMS_NACL_SECRETBOX"})).await;
    assert_eq!((status, &made["type"]), (201, &json!("SECRET_TYPE_KMS_NACL_SECRETBOX")));
    let (_, signed) = make(&world, "signs/sign", json!({"plaintext": [1, 2]})).await;
    let (_, sealed) = make(&world, "seals/encrypt", json!({"plaintext": [1, 2], "associated_data": [3]})).await;

    let world = World::on(world.stop().await).await;
    let verify = json!({"plaintext": [1, 2], "signature": signed["signature"]});
    assert_eq!(make(&world, "signs/verify", verify).await.0, 204);
    let verify = json!({"plaintext": [1, 3], "signature": signed["signature"]});
    assert_eq!(make(&world, "signs/verify", verify).await.0, 400);
    let open = json!({"ciphertext": sealed["ciphertext"], "associated_data": [3]});
    assert_eq!(make(&world, "seals/decrypt", open).await, (200, json!({"plaintext": [1, 2]})));
    let listed = world.http("GET", &format!("{keys}?types=hs256")).send().await.expect("answered");
    let listed: Value = listed.json().await.expect("JSON");
    assert_eq!(listed["secret_keys"].as_array().map(Vec::len), Some(1), "{listed}");
    let all = world.http("GET", &keys).send().await.expect("answered").text().await.expect("text");
    assert!(!all.contains("11,11"), "no key goes out: {all}");
    assert_eq!(world.http("DELETE", &format!("{keys}/signs")).send().await.expect("answered").status(), 200);
    check(world.http("GET", &format!("{keys}/signs")), 404, "secret key not found").await;
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_names_no_program_runs_what_the_emulator_was_started_with() {
    let words = "sh -c 'echo $FLY_IMAGE_REF'".parse().expect("words");
    let options = emulator::Options { run: Some(words), ..Default::default() };
    let world = World::with(|config| config.with(&options).expect("options")).await;
    let new = json!({"config": {"image": "example/image:1", "restart": {"policy": "no"}}});
    let machines = format!("/v1/apps/{APP}/machines");
    let made: Value =
        world.http("POST", &machines).json(&new).send().await.expect("answered").json().await.expect("JSON");
    assert_eq!(made["config"], new["config"], "it is shown as it was sent");
    let id = made["id"].as_str().expect("an id");
    world.until(id, MachineState::Stopped).await;
    assert_eq!(world.log(id), "example/image:1\n");
    // An emulator without it has the machine too, and says what is missing.
    let world = World::on(world.stop().await).await;
    world.machines.start(APP, id).await.expect("started");
    until("it says so", || world.log(id).contains("no program is named")).await;
    world.until(id, MachineState::Stopped).await;
    world.stop().await;
}

#[tokio::test]
async fn a_secret_is_set_read_and_removed_by_its_name() {
    let world = World::start().await;
    let path = format!("/v1/apps/{APP}/secrets/A");
    let answer = async |request: reqwest::RequestBuilder| {
        request.send().await.expect("answered").json::<Value>().await.expect("JSON")
    };
    let set = answer(world.http("POST", &path).json(&json!({"value": "hunter2"}))).await;
    assert_eq!((&set["name"], &set["version"], &set["value"]), (&json!("A"), &json!(1), &Value::Null));
    let read = answer(world.http("GET", &path)).await;
    assert_eq!(read, json!({"name": "A", "digest": set["digest"]}));
    for path in [format!("{path}?show_secrets=true"), format!("{path}?show_secrets=true&min_version=1")] {
        assert_eq!(answer(world.http("GET", &path)).await["value"], "hunter2");
    }
    let all = format!("/v1/apps/{APP}/secrets");
    assert_eq!(answer(world.http("GET", &format!("{all}?show_secrets=true"))).await["secrets"][0]["value"], "hunter2");
    for path in [&path, &all] {
        check(world.http("GET", &format!("{path}?min_version=2")), 412, "failed_precondition: min_version is 2").await;
    }
    assert_eq!(answer(world.http("DELETE", &path)).await, json!({"version": 2, "Version": 2}));
    check(world.http("GET", &path), 404, "secret not found").await;
    world.stop().await;
}

#[tokio::test]
async fn a_wait_answers_when_it_is_so_when_it_is_too_late_and_when_it_never_will_be() {
    let world = World::start().await;
    let machine = world.run(&script("one", "exec sleep 1000")).await;
    let wait = |query: &str| world.http("GET", &format!("/v1/apps/{APP}/machines/{}/wait?{query}", machine.id));
    let reached: Value =
        wait("state=stopped,started").send().await.expect("answered").json().await.expect("an answer in JSON");
    assert_eq!((&reached["ok"], &reached["state"]), (&json!(true), &json!("started")));
    assert_eq!(reached["version"], json!(machine.instance_id));
    check(wait("timeout=90"), 400, "invalid_argument: value must be inside range [1s, 1m0s]").await;
    check(wait("state=nowhere"), 400, "invalid_argument: unknown state").await;
    check(wait("instance_id=01OLD"), 400, "invalid_argument: the machine has no such version").await;
    let late = "deadline_exceeded: machine failed to reach desired state, stopped, currently started";
    check(wait("state=stopped&timeout=1"), 408, late).await;

    let stopped = world.tasks.spawn("test-wait", wait("state=stopped").send());
    let destroyed = world.tasks.spawn("test-wait", wait("state=destroyed").send());
    world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    assert_eq!(destroyed.await.expect("no panic").expect("answered").status(), 200);
    assert_eq!(stopped.await.expect("no panic").expect("answered").status(), 404);
    world.stop().await;
}

#[tokio::test]
async fn a_wait_does_not_hold_up_a_clean_stop() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let wait = world.http("GET", &format!("/v1/apps/{APP}/machines/{id}/wait?state=suspended")).send();
    let wait = Tasks::new().spawn("test-wait", wait);
    // An answered request shows that the one before it has arrived, or will be refused.
    world.state(&id).await;
    world.stop().await;
    let answer = wait.await.expect("no panic");
    assert!(answer.is_err() || answer.is_ok_and(|response| response.status() == 503));
}

#[tokio::test]
async fn a_leased_machine_is_its_holders() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let lease = world.machines.acquire_lease(APP, &id, "reaping", Duration::from_secs(600)).await.expect("leased");
    let held = format!("machine ID {id} lease currently held by emulator@tokens.fly.io, expires at 20");
    let path = format!("/v1/apps/{APP}/machines/{id}");
    for (method, action) in
        [("POST", "/start"), ("POST", "/suspend"), ("POST", "/stop"), ("POST", "/restart"), ("DELETE", "?force=true")]
    {
        check(world.http(method, &format!("{path}{action}")), 409, &held).await;
    }
    check(world.http("POST", &format!("{path}/lease")), 409, &held).await;
    check(world.http("DELETE", &format!("{path}/lease")).header("fly-machine-lease-nonce", "x"), 409, &held).await;
    assert_eq!(world.machines.suspend(APP, &id).await.expect_err("held").advice(), Advice::WaitAndRetry);
    world.machines.set_metadata(APP, &id, "k", "v").await.expect("no lease guards metadata");

    let as_holder = world.http("POST", &format!("{path}/suspend")).header("fly-machine-lease-nonce", &lease.nonce);
    assert_eq!(as_holder.send().await.expect("answered").status(), 200);
    world.machines.release_lease(APP, &id, &lease.nonce).await.expect("released");
    world.machines.start(APP, &id).await.expect("free again");
    world.stop().await;
}

#[tokio::test]
async fn machines_are_listed_by_state_region_and_metadata() {
    let world = World::start().await;
    let mut one = script("one", "exec sleep 1000");
    one.region = Some("fra,iad".to_owned());
    one.config.metadata = BTreeMap::from([("pool".to_owned(), "a".to_owned())]);
    let one = world.run(&one).await.id;
    let mut two = script("two", "exec sleep 1000");
    two.launch.skip_launch = true;
    let two = world.machines.create_machine(APP, &two).await.expect("created").id;
    world.machines.set_metadata(APP, &two, "pool", "b").await.expect("set");
    for (query, expected) in [
        ("", vec![&one, &two]),
        ("state=started", vec![&one]),
        ("state=started,stopped", vec![&one, &two]),
        ("state=suspended", vec![]),
        ("region=fra", vec![&one]),
        ("metadata.pool=b", vec![&two]),
        ("metadata.pool=b&state=started", vec![]),
    ] {
        let listed = world.http("GET", &format!("/v1/apps/{APP}/machines?{query}")).send().await.expect("answered");
        let listed: Vec<Value> = listed.json().await.expect("JSON");
        let ids: Vec<&str> = listed.iter().filter_map(|machine| machine["id"].as_str()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    world.machines.destroy(APP, &two, true).await.expect("destroyed");
    let all = world.http("GET", &format!("/v1/apps/{APP}/machines?include_deleted=true")).send().await;
    let all: Vec<Value> = all.expect("answered").json().await.expect("JSON");
    assert_eq!(all[1]["state"], MachineState::Destroyed.as_str());
    world.stop().await;
}

#[tokio::test]
async fn metadata_is_set_merged_replaced_and_removed() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let path = format!("/v1/apps/{APP}/machines/{id}/metadata");
    world.machines.set_metadata(APP, &id, "a", "1").await.expect("set");
    for (method, suffix, body, expected) in [
        ("PATCH", "", json!({"metadata": {"b": "2", "c": "3"}}), vec![("a", "1"), ("b", "2"), ("c", "3")]),
        ("PATCH", "", json!({"metadata": {"b": null, "c": ""}}), vec![("a", "1")]),
        ("PUT", "", json!({"metadata": {"d": "4"}}), vec![("d", "4")]),
        ("POST", "/e", json!({"value": "5"}), vec![("d", "4"), ("e", "5")]),
        ("DELETE", "/d", json!({}), vec![("e", "5")]),
    ] {
        let response = world.http(method, &format!("{path}{suffix}")).json(&body).send().await.expect("answered");
        assert_eq!(response.status(), 204);
        let expected: BTreeMap<String, String> =
            expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(world.machines.metadata(APP, &id).await.expect("read"), expected, "{method} {suffix}");
    }
    world.stop().await;
}

#[tokio::test]
async fn with_a_token_only_its_bearer_gets_in_and_everybody_sees_that_it_is_up() {
    let data = Data::new();
    let tasks = Tasks::new();
    let mut vars = Vars::from_pairs([("FLY_API_TOKEN", "FlyV1 fm2_right")]);
    let config = Config::from_vars(data.path().to_owned(), &mut vars);
    let emulator = start_with(config, &tasks).await.expect("starts");
    for (token, status) in [("FlyV1 fm2_right", 404), ("fm2_right", 404), ("fm2_wrong", 401), ("fm2_righ", 401)] {
        let client = Machines::with_pace(&emulator.url(), &token.parse().expect("a token"), Pace::Unlimited);
        assert_eq!(client.app("nobody").await.expect_err("none").status(), Some(status), "{token}");
    }
    let http = kit::http::client(PATIENCE);
    let anonymous = http.get(format!("{}/v1/apps", emulator.url())).send().await.expect("answered");
    assert_eq!(anonymous.status(), 401);
    let health = http.get(format!("{}/health", emulator.url())).send().await.expect("answered");
    assert_eq!(health.status(), 200);
    tasks.stop_within(PATIENCE).await.expect("ends");
}
