//! Which places change hands when a task comes to need another that stood behind it. Pure.

/// The same places for the same tasks, so that all of `earlier` come before all of `later`, each in the order
/// it had. Gives those that have to move.
pub(crate) fn rearrange<T: Copy>(earlier: &[(T, i64)], later: &[(T, i64)]) -> Vec<(T, i64)> {
    let in_order = |tasks: &[(T, i64)]| {
        let mut tasks = tasks.to_vec();
        tasks.sort_by_key(|(_, place)| *place);
        tasks
    };
    let mut places: Vec<i64> = earlier.iter().chain(later).map(|(_, place)| *place).collect();
    places.sort_unstable();
    let tasks = in_order(earlier).into_iter().chain(in_order(later));
    let moved = tasks.zip(places).filter(|((_, was), is)| was != is);
    moved.map(|((task, _), is)| (task, is)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_everybody_keeps_the_order_among_their_own() {
        let earlier = [('n', 9), ('m', 4)];
        let later = [('t', 2), ('u', 7)];
        assert_eq!(rearrange(&earlier, &later), [('m', 2), ('n', 4), ('t', 7), ('u', 9)]);
        assert_eq!(rearrange(&[('n', 1)], &[('t', 2)]), []);
    }
}
