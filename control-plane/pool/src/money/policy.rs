//! What a budget still allows, purely: so that it is not exceeded even for an
//! instant, room is kept for what exists already. What is stored is paid to the
//! period's end whatever happens, and what is awake cannot be put to sleep at
//! once.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use wire::cost::Period;

/// Millionths of a dollar for so long at this rate, which is in picodollars a second; rounded up.
pub fn cost_micros(rate: u64, seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "far below 2^52 micro-dollars")]
    let micros = (rate as f64 * seconds.max(0.0) / 1e6).ceil() as i64;
    micros
}

/// When the period that this moment lies in began.
pub fn begin(period: Period, now: DateTime<Utc>) -> DateTime<Utc> {
    let day = now.date_naive();
    let first = match period {
        Period::Day => day,
        Period::Month => day.with_day(1).unwrap_or(day),
    };
    first.and_time(NaiveTime::MIN).and_utc()
}

/// When it ends.
pub fn end(period: Period, now: DateTime<Utc>) -> DateTime<Utc> {
    let began = begin(period, now);
    let next = match period {
        Period::Day => began.checked_add_days(Days::new(1)),
        Period::Month => began.checked_add_months(Months::new(1)),
    };
    next.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A budget and how far it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// For how long it is.
    pub period: Period,
    /// Millionths of a dollar.
    pub budget_micros: i64,
    /// What the period has cost so far.
    pub spent_micros: i64,
    /// When the next begins.
    pub ends_at: DateTime<Utc>,
}

/// The budgets, and what things cost in picodollars a second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purse {
    /// Every budget that is set.
    pub allowances: Vec<Allowance>,
    /// A machine that is awake, in the dearest of the pool's regions.
    pub awake_rate: u64,
    /// What one more machine stores, awake or asleep.
    pub new_storage_rate: u64,
    /// What all that exists stores.
    pub storage_rate: u64,
}

impl Purse {
    /// How many machines may be awake for `horizon` from now, `new` of them made for that; and the budget
    /// that says so. No bound where there is no budget.
    pub fn awake_max(&self, now: DateTime<Utc>, horizon: Duration, new: usize) -> Option<(usize, Allowance)> {
        let max = |allowance: &Allowance| {
            let to_end = seconds_between(now, allowance.ends_at);
            let stored = self.storage_rate + self.new_storage_rate * new as u64;
            let left = allowance.budget_micros - allowance.spent_micros - cost_micros(stored, to_end);
            // What is awake when the period ends is the next one's from there on.
            let one = cost_micros(self.awake_rate, horizon.as_secs_f64().min(to_end)).max(1);
            (usize::try_from(left / one).unwrap_or(0), *allowance)
        };
        self.allowances.iter().map(max).min_by_key(|(max, _)| *max)
    }
}

fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).to_std().unwrap_or_default().as_secs_f64()
}

/// What a period will have cost at its end if it goes on as now, at this rate in picodollars a second.
pub fn forecast_micros(spent_micros: i64, rate: u64, now: DateTime<Utc>, ends_at: DateTime<Utc>) -> i64 {
    spent_micros.saturating_add(cost_micros(rate, seconds_between(now, ends_at)))
}

/// The thresholds, in percent of the budget, that the spending has reached.
pub fn reached(thresholds: &[u32], spent_micros: i64, budget_micros: i64) -> Vec<u32> {
    let spent = i128::from(spent_micros) * 100;
    thresholds.iter().copied().filter(|percent| spent >= i128::from(budget_micros) * i128::from(*percent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn periods_are_utc_days_and_months() {
        let now = at("2026-02-14T13:00:00Z");
        assert_eq!(
            (begin(Period::Day, now), end(Period::Day, now)),
            (at("2026-02-14T00:00:00Z"), at("2026-02-15T00:00:00Z"))
        );
        assert_eq!(
            (begin(Period::Month, now), end(Period::Month, now)),
            (at("2026-02-01T00:00:00Z"), at("2026-03-01T00:00:00Z"))
        );
        assert_eq!(end(Period::Month, at("2026-12-31T23:59:59Z")), at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn as_many_may_be_awake_as_the_tightest_budget_pays_for_until_they_can_be_stopped() {
        let now = at("2026-02-14T12:00:00Z");
        let allowance = |period, budget_micros, spent_micros| Allowance {
            period,
            budget_micros,
            spent_micros,
            ends_at: end(period, now),
        };
        // One micro-dollar a second awake.
        let purse =
            |allowances, storage_rate| Purse { allowances, awake_rate: 1_000_000, new_storage_rate: 0, storage_rate };
        let max = |purse: &Purse| purse.awake_max(now, Duration::from_secs(100), 0).map(|(max, by)| (max, by.period));
        assert_eq!(max(&purse(vec![], 0)), None);
        assert_eq!(max(&purse(vec![allowance(Period::Day, 1_000, 0)], 0)), Some((10, Period::Day)));
        assert_eq!(max(&purse(vec![allowance(Period::Day, 1_000, 701)], 0)), Some((2, Period::Day)));
        assert_eq!(max(&purse(vec![allowance(Period::Day, 1_000, 2_000)], 0)), Some((0, Period::Day)));
        let both = vec![allowance(Period::Day, 1_000, 0), allowance(Period::Month, 500, 0)];
        assert_eq!(max(&purse(both, 0)), Some((5, Period::Month)));
        // Half a day of storage at a hundredth of that is 432.
        assert_eq!(max(&purse(vec![allowance(Period::Day, 1_000, 0)], 10_000)), Some((5, Period::Day)));
    }

    #[test]
    fn what_outlasts_the_period_is_the_next_ones() {
        let now = at("2026-02-14T23:59:50Z");
        let allowance =
            Allowance { period: Period::Day, budget_micros: 20, spent_micros: 0, ends_at: end(Period::Day, now) };
        let purse = Purse { allowances: vec![allowance], awake_rate: 1_000_000, ..Purse::default() };
        assert_eq!(purse.awake_max(now, Duration::from_secs(3_600), 0).map(|(max, _)| max), Some(2));
    }

    #[test]
    fn a_forecast_goes_on_as_now_and_thresholds_are_reached_exactly() {
        let now = at("2026-02-14T12:00:00Z");
        assert_eq!(forecast_micros(5, 1_000_000, now, end(Period::Day, now)), 5 + 43_200);
        assert_eq!(reached(&[50, 80, 100], 799, 1_000), [50]);
        assert_eq!(reached(&[50, 80, 100], 800, 1_000), [50, 80]);
        assert_eq!(reached(&[50, 80, 100], 1_000, 1_000), [50, 80, 100]);
    }
}
