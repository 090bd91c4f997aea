//! What a budget still allows, purely: so that it is not exceeded even for an
//! instant, room is kept for what exists already. What is stored is paid to the
//! period's end whatever happens, and in the whole of the next, and so is a machine
//! that is awake and that nobody puts to sleep, as no row knows it; what else is
//! awake cannot be put to sleep at once, nor what is going be gone; and what is
//! awake when a period ends is an expense of the next one.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, TimeDelta, Utc};
use wire::cost::Period;
use wire::money::shown;

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
    /// What all that exists stores, and what a machine costs that is awake and no row knows, and that nobody destroys.
    pub storage_rate: u64,
    /// Machines that are being destroyed, or reaped, or may yet come of a creation that was abandoned: each may cost
    /// what one that is awake does, until it is gone.
    pub going: usize,
}

impl Purse {
    /// How many machines may be awake for `horizon` from now, `new` of them made for that; and the budget
    /// that says so. No bound where there is no budget.
    pub fn awake_max(&self, now: DateTime<Utc>, horizon: Duration, new: usize) -> Option<(usize, Allowance)> {
        let max = |allowance: &Allowance| {
            let to_end = seconds_between(now, allowance.ends_at);
            let left = allowance.budget_micros - allowance.spent_micros;
            let in_this = self.awake_of(left, horizon.as_secs_f64().min(to_end), to_end, new);
            (in_this.min(self.awake_in_next(allowance, horizon, to_end, new)).saturating_sub(self.going), *allowance)
        };
        self.allowances.iter().map(max).min_by_key(|(max, _)| *max)
    }

    /// Whether so many may be awake for `horizon` from now, `new` of them made for that.
    pub fn pays_for(&self, awake: usize, now: DateTime<Utc>, horizon: Duration, new: usize) -> bool {
        self.awake_max(now, horizon, new).is_none_or(|(max, _)| awake <= max)
    }

    /// Whether so many may be, one of them with another disk at this rate, beside its own.
    pub fn pays_for_disk(&self, rate: u64, awake: usize, now: DateTime<Utc>, horizon: Duration) -> bool {
        let purse = Self { new_storage_rate: rate, ..self.clone() };
        rate == 0 || purse.pays_for(awake, now, horizon, 1)
    }

    /// Why a budget pays for no machine even in a period that has cost nothing yet, the next; nothing where it does.
    pub fn lacks(&self, allowance: &Allowance, reserve: Duration) -> Option<TooSmall> {
        let Allowance { period, budget_micros, ends_at, .. } = *allowance;
        let length = seconds_between(ends_at, end(period, ends_at));
        let least_micros =
            cost_micros(self.new_storage_rate, length) + cost_micros(self.awake_rate, reserve.as_secs_f64());
        (budget_micros < least_micros).then_some(TooSmall { period, budget_micros, least_micros })
    }

    /// How many the next period pays for, which begins with all of its budget: for what of their time lies beyond the
    /// end of this one, and where one is made, which it has to store and should be able to use, for all of that time.
    fn awake_in_next(&self, allowance: &Allowance, horizon: Duration, to_end: f64, new: usize) -> usize {
        let awake = if new > 0 { horizon.as_secs_f64() } else { horizon.as_secs_f64() - to_end };
        if awake <= 0.0 {
            return usize::MAX;
        }
        let length = seconds_between(allowance.ends_at, end(allowance.period, allowance.ends_at));
        self.awake_of(allowance.budget_micros, awake, length, new)
    }

    /// For how many machines awake for so long what is left suffices, with everything stored for so long.
    fn awake_of(&self, left: i64, awake: f64, stored: f64, new: usize) -> usize {
        let stored = cost_micros(self.storage_rate + self.new_storage_rate * new as u64, stored);
        let one = cost_micros(self.awake_rate, awake).max(1);
        usize::try_from((left - stored) / one).unwrap_or(0)
    }
}

/// A budget that waiting does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSmall {
    /// Which.
    pub period: Period,
    /// Millionths of a dollar.
    pub budget_micros: i64,
    /// What one machine takes of it: made as the period begins, awake for the reserve, and stored to the end.
    pub least_micros: i64,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { period, budget_micros, least_micros } = *self;
        let (budget, cents) = (shown(budget_micros), shown((least_micros + CENT - 1) / CENT * CENT));
        let variable = match period {
            Period::Day => "BIFROST_BUDGET_DAY_DOLLARS",
            Period::Month => "BIFROST_BUDGET_MONTH_DOLLARS",
        };
        write!(
            f,
            "the machines' budget of {budget} for the {period} never pays for a machine: one takes {cents} of it, so raise {variable}"
        )
    }
}

/// Millionths of a dollar.
const CENT: i64 = 10_000;

fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).to_std().unwrap_or_default().as_secs_f64()
}

