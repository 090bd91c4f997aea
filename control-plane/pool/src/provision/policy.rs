//! What to do with a machine that is on its way: pure, so that every state of the
//! provider and every refusal is a row of a test.
//!
//! A machine that runs is given its time; one that does not is started. One that
//! had its time climbs a ladder, each rung of which has a deadline: look again →
//! restart → stop and start → make it anew on another host, with a copy of its
//! volume where that can be had → make it in another region → give it up, with the
//! reason. A rung that cannot help is left out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::{Advice, MachineState as At};
use wire::machine::MachineState;

use crate::regions::policy::Shortage;

/// Starts of a machine that ends by itself before its worker reports in, before another rung is tried.
const RESTARTS_MAX: i32 = 3;
/// How long a machine may be on its way to sleep until it is stopped, and twice that until it is made anew.
const SLEEP_PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// Refused suspensions after which a machine is stopped instead.
const SUSPENDS_MAX: i32 = 3;
/// So often in a row a creation is tried again of which nobody knows how it went, however long that takes.
const UNSURE_MAX: i32 = 10;
/// So many refusals of an image take a minute and a half; registries were seen to be behind for a quarter of one.
const IMAGE_TRIES: i32 = 9;
/// How long a machine that is told to stop may take to end by itself.
pub const STOP_TIMEOUT: TimeDelta = TimeDelta::seconds(60);
/// A list may lack for about a second what was made just now; for so long it is not believed.
pub const LIST_LAG: Duration = Duration::from_secs(5);
/// After so many minutes on its way a machine counts as stuck and is reported.
pub const STUCK_MINUTES: i32 = 5;
/// After so many it is acted on, whatever it was being given time for.
pub const STUCK_ACT_MINUTES: i32 = 10;

/// How far a machine's recovery has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// It is only looked at.
    #[default]
    Look,
    /// It was restarted.
    Restart,
    /// It was stopped, to be started.
    StopStart,
    /// It was made anew on another host.
    Recreate,
    /// It was made anew in another region.
    OtherRegion,
}

impl Rung {
    const ALL: [Self; 5] = [Self::Look, Self::Restart, Self::StopStart, Self::Recreate, Self::OtherRegion];

    /// For the database.
    pub(crate) fn number(self) -> i32 {
        self as i32
    }

    /// From the database; what this version does not know is the last.
    pub(crate) fn from_number(number: i32) -> Self {
        Self::ALL.into_iter().find(|rung| rung.number() == number).unwrap_or(Self::OtherRegion)
    }

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "looked at again",
            Self::Restart => "restarted",
            Self::StopStart => "stopped and started",
            Self::Recreate => "made anew on another host",
            Self::OtherRegion => "made anew in another region",
        }
    }
}

/// A booting machine, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booting {
    /// Since when its worker should report in.
    pub since: DateTime<Utc>,
    /// Starts since then.
    pub restarts: i32,
    /// By when its worker has to report in, once it was seen running or was started.
    pub report_by: Option<DateTime<Utc>>,
    /// The time a first boot takes, image and all.
    pub patience: Duration,
    /// How far its recovery has come.
    pub rung: Rung,
    /// Whether its host answers.
    pub is_host_well: bool,
}

/// Whether a machine was ordered to boot and nobody has looked at it since: whoever waits for one that sleeps should not
/// wait for a look at it as well.
pub fn is_first_look(report_by: Option<DateTime<Utc>>, failures: i32, restarts: i32) -> bool {
    report_by.is_none() && failures == 0 && restarts == 0
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Start it.
    Start,
    /// Restart it: the second rung.
    Restart,
    /// Stop it; it is started when it is next looked at: the third rung.
    Stop,
    /// It runs, and gets so long to report in.
    GrantTime,
    /// Look again then.
    Wait(DateTime<Utc>),
    /// This cannot be helped where it is.
    Climb(Trouble, String),
}

/// What is wrong with a machine that has to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not get where it should, whatever is tried.
    Unresponsive,
    /// It is gone at the provider.
    Vanished,
    /// Its host has no room for it.
    HostFull,
    /// Its volume is gone at the provider.
    VolumeLost,
    /// Its region has no room.
    Region(Shortage),
    /// It is refused, or out of reach, for a reason that may be none of its own.
    Refused,
}

