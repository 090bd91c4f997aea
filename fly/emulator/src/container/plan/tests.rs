//! Every flag of rows T-2.3a to T-2.3d, in the request that the engine gets (row T-2.9).

use super::*;

fn rules() -> Rules {
    Rules {
        network: "fleet-egress".to_owned(),
        user: (10_001, 10_001),
        seccomp: "{}".to_owned(),
        keeps_ids: false,
        data: "/data".to_owned(),
    }
}

fn wanted() -> Wanted {
    Wanted {
        machine_id: "148ed599c14698".to_owned(),
        image: "bifrost-runner".to_owned(),
        init: Init::default(),
        env: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        metadata: BTreeMap::new(),
        guest: None,
        mounts: vec![("/.sprite".to_owned(), "/data/volumes/vol_1".into())],
        stop_signal: "SIGINT",
        stop_within: None,
        directory: "/data/machines/148ed599c14698".into(),
    }
}

#[test]
fn a_container_is_hardened_in_every_way_that_is_asked_for() {
    let expected = json!({
        "Image": "bifrost-runner",
        "Env": ["TOKEN=hunter2"],
        "Labels": {
            "dixie-fleet": "true",
            "bifrost-fleet": "true",
            "fleet-task-id": "148ed599c14698",
            "bifrost-task-id": "148ed599c14698",
            "bifrost-machine-id": "148ed599c14698",
            "bifrost-data": "/data",
        },
        "User": "10001:10001",
        "Tty": false,
        "OpenStdin": false,
        "StopSignal": "SIGINT",
        "StopTimeout": 30,
        "HostConfig": {
            "ReadonlyRootfs": true,
            "Tmpfs": { "/tmp": "rw,noexec,nosuid,nodev,size=256m,mode=1777" },
            "Memory": 2_147_483_648_u64,
            "MemorySwap": 2_147_483_648_u64,
            "NanoCpus": 2_000_000_000_u64,
            "PidsLimit": 4096,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges", "seccomp={}"],
            "Privileged": false,
            "NetworkMode": "fleet-egress",
            "Mounts": [
                { "Type": "bind", "Source": "/data/volumes/vol_1", "Target": "/.sprite", "ReadOnly": false },
            ],
            "AutoRemove": false,
            "RestartPolicy": { "Name": "no" },
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "8m" } },
        },
    });
    assert_eq!(create(&wanted(), &rules()), expected);
}

#[test]
fn a_machine_that_says_its_size_gets_that() {
    let guest = Guest { memory_mb: 512, ..Guest::default() };
    let body = create(&Wanted { guest: Some(guest), ..wanted() }, &rules());
    assert_eq!(body["HostConfig"]["Memory"], 536_870_912);
    assert_eq!(body["HostConfig"]["MemorySwap"], 536_870_912);
    assert_eq!(body["HostConfig"]["NanoCpus"], 1_000_000_000);
}

#[test]
fn an_engine_without_root_keeps_ids() {
    assert_eq!(create(&wanted(), &rules())["HostConfig"]["UsernsMode"], Value::Null);
    let body = create(&wanted(), &Rules { keeps_ids: true, ..rules() });
    assert_eq!(body["HostConfig"]["UsernsMode"], "keep-id");
}

#[test]
fn the_labels_name_the_task_that_a_machine_is_made_for() {
    for (key, value) in [("fleet-task-id", "one"), ("bifrost_task", "two")] {
        let metadata = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let body = create(&Wanted { metadata, ..wanted() }, &rules());
        assert_eq!(body["Labels"]["fleet-task-id"], value);
        assert_eq!(body["Labels"]["bifrost-task-id"], value);
    }
}

#[test]
fn arguments_are_a_vector_and_exec_replaces_what_the_image_says() {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let init = |exec, entrypoint, cmd| Init { exec, entrypoint, cmd, ..Init::default() };
    for (init, entrypoint, command) in [
        (init(None, None, None), Value::Null, Value::Null),
        (init(words(&["a b", "$c"]), words(&["x"]), words(&["y"])), json!(["a b", "$c"]), json!([])),
        (init(words(&[]), words(&["x"]), words(&["y"])), json!(["x"]), json!(["y"])),
        (init(None, None, words(&["y"])), Value::Null, json!(["y"])),
    ] {
        let body = create(&Wanted { init, ..wanted() }, &rules());
        assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&entrypoint, &command));
    }
}
