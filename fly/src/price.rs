//! What Fly asks for machines, volumes and sprites: the price list of the platform notes
//! (§5), in whole picodollars a second. The list is from 2024-10; its samples were
//! checked against the documentation of 2025-10-23.
//!
//! A region that is not on the list is taken at the dearest region's price.

use std::ops::RangeInclusive;

use crate::Guest;

/// The date of the price list.
pub const PRICES_OF: &str = "2024-10, checked 2025-10-23";

/// Fly's month has thirty days.
const MONTH_SECONDS: u64 = 30 * 24 * 3_600;
/// Millionths of a dollar for a month: "shared $0.695/vCPU-mo, performance $21/vCPU-mo, RAM $5/GB-mo".
const SHARED_CPU: u64 = 695_000;
const PERFORMANCE_CPU: u64 = 21_000_000;
const MEMORY_GB: u64 = 5_000_000;
/// "Stopped or suspended: rootfs $0.15/GB-mo; volume $0.15/GB-mo provisioned".
const STORED_GB: u64 = 150_000;

/// Sprites, everywhere: "$0.07/vCPU-h, $0.04375/GB-h, hot NVMe $0.50/GB-mo while running, storage $0.02/GB-mo".
const SPRITE_CPU_HOUR: u64 = 70_000;
const SPRITE_MEMORY_GB_HOUR: u64 = 43_750;
const SPRITE_HOT_GB: u64 = 500_000;
const SPRITE_STORED_GB: u64 = 20_000;
/// "100 GB ext4", of which what is written is paid for.
const SPRITE_DISK_GB: u64 = 100;

/// The regions and what they ask in thousandths of the base price: the price calculator's list of 2024-10 (its
/// `regions.ex`). It has regions that the documentation has left out since.
const PRICES: [(&str, u64); 35] = [
    ("ams", 1_038),
    ("arn", 1_038),
    ("atl", 1_250),
    ("bog", 1_615),
    ("bom", 1_077),
    ("bos", 1_250),
    ("cdg", 1_135),
    ("den", 1_250),
    ("dfw", 1_250),
    ("ewr", 1_000),
    ("eze", 1_858),
    ("fra", 1_154),
    ("gdl", 1_351),
    ("gig", 1_615),
    ("gru", 1_615),
    ("hkg", 1_404),
    ("iad", 1_000),
    ("jnb", 1_303),
    ("lax", 1_200),
    ("lhr", 1_135),
    ("mad", 1_096),
    ("mia", 1_250),
    ("nrt", 1_308),
    ("ord", 1_250),
    ("otp", 1_327),
    ("phx", 1_250),
    ("qro", 1_351),
    ("scl", 1_697),
    ("sea", 1_250),
    ("sin", 1_269),
    ("sjc", 1_192),
    ("syd", 1_269),
    ("waw", 1_327),
    ("yul", 1_115),
    ("yyz", 1_115),
];
/// The dearest of them.
const DEAREST: u64 = 1_858;

/// Where "you can host your apps" (documentation, reference/regions, 2026-08-07). One that Fly adds can be put in here
/// before its price is known.
const OFFERED: [&str; 18] = [
    "ams", "arn", "bom", "cdg", "dfw", "ewr", "fra", "gru", "iad", "jnb", "lax", "lhr", "nrt", "ord", "sin", "sjc",
    "syd", "yyz",
];

/// A second of a sprite that is awake, in picodollars: the most that it can cost, which is eight processors and
/// 4 GB of memory in full use, and all of its disk in the fast cache. Fly bills what is used, so a bill is lower.
pub fn sprite_awake() -> u64 {
    let hour = 8 * SPRITE_CPU_HOUR + 4 * SPRITE_MEMORY_GB_HOUR;
    (hour * 1_000_000).div_ceil(3_600) + per_month(SPRITE_DISK_GB * SPRITE_HOT_GB) + sprite_asleep()
}

/// A second of a sprite that sleeps, in picodollars: the most that it can cost, with its disk full.
pub fn sprite_asleep() -> u64 {
    per_month(SPRITE_DISK_GB * SPRITE_STORED_GB)
}

