//! What differs between two checkpoints, and between what is known and what a machine has (pure).

use std::collections::BTreeMap;

use wire::checkpoint::{CheckpointDiff, FileChange, HeldCheckpoint, PathDiff};
use wire::id::CheckpointId;

use super::Checkpoint;

/// What a machine's word changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Checkpoints that it has no more.
    pub(super) gone: Vec<CheckpointId>,
    /// Those of which it has heard another word about pins than was noted.
    pub(super) heard: Vec<(CheckpointId, bool)>,
}

/// Compares. `known` are ids with what the machine is noted to have heard. What is newer than everything it names
/// was saved after it wrote the list.
pub(super) fn compare(known: &[(CheckpointId, bool)], held: &[HeldCheckpoint]) -> Comparison {
    let there: BTreeMap<CheckpointId, bool> = held.iter().map(|one| (one.id, one.pinned)).collect();
    let Some(newest) = there.keys().next_back() else { return Comparison::default() };
    let mut found = Comparison::default();
    for (id, noted) in known.iter().filter(|(id, _)| id <= newest) {
        match there.get(id) {
            None => found.gone.push(*id),
            Some(pinned) if pinned != noted => found.heard.push((*id, *pinned)),
            Some(_) => (),
        }
    }
    found
}

/// What differs between two checkpoints of one repository.
pub(super) fn diff(from: &Checkpoint, to: &Checkpoint) -> CheckpointDiff {
    let by_path = |changes: &[FileChange]| -> BTreeMap<String, FileChange> {
        changes.iter().map(|change| (change.path.clone(), change.clone())).collect()
    };
    let (mut old, mut new) = (by_path(&from.changes), by_path(&to.changes));
    let names: Vec<String> = old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))).cloned().collect();
    let pair = |path: String| {
        let (from, to) = (old.remove(&path), new.remove(&path));
        (from != to).then_some(PathDiff { path, from, to })
    };
    let mut paths: Vec<PathDiff> = names.into_iter().filter_map(pair).collect();
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    let is_cut = |one: &Checkpoint| one.view.files + one.view.deleted > one.changes.len() as u64;
    CheckpointDiff {
        from: from.view.id,
        to: to.view.id,
        same_commit: from.view.commit == to.view.commit,
        paths,
        is_cut: is_cut(from) || is_cut(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> CheckpointId {
        CheckpointId::from(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn what_a_machine_names_no_more_is_gone_and_what_is_newer_than_its_word_is_not() {
        let held = |number: u128, pinned: bool| HeldCheckpoint { id: id(number), pinned };
        let known = [(id(1), false), (id(2), false), (id(3), true), (id(9), false)];
        let found = compare(&known, &[held(2, true), held(3, true), held(5, false)]);
        assert_eq!(found, Comparison { gone: vec![id(1)], heard: vec![(id(2), true)] });
        assert_eq!(compare(&known, &[]), Comparison::default());
    }
}
