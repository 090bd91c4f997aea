//! Where the next machine is made, purely: the first region of the operator's
//! order that does not rest. A region rests after it had no room, ever longer,
//! and is tried again afterwards.

use chrono::{DateTime, TimeDelta, Utc};

/// Why a region rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// It has no room.
    Capacity,
    /// The organisation's quota in it is used up.
    Quota,
}

impl Shortage {
    /// How long it rests after so many refusals in a row; the first is 1.
    pub fn rest(self, times: u32) -> TimeDelta {
        let (first, most) = match self {
            Self::Capacity => (2, 60),
            Self::Quota => (30, 360),
        };
        TimeDelta::minutes((first << times.saturating_sub(1).min(6)).min(most))
    }
}

/// How long no machine is given an image with which one did not come up, after so many of them in a row; the first is
/// 1. Whatever it was may have passed by then, and one machine tries.
pub(crate) fn image_rest(times: u32) -> TimeDelta {
    TimeDelta::minutes((30 << times.saturating_sub(1).min(6)).min(24 * 60))
}

/// How long an image is not asked for that could not be had, after so many refusals in a row; the first is 1. Each try
/// makes a volume and destroys it.
pub(crate) fn missing_image_rest(times: u32) -> TimeDelta {
    TimeDelta::minutes((1 << times.saturating_sub(1).min(6)).min(15))
}

/// A region that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Which.
    pub region: String,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub why: String,
}

/// The first region that does not rest and is not the one to avoid.
pub fn choose<'a>(order: &'a [String], rested: &[Rest], now: DateTime<Utc>, avoid: Option<&str>) -> Option<&'a str> {
    order.iter().map(String::as_str).find(|region| Some(*region) != avoid && !rests(rested, Some(*region), now))
}

/// Whether a region rests.
pub(crate) fn rests(rested: &[Rest], region: Option<&str>, now: DateTime<Utc>) -> bool {
    rested.iter().any(|rest| Some(rest.region.as_str()) == region && rest.until > now)
}

/// The rest that ends first, where every region rests.
pub fn all_rest<'a>(order: &[String], rests: &'a [Rest], now: DateTime<Utc>) -> Option<&'a Rest> {
    if choose(order, rests, now, None).is_some() {
        return None;
    }
    rests.iter().filter(|rest| order.contains(&rest.region) && rest.until > now).min_by_key(|rest| rest.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_without_room_is_passed_over_until_it_has_rested() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
        let order: Vec<String> = ["iad", "ewr", "ord"].map(str::to_owned).to_vec();
        let rest = |region: &str, seconds: i64| Rest {
            region: region.into(),
            until: now + TimeDelta::seconds(seconds),
            why: "full".into(),
        };
        let check = |rests: &[Rest], avoid, expect| assert_eq!(choose(&order, rests, now, avoid), expect, "{rests:?}");
        check(&[], None, Some("iad"));
        check(&[rest("iad", 1)], None, Some("ewr"));
        check(&[rest("iad", 0)], None, Some("iad"));
        check(&[rest("iad", 1)], Some("ewr"), Some("ord"));
        let all = [rest("iad", 9), rest("ewr", 3), rest("ord", 5)];
        check(&all, None, None);
        assert_eq!(all_rest(&order, &all, now).map(|rest| rest.region.as_str()), Some("ewr"));
        assert_eq!(all_rest(&order, &all[1..], now), None);
    }

    #[test]
    fn rests_double_up_to_a_bound() {
        let minutes = |shortage: Shortage| [1, 2, 3, 9].map(|times| shortage.rest(times).num_minutes());
        assert_eq!(minutes(Shortage::Capacity), [2, 4, 8, 60]);
        assert_eq!(minutes(Shortage::Quota), [30, 60, 120, 360]);
        assert_eq!([1, 2, 3, 9].map(|times| missing_image_rest(times).num_minutes()), [1, 2, 4, 15]);
    }
}