/// Since when an orphan has to be charged that was for so long already, and by its row until then.
pub fn costs_since(
    made_at: Option<DateTime<Utc>>,
    row_until: Option<DateTime<Utc>>,
    charged: TimeDelta,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let Some(made_at) = made_at else { return now };
    (made_at.max(row_until.unwrap_or(made_at)) + charged).min(now)
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
    fn a_budget_that_never_pays_for_a_machine_says_how_much_one_takes() {
        let lacks = |period, budget_micros| {
            let ends_at = end(period, at("2026-01-10T13:00:00Z"));
            let allowance = Allowance { period, budget_micros, spent_micros: 0, ends_at };
            let purse = Purse { awake_rate: 4_394_000, new_storage_rate: 734_000, ..Purse::default() };
            purse.lacks(&allowance, Duration::from_secs(3_600)).map(|lack| lack.to_string())
        };
        assert_eq!(
            lacks(Period::Day, 10_000).as_deref(),
            Some(
                "the machines' budget of $0.01 for the day never pays for a machine: one takes $0.08 of it, so raise BIFROST_BUDGET_DAY_DOLLARS"
            )
        );
        assert_eq!(lacks(Period::Day, 80_000), None);
        let of_month = lacks(Period::Month, 1_500_000).expect("too small");
        assert!(of_month.contains("$1.50 for the month") && of_month.contains("one takes $1.80"), "{of_month}");
        assert_eq!(lacks(Period::Month, 1_990_000), None);
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
            |allowances, storage_rate| Purse { allowances, awake_rate: 1_000_000, storage_rate, ..Purse::default() };
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
        let mut purse = of_a_day(now, 1_000, 0);
        purse.allowances[0].spent_micros = 980;
        assert_eq!(awake_max(&purse, now, 0), 2);
    }

    /// A day's budget of which nothing is spent, at a micro-dollar a second awake and a hundredth of that stored.
    fn of_a_day(now: DateTime<Utc>, budget_micros: i64, storage_rate: u64) -> Purse {
        let ends_at = end(Period::Day, now);
        let allowance = Allowance { period: Period::Day, budget_micros, spent_micros: 0, ends_at };
        let (awake_rate, new_storage_rate) = (1_000_000, 10_000);
        Purse { allowances: vec![allowance], awake_rate, new_storage_rate, storage_rate, going: 0 }
    }

    fn awake_max(purse: &Purse, now: DateTime<Utc>, new: usize) -> usize {
        purse.awake_max(now, Duration::from_secs(100), new).expect("a budget").0
    }

    #[test]
    fn what_is_awake_when_the_period_ends_has_to_be_paid_by_the_next_one_too() {
        let now = at("2026-02-14T23:59:50Z");
        let max = |budget_micros, storage_rate| awake_max(&of_a_day(now, budget_micros, storage_rate), now, 0);
        // Ten seconds of today would be had for 10; 90 of tomorrow cost 90.
        assert_eq!((max(89, 0), max(90, 0), max(180, 0)), (0, 1, 2));
        // All that is stored costs 864 tomorrow.
        assert_eq!((max(864 + 89, 10_000), max(864 + 90, 10_000)), (0, 1));
        let early = at("2026-02-14T23:00:00Z");
        assert_eq!(awake_max(&of_a_day(early, 864, 10_000), early, 0), 8, "nothing of it lasts until tomorrow");
    }

    #[test]
    fn nothing_new_is_made_that_the_next_period_could_not_store_and_use() {
        let now = at("2026-02-14T23:00:00Z");
        let max = |budget_micros, new| awake_max(&of_a_day(now, budget_micros, 10_000), now, new);
        assert_eq!((max(2 * 864 + 99, 0), max(2 * 864 + 99, 1)), (17, 0), "it sleeps to the end and beyond");
        assert_eq!((max(2 * 864 + 100, 1), max(2 * 864 + 100, 2)), (1, 0));
        // February's last day pays for March.
        let last = at("2026-02-28T23:00:00Z");
        let month = |budget_micros| {
            let ends_at = end(Period::Month, last);
            let allowance = Allowance { period: Period::Month, budget_micros, spent_micros: 0, ends_at };
            Purse { allowances: vec![allowance], ..of_a_day(last, 0, 0) }
        };
        assert_eq!(awake_max(&month(31 * 864 + 99), last, 1), 0);
        assert_eq!(awake_max(&month(31 * 864 + 100), last, 1), 1);
    }

    #[test]
    fn what_is_going_costs_until_it_is_gone() {
        let now = at("2026-02-14T12:00:00Z");
        let max = |going| awake_max(&Purse { going, ..of_a_day(now, 1_000, 0) }, now, 0);
        assert_eq!((max(0), max(3), max(10), max(11)), (10, 7, 0, 0));
    }

    #[test]
    fn an_orphan_is_charged_once_for_all_the_time_that_it_was_there() {
        let (made, now) = (at("2026-02-14T06:00:00Z"), at("2026-02-14T12:00:00Z"));
        let (row, hour) = (at("2026-02-14T08:00:00Z"), TimeDelta::hours(1));
        for (made_at, row_until, charged, since) in [
            (Some(made), None, TimeDelta::zero(), made),
            (Some(made), None, hour, made + hour),
            (Some(made), Some(row), TimeDelta::zero(), row),
            (Some(made), Some(row), hour, row + hour),
            (Some(made), Some(made - hour), TimeDelta::zero(), made),
            (Some(made), None, hour * 9, now),
            (Some(now + hour), None, TimeDelta::zero(), now),
            (None, Some(row), hour, now),
        ] {
            assert_eq!(costs_since(made_at, row_until, charged, now), since, "{made_at:?} {row_until:?} {charged}");
        }
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
