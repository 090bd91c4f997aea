//! Pure: from an answer of the Machines API or of the Sprites API to what must be
//! done. The table of answers is the platform notes' §1.7; the tests hold every row
//! of it.

use super::Action;

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// It exists already: take this machine.
    Adopt(String),
    /// It may or may not have happened, or the state has moved on: read before deciding.
    LookAgain,
    /// Nothing is wrong that time does not cure: the same call again, a little later.
    WaitAndRetry,
    /// No room in this region.
    AnotherRegion,
    /// No room, or no use, on the host that holds it: make it anew, its volume too.
    RecreateElsewhere,
    /// The organisation's quota in this region is used up: leave the region alone for a while.
    RestRegion,
    /// Too many calls.
    SlowDown,
    /// It does not exist.
    Gone,
    /// No repeat will help: a person must change something.
    GiveUp,
    /// The same, and what was made so far is of no use.
    Undo,
}

/// What to do about a refusal. `code` is the `status` word of the body.
pub(super) fn for_refusal(action: Action, status: u16, code: Option<&str>, message: &str) -> Advice {
    let message = message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    match status {
        400 if says("no capacity") => Advice::AnotherRegion,
        400 if says("volume not found") => Advice::RecreateElsewhere,
        403 if says("over the allowed quota") => Advice::RestRegion,
        // The registry lags behind a push, and hosts behind a secret that was set.
        400..=499 if is_of_image(&message) => Advice::WaitAndRetry,
        412 if action.is_create() && says("min_secrets_version") => Advice::WaitAndRetry,
        // A lease has run out half-way, which says nothing about its machine.
        404 if says("lease not found") && !action.is_of_lease() => Advice::LookAgain,
        404 => Advice::Gone,
        409 => for_conflict(action, &message),
        412 if code == Some("volume_placement_capacity") || says("insufficient resources") => Advice::RecreateElsewhere,
        412 => for_precondition(action),
        422 if code == Some("insufficient_capacity") || says("could not find a candidate host") => {
            Advice::AnotherRegion
        }
        // More sprites are awake than the plan allows: none can be made until one sleeps.
        429 if action.is_create() && code == Some("concurrent_sprite_limit_exceeded") => Advice::AnotherRegion,
        429 => Advice::SlowDown,
        408 | 500.. if action.needs_a_look() => Advice::LookAgain,
        408 | 500.. => Advice::WaitAndRetry,
        _ => Advice::GiveUp,
    }
}

/// Whether a refusal says that an image cannot be had: no registry has it, or it is not to be read there.
pub(super) fn is_of_image(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["manifest_unknown", "manifest unknown", "failed to get manifest"].iter().any(|words| message.contains(words))
}

fn for_conflict(action: Action, message: &str) -> Advice {
    let says = |text: &str| message.contains(text);
    if let Some(id) = existing_machine(message) {
        return Advice::Adopt(id.to_owned());
    }
    if says("could not reserve resource") {
        // A create is free to go to any host, so all of them are full.
        return if action.is_create() { Advice::AnotherRegion } else { Advice::RecreateElsewhere };
    }
    if says("no capacity") {
        return Advice::AnotherRegion;
    }
    if says("governor policy") || says("temporarily disabled") {
        return Advice::RecreateElsewhere;
    }
    // Somebody's lease passes; a create that clashes, or a configuration that another has changed, must be looked at.
    if action.is_create() || says("concurrent update") && action == Action::UpdateMachine {
        Advice::LookAgain
    } else {
        Advice::WaitAndRetry
    }
}

/// The wrong state for this: it passes before a start and while a volume is still bound to a
/// dying machine; anything else has to look at the state that it overlooked.
fn for_precondition(action: Action) -> Advice {
    match action {
        Action::Start | Action::DestroyVolume => Advice::WaitAndRetry,
        Action::CreateApp
        | Action::CreateMachine
        | Action::CreateVolume
        | Action::CreateSnapshot
        | Action::AssignAddress
        | Action::CreateSprite
        | Action::SaveCheckpoint => Advice::GiveUp,
        Action::ListApps
        | Action::ReadApp
        | Action::DeleteApp
        | Action::ReadMachine
        | Action::ListMachines
        | Action::UpdateMachine
        | Action::Suspend
        | Action::Stop
        | Action::Restart
        | Action::Cordon
        | Action::Uncordon
        | Action::DestroyMachine
        | Action::Wait
        | Action::ReadEvents
        | Action::ReadVersions
        | Action::Exec
        | Action::ListProcesses
        | Action::Signal
        | Action::ReadMemory
        | Action::WriteMemory
        | Action::ReadLease
        | Action::AcquireLease
        | Action::ReleaseLease
        | Action::ReadMetadata
        | Action::WriteMetadata
        | Action::ReadVolume
        | Action::ListVolumes
        | Action::UpdateVolume
        | Action::ExtendVolume
        | Action::ListSnapshots
        | Action::ListSecrets
        | Action::WriteSecrets
        | Action::ListSecretKeys
        | Action::WriteSecretKeys
        | Action::UseSecretKey
        | Action::ListCertificates
        | Action::WriteCertificates
        | Action::ListAddresses
        | Action::ReleaseAddress
        | Action::FindPlacements
        | Action::ListRegions
        | Action::ListOrgMachines
        | Action::ListOrgVolumes
        | Action::ReadSprite
        | Action::ListSprites
        | Action::DestroySprite
        | Action::ExecInSprite
        | Action::HoldSprite
        | Action::ListCheckpoints
        | Action::RestoreCheckpoint
        | Action::ReadPolicy
        | Action::WritePolicy
        | Action::DefineService
        | Action::RestartService => Advice::LookAgain,
    }
}

/// The id in `unique machine name violation, machine ID <id> already exists with name "<name>"`.
fn existing_machine(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("machine id ")?;
    let (id, rest) = rest.split_once(' ')?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_id && rest.starts_with("already exists")).then_some(id)
}
