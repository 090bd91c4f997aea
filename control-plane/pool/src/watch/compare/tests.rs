//! Every mismatch is a row.

use chrono::TimeDelta;
use wire::id::VolumeId;

use super::*;

const POOL: &str = "p1";

fn began() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

fn row(state: MachineState) -> Machine {
    let before = began() - TimeDelta::seconds(60);
    Machine {
        id: MachineId::mint(before, [1; 10]),
        name: "sprite-a".into(),
        provider_id: Some("m1".into()),
        region: None,
        state,
        state_since: before,
        next_try_at: before,
        failures: 0,
        restarts: 0,
        report_by: None,
        error: None,
        volume_id: VolumeId::mint(before, [2; 10]),
        volume_name: "sprite_p1_a".into(),
        volume_provider_id: Some("vol_1".into()),
        batch: 0,
        repositories: vec![],
        worker_heard_at: None,
        idle_since: None,
        created_at: before,
        volume_source_id: None,
        is_volume_kept: false,
        is_volume_used: true,
        generation: 0,
        former_provider_id: None,
        image: "x".into(),
        former_image: String::new(),
        executions: 0,
        cold_starts: 0,
        rung: crate::recovery::Rung::Look,
        stuck_minutes: 0,
        retiring: None,
        refusals: 0,
        load: 0,
    }
}

fn there(id: &str, name: &str, pool: &str, state: &str) -> fly::Machine {
    let text = serde_json::json!({
        "id": id, "name": name, "state": state, "region": "iad", "instance_id": "01", "private_ip": "",
        "config": { "image": "x", "metadata": { "bifrost_pool": pool } },
    });
    serde_json::from_value(text).expect("a machine")
}

fn volume(id: &str, name: &str) -> fly::Volume {
    let text = serde_json::json!({ "id": id, "name": name, "state": "created", "region": "iad", "size_gb": 1 });
    serde_json::from_value(text).expect("a volume")
}

#[test]
fn a_row_follows_what_happened_to_its_machine() {
    use MachineState::{Creating, Destroying, Ready, Resuming, Starting, Suspended, Suspending};
    let check = |state, provider: Option<&str>, to: Option<MachineState>| {
        let known = Known { machines: vec![row(state)], ..Known::default() };
        let list: Vec<_> = provider.map(|word| there("m1", "sprite-a", POOL, word)).into_iter().collect();
        let found = compare(&known, &list, &[], POOL, began());
        let moves = found.iter().filter_map(|finding| match finding {
            Finding::Row { to, .. } | Finding::Missing { to, .. } => Some(*to),
            _ => None,
        });
        assert_eq!(Vec::from_iter(moves), Vec::from_iter(to), "{state} with {provider:?}: {found:?}");
    };
    check(Ready, Some("started"), None);
    check(Ready, Some("stopped"), Some(Starting));
    check(Ready, Some("failed"), Some(Starting));
    check(Ready, Some("suspended"), Some(Resuming));
    check(Ready, Some("destroyed"), Some(Starting));
    check(Ready, None, Some(Starting));
    check(Suspended, Some("suspended"), None);
    check(Suspended, Some("stopped"), None);
    check(Suspended, Some("started"), Some(Suspending));
    check(Suspended, None, Some(Resuming));
    check(Creating, None, None);
    check(Destroying, None, None);
    check(Starting, Some("stopped"), None);
}

#[test]
fn a_row_without_an_id_is_found_by_its_name_and_not_taken_for_gone() {
    let known = Known { machines: vec![Machine { provider_id: None, ..row(MachineState::Ready) }], ..Known::default() };
    let id = known.machines[0].id;
    let marked = |mark: &str| {
        let mut found = there("m1", "sprite-a", POOL, "started");
        found.config.as_mut().expect("has one").metadata.insert(MACHINE_KEY.into(), mark.into());
        (compare(&known, std::slice::from_ref(&found), &[], POOL, began()), found)
    };
    let (findings, found) = marked(&id.to_string());
    assert_eq!(findings, [Finding::Nameless { id, found: Box::new(found) }]);
    assert_eq!(marked("another").0, [], "its name is not enough");
}

#[test]
fn a_volume_that_was_moved_with_its_machine_is_the_machines_still() {
    let mounted = |id: &str| {
        let mut machine = there("m1", "sprite-a", POOL, "started");
        let mount = serde_json::json!([{ "volume": id, "path": "/.sprite" }]);
        machine.config.as_mut().expect("has one").mounts = serde_json::from_value(mount).expect("mounts");
        machine
    };
    let row = row(MachineState::Ready);
    let expect = Finding::Moved { volume: row.volume_id, provider_id: "vol_9".into() };
    let known = Known { machines: vec![row], volume_ids: vec!["vol_1".into()], ..Known::default() };
    let ours = volume("vol_9", "sprite_p1_a");
    assert_eq!(compare(&known, &[mounted("vol_9")], std::slice::from_ref(&ours), POOL, began()), [expect]);
    assert_eq!(compare(&known, &[mounted("vol_1")], &[volume("vol_1", "sprite_p1_a")], POOL, began()), []);
    // One of another name is none of ours, whatever the machine has it for.
    assert_eq!(compare(&known, &[mounted("vol_8")], &[volume("vol_8", "theirs")], POOL, began()), []);
    let found = compare(&known, &[mounted("vol_1")], &[ours], POOL, began());
    assert!(matches!(&found[..], [Finding::Orphan(_)]), "{found:?}");
}