const fn per_month(micros: u64) -> u64 {
    (micros * 1_000_000).div_ceil(MONTH_SECONDS)
}

/// A second of a started machine, in picodollars.
pub fn started(guest: &Guest, region: &str) -> u64 {
    let cpu = if guest.cpu_kind == "performance" { PERFORMANCE_CPU } else { SHARED_CPU };
    let month = u64::from(guest.cpus) * cpu + u64::from(guest.memory_mb) * MEMORY_GB / 1_024;
    let markup = listed(region).unwrap_or(DEAREST);
    (month * 1_000 * markup).div_ceil(MONTH_SECONDS)
}

fn listed(region: &str) -> Option<u64> {
    PRICES.iter().find(|(code, _)| *code == region).map(|(_, markup)| *markup)
}

/// A second of so much stored: a volume, or what a suspended machine keeps.
pub fn stored(megabytes: u64) -> u64 {
    (megabytes * STORED_GB * 1_000_000).div_ceil(1_024 * MONTH_SECONDS)
}

/// What a machine with one kind of processor can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// How many processors.
    pub cpus: &'static [u32],
    /// The least and the most memory for each of them, in MB.
    pub memory_mb: RangeInclusive<u32>,
}

/// Memory comes in steps of so many MB.
pub const MEMORY_STEP_MB: u32 = 256;

/// What there is with that kind of processor, if there is such a kind (platform notes §1.6).
pub fn sizes(cpu_kind: &str) -> Option<Sizes> {
    match cpu_kind {
        "shared" => Some(Sizes { cpus: &[1, 2, 4, 6, 8], memory_mb: 256..=2_048 }),
        "performance" => Some(Sizes { cpus: &[1, 2, 4, 6, 8, 10, 12, 14, 16], memory_mb: 2_048..=8_192 }),
        _ => None,
    }
}

/// Why Fly has no such machine, with the sizes that there are.
pub fn check_size(guest: &Guest) -> Result<(), String> {
    let kind = &guest.cpu_kind;
    let Some(Sizes { cpus, memory_mb: per_cpu }) = sizes(kind) else {
        return Err(format!("there are no {kind:?} processors: use shared or performance"));
    };
    if !cpus.contains(&guest.cpus) {
        return Err(format!("a {kind} machine has one of {cpus:?} processors, not {}", guest.cpus));
    }
    let (least, most) = (per_cpu.start() * guest.cpus, per_cpu.end() * guest.cpus);
    if !(least..=most).contains(&guest.memory_mb) || !guest.memory_mb.is_multiple_of(MEMORY_STEP_MB) {
        let Guest { cpu_kind, cpus, memory_mb, .. } = guest;
        return Err(format!(
            "{cpu_kind}-cpu-{cpus}x has {least} to {most} MB of memory in steps of {MEMORY_STEP_MB}, not {memory_mb}"
        ));
    }
    Ok(())
}

