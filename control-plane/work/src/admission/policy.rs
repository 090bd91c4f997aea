//! Whether a task that needs nothing more may start: one pure function over what
//! people have set (holds, limits, budgets) and what is in hand, so that the
//! reason that a waiting task is told is the refusal itself.
//!
//! What counts is the same for all tasks of a lane, that is of one project with
//! one set of keys; so a lane is open or closed as a whole, and a million tasks
//! behind one hold cost as much as one. What is a task's own (its time, a hold on
//! it, its lifetime budget) parks it: see [`parked_until`].
//!
//! Within a lane nobody overtakes: where the money that is left does not do for
//! the next task, a cheaper one behind it does not take it away.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use wire::admission::{RateLimit, SESSION_KEYS, is_own_key};
use wire::budget::Period;
use wire::execution::Failure;
use wire::id::{BudgetId, TaskId, TenantId};
use wire::money::dollars;
use wire::why::{Reason, ReasonCode};

use super::{Lane, Task};

/// A token, in the unit that buckets are kept in.
pub(crate) const TOKEN: i64 = 1_000_000;

/// What can be held besides a single task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Everything,
    Project(String),
    Key(String),
}

/// A reason that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) until: Option<DateTime<Utc>>,
}

/// A bucket of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) rate: RateLimit,
    /// How full it was at `level_at`, in millionths of a token.
    pub(crate) level_micros: i64,
    pub(crate) level_at: DateTime<Utc>,
}

impl Bucket {
    /// How full it is.
    pub(crate) fn level(&self, now: DateTime<Utc>) -> i64 {
        let full = i128::from(self.rate.burst()) * i128::from(TOKEN);
        let passed = i128::from((now - self.level_at).num_microseconds().unwrap_or(i64::MAX).max(0));
        // Microseconds times tokens for each second are millionths of a token.
        let added = passed * i128::from(self.rate.tokens) / i128::from(self.rate.per_seconds);
        i64::try_from((i128::from(self.level_micros) + added).min(full)).unwrap_or(i64::MAX)
    }

    /// When the next whole token is there; nothing where one is.
    pub(crate) fn next_token_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let missing = i128::from(TOKEN - self.level(now));
        if missing <= 0 {
            return None;
        }
        let tokens = i128::from(self.rate.tokens);
        let wait = (missing * i128::from(self.rate.per_seconds) + tokens - 1) / tokens;
        Some(now + TimeDelta::microseconds(i64::try_from(wait).unwrap_or(i64::MAX)))
    }

    fn take(&mut self, now: DateTime<Utc>) {
        self.level_micros = self.level(now) - TOKEN;
        self.level_at = now;
    }
}

/// What a key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) max_running: Option<i64>,
    pub(crate) bucket: Option<Bucket>,
}

/// A budget in the period that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) id: BudgetId,
    pub(crate) tenant: TenantId,
    /// Nothing for all tasks of the tenant together.
    pub(crate) project: Option<String>,
    pub(crate) period: Period,
    pub(crate) allocated_micros: i64,
    pub(crate) spent_micros: i64,
    pub(crate) reserved_micros: i64,
    /// What is set aside for each task, where that is not estimated.
    pub(crate) reservation_micros: Option<i64>,
    pub(crate) ends_at: DateTime<Utc>,
}

impl Budget {
    /// Whether it pays for tasks of the lane.
    pub(crate) fn pays_for(&self, lane: &Lane) -> bool {
        self.tenant == lane.tenant && (self.project.is_none() || self.project == lane.project)
    }

    fn left(&self) -> i64 {
        self.allocated_micros.saturating_sub(self.spent_micros).saturating_sub(self.reserved_micros)
    }

    /// What is set aside for a task that is estimated to cost so much.
    fn share_of(&self, estimate_micros: i64) -> i64 {
        self.reservation_micros.unwrap_or(estimate_micros)
    }
}

