//! No place is forgotten, whatever comes when.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

fn task(number: u8) -> TaskId {
    TaskId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

/// What the database would hold.
#[derive(Default)]
struct Disk(BTreeMap<TaskId, Vec<u64>>);

impl Disk {
    fn commit(&mut self, postings: &mut Postings, new: Vec<(TaskId, u64)>, newest: u64) -> usize {
        let change = postings.plan(new, newest);
        for run in &change.runs {
            self.0.entry(run.task).or_default().extend(unpack(&run.packed()).expect("is whole"));
        }
        let runs = change.runs.len();
        postings.apply(change);
        runs
    }
}

#[test]
fn a_run_goes_to_disk_when_it_is_long_enough() {
    let (mut postings, mut disk) = (Postings::default(), Disk::default());
    let last = RUN as u64;
    for place in 1..last {
        assert_eq!(disk.commit(&mut postings, vec![(task(1), place)], place), 0);
    }
    assert_eq!(disk.commit(&mut postings, vec![(task(1), last)], last), 1);
    assert_eq!((disk.0[&task(1)].len(), postings.of(task(1)).len(), postings.since.len()), (RUN, 0, 0));
}

#[test]
fn a_place_that_is_old_goes_to_disk_alone() {
    let (mut postings, mut disk) = (Postings::default(), Disk::default());
    disk.commit(&mut postings, vec![(task(1), 1), (task(2), 2)], 2);
    assert_eq!(disk.commit(&mut postings, vec![], WINDOW), 0);
    assert_eq!(disk.commit(&mut postings, vec![], WINDOW + 1), 1);
    assert_eq!(disk.0.keys().copied().collect::<Vec<_>>(), [task(1)]);
    assert_eq!(postings.of(task(2)), [2]);
}

#[test]
fn more_than_a_row_holds_becomes_several() {
    let (mut postings, mut disk) = (Postings::default(), Disk::default());
    let places: Vec<u64> = (1..=2_500).collect();
    let new = places.iter().map(|place| (task(1), *place)).collect();
    assert_eq!(disk.commit(&mut postings, new, 2_500), 3);
    assert_eq!(disk.0[&task(1)], places);
}

#[test]
fn bytes_that_are_no_run_are_refused() {
    for bytes in [
        &[0x80][..],
        &[0x00],
        &[0x05, 0x00],
        &[0xff; 11],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x01],
    ] {
        assert!(unpack(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(unpack(&[]).unwrap(), [0_u64; 0]);
}

proptest! {
    #[test]
    fn every_place_is_in_memory_or_on_disk_once_and_in_order(
        groups in prop::collection::vec(prop::collection::vec(0..12_u8, 0..200), 1..60),
        jump in 0..9_000_u64,
    ) {
        let (mut postings, mut disk) = (Postings::default(), Disk::default());
        let mut all = BTreeMap::<TaskId, Vec<u64>>::new();
        let mut newest = 0;
        for tasks in groups {
            // Events of no task lie in between.
            newest += jump;
            let mut new = Vec::new();
            for number in tasks {
                newest += 1;
                new.push((task(number), newest));
                all.entry(task(number)).or_default().push(newest);
            }
            disk.commit(&mut postings, new, newest);
            for (task, places) in &all {
                let on_disk = disk.0.get(task).cloned().unwrap_or_default();
                prop_assert_eq!(&[on_disk.as_slice(), postings.of(*task)].concat(), places);
                prop_assert!(postings.of(*task).iter().all(|place| place + WINDOW > newest));
            }
        }
    }

    #[test]
    fn a_run_survives_packing(steps in prop::collection::vec(1..=(1_u64 << 40), 1..100)) {
        let places: Vec<u64> = steps.iter().scan(0, |place, step| { *place += step; Some(*place) }).collect();
        let run = Run { task: task(1), places: places.clone() };
        prop_assert_eq!(unpack(&run.packed()).unwrap(), places);
    }
}
