//! Circles among dependencies (row CAIRN-24), an order without any, and how much a
//! task waits for. Pure: whoever asks brings along what needs what.

pub(crate) mod critical_path;

use std::collections::{BTreeMap, BTreeSet};

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

/// Everything that is named, each behind what it needs. What is in a circle, which should not be, comes last.
pub(crate) fn in_order<T: Copy + Ord>(needs: &Needs<T>) -> Vec<T> {
    let (mut order, circles) = settle(needs);
    order.extend(circles);
    order
}

/// A circle, where there is any: from one of its members along what each needs, back to it.
pub(crate) fn any_circle<T: Copy + Ord>(needs: &Needs<T>) -> Option<Vec<T>> {
    let (_, circles) = settle(needs);
    let mut path = vec![*circles.first()?];
    loop {
        // What could not be placed needs something else that could not.
        let next = *needs.get(path.last()?)?.iter().find(|needed| circles.contains(*needed))?;
        if let Some(begin) = path.iter().position(|member| *member == next) {
            return Some(path[begin..].iter().copied().chain([next]).collect());
        }
        path.push(next);
    }
}

/// What can be put in an order in which each comes behind what it needs, and what cannot.
fn settle<T: Copy + Ord>(needs: &Needs<T>) -> (Vec<T>, BTreeSet<T>) {
    let mut missing: BTreeMap<T, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<T, Vec<T>> = BTreeMap::new();
    for (task, needed) in needs {
        *missing.entry(*task).or_default() += needed.len();
        for needed in needed {
            missing.entry(*needed).or_default();
            needed_by.entry(*needed).or_default().push(*task);
        }
    }
    let mut order: Vec<T> = missing.iter().filter(|(_, count)| **count == 0).map(|(task, _)| *task).collect();
    let mut next = 0;
    while let Some(task) = order.get(next).copied() {
        next += 1;
        missing.remove(&task);
        for behind in needed_by.get(&task).into_iter().flatten() {
            let count = missing.entry(*behind).or_default();
            *count -= 1;
            if *count == 0 {
                order.push(*behind);
            }
        }
    }
    (order, missing.into_keys().collect())
}

/// How many things a task waits for whose hard dependencies are these, each with its group and whether what it
/// asks is true: each without a group is one, and so is each group of which none is true.
pub(crate) fn waits_for<'a>(dependencies: impl IntoIterator<Item = (Option<&'a str>, bool)>) -> i32 {
    let (mut alone, mut groups) = (0, BTreeMap::new());
    for (group, is_satisfied) in dependencies {
        match group {
            None => alone += i32::from(!is_satisfied),
            Some(group) => *groups.entry(group).or_insert(false) |= is_satisfied,
        }
    }
    let open = groups.into_values().filter(|is_satisfied| !is_satisfied).count();
    i32::try_from(open).map_or(i32::MAX, |open| open.saturating_add(alone))
}

/// The members of a circle that a message names: all, or of a long one the beginning and the end.
pub(crate) fn shown<T>(circle: &[T]) -> [&[T]; 2] {
    if circle.len() > NAMED + 1 { [&circle[..NAMED], &circle[circle.len() - 1..]] } else { [circle, &[]] }
}

/// A circle in one line, each member as it is called.
pub(crate) fn in_words<T>(circle: &[T], call: impl Fn(&T) -> String) -> String {
    let [first, last] = shown(circle);
    let names = |members: &[T]| members.iter().map(&call).collect::<Vec<_>>().join(" → ");
    if last.is_empty() {
        return names(first);
    }
    format!("{} → ({} more) → {}", names(first), circle.len() - first.len() - last.len(), names(last))
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
    fn an_order_puts_each_behind_what_it_needs_and_comes_to_an_end_on_a_circle() {
        let needs = Needs::from([(1, vec![2, 3]), (2, vec![3]), (9, vec![1])]);
        assert_eq!(in_order(&needs), [3, 2, 1, 9]);
        assert_eq!(in_order(&Needs::from([(1, vec![2]), (2, vec![1]), (3, vec![4])])), [4, 3, 1, 2]);
        assert_eq!(any_circle(&needs), None);
        let with_circle = Needs::from([(0, vec![2]), (2, vec![9, 4]), (3, vec![2]), (4, vec![3]), (9, vec![])]);
        assert_eq!(any_circle(&with_circle), Some(vec![2, 4, 3, 2]));
    }

    #[test]
    fn a_group_counts_once_and_not_at_all_when_one_of_it_is_true() {
        for (dependencies, expect) in [
            (&[][..], 0),
            (&[(None, false), (None, false), (None, true)], 2),
            (&[(Some("a"), false), (Some("a"), false)], 1),
            (&[(Some("a"), true), (Some("a"), false)], 0),
            (&[(Some("a"), false), (Some("b"), true), (Some("c"), false), (None, false)], 3),
        ] {
            assert_eq!(waits_for(dependencies.iter().copied()), expect, "{dependencies:?}");
        }
    }

    #[test]
    fn a_long_circle_is_told_by_its_ends() {
        assert_eq!(in_words(&[1, 2, 1], u32::to_string), "1 → 2 → 1");
        let long: Vec<u32> = (0..50).chain([0]).collect();
        let words = in_words(&long, u32::to_string);
        assert!(words.starts_with("0 → 1 → 2") && words.ends_with("19 → (30 more) → 0"), "{words}");
    }
}