/// Why a machine cannot be made in a region, with the regions that there are. One that is only on the price list is
/// let through: whether an account still has it, Fly knows, and says when a machine is made.
pub fn check_region(region: &str) -> Result<(), String> {
    match OFFERED.contains(&region) || listed(region).is_some() {
        true => Ok(()),
        false => {
            let listed = PRICES.iter().map(|(code, _)| *code).filter(|code| !OFFERED.contains(code));
            let (offered, former) = (OFFERED.join(", "), listed.collect::<Vec<_>>().join(", "));
            Err(format!(
                "there is no region {region:?}: use one of {offered}, or, where the account still has it, one of {former}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(cpu_kind: &str, cpus: u32, memory_mb: u32) -> Guest {
        Guest { cpu_kind: cpu_kind.to_owned(), cpus, memory_mb, ..Guest::default() }
    }

    #[test]
    fn the_price_of_every_size_is_that_of_the_list() {
        // Size, memory in MB, dollars for thirty days, picodollars a second: rows of the platform notes §5.
        for (cpu_kind, cpus, memory_mb, month, second) in [
            ("shared", 1, 256, 1.945, 750_000),
            ("shared", 1, 512, 3.195, 1_233_000),
            ("shared", 1, 1_024, 5.695, 2_197_000),
            ("shared", 1, 2_048, 10.695, 4_126_000),
            ("shared", 2, 512, 3.890, 1_501_000),
            ("shared", 2, 2_048, 11.390, 4_394_000),
            ("shared", 2, 4_096, 21.390, 8_252_000),
            ("shared", 4, 1_024, 7.780, 3_002_000),
            ("shared", 4, 8_192, 42.780, 16_505_000),
            ("shared", 8, 2_048, 15.560, 6_003_000),
            ("shared", 8, 16_384, 85.560, 33_009_000),
            ("performance", 1, 2_048, 31.0, 11_960_000),
            ("performance", 1, 8_192, 61.0, 23_534_000),
            ("performance", 2, 4_096, 62.0, 23_920_000),
            ("performance", 4, 32_768, 244.0, 94_136_000),
            ("performance", 8, 16_384, 248.0, 95_679_000),
            ("performance", 16, 131_072, 976.0, 376_543_000),
        ] {
            let guest = guest(cpu_kind, cpus, memory_mb);
            let found = started(&guest, "iad");
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let monthly = found as f64 * MONTH_SECONDS as f64 / 1e12;
            assert!((monthly - month).abs() < 0.001, "{guest:?}: {monthly}");
            assert!(found.abs_diff(second) <= 500, "{guest:?}: {found}");
            assert_eq!(check_size(&guest), Ok(()));
        }
    }

    #[test]
    fn a_region_has_its_markup_and_an_unknown_one_the_dearest() {
        let guest = guest("shared", 1, 256);
        // "sjc shared-1x 256 MB $2.32" (documentation, 2025-10-23).
        assert_eq!(started(&guest, "sjc") * MONTH_SECONDS / 10_u64.pow(10), 231);
        assert_eq!(started(&guest, "syd"), started(&guest, "sin"));
        assert_eq!(started(&guest, "xyz"), started(&guest, "eze"));
        assert!(PRICES.iter().all(|(_, markup)| (1_000..=DEAREST).contains(markup)) && PRICES.is_sorted());
        assert!(OFFERED.is_sorted());
        assert_eq!(stored(10 * 1_024), 578_704, "ten gigabytes are $1.50 a month");
    }

    #[test]
    fn a_sprite_costs_at_most_what_all_of_it_costs_in_full_use() {
        let dollars_an_hour = |rate: u64| (rate * 3_600).div_ceil(100_000_000);
        // $0.735 for processors and memory, $50 a month for 100 GB in the cache, $2 for them stored.
        assert_eq!(dollars_an_hour(sprite_awake()), 7_350 + 694 + 29);
        assert_eq!(sprite_asleep() * MONTH_SECONDS / 10_u64.pow(12), 2);
    }

    #[test]
    fn what_fly_does_not_have_is_refused_with_what_it_has() {
        for (guest, cure) in [
            (guest("quantum", 1, 256), "use shared or performance"),
            (guest("shared", 3, 1_024), "[1, 2, 4, 6, 8]"),
            (guest("shared", 2, 300), "512 to 4096 MB"),
            (guest("shared", 2, 4_352), "512 to 4096 MB"),
            (guest("performance", 1, 1_024), "2048 to 8192 MB"),
        ] {
            assert!(check_size(&guest).expect_err("refused").contains(cure), "{guest:?}");
        }
    }

    #[test]
    fn every_region_that_fly_offers_or_has_a_price_for_is_taken_and_a_slip_of_the_pen_is_not() {
        for region in OFFERED.into_iter().chain(["sea", "mad"]) {
            assert_eq!(check_region(region), Ok(()));
        }
        for region in ["xyz", "sydney", "SYD", "sy", ""] {
            let why = check_region(region).expect_err("refused");
            assert!(why.contains("use one of ams, arn") && why.contains("syd, yyz, or, where"), "{why}");
            assert!(PRICES.iter().all(|(code, _)| why.contains(code)), "whatever is taken is named: {why}");
        }
    }
}