/// Everything that admission depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) holds: HashMap<(TenantId, Target), Vec<Hold>>,
    pub(crate) limits: HashMap<(TenantId, String), Limit>,
    pub(crate) budgets: Vec<Budget>,
    /// How many tasks with a key are in hand, for the keys that have a limit of that.
    pub(crate) running: HashMap<(TenantId, String), i64>,
    /// Which task is in hand with a key that is Bifrost's own.
    pub(crate) holders: HashMap<(TenantId, String), TaskId>,
}

/// One thing that keeps a task from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    NotBefore {
        until: DateTime<Utc>,
    },
    Held {
        what: String,
        hold: Hold,
    },
    Running {
        key: String,
        running: i64,
        max_running: i64,
    },
    /// Another task goes on with the same session of an agent.
    Session {
        key: String,
        by: Option<TaskId>,
    },
    Rate {
        key: String,
        until: DateTime<Utc>,
    },
    Budget {
        budget: Box<Budget>,
        needed_micros: i64,
    },
    Used {
        what: &'static str,
    },
}

/// What a task that starts takes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The buckets that it took a token of, as they are now.
    pub(crate) buckets: Vec<(String, Bucket)>,
    /// What is set aside for it, and in which budgets.
    pub(crate) reserved: Vec<(BudgetId, i64)>,
}

impl Rules {
    /// Whether anything is set at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.limits.is_empty() && self.budgets.is_empty() && self.running.is_empty()
    }

    /// What keeps every task of the lane from starting, the longest-lived kind first.
    pub(crate) fn obstacles(&self, lane: &Lane, estimate_micros: i64, now: DateTime<Utc>) -> Vec<Obstacle> {
        let mut found = Vec::new();
        self.holds_on(lane, now, &mut found);
        for budget in self.budgets.iter().filter(|budget| budget.pays_for(lane)) {
            let needed_micros = budget.share_of(estimate_micros);
            if budget.left() < needed_micros.max(1) {
                found.push(Obstacle::Budget { budget: Box::new(budget.clone()), needed_micros });
            }
        }
        for key in &lane.keys {
            let name = (lane.tenant, key.clone());
            let Some(limit) = self.limits.get(&name).cloned().or_else(|| own_limit(key)) else { continue };
            let running = self.running.get(&name).copied().unwrap_or(0);
            if let Some(max_running) = limit.max_running.filter(|most| running >= *most) {
                let key = key.clone();
                found.push(match key.starts_with(SESSION_KEYS) {
                    true => Obstacle::Session { key, by: self.holders.get(&name).copied() },
                    false => Obstacle::Running { key, running, max_running },
                });
            }
            if let Some(until) = limit.bucket.and_then(|bucket| bucket.next_token_at(now)) {
                found.push(Obstacle::Rate { key: key.clone(), until });
            }
        }
        found
    }

    fn holds_on(&self, lane: &Lane, now: DateTime<Utc>, found: &mut Vec<Obstacle>) {
        let project = lane.project.clone().map(Target::Project);
        let keys = lane.keys.iter().cloned().map(Target::Key);
        for target in std::iter::once(Target::Everything).chain(project).chain(keys) {
            let what = match &target {
                Target::Everything => "everything".to_owned(),
                Target::Project(name) => format!("the project {name}"),
                Target::Key(key) => format!("the key {key}"),
            };
            let holds = self.holds.get(&(lane.tenant, target)).into_iter().flatten();
            let holds = holds.filter(|hold| hold.until.is_none_or(|until| until > now));
            found.extend(holds.map(|hold| Obstacle::Held { what: what.clone(), hold: hold.clone() }));
        }
    }

    /// Takes in which tasks are in hand with keys that are Bifrost's own. What was let start before stays counted: it may
    /// not be in hand yet.
    pub(crate) fn hold_own_keys(&mut self, holders: HashMap<(TenantId, String), TaskId>) {
        for name in holders.keys() {
            let running = self.running.entry(name.clone()).or_default();
            *running = (*running).max(1);
        }
        self.holders = holders;
    }

    /// Lets a task of the lane start, which takes its place, its tokens and its money; or says why not.
    pub(crate) fn admit(
        &mut self,
        lane: &Lane,
        estimate_micros: i64,
        now: DateTime<Utc>,
    ) -> Result<Taken, Vec<Obstacle>> {
        let obstacles = self.obstacles(lane, estimate_micros, now);
        if !obstacles.is_empty() {
            return Err(obstacles);
        }
        let mut taken = Taken::default();
        for key in &lane.keys {
            let name = (lane.tenant, key.clone());
            *self.running.entry(name.clone()).or_default() += 1;
            if let Some(bucket) = self.limits.get_mut(&name).and_then(|limit| limit.bucket.as_mut()) {
                bucket.take(now);
                taken.buckets.push((key.clone(), *bucket));
            }
        }
        for budget in self.budgets.iter_mut().filter(|budget| budget.pays_for(lane)) {
            let micros = budget.share_of(estimate_micros);
            budget.reserved_micros += micros;
            taken.reserved.push((budget.id, micros));
        }
        Ok(taken)
    }
}

