//! So many of something, as people write it. Pure.

use std::fmt::Display;

/// `1 task`, or `2 tasks`.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, several: &str) -> String {
    let word = if number == N::from(1) { one } else { several };
    format!("{number} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "task", "tasks")), ["0 tasks", "1 task", "2 tasks"]);
    }
}
