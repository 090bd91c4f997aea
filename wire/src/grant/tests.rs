//! What was issued opens again, and nothing else does.

use proptest::prelude::*;

use super::*;

fn key(number: u8) -> GrantKey {
    GrantKey::of(&Key::from_bytes([number; 32]))
}

fn grant(ids: [[u8; 16]; 3]) -> Grant {
    let [machine, task, execution] = ids.map(Uuid::from_bytes);
    Grant { machine: machine.into(), task: task.into(), execution: execution.into() }
}

proptest! {
    #[test]
    fn a_grant_opens_as_it_was_issued_and_only_with_its_own_key(ids: [[u8; 16]; 3], mine: u8, other: u8) {
        let text = key(mine).issue(&grant(ids));
        prop_assert_eq!(key(mine).open(&text), Ok(grant(ids)));
        if mine != other {
            prop_assert_eq!(key(other).open(&text), Err(BadGrant::WrongSignature));
        }
    }

    #[test]
    fn a_grant_with_any_byte_changed_is_refused(ids: [[u8; 16]; 3], at: prop::sample::Index, byte in 0x21..0x7f_u8) {
        let text = key(1).issue(&grant(ids));
        let mut changed = text.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(key(1).open(std::str::from_utf8(&changed).expect("is ASCII")).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        prop_assert!(key(1).open(&text).is_err());
    }
}

#[test]
fn what_has_another_form_is_told_from_a_wrong_signature() {
    let good = key(1).issue(&grant([[1; 16], [2; 16], [3; 16]]));
    // A signature that is right over something that is no grant: another version, too few ids.
    let signed = |text: &str| format!("{text}.{}", key(1).0.token(text));
    let other_version = signed(&good.rsplit_once('.').expect("three parts").0.replace("v1.", "v2."));
    for text in ["", "v1", "v1.AAAA", ".", "..", &other_version, &signed("v1.AAAA"), &signed("v1.!"), &signed("v1.")] {
        assert_eq!(key(1).open(text), Err(BadGrant::Malformed), "{text}");
    }
    for text in [format!("{good}A"), format!("{good}="), good[..good.len() - 1].to_owned(), "v1..".to_owned()] {
        assert_eq!(key(1).open(&text), Err(BadGrant::WrongSignature), "{text}");
    }
}

#[test]
fn a_machines_key_and_other_uses_of_the_secret_sign_no_grants() {
    let master = Key::from_bytes([1; 32]);
    let wanted = grant([[1; 16], [2; 16], [3; 16]]);
    let machine = master.derive(&crate::signature::machine_key_id(wanted.machine));
    for forger in [GrantKey(machine.clone()), GrantKey::of(&machine), GrantKey(master)] {
        assert_eq!(key(1).open(&forger.issue(&wanted)), Err(BadGrant::WrongSignature));
    }
}