/// Decides about a machine whose worker should report in.
pub fn boot(machine: Booting, at: At, now: DateTime<Utc>) -> Boot {
    // One that was started anew is given its time, however long it has been on its way.
    let boot_over = machine.since + TimeDelta::from_std(machine.patience).unwrap_or(TimeDelta::days(1)) <= now
        && machine.report_by.is_none_or(|until| until <= now);
    let soon = Boot::Wait(now + TimeDelta::milliseconds(500));
    let climb = |why: &str| Boot::Climb(Trouble::Unresponsive, why.into());
    match at {
        At::Started => match machine.report_by {
            None => Boot::GrantTime,
            Some(until) if now < until => Boot::Wait(until),
            Some(_) => match machine.rung {
                Rung::Look => Boot::Restart,
                Rung::Restart => Boot::Stop,
                Rung::StopStart | Rung::Recreate | Rung::OtherRegion => climb("its worker never reported in"),
            },
        },
        // It may be back in a minute with what the machine has there.
        At::Stopped | At::Suspended if !machine.is_host_well => {
            Boot::Climb(Trouble::Refused, "its host does not answer".into())
        }
        At::Stopped | At::Suspended if machine.restarts >= RESTARTS_MAX => {
            climb("its runner keeps ending before it reports in; see the machine's log")
        }
        At::Stopped | At::Suspended => Boot::Start,
        // The provider launches it by itself when its image is there.
        At::Created if !boot_over => soon,
        At::Created if machine.restarts < RESTARTS_MAX => Boot::Start,
        At::Failed if machine.rung < Rung::Restart => Boot::Restart,
        At::Destroyed | At::Destroying | At::LaunchFailed | At::Replaced => {
            Boot::Climb(Trouble::Vanished, format!("the provider says that it is {}", at.as_str()))
        }
        At::Failed => climb("its boot fails"),
        _ if boot_over => climb(&format!("it has been {} for too long", at.as_str())),
        _ => soon,
    }
}

/// What happens to a machine's volume when the machine is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The new machine gets it: it is free, and its host has room.
    Keep,
    /// The new machine gets a copy, which may be on another host.
    Copy,
    /// The new machine gets an empty one.
    New,
}

/// How a machine that cannot be helped where it is comes to be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is made anew in its region.
    Recreate(Disk),
    /// It is made anew in another region, where its volume cannot follow.
    OtherRegion,
    /// It is made anew with its volume and the image that it ran before.
    FormerImage,
    /// It sleeps on, or waits with its disk until it can be made, and is asked for ever more seldom.
    Wait,
    /// Nothing is left to try.
    GiveUp,
}

/// A machine that cannot be helped where it is, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub state: MachineState,
    /// How far its recovery has come.
    pub rung: Rung,
    /// Whether it has a volume of its own at the provider.
    pub has_volume: bool,
    /// Whether something may be on its disk, or on what that is to be a copy of.
    pub is_used: bool,
    /// Whether there is another region that does not rest.
    pub has_other_region: bool,
    /// Whether its image was changed and it has not come up since.
    pub has_former_image: bool,
    /// Whether the budgets pay for another disk, beside the one that is kept for a while.
    pub is_disk_paid_for: bool,
}

/// Decides how a machine is made anew, if at all. Neither one that is there nor a disk with something on it goes for a
/// refusal that says nothing about them, and none gets a disk that is not paid for.
pub fn remedy(trouble: Trouble, case: Case) -> Remedy {
    match best_remedy(trouble, case) {
        Remedy::Recreate(Disk::Copy | Disk::New) | Remedy::OtherRegion if !case.is_disk_paid_for => {
            match (trouble, case.state) {
                // One that can be neither put to sleep nor stopped costs until it is gone.
                (Trouble::Unresponsive, MachineState::Suspending) => Remedy::Recreate(Disk::Keep),
                _ => Remedy::Wait,
            }
        }
        remedy => remedy,
    }
}

