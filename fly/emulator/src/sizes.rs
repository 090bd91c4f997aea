//! Pure: the sizes of machines and the names of volumes that Fly has (platform notes
//! §1.6 and §1.11), and its refusals of others.

use fly::price::{MEMORY_STEP_MB, Sizes, sizes};
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// What a volume's name may have.
const NAME_LETTERS: usize = 30;
/// What a machine's name may have: it is a label in the domain name system.
const MACHINE_NAME_LETTERS: usize = 63;

/// What a named size's name begins with, and the kind of its processors; the rest of it counts them.
const NAMED: [(&str, &str); 2] = [("shared-cpu", "shared"), ("performance", "performance")];

/// Refuses a configuration whose processors and memory Fly does not have together. Without a guest it is Fly's
/// smallest, or that of a named size; in a guest the kind of processor must be said, and the rest only if it is said.
pub(crate) fn check_guest(config: &Map<String, Value>) -> Result<(), Refusal> {
    check_named(config.get("size").unwrap_or(&Value::Null))?;
    let Some(guest) = config.get("guest").filter(|guest| !guest.is_null()) else { return Ok(()) };
    let number = |field: &str| guest.get(field).filter(|said| !said.is_null()).map(|said| said.as_u64().unwrap_or(0));
    let kind = guest.get("cpu_kind").and_then(Value::as_str).unwrap_or_default();
    let Some(Sizes { cpus: counts, memory_mb: per_cpu }) = sizes(kind) else {
        return Err(invalid("cpu_kind", "must be one of [shared performance]"));
    };
    let cpus = number("cpus").unwrap_or(1);
    if !counts.iter().any(|count| u64::from(*count) == cpus) {
        let counts: Vec<String> = counts.iter().map(u32::to_string).collect();
        return Err(invalid("cpus", &format!("must be one of [{}]", counts.join(" "))));
    }
    let (least, most) = (u64::from(*per_cpu.start()) * cpus, u64::from(*per_cpu.end()) * cpus);
    match number("memory_mb") {
        Some(memory) if memory < least => Err(invalid("memory_mb", &format!("minimum required {least} MiB"))),
        Some(memory) if memory > most => Err(invalid("memory_mb", &format!("cannot exceed {most} MiB"))),
        Some(memory) if memory % u64::from(MEMORY_STEP_MB) != 0 => {
            Err(invalid("memory_mb", &format!("must be a multiple of {MEMORY_STEP_MB} MiB")))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_named(size: &Value) -> Result<(), Refusal> {
    let names = NAMED.iter().flat_map(|(name, kind)| {
        let counts = sizes(kind).map_or(&[][..], |sizes| sizes.cpus);
        counts.iter().map(move |count| format!("{name}-{count}x"))
    });
    let names: Vec<String> = names.collect();
    match size {
        Value::Null => Ok(()),
        Value::String(size) if size.is_empty() || names.contains(size) => Ok(()),
        _ => Err(Refusal::malformed(format!("invalid config.size, must be one of [{}]", names.join(" ")))),
    }
}

/// Refuses a volume's name that is not lower-case letters, digits and underscores, or too long.
pub(crate) fn check_volume_name(name: &str) -> Result<(), Refusal> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() {
        return Err(Refusal::invalid_argument("name is required"));
    }
    if name.len() > NAME_LETTERS || !name.bytes().all(is_letter) {
        let rule = format!("name must be at most {NAME_LETTERS} lower-case letters, digits and underscores");
        return Err(Refusal::invalid_argument(rule));
    }
    Ok(())
}

/// Refuses a configuration without an image: every machine has one, or one for each of its containers.
pub(crate) fn check_image(config: &Map<String, Value>) -> Result<(), Refusal> {
    let has_image = config.get("image").and_then(Value::as_str).is_some_and(|image| !image.trim().is_empty());
    let has_containers = config.get("containers").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    match has_image || has_containers {
        true => Ok(()),
        false => Err(Refusal::invalid_argument("config.image is required")),
    }
}

/// Refuses a machine's name that could not be in an address; without one a machine is given one.
pub(crate) fn check_machine_name(name: &str) -> Result<(), Refusal> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.len() > MACHINE_NAME_LETTERS || !name.bytes().all(is_letter) {
        let rule = format!("name must be at most {MACHINE_NAME_LETTERS} letters, digits, dashes and underscores");
        return Err(Refusal::invalid_argument(rule));
    }
    Ok(())
}

/// Refuses a secret's name that no environment could have.
pub(crate) fn check_secret_name(name: &str) -> Result<(), Refusal> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(is_letter) {
        let rule = format!("secret name {name:?} must be letters, digits and underscores, with no digit first");
        return Err(Refusal::invalid_argument(rule));
    }
    Ok(())
}