#[test]
fn what_is_being_destroyed_is_no_orphan() {
    let mut volume = volume("vol_2", "sprite_p1_b");
    volume.state = "pending_destroy".into();
    let found = compare(&Known::default(), &[there("m2", "sprite-b", POOL, "destroying")], &[volume], POOL, began());
    assert_eq!(found, []);
}

#[test]
fn a_booting_machine_that_has_stopped_is_looked_at() {
    for state in [MachineState::Starting, MachineState::Resuming] {
        let known = Known { machines: vec![row(state)], ..Known::default() };
        let found = compare(&known, &[there("m1", "sprite-a", POOL, "stopped")], &[], POOL, began());
        assert_eq!(found, [Finding::Stalled(row(state).id)]);
    }
}

#[test]
fn a_row_that_moved_meanwhile_is_left_alone() {
    let known =
        Known { machines: vec![Machine { state_since: began(), ..row(MachineState::Ready) }], ..Known::default() };
    assert_eq!(compare(&known, &[], &[], POOL, began()), []);
}

#[test]
fn an_orphan_says_which_row_it_was_made_for_when_and_whether_it_costs() {
    let row = MachineId::mint(began(), [1; 10]);
    for (state, is_awake) in
        [("started", true), ("suspending", true), ("failed", true), ("suspended", false), ("stopped", false)]
    {
        let mut machine = there("m2", "sprite-b", POOL, state);
        machine.created_at = Some(began());
        machine.config.as_mut().expect("has one").metadata.insert(MACHINE_KEY.into(), row.to_string());
        let found = compare(&Known::default(), &[machine], &[], POOL, began());
        let said = found[0].orphan().map(|orphan| (orphan.row, orphan.made_at, orphan.is_awake));
        assert_eq!(said, Some((Some(row), Some(began()), is_awake)), "{state}");
    }
}

#[test]
fn only_this_pools_things_are_orphans() {
    let known = Known {
        machines: vec![row(MachineState::Ready)],
        volume_ids: vec!["vol_1".into()],
        volume_names: vec!["sprite_p1_new".into()],
    };
    let machines = [
        there("m1", "sprite-a", POOL, "started"),
        there("m2", "sprite-b", POOL, "started"),
        there("m3", "sprite-c", "p2", "started"),
        there("m4", "sprite-d", POOL, "destroyed"),
    ];
    let volumes = [
        volume("vol_1", "sprite_p1_a"),
        volume("vol_2", "sprite_p1_b"),
        volume("vol_3", "sprite_p2_b"),
        volume("vol_4", "sprite_p1_new"),
        volume("vol_5", "data"),
    ];
    let machine = Orphan {
        kind: OrphanKind::Machine,
        provider_id: "m2".into(),
        name: "sprite-b".into(),
        region: "iad".into(),
        row: None,
        is_awake: true,
        made_at: None,
        size: Some(Size::Guest(fly::Guest::default())),
    };
    let volume = Orphan {
        kind: OrphanKind::Volume,
        provider_id: "vol_2".into(),
        name: "sprite_p1_b".into(),
        is_awake: false,
        size: Some(Size::Gigabytes(volumes[1].size_gb)),
        ..machine.clone()
    };
    let found = compare(&known, &machines, &volumes, POOL, began());
    assert_eq!(found, [machine, volume].map(Finding::Orphan));
    assert_eq!(strangers(&known, &machines), 2, "another's machine counts, and is left alone");
    let going = ["destroying", "destroyed", "launch_failed"].map(|state| there("m4", "sprite-d", POOL, state));
    let nothing = Known::default();
    assert_eq!(compare(&nothing, &going, &[], POOL, began()), []);
    assert_eq!(strangers(&nothing, &going), 1, "one counts until it is gone");
    let theirs = there("m5", "sprite-e", "p2", "destroying");
    assert_eq!(super::going(&nothing, &[&going[..], &[theirs]].concat(), POOL), ["m4"]);
}

#[test]
fn a_volume_that_is_listed_without_a_size_has_one_that_is_not_known() {
    let sizeless = fly::Volume { size_gb: 0, ..volume("vol_2", "sprite_p1_b") };
    let found = compare(&Known::default(), &[], &[sizeless], POOL, began());
    assert_eq!(found[0].orphan().expect("an orphan").size, None);
}

#[test]
fn a_machine_that_is_being_replaced_is_no_orphan() {
    let replaced = Machine {
        name: "sprite-a-1".into(),
        provider_id: None,
        former_provider_id: Some("m1".into()),
        ..row(MachineState::Creating)
    };
    let known = Known { machines: vec![replaced], ..Known::default() };
    let there = [there("m1", "sprite-a", POOL, "started")];
    assert_eq!((compare(&known, &there, &[], POOL, began()), strangers(&known, &there)), (vec![], 0));
}