/// Tasks of one schedule whose overlaps queue share a key that lets one run at a time, and so do those that go on with
/// one session of an agent: two at once would each write down what the other does not know.
fn own_limit(key: &str) -> Option<Limit> {
    is_own_key(key).then_some(Limit { max_running: Some(1), bucket: None })
}

/// What keeps this one task from starting, whatever its lane allows.
pub(crate) fn own_obstacles(task: &Task, holds: &[Hold], now: DateTime<Utc>) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = used_up(task).into_iter().map(|what| Obstacle::Used { what }).collect();
    let holds = holds.iter().filter(|hold| hold.until.is_none_or(|until| until > now));
    found.extend(holds.map(|hold| Obstacle::Held { what: "the task".into(), hold: hold.clone() }));
    found.extend(task.not_before.filter(|time| *time > now).map(|until| Obstacle::NotBefore { until }));
    found
}

/// The parts of a task's lifetime budget that nothing is left of.
fn used_up(task: &Task) -> Vec<&'static str> {
    let budget = &task.budget;
    let parts = [
        ("dollars", budget.micros.is_some_and(|most| task.spent.micros >= most)),
        ("machine-seconds", budget.machine_seconds.is_some_and(|most| task.spent.machine_seconds >= most)),
        ("tokens", budget.tokens.is_some_and(|most| task.spent.tokens >= most)),
        ("attempts", budget.attempts.is_some_and(|most| task.attempts >= most)),
    ];
    parts.into_iter().filter(|(_, is_used_up)| *is_used_up).map(|(what, _)| what).collect()
}

/// Until when a task cannot start for a reason of its own: for ever is nine thousand years.
pub(crate) fn parked_until(task: &Task, holds: &[Hold], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = |obstacle: Obstacle| match obstacle {
        Obstacle::NotBefore { until } => until,
        Obstacle::Held { hold, .. } => hold.until.unwrap_or(FOR_EVER),
        _ => FOR_EVER,
    };
    own_obstacles(task, holds, now).into_iter().map(until).max()
}

/// Later than any time that can be set.
pub(crate) const FOR_EVER: DateTime<Utc> = match DateTime::from_timestamp(253_370_764_800, 0) {
    Some(time) => time,
    None => DateTime::<Utc>::MAX_UTC,
};

impl Obstacle {
    /// The stable code of a refusal by hand.
    pub(crate) fn refusal(&self) -> &'static str {
        match self {
            Self::NotBefore { .. } => "not_before",
            Self::Held { .. } => "held",
            Self::Running { .. } => "concurrency_limit",
            Self::Session { .. } => "session_in_use",
            Self::Rate { .. } => "rate_limit",
            Self::Budget { .. } | Self::Used { .. } => "over_budget",
        }
    }
}

