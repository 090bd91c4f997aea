//! What waiting work is told of the pool.

use chrono::{DateTime, Utc};
use wire::cost::Period;
use wire::money::shown;

use super::Limits;
use crate::money::policy::{Allowance, Purse, TooSmall};

/// Why waiting work has to wait, as far as the pool is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing waits.
    Calm,
    /// So many machines are being made or woken.
    Coming(usize),
    /// The machines there will work the queue off.
    QueueShort {
        /// How many are active.
        active: usize,
    },
    /// The cap is reached and all are busy.
    Cap {
        /// The cap.
        machines_max: usize,
        /// See [`super::View::strangers`].
        strangers: usize,
    },
    /// A budget pays for no more.
    Budget {
        /// Which.
        period: Period,
        /// Millionths of a dollar.
        budget_micros: i64,
        /// When the next period begins.
        until: DateTime<Utc>,
    },
    /// A budget pays for none, however long one waits.
    TooSmall(TooSmall),
    /// Machines had to be given up, or none can be had; the next is tried later.
    Trouble {
        /// What was wrong with the last one.
        error: String,
        /// When the next is tried.
        until: DateTime<Utc>,
    },
}

impl Outlook {
    pub(super) fn budget(allowance: Allowance, purse: &Purse, limits: Limits) -> Self {
        if let Some(too_small) = purse.lacks(&allowance, limits.budget_reserve) {
            return Self::TooSmall(too_small);
        }
        let Allowance { period, budget_micros, ends_at, .. } = allowance;
        Self::Budget { period, budget_micros, until: ends_at }
    }

    /// What keeps machines from what waits, for people; nothing where some come or are there.
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::Calm | Self::Coming(_) | Self::QueueShort { .. } => None,
            Self::Cap { machines_max, strangers } => {
                let cap = format!("all machines are busy and the cap of {machines_max} is reached");
                Some(match strangers {
                    0 => cap,
                    1 => format!("{cap}, against which 1 machine counts that is not the pool's"),
                    _ => format!("{cap}, against which {strangers} machines count that are not the pool's"),
                })
            }
            Self::Budget { period, budget_micros, .. } => {
                let budget = shown(*budget_micros);
                Some(format!("the machines' budget of {budget} for the {period} pays for no more"))
            }
            Self::TooSmall(budget) => Some(budget.to_string()),
            Self::Trouble { error, .. } => Some(format!("no machine can be had now; it is tried again later: {error}")),
        }
    }

    /// When that may be over, where somebody knows.
    pub const fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Budget { until, .. } | Self::Trouble { until, .. } => Some(*until),
            Self::Calm | Self::Coming(_) | Self::QueueShort { .. } | Self::Cap { .. } | Self::TooSmall(_) => None,
        }
    }
}
