//! Circles among dependencies (row CAIRN-24). Pure: whoever asks brings along
//! what needs what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// How many members of a circle a message names.
const NAMED: usize = 20;

/// What needs what: each key needs all of its values.
pub(crate) type Needs<T> = BTreeMap<T, Vec<T>>;

/// The circle that closes when `task` comes to need `needed`: from the task along what each needs, back to
/// the task. Nothing where none closes, also where there is one elsewhere already.
pub(crate) fn circle<T: Copy + Ord>(needs: &Needs<T>, task: T, needed: T) -> Option<Vec<T>> {
    // Depth first with a path of our own, since a chain may be longer than a stack is deep.
    let mut seen = BTreeSet::from([needed]);
    let mut path: Vec<(T, usize)> = vec![(needed, 0)];
    while let Some((at, next)) = path.last_mut() {
        if *at == task {
            return Some(std::iter::once(task).chain(path.iter().map(|(id, _)| *id)).collect());
        }
        let step = needs.get(at).and_then(|needed| needed.get(*next)).copied();
        *next += 1;
        match step {
            Some(step) if seen.insert(step) => path.push((step, 0)),
            Some(_) => (),
            None => {
                path.pop();
            }
        }
    }
    None
}

/// A circle in one line; of a long one the beginning and the end.
pub(crate) fn in_words<T: Display>(circle: &[T]) -> String {
    let name = |members: &[T]| members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
    match circle.split_last() {
        Some((last, rest)) if rest.len() > NAMED => {
            format!("{} → ({} more) → {last}", name(&rest[..NAMED]), rest.len() - NAMED)
        }
        _ => name(circle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[(u32, u32)], (task, needed): (u32, u32), expect: Option<&[u32]>) {
        let mut needs: Needs<u32> = BTreeMap::new();
        for (task, needed) in edges {
            needs.entry(*task).or_default().push(*needed);
        }
        assert_eq!(circle(&needs, task, needed).as_deref(), expect);
    }

    #[test]
    fn a_circle_is_named_in_order_and_what_is_none_is_let_through() {
        check(&[], (1, 1), Some(&[1, 1]));
        check(&[], (1, 2), None);
        check(&[(2, 1)], (1, 2), Some(&[1, 2, 1]));
        check(&[(2, 3), (3, 4), (4, 1), (2, 9)], (1, 2), Some(&[1, 2, 3, 4, 1]));
        // A diamond, and the same edge once more.
        check(&[(1, 2), (1, 3), (2, 4), (3, 4)], (1, 4), None);
        check(&[(1, 2), (1, 3), (2, 4), (3, 4)], (1, 2), None);
        check(&[(1, 2), (1, 3), (2, 4), (3, 4)], (4, 1), Some(&[4, 1, 2, 4]));
        // The first branch leads nowhere.
        check(&[(2, 8), (8, 9), (2, 3), (3, 1)], (1, 2), Some(&[1, 2, 3, 1]));
    }

    #[test]
    fn a_stored_circle_elsewhere_and_a_very_long_chain_come_to_an_end() {
        check(&[(2, 3), (3, 2)], (1, 2), None);
        let chain: Vec<(u32, u32)> = (1..200_000).map(|at| (at, at + 1)).collect();
        check(&chain, (0, 1), None);
        let long: Vec<u32> = [200_000].into_iter().chain(1..=200_000).collect();
        check(&chain, (200_000, 1), Some(&long));
    }

    #[test]
    fn a_long_circle_is_told_by_its_ends() {
        assert_eq!(in_words(&[1, 2, 1]), "1 → 2 → 1");
        let long: Vec<u32> = (0..50).chain([0]).collect();
        let words = in_words(&long);
        assert!(words.starts_with("0 → 1 → 2") && words.ends_with("19 → (30 more) → 0"), "{words}");
    }
}