/// The same where money does not matter.
fn best_remedy(trouble: Trouble, case: Case) -> Remedy {
    let Case { state, rung, has_volume, is_used, has_other_region, has_former_image, .. } = case;
    let loses = is_used || matches!(state, MachineState::Starting | MachineState::Resuming);
    let elsewhere = match rung {
        Rung::OtherRegion => Remedy::GiveUp,
        _ if has_other_region => Remedy::OtherRegion,
        _ => Remedy::GiveUp,
    };
    match trouble {
        Trouble::Unresponsive if has_former_image && has_volume => Remedy::FormerImage,
        // So does one whose launch fails; the first time, another host may be enough.
        Trouble::Vanished if has_former_image && has_volume && rung >= Rung::Recreate => Remedy::FormerImage,
        // It may be the image that is refused.
        Trouble::Refused if has_former_image && has_volume && state == MachineState::Creating => Remedy::FormerImage,
        Trouble::Region(_) | Trouble::Refused if loses => Remedy::Wait,
        // Every region that is asked rests afterwards, so this comes to an end.
        Trouble::Region(_) if has_other_region => Remedy::OtherRegion,
        Trouble::Region(_) | Trouble::Refused => Remedy::GiveUp,
        Trouble::HostFull if rung >= Rung::Recreate && loses => Remedy::Wait,
        // Its disk is its own and would go with it.
        Trouble::Unresponsive if is_used && !has_volume && state != MachineState::Creating => Remedy::Wait,
        // Without a machine there is none that could be at fault.
        Trouble::Unresponsive if rung >= Rung::Recreate && is_used && state == MachineState::Creating => Remedy::Wait,
        _ if rung >= Rung::Recreate => elsewhere,
        Trouble::VolumeLost => Remedy::Recreate(Disk::New),
        Trouble::Vanished if has_volume => Remedy::Recreate(Disk::Keep),
        Trouble::HostFull | Trouble::Unresponsive if has_volume => Remedy::Recreate(Disk::Copy),
        Trouble::HostFull | Trouble::Unresponsive | Trouble::Vanished => Remedy::Recreate(Disk::New),
    }
}

/// What a failed call means for the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stumble {
    /// The same again, a little later.
    Retry,
    /// Our token is refused: nobody calls for a while.
    TokenRefused,
    /// This cannot be helped where it is.
    Climb(Trouble),
    /// It is of no use, and no other would be.
    GiveUp,
}

/// A call that failed, as far as the decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Where the machine stands.
    pub state: MachineState,
    /// What the refusal advises.
    pub advice: Advice,
    /// Its status, if the provider answered.
    pub status: Option<u16>,
    /// Whether the machine has stood there for longer than it should.
    pub is_late: bool,
    /// Whether the provider answers other calls: a machine is not given up for the provider's outage.
    pub is_provider_well: bool,
    /// Failed calls in a row before this one.
    pub failures: i32,
}

/// Whether a machine has been on its way for too long, which it may be until then. One that was given time to report in
/// has that time, and the calls of the next rung as long again as one that is resumed.
pub fn is_late(
    until: Option<DateTime<Utc>>,
    report_by: Option<DateTime<Utc>>,
    patience: Duration,
    now: DateTime<Utc>,
) -> bool {
    let patience = TimeDelta::from_std(patience).unwrap_or(TimeDelta::days(1));
    until.is_some_and(|until| until < now) && report_by.is_none_or(|by| by + patience < now)
}

/// Whether an image that is refused counts as one that cannot be had: a registry is behind a push for a while, but not
/// where it was that before and nobody has got it since.
pub fn is_image_missing(failures: i32, was_missing: bool) -> bool {
    was_missing || failures >= IMAGE_TRIES
}

/// Decides what a failed call means.
pub fn stumble(failed: &Failed) -> Stumble {
    use MachineState::{Creating, Destroying, Draining, Ready, Resuming, Starting, Suspending};
    // A token that is good for another app is as bad as none.
    if failed.status == Some(401) || (failed.status == Some(403) && failed.advice == Advice::GiveUp) {
        return Stumble::TokenRefused;
    }
    let is_refusal = failed.status.is_some_and(|status| (400..500).contains(&status));
    match (failed.state, &failed.advice) {
        // What is being destroyed is tried until it is gone.
        (Destroying, _) => Stumble::Retry,
        (Creating, Advice::RecreateElsewhere) if failed.status == Some(400) => Stumble::Climb(Trouble::VolumeLost),
        (Creating | Starting | Resuming, Advice::RestRegion) => Stumble::Climb(Trouble::Region(Shortage::Quota)),
        (Creating | Starting | Resuming, Advice::AnotherRegion) => Stumble::Climb(Trouble::Region(Shortage::Capacity)),
        (Creating | Starting | Resuming, Advice::RecreateElsewhere) => Stumble::Climb(Trouble::HostFull),
        // Where everything is gone, one machine is not: its app cannot be reached.
        (Starting | Resuming | Suspending | Draining | Ready, Advice::Gone) if failed.is_provider_well => {
            Stumble::Climb(Trouble::Vanished)
        }
        (Creating, Advice::Undo) => Stumble::GiveUp,
        (Creating | Starting | Resuming, Advice::GiveUp) if is_refusal => Stumble::Climb(Trouble::Refused),
        (Starting | Resuming, Advice::SlowDown) if failed.is_late => Stumble::Climb(Trouble::Refused),
        // There may be a machine now: with another made in its place there would be two.
        (Creating, Advice::LookAgain) if failed.failures < UNSURE_MAX => Stumble::Retry,
        _ if failed.is_late && failed.is_provider_well => Stumble::Climb(Trouble::Unresponsive),
        _ => Stumble::Retry,
    }
}