impl From<Obstacle> for Reason {
    fn from(obstacle: Obstacle) -> Self {
        let task_id = match &obstacle {
            Obstacle::Session { by, .. } => *by,
            _ => None,
        };
        let (code, message, until) = match obstacle {
            Obstacle::NotBefore { until } => {
                (ReasonCode::NotBefore, "it is not to start before its time".into(), Some(until))
            }
            Obstacle::Held { what, hold } => {
                (ReasonCode::Held, format!("{} holds {what}: {}", hold.owner, hold.reason), hold.until)
            }
            Obstacle::Running { key, running, max_running } => {
                let message = format!("{running} tasks with the key {key} are in hand, and {max_running} may be");
                (ReasonCode::ConcurrencyLimit, message, None)
            }
            Obstacle::Session { key, by } => {
                let session = key.trim_start_matches(SESSION_KEYS);
                let other = by.map_or_else(|| "another task".to_owned(), |id| format!("the task {id}"));
                let message = format!(
                    "{other} goes on with the session {session}, which one at a time may do; it begins when that has \
                     ended or is called off, and without a session it would not wait"
                );
                (ReasonCode::ConcurrencyLimit, message, None)
            }
            Obstacle::Rate { key, until } => {
                (ReasonCode::RateLimit, format!("tasks with the key {key} may not start more often"), Some(until))
            }
            Obstacle::Budget { budget, needed_micros } => {
                (ReasonCode::Budget, over_budget(&budget, needed_micros), Some(budget.ends_at))
            }
            Obstacle::Used { what } => {
                (ReasonCode::Budget, format!("its own budget of {what} is used up; a larger one lets it go on"), None)
            }
        };
        Self { code, message, until, task_id }
    }
}

fn over_budget(budget: &Budget, needed_micros: i64) -> String {
    let whose = budget.project.as_ref().map_or_else(|| "all tasks".to_owned(), |name| format!("the project {name}"));
    let (allocated, spent) = (dollars(budget.allocated_micros), dollars(budget.spent_micros));
    let reserved = dollars(budget.reserved_micros);
    let needs = if needed_micros > 0 { format!(", and it needs {}", dollars(needed_micros)) } else { String::new() };
    format!(
        "the budget of {whose} for the {} is {allocated} dollars, of which {spent} are spent and {reserved} set aside{needs}",
        budget.period
    )
}

/// What so many seconds of a machine cost, rounded up.
pub(crate) fn machine_micros(seconds: i64, micros_per_hour: i64) -> i64 {
    let micros = (i128::from(seconds.max(0)) * i128::from(micros_per_hour.max(0)) + 3_599) / 3_600;
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// How long a task is expected to be on a machine: its effort estimate, else as long as it may be.
pub(crate) fn expected_seconds(effort_minutes: Option<i32>, timeout_seconds: Option<i64>) -> i64 {
    let most = i64::try_from(wire::limit::TIMEOUT_SECONDS_DEFAULT).unwrap_or(i64::MAX);
    effort_minutes.map_or_else(|| timeout_seconds.unwrap_or(most), |minutes| i64::from(minutes) * 60)
}

/// How long a task may still be on a machine, of its own budget, and what of that is spent then; nothing where that
/// sets no bound.
pub(crate) fn seconds_left(task: &Task, micros_per_hour: i64) -> Option<(u64, Failure)> {
    let of_seconds = task.budget.machine_seconds.map(|most| most - task.spent.machine_seconds);
    let of_money = task.budget.micros.map(|most| most - task.spent.micros).filter(|_| micros_per_hour > 0);
    let of_money = of_money.map(|micros| micros.saturating_mul(3_600) / micros_per_hour.max(1));
    let of_seconds = of_seconds.map(|seconds| (seconds, Failure::MachineTimeSpent));
    let left = of_seconds.into_iter().chain(of_money.map(|seconds| (seconds, Failure::DollarsSpent)));
    let (seconds, by) = left.min_by_key(|(seconds, _)| *seconds)?;
    Some((u64::try_from(seconds).unwrap_or(0).max(1), by))
}

/// When the period began that the time is in, and when it ends; in UTC, a week from Monday.
pub(crate) fn period_of(period: Period, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    use chrono::{Datelike, Months, NaiveTime};
    let day = now.date_naive();
    let (first, next) = match period {
        Period::Day => (day, day + TimeDelta::days(1)),
        Period::Week => {
            let monday = day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()));
            (monday, monday + TimeDelta::days(7))
        }
        Period::Month => {
            let first = day.with_day(1).unwrap_or(day);
            (first, first.checked_add_months(Months::new(1)).unwrap_or(first))
        }
    };
    (first.and_time(NaiveTime::MIN).and_utc(), next.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests;