fn invalid(field: &str, rule: &str) -> Refusal {
    Refusal::malformed(format!("invalid config.guest.{field}, {rule}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_has_an_image_and_names_are_such_as_addresses_and_environments_have() {
        let image = |config: Value| check_image(config.as_object().expect("an object")).is_ok();
        assert!(image(json!({"image": "a"})) && image(json!({"containers": [{"image": "a"}]})));
        for config in [json!({}), json!({"image": ""}), json!({"image": " "}), json!({"containers": []})] {
            assert!(!image(config.clone()), "{config}");
        }
        assert!(check_machine_name("").is_ok() && check_machine_name("bifrost-a_1").is_ok());
        for name in ["a b", "a/b", "ż", &"a".repeat(64)] {
            assert!(check_machine_name(name).is_err(), "{name}");
        }
        assert!(check_secret_name("API_KEY").is_ok() && check_secret_name("_a1").is_ok());
        for name in ["", "1A", "A B", "A=B", "A-B"] {
            assert!(check_secret_name(name).is_err(), "{name}");
        }
    }

    fn checked(guest: Value) -> Result<(), Refusal> {
        check_guest(&Map::from_iter([("guest".to_owned(), guest)]))
    }

    #[test]
    fn what_fly_has_passes() {
        for guest in [
            Value::Null,
            json!({"cpu_kind": "shared"}),
            json!({"cpu_kind": "shared", "cpus": null, "memory_mb": null}),
            json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}),
            json!({"cpu_kind": "shared", "cpus": 4, "memory_mb": 1_024}),
            json!({"cpu_kind": "shared", "cpus": 6, "memory_mb": 12_288}),
            json!({"cpu_kind": "performance", "cpus": 1, "memory_mb": 2_048}),
            json!({"cpu_kind": "performance", "cpus": 8, "memory_mb": 32_768, "gpu_kind": "a10", "gpus": 1}),
            json!({"cpu_kind": "performance", "cpus": 16, "memory_mb": 131_072}),
        ] {
            assert_eq!(checked(guest.clone()), Ok(()), "{guest}");
        }
        assert_eq!(check_guest(&Map::new()), Ok(()));
    }

    #[test]
    fn what_fly_does_not_have_is_refused_in_its_words() {
        for (guest, error) in [
            (json!({}), "invalid config.guest.cpu_kind, must be one of [shared performance]"),
            (json!({"cpu_kind": "dedicated"}), "invalid config.guest.cpu_kind, must be one of [shared performance]"),
            (json!({"cpu_kind": "shared", "cpus": 5}), "invalid config.guest.cpus, must be one of [1 2 4 6 8]"),
            (json!({"cpu_kind": "shared", "cpus": -1}), "invalid config.guest.cpus, must be one of [1 2 4 6 8]"),
            (
                json!({"cpu_kind": "performance", "cpus": 3}),
                "invalid config.guest.cpus, must be one of [1 2 4 6 8 10 12 14 16]",
            ),
            (
                json!({"cpu_kind": "shared", "cpus": 4, "memory_mb": 512}),
                "invalid config.guest.memory_mb, minimum required 1024 MiB",
            ),
            (
                json!({"cpu_kind": "shared", "memory_mb": 4_096}),
                "invalid config.guest.memory_mb, cannot exceed 2048 MiB",
            ),
            (
                json!({"cpu_kind": "performance", "cpus": 8, "memory_mb": 8_192}),
                "invalid config.guest.memory_mb, minimum required 16384 MiB",
            ),
            (
                json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 700}),
                "invalid config.guest.memory_mb, must be a multiple of 256 MiB",
            ),
        ] {
            assert_eq!(checked(guest.clone()), Err(Refusal::new(400, error)), "{guest}");
        }
    }

    #[test]
    fn a_named_size_is_one_of_those_that_a_guest_can_have() {
        let named = |size: Value| check_guest(&Map::from_iter([("size".to_owned(), size)]));
        for size in [json!(null), json!(""), json!("shared-cpu-1x"), json!("shared-cpu-8x"), json!("performance-16x")] {
            assert_eq!(named(size.clone()), Ok(()), "{size}");
        }
        for size in
            [json!("shared-cpu-9x"), json!("shared-1x"), json!("performance-3x"), json!("performance"), json!(1)]
        {
            let refusal = named(size.clone()).expect_err("refused");
            let words = "invalid config.size, must be one of [shared-cpu-1x shared-cpu-2x shared-cpu-4x ";
            assert!(refusal.status == 400 && refusal.error.starts_with(words), "{size}: {refusal:?}");
        }
    }

    #[test]
    fn a_volume_is_called_by_thirty_letters_digits_and_underscores_at_most() {
        let (longest, too_long) = ("a".repeat(30), "a".repeat(31));
        for name in ["cache", "sprite_bifrost_0a1b", "_", longest.as_str()] {
            assert_eq!(check_volume_name(name), Ok(()), "{name}");
        }
        for name in ["", "my-cache", "Cache", "a b", "ä", "../x", too_long.as_str()] {
            assert_eq!(check_volume_name(name).expect_err("refused").status, 400, "{name}");
        }
    }
}
