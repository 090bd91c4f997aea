//! Advice, row by row of the platform notes.

use super::Action::*;
use super::Advice::*;
use super::*;

fn refused(action: Action, status: u16, code: Option<&str>, message: &str) -> Error {
    Error::Refused {
        action,
        status,
        code: code.map(str::to_owned),
        message: message.to_owned(),
        request_id: None,
        retry_after: None,
    }
}

#[test]
fn every_row_of_the_platform_notes_has_its_advice() {
    let adopted =
        "already_exists: unique machine name violation, machine ID 7840ddda44d628 already exists with name \"m\"";
    let quota = "organization \"acme\" is using 102400 MB of memory in dfw which is over the allowed quota. \
                 please consider other regions";
    let no_memory = "aborted: could not reserve resource for machine: insufficient memory available to fulfill request \
                     on the current host";
    let concurrent = "aborted: machine update failed due to concurrent update";
    let leased = "machine ID 2879325b42d318 lease currently held by 9af@tokens.fly.io, expires at 2026-05-14T10:41:08Z";
    let placement = "insufficient resources to create new machine with existing volume id 'vol_x'";
    let limit = "Your organization has reached its machine limit. Please contact billing@fly.io";
    let still_created = "failed_precondition: unable to start machine from current state: 'created'";
    let bound = "failed_precondition: volume is currently bound to machine: 7840ddda44d628";
    for (action, status, code, message, expected) in [
        (CreateVolume, 400, None, "no capacity", AnotherRegion),
        (CreateMachine, 400, None, "volume not found", RecreateElsewhere),
        (ReadMachine, 400, None, "invalid machine ID, 'X'", GiveUp),
        (CreateMachine, 400, None, "invalid_argument: config", GiveUp),
        (ListMachines, 401, None, "Authenticate: token validation error", GiveUp),
        (CreateMachine, 403, None, quota, RestRegion),
        (CreateMachine, 403, None, "forbidden", GiveUp),
        (Start, 404, None, "not found", Gone),
        (ReleaseLease, 404, None, "lease not found", Gone),
        (UpdateMachine, 404, None, "lease not found", LookAgain),
        (CreateMachine, 408, None, "deadline_exceeded: flyd", LookAgain),
        (CreateVolume, 408, None, "deadline_exceeded", LookAgain),
        (Stop, 408, None, "deadline_exceeded", WaitAndRetry),
        (CreateMachine, 409, None, adopted, Adopt("7840ddda44d628".to_owned())),
        (Start, 409, None, no_memory, RecreateElsewhere),
        (CreateMachine, 409, None, no_memory, AnotherRegion),
        (CreateMachine, 409, None, "aborted: no capacity", AnotherRegion),
        (WriteMetadata, 409, None, concurrent, WaitAndRetry),
        (UpdateMachine, 409, None, concurrent, LookAgain),
        (UpdateMachine, 409, None, no_memory, RecreateElsewhere),
        (UpdateMachine, 412, None, "min_secrets_version mismatch", LookAgain),
        (UpdateMachine, 504, None, "", LookAgain),
        (CreateSnapshot, 502, None, "", LookAgain),
        (AssignAddress, 503, None, "", LookAgain),
        (Suspend, 409, None, leased, WaitAndRetry),
        (Start, 409, None, "governor policy blocked start", RecreateElsewhere),
        (Start, 409, None, "deploys to this host are temporarily disabled", RecreateElsewhere),
        (CreateMachine, 412, Some("volume_placement_capacity"), "", RecreateElsewhere),
        (CreateMachine, 412, None, placement, RecreateElsewhere),
        (Start, 412, None, still_created, WaitAndRetry),
        (Start, 412, None, "failed_precondition: machine still active, refusing to start", WaitAndRetry),
        (Start, 412, None, "failed_precondition: machine getting replaced, refusing to start", WaitAndRetry),
        (Suspend, 412, None, "failed_precondition: not started", LookAgain),
        (WriteMetadata, 412, None, "machine_version mismatch", LookAgain),
        (CreateMachine, 412, None, "min_secrets_version mismatch", WaitAndRetry),
        (CreateMachine, 412, None, "failed_precondition: something else", GiveUp),
        (UpdateMachine, 404, None, "MANIFEST_UNKNOWN: manifest unknown", WaitAndRetry),
        (DestroyVolume, 412, None, bound, WaitAndRetry),
        (CreateMachine, 422, Some("insufficient_capacity"), "", AnotherRegion),
        (CreateMachine, 422, None, "could not find a candidate host", AnotherRegion),
        (CreateApp, 422, Some("name_taken"), "Validation failed: Name has already been taken", GiveUp),
        (CreateMachine, 422, None, limit, GiveUp),
        (CreateMachine, 422, None, "config.image: required", GiveUp),
        (CreateMachine, 422, None, "MANIFEST_UNKNOWN: manifest unknown", WaitAndRetry),
        (UpdateMachine, 400, None, "MANIFEST_UNKNOWN: manifest unknown", WaitAndRetry),
        (CreateMachine, 400, None, "failed to get manifest example.org/image: unauthorized", WaitAndRetry),
        (Start, 429, None, "rate limit exceeded", SlowDown),
        (CreateMachine, 429, None, "rate limit exceeded", SlowDown),
        (CreateMachine, 500, None, "internal", LookAgain),
        (CreateMachine, 503, None, "", LookAgain),
        (Start, 502, None, "bad gateway", WaitAndRetry),
    ] {
        assert_eq!(refused(action, status, code, message).advice(), expected, "{action:?} {status} {message}");
    }
}

#[test]
fn what_is_said_of_an_image_is_told_from_the_rest() {
    for (status, message, expected) in [
        (422, "MANIFEST_UNKNOWN: manifest unknown", true),
        (404, "manifest unknown [http 404]", true),
        (400, "failed to get manifest example.org/image: unauthorized", true),
        (422, "config.image: required", false),
        (500, "MANIFEST_UNKNOWN: manifest unknown", false),
    ] {
        assert_eq!(refused(CreateMachine, status, None, message).is_of_image(), expected, "{status} {message}");
    }
}

#[test]
fn only_the_name_clash_itself_is_adopted() {
    for message in ["machine ID  already exists", "machine ID ../x already exists", "machine ID 12 is leased"] {
        assert_eq!(refused(CreateMachine, 409, None, message).advice(), LookAgain, "{message}");
    }
}

#[test]
fn an_error_names_the_action_the_reason_and_the_request() {
    let error = Error::Refused {
        action: Start,
        status: 412,
        code: None,
        message: "failed_precondition: machine still active".to_owned(),
        request_id: Some("01J-fra".to_owned()),
        retry_after: None,
    };
    assert_eq!(
        error.to_string(),
        "the Machines API refused to start the machine: failed_precondition: machine still active \
         (HTTP 412, fly-request-id 01J-fra)"
    );
}