/// How long to wait at least until a call that failed is made again. What a creation may have made is looked for in a
/// list first, and made a second time where that lags and lacks it.
pub fn least_wait(state: MachineState, advice: &Advice) -> Duration {
    match (state, advice) {
        (MachineState::Creating, Advice::LookAgain) => LIST_LAG,
        _ => Duration::ZERO,
    }
}

/// Until when a machine that drains since then may still save. A worker that is heard is saving, or cannot deliver its
/// events yet: asleep, it would keep them from the record, but they are on its disk, and it costs for as long as it is
/// waited for. One that fell silent will not save anything any more.
pub fn drains_until(since: DateTime<Utc>, heard_at: Option<DateTime<Utc>>, patience: Duration) -> DateTime<Utc> {
    let silent =
        heard_at.map_or(since, |at| at.max(since)) + TimeDelta::from_std(patience).unwrap_or(TimeDelta::days(1));
    silent.min(since + TimeDelta::minutes(STUCK_ACT_MINUTES.into()))
}

/// When what is being destroyed since then is looked at again: the more seldom the longer it has taken.
pub fn goes_until(since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    now + ((now - since) / 8).clamp(TimeDelta::seconds(1), TimeDelta::minutes(1))
}

/// A machine that should sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tired {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Failed calls in a row.
    pub failures: i32,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// It sleeps, or is stopped: its volume keeps what matters.
    Asleep,
    /// Suspend it.
    Suspend,
    /// Stop it.
    Stop,
    /// It is on its way.
    Wait,
    /// This cannot be helped where it is.
    Climb(Trouble),
}

/// Decides about a machine that should sleep.
pub fn suspend(machine: Tired, at: At, now: DateTime<Utc>) -> Sleep {
    let age = now - machine.since;
    match at {
        // One that was never started has nothing to put to sleep.
        At::Suspended | At::Stopped | At::Created => Sleep::Asleep,
        At::Destroyed | At::Destroying | At::LaunchFailed | At::Replaced => Sleep::Climb(Trouble::Vanished),
        _ if age >= SLEEP_PATIENCE * 2 => Sleep::Climb(Trouble::Unresponsive),
        At::Failed => Sleep::Stop,
        At::Suspending if age < SLEEP_PATIENCE => Sleep::Wait,
        At::Stopping => Sleep::Wait,
        _ if age >= SLEEP_PATIENCE || machine.failures >= SUSPENDS_MAX => Sleep::Stop,
        _ => Sleep::Suspend,
    }
}

/// For how many minutes a machine counts as stuck that was last reported at `reported`: 5, 10, or not anew.
pub fn newly_stuck(state: MachineState, since: DateTime<Utc>, reported: i32, now: DateTime<Utc>) -> Option<i32> {
    let is_passing = match state {
        MachineState::Creating
        | MachineState::Starting
        | MachineState::Resuming
        | MachineState::Draining
        | MachineState::Suspending
        | MachineState::Destroying => true,
        MachineState::Ready | MachineState::Suspended | MachineState::Destroyed => false,
    };
    let minutes = (now - since).num_minutes();
    let reached = [STUCK_ACT_MINUTES, STUCK_MINUTES].into_iter().find(|mark| minutes >= i64::from(*mark))?;
    (is_passing && reached > reported).then_some(reached)
}

#[cfg(test)]
mod tests;
