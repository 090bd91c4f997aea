//! A machine's key writes only of executions leased to the machine.

use client::events::EventStore;
use wire::event::Event;
use wire::grant::{Grant, GrantKey};
use wire::id::{ExecutionId, MachineId};
use wire::limit::GRANTS_PER_REQUEST;
use wire::signature::{Key, machine_key_id};

use super::world::{Place, World, event, key, now, over_both_engines, signer, task};
use crate::Ungranted;

over_both_engines! {
    a_machine_writes_of_executions_it_was_granted_and_of_itself,
    whatever_was_not_granted_is_refused_by_name_and_nothing_is_stored,
    a_request_carries_a_bounded_number_of_grants,
    grants_and_machines_keys_of_the_previous_secret_are_accepted_while_it_is_replaced,
    a_runner_from_before_grants_is_heard_where_the_operator_says_so_but_only_in_its_own_name,
}

pub(super) fn machine(number: u8) -> MachineId {
    MachineId::mint(now(), [number; 10])
}

pub(super) fn execution(number: u8) -> ExecutionId {
    ExecutionId::mint(now(), [number; 10])
}

/// What came with the lease of an execution of task 1, signed with a key of this secret.
pub(super) fn grant(secret: &Key, to: u8, of: u8) -> String {
    let grant = Grant { machine: machine(to), task: task(1), execution: execution(of) };
    GrantKey::of(secret).issue(&grant)
}

/// An event that machine 7 tells of an execution of task 1.
pub(super) fn told(number: u64, of: u8) -> Event {
    Event { producer: machine_key_id(machine(7)), execution_id: Some(execution(of)), ..event(number) }
}

async fn refusal(store: &EventStore, events: &[Event], grants: &[String]) -> (u16, String, Option<String>) {
    let refused = store.append_granted(events, grants).await.expect_err("is refused");
    let client::Error::Refused(problem) = refused else { panic!("the store has not refused: {refused}") };
    (problem.status, problem.code, problem.field)
}

async fn a_machine_writes_of_executions_it_was_granted_and_of_itself(place: Place) {
    let world = World::start(&place).await;
    let (store, _) = world.machine(7);
    let of_itself = Event { task_id: None, execution_id: None, ..told(1, 1) };
    store.append(std::slice::from_ref(&of_itself)).await.expect("needs no grant");
    let grants = [grant(&key(), 7, 1), grant(&key(), 7, 2)];
    store.append_granted(&[told(2, 1), told(3, 2), told(4, 1)], &grants).await.expect("was granted both");
    let in_one_value = [format!("{}, {}", grants[0], grants[1])];
    store.append_granted(&[told(5, 1), told(6, 2)], &in_one_value).await.expect("a proxy may join headers");
    assert!(world.stored().await.into_iter().eq(1..=6));
    world.stop().await;
}

async fn whatever_was_not_granted_is_refused_by_name_and_nothing_is_stored(place: Place) {
    let world = World::start(&place).await;
    let (store, _) = world.machine(7);
    let good = grant(&key(), 7, 1);
    let forged = grant(&Key::from_bytes([2; 32]), 7, 1);
    let changed = good.replacen("v1.A", "v1.B", 1);
    let other_task = Event { task_id: Some(task(2)), ..told(2, 1) };
    let no_task = Event { task_id: None, ..told(2, 1) };
    let no_execution = Event { execution_id: None, ..told(2, 1) };
    let other_producer = Event { producer: machine_key_id(machine(8)), ..told(2, 1) };
    let cases: [(Event, Vec<String>, u16, &str, &str); 10] = [
        (told(2, 1), vec![], 403, "not_granted", "events.0.execution_id"),
        (told(2, 2), vec![good.clone()], 403, "not_granted", "events.1.execution_id"),
        (other_task, vec![good.clone()], 403, "not_granted", "events.1.task_id"),
        (no_task, vec![good.clone()], 403, "not_granted", "events.1.task_id"),
        (no_execution, vec![good.clone()], 403, "not_granted", "events.1.execution_id"),
        (other_producer, vec![good.clone()], 403, "wrong_producer", "events.1.producer"),
        (told(2, 1), vec![grant(&key(), 8, 1)], 403, "not_granted", "events.0.execution_id"),
        (told(2, 1), vec![good.clone(), forged], 403, "grant_wrong", "bifrost-grant"),
        (told(2, 1), vec![changed], 403, "grant_wrong", "bifrost-grant"),
        (told(2, 1), vec!["v9.what.ever".into()], 400, "grant_malformed", "bifrost-grant"),
    ];
    for (event, grants, status, code, field) in cases {
        let refused = refusal(&store, &[told(1, 1), event], &grants).await;
        assert_eq!(refused, (status, code.to_owned(), Some(field.to_owned())));
    }
    assert!(world.stored().await.is_empty());
    world.stop().await;
}

async fn a_request_carries_a_bounded_number_of_grants(place: Place) {
    let world = World::start(&place).await;
    let (store, _) = world.machine(7);
    let grants: Vec<String> = (0..=GRANTS_PER_REQUEST as u8).map(|of| grant(&key(), 7, of)).collect();
    let most = GRANTS_PER_REQUEST as u8 - 1;
    store.append_granted(&[told(1, most)], &grants[..GRANTS_PER_REQUEST]).await.expect("as many as may be");
    let refused = refusal(&store, &[told(2, most)], &grants).await;
    assert_eq!(refused, (400, "too_many_grants".into(), Some("bifrost-grant".into())));
    world.stop().await;
}

async fn grants_and_machines_keys_of_the_previous_secret_are_accepted_while_it_is_replaced(place: Place) {
    let previous = Key::from_bytes([9; 32]);
    let world = World::start_with(&place, Some(previous.clone()), Ungranted::Refused).await;
    let key_id = machine_key_id(machine(7));
    let of_secret =
        |secret: &Key| EventStore::new(&world.base, signer(secret.derive(&key_id), Some(key_id.clone()), &world.clock));
    of_secret(&previous).append_granted(&[told(1, 1)], &[grant(&previous, 7, 1)]).await.expect("both of the previous");
    // The machine has registered again since; the lease is older.
    of_secret(&key()).append_granted(&[told(2, 1)], &[grant(&previous, 7, 1)]).await.expect("a grant of the previous");
    assert_eq!(world.stored().await, [1, 2]);
    world.stop().await;
}

async fn a_runner_from_before_grants_is_heard_where_the_operator_says_so_but_only_in_its_own_name(place: Place) {
    let world = World::start_with(&place, None, Ungranted::Accepted).await;
    let (store, _) = world.machine(7);
    store.append(&[told(1, 1)]).await.expect("is accepted without a grant");
    store.append_granted(&[told(2, 2)], &["v9.what.ever".into()]).await.expect("no grant is looked at");
    let other = Event { producer: machine_key_id(machine(8)), ..told(3, 1) };
    assert_eq!(refusal(&store, &[other], &[]).await.1, "wrong_producer");
    assert_eq!(world.stored().await, [1, 2]);
    world.stop().await;
}
