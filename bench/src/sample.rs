//! A sample of one figure and what it says. Pure.

/// Values of one figure, in the order they were measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Takes one more value.
    pub(crate) fn take(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Takes another sample's values.
    pub(crate) fn take_all(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many times as large each value is as the other's of the same turn.
    pub(crate) fn over(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect()
    }

    /// The smallest value that is not exceeded by so many percent of all (nearest rank);
    /// nothing when there is none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_values_of_the_same_turn() {
        let (ours, theirs): (Sample, Sample) = ([2.0, 4.0].into_iter().collect(), [6.0, 4.0].into_iter().collect());
        assert_eq!(theirs.over(&ours), [3.0, 1.0].into_iter().collect());
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Sample = (1..=100).rev().map(f64::from).collect();
        assert_eq!(hundred.percentile(50), Some(50.0));
        assert_eq!(hundred.percentile(99), Some(99.0));
        assert_eq!(hundred.percentile(100), Some(100.0));
        let three: Sample = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!([0, 50, 99].map(|percent| three.percentile(percent)), [Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(Sample::default().percentile(50), None);
    }
}
