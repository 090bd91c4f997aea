//! What machines cost, as the control plane's API shows it. Money is in
//! millionths of a dollar.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::MachineId;
use crate::machine::MachineState;
use crate::task::text_enum;

text_enum! {
    /// For how long a budget is, in UTC.
    Period, "period" {
        /// From midnight to midnight.
        Day = "day",
        /// From the first of the month.
        Month = "month",
    }
}

/// A period's spending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpendingView {
    /// For how long.
    pub period: Period,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When the next begins.
    pub ends_at: DateTime<Utc>,
    /// What it has cost so far.
    pub spent_micros: i64,
    /// What it will have cost at its end if what is awake now stays awake.
    pub forecast_micros: i64,
    /// The budget, if there is one.
    pub budget_micros: Option<i64>,
}

/// What one machine costs, its volume included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineCostView {
    /// Which.
    pub id: MachineId,
    /// Its name at the provider.
    pub name: String,
    /// Where it stands.
    pub state: MachineState,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// Executions its worker has.
    pub load: i32,
    /// Where it is.
    pub region: Option<String>,
    /// Its processors and memory, such as `shared-cpu-2x 2048 MB`.
    pub size: String,
    /// What an hour costs as it stands now.
    pub hourly_micros: i64,
    /// What today has cost.
    pub today_micros: i64,
    /// What this month has cost.
    pub month_micros: i64,
}

text_enum! {
    /// What is not as it should be.
    CostProblem, "cost problem" {
        /// More machines exist than allowed.
        OverCap = "over_cap",
        /// A machine is awake, has nothing to do, and is not kept warm.
        Idle = "idle",
        /// A machine or volume of the pool that no row knows.
        Orphan = "orphan",
        /// A machine of the app that is not the pool's.
        Stranger = "stranger",
        /// A machine has been on its way to another state for too long.
        Stuck = "stuck",
        /// A budget is used up.
        OverBudget = "over_budget",
        /// A budget will be used up if things go on as now.
        Forecast = "forecast",
        /// Registry and provider have not been compared lately, so this may not be all.
        NotCompared = "not_compared",
        /// The provider refuses the control plane's token: no machine is made or woken.
        TokenRefused = "token_refused",
        /// The provider cannot get the image of the machines: none is made.
        ImageMissing = "image_missing",
        /// The provider cannot be reached, or what answers is not the provider: no machine is made or woken.
        ProviderAway = "provider_away",
    }
}

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CostFinding {
    /// What.
    pub problem: CostProblem,
    /// The same for a person, with the cure.
    pub message: String,
    /// The machine, where it is one of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<MachineId>,
}

/// The answer of `GET /v1/cost`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CostView {
    /// The moment it is about.
    pub as_of: DateTime<Utc>,
    /// The date of the price list.
    pub prices_of: String,
    /// Machines that exist, asleep or awake.
    pub machines: Vec<MachineCostView>,
    /// Machines that the provider lists and no row knows: they count against the cap as well.
    #[serde(default)]
    pub strangers: usize,
    /// The most that may exist.
    pub machines_max: usize,
    /// Today and this month.
    pub spending: Vec<SpendingView>,
    /// What should not be; nothing where all is well.
    pub findings: Vec<CostFinding>,
    /// Why a task that came now would bring no machine up, if it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

impl CostView {
    /// How many machines there are, as the cap counts them: also those that no row of the pool is about.
    pub fn exist(&self) -> usize {
        self.machines.len() + self.strangers
    }

    /// That the provider refuses the control plane's token, where it does.
    pub fn refusal_of_token(&self) -> Option<&CostFinding> {
        self.find(CostProblem::TokenRefused)
    }

    /// That the provider cannot get the image of the machines, where it cannot.
    pub fn missing_image(&self) -> Option<&CostFinding> {
        self.find(CostProblem::ImageMissing)
    }

    /// That the provider gives no usable answer, where it does not.
    pub fn absence_of_provider(&self) -> Option<&CostFinding> {
        self.find(CostProblem::ProviderAway)
    }

    /// Why machines cannot be had, each with the cure: what is behind others first.
    pub fn refusals(&self) -> impl Iterator<Item = &CostFinding> {
        [self.refusal_of_token(), self.absence_of_provider(), self.missing_image()].into_iter().flatten()
    }

    /// The first finding of a kind.
    pub fn find(&self, problem: CostProblem) -> Option<&CostFinding> {
        self.findings.iter().find(|finding| finding.problem == problem)
    }
}
