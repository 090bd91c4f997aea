//! The pool's part of the configuration. What the provider would refuse is
//! refused here, before it is called, with what it would take.

use std::time::Duration;

use kit::Vars;
use pool::{Provider, Settings};
use wire::worker::env::PROXIES;

/// Reads the pool's bounds; problems stay in `vars`.
pub(super) fn settings(vars: &mut Vars, provider: Provider) -> Settings {
    let defaults = Settings::default();
    let allow_more_machines = vars.or("BIFROST_ALLOW_MORE_MACHINES", false);
    let machines_max = vars.or("BIFROST_MAX_MACHINES", defaults.machines_max);
    check_cap(vars, machines_max, allow_more_machines);
    let seconds = |vars: &mut Vars, name, default: Duration| Duration::from_secs(vars.or(name, default.as_secs()));
    let machine_executions_max = vars.or("BIFROST_MACHINE_EXECUTIONS_MAX", defaults.machine_executions_max);
    if machine_executions_max < 1 {
        vars.problem("BIFROST_MACHINE_EXECUTIONS_MAX: must be at least 1");
    }
    Settings {
        machines_max,
        allow_more_machines,
        queue_per_machine: vars.or("BIFROST_QUEUE_PER_MACHINE", defaults.queue_per_machine),
        warm: vars.or("BIFROST_WARM", defaults.warm),
        prewarm: vars.or("BIFROST_PREWARM", defaults.prewarm),
        suspend_after: Duration::from_millis(vars.or("BIFROST_SUSPEND_AFTER_MS", 5_000)),
        destroy_after: seconds(vars, "BIFROST_DESTROY_AFTER_SECONDS", defaults.destroy_after),
        machine_age_max: seconds(vars, "BIFROST_MACHINE_AGE_MAX_SECONDS", defaults.machine_age_max),
        machine_executions_max,
        boot_patience: seconds(vars, "BIFROST_BOOT_PATIENCE_SECONDS", defaults.boot_patience),
        resume_patience: seconds(vars, "BIFROST_RESUME_PATIENCE_SECONDS", defaults.resume_patience),
        reap_orphans: vars.or("BIFROST_REAP_ORPHANS", defaults.reap_orphans),
        orphan_keep: seconds(vars, "BIFROST_ORPHAN_KEEP_SECONDS", defaults.orphan_keep),
        budget_day_micros: budget(vars, "BIFROST_BUDGET_DAY_DOLLARS"),
        budget_month_micros: budget(vars, "BIFROST_BUDGET_MONTH_DOLLARS"),
        budget_alerts: alerts(vars, defaults.budget_alerts),
        provider,
        ..defaults
    }
}

/// More than ten machines are had only by saying so twice (row FLY-038).
fn check_cap(vars: &mut Vars, machines_max: usize, allow_more: bool) {
    let hard = wire::limit::MACHINES_MAX;
    if machines_max == 0 {
        vars.problem(format!("BIFROST_MAX_MACHINES: must be from 1 to {hard}"));
    } else if machines_max > hard && !allow_more {
        vars.problem(format!(
            "BIFROST_MAX_MACHINES: must be from 1 to {hard}; for more, set BIFROST_ALLOW_MORE_MACHINES=true as well"
        ));
    }
}

fn budget(vars: &mut Vars, name: &str) -> Option<i64> {
    let dollars: f64 = vars.optional(name)?;
    if !(dollars > 0.0 && dollars <= 1e6) {
        vars.problem(format!("{name}: must be more than 0 and at most 1000000 dollars"));
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e12")]
    Some((dollars * 1e6).round() as i64)
}

fn alerts(vars: &mut Vars, default: Vec<u32>) -> Vec<u32> {
    let Some(text) = vars.text("BIFROST_BUDGET_ALERTS") else { return default };
    let parts: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match parts.filter(|parts| parts.iter().all(|percent| (1..=1_000).contains(percent))) {
        Some(parts) => parts,
        None => {
            vars.problem("BIFROST_BUDGET_ALERTS: must be percentages with commas between them, such as 50,80,100");
            default
        }
    }
}

/// What the Machines API is asked for; problems stay in `vars`.
pub(super) fn provider(vars: &mut Vars, pool_name: String) -> Provider {
    let defaults = Provider::default();
    let runner_command = vars.text("BIFROST_RUNNER_COMMAND").map(serde_json::from_str::<Vec<String>>);
    let runner_command = match runner_command.transpose() {
        Ok(command) => command,
        Err(_) => {
            vars.problem("BIFROST_RUNNER_COMMAND: must be a JSON array of strings, such as [\"bifrost-runner\"]");
            None
        }
    };
    let regions = vars.or("BIFROST_REGION", defaults.regions.join(","));
    let regions: Vec<String> = regions.split(',').map(|region| region.trim().to_owned()).collect();
    let provider = Provider {
        app: vars.or("BIFROST_RUNNER_APP", defaults.app),
        org: vars.or("BIFROST_FLY_ORG", defaults.org),
        pool_name,
        image: vars.or("BIFROST_RUNNER_IMAGE", defaults.image),
        image_mb: vars.or("BIFROST_RUNNER_IMAGE_MB", defaults.image_mb),
        regions,
        cpu_kind: vars.or("BIFROST_MACHINE_CPU_KIND", defaults.cpu_kind),
        cpus: vars.or("BIFROST_MACHINE_CPUS", defaults.cpus),
        memory_mb: vars.or("BIFROST_MACHINE_MEMORY_MB", defaults.memory_mb),
        volume_gb: vars.or("BIFROST_VOLUME_GB", defaults.volume_gb),
        runner_command,
        control_url: vars.or("BIFROST_PUBLIC_URL", defaults.control_url),
        runner_env: proxy(vars),
        sprites: None,
    };
    check(vars, &provider);
    provider
}

/// What tells the programs on a machine of the egress proxy. Its password is each execution's own, and the runner's to
/// add.
fn proxy(vars: &mut Vars) -> Vec<(String, String)> {
    let Some(text) = vars.text("BIFROST_RUNNER_PROXY").map(str::to_owned) else { return Vec::new() };
    let is_plain = |url: &url::Url| {
        url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none()
    };
    if !text.parse().is_ok_and(|url| is_plain(&url)) {
        vars.problem("BIFROST_RUNNER_PROXY: must be http://HOST:PORT, without a password");
        return Vec::new();
    }
    PROXIES.map(|name| (name.to_owned(), text.clone())).to_vec()
}

fn check(vars: &mut Vars, provider: &Provider) {
    if let Err(why) = fly::check_app_name(&provider.app) {
        vars.problem(format!("BIFROST_RUNNER_APP: {why}"));
    }
    for region in &provider.regions {
        if let Err(why) = fly::price::check_region(region) {
            vars.problem(format!("BIFROST_REGION: {why}"));
        }
    }
    if let Err(why) = fly::price::check_size(&provider.guest()) {
        vars.problem(format!("BIFROST_MACHINE_CPU_KIND, BIFROST_MACHINE_CPUS, BIFROST_MACHINE_MEMORY_MB: {why}"));
    }
    if !(1..=65_536).contains(&provider.image_mb) {
        vars.problem("BIFROST_RUNNER_IMAGE_MB: must be from 1 to 65536");
    }
    if !(1..=500).contains(&provider.volume_gb) {
        vars.problem("BIFROST_VOLUME_GB: must be from 1 to 500");
    }
    let allows_unpinned = vars.or("BIFROST_ALLOW_UNPINNED_IMAGE", false);
    if let Err(why) = check_image(&provider.image, allows_unpinned) {
        vars.problem(format!("BIFROST_RUNNER_IMAGE: {why}"));
    }
}

/// A tag may mean another image tomorrow, and Fly keeps the old one as long as the text is the same.
fn check_image(image: &str, allows_unpinned: bool) -> Result<(), String> {
    let is_reference = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./:_-".contains(&byte))
    };
    let Some((name, digest)) = image.split_once('@') else {
        return match (is_reference(image), allows_unpinned) {
            (false, _) => Err("is no image: write REGISTRY/NAME@sha256:DIGEST".into()),
            (true, true) => Ok(()),
            (true, false) => Err(
                "must be pinned by its digest, such as registry.fly.io/bifrost-runner@sha256:…, which `fly image show` \
                 prints; BIFROST_ALLOW_UNPINNED_IMAGE=true accepts a tag"
                    .into(),
            ),
        };
    };
    let is_digest = digest.strip_prefix("sha256:").is_some_and(fly::is_sha256);
    match (is_reference(name), is_digest) {
        (true, true) => Ok(()),
        (false, _) => Err("has a name with something else than letters, digits and ./:_- before its digest".into()),
        (true, false) => Err("its digest must be sha256: and 64 digits".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: (&str, &str) = (
        "BIFROST_RUNNER_IMAGE",
        "registry.fly.io/bifrost-runner@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    );

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let mut vars = Vars::from_pairs([PINNED].into_iter().chain(pairs.iter().copied()));
        let provider = provider(&mut vars, "p".into());
        let settings = settings(&mut vars, provider);
        vars.finish().map(|()| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_provider_would_refuse_is_refused_with_what_it_takes() {
        for (name, value, cure) in [
            ("BIFROST_REGION", "xyz", "use one of ams, arn"),
            ("BIFROST_RUNNER_APP", "a b", "lower-case letters, digits and dashes"),
            ("BIFROST_MAX_MACHINES", "abc", "a whole number"),
            ("BIFROST_MACHINE_CPUS", "-1", "a whole number from 0"),
            ("BIFROST_PREWARM", "maybe", "true or false"),
            ("BIFROST_REGION", "iad,", "use one of ams"),
            ("BIFROST_MACHINE_CPU_KIND", "quantum", "use shared or performance"),
            ("BIFROST_MACHINE_CPUS", "3", "[1, 2, 4, 6, 8]"),
            ("BIFROST_MACHINE_MEMORY_MB", "100", "512 to 4096"),
            ("BIFROST_VOLUME_GB", "0", "from 1 to 500"),
            ("BIFROST_RUNNER_IMAGE", "registry.fly.io/bifrost-runner:latest", "BIFROST_ALLOW_UNPINNED_IMAGE"),
            ("BIFROST_RUNNER_IMAGE_MB", "0", "from 1 to 65536"),
            ("BIFROST_RUNNER_IMAGE", "a b", "is no image"),
            ("BIFROST_RUNNER_IMAGE", "a@sha256:12", "64 digits"),
            ("BIFROST_RUNNER_IMAGE", &format!("a b@sha256:{}", "a".repeat(64)), "has a name with something else"),
            ("BIFROST_MAX_MACHINES", "11", "BIFROST_ALLOW_MORE_MACHINES"),
            ("BIFROST_MAX_MACHINES", "0", "from 1 to 10"),
            ("BIFROST_BUDGET_DAY_DOLLARS", "-1", "more than 0"),
            ("BIFROST_BUDGET_MONTH_DOLLARS", "NaN", "more than 0"),
            ("BIFROST_BUDGET_ALERTS", "half", "such as 50,80,100"),
            ("BIFROST_WARM", "weekdays 2", "mon-fri 08:00-18:00 2"),
            ("BIFROST_MACHINE_EXECUTIONS_MAX", "0", "at least 1"),
            ("BIFROST_RUNNER_PROXY", "egress.internal:3128", "http://HOST:PORT"),
            ("BIFROST_RUNNER_PROXY", "http://a:b@egress.internal:3128", "without a password"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert!(error.contains(name) && error.contains(cure), "{error}");
        }
    }

    #[test]
    fn bounds_are_read() {
        let settings = read(&[
            ("BIFROST_REGION", "fra, syd"),
            ("BIFROST_BUDGET_DAY_DOLLARS", "2.5"),
            ("BIFROST_BUDGET_ALERTS", "90"),
            ("BIFROST_RUNNER_IMAGE_MB", "1500"),
            ("BIFROST_MAX_MACHINES", "20"),
            ("BIFROST_ALLOW_MORE_MACHINES", "true"),
            ("BIFROST_RUNNER_PROXY", "http://bifrost-egress.flycast:3128"),
        ])
        .expect("reads");
        let proxy =
            |name: &str| settings.provider.runner_env.iter().find(|(known, _)| known == name).map(|(_, url)| url);
        assert_eq!(proxy("https_proxy").map(String::as_str), Some("http://bifrost-egress.flycast:3128"));
        assert_eq!(
            (settings.provider.regions.as_slice(), settings.provider.image_mb),
            (["fra", "syd"].map(str::to_owned).as_slice(), 1_500)
        );
        assert_eq!((settings.budget_day_micros, settings.budget_month_micros), (Some(2_500_000), None));
        assert_eq!((settings.budget_alerts.as_slice(), settings.cap()), ([90].as_slice(), 20));
        assert_eq!(read(&[]).expect("reads").cap(), 10);
    }

    #[test]
    fn more_to_be_kept_warm_than_may_exist_is_told() {
        let told =
            |warm| read(&[("BIFROST_WARM", warm), ("BIFROST_MAX_MACHINES", "3")]).expect("reads").warm_beyond_cap();
        assert_eq!(told("mon-fri 08:00-18:00 3; * 00:00-06:00 1"), None);
        let beyond = told("mon-fri 08:00-18:00 1; sat 08:00-18:00 4").expect("it is too many");
        assert!(beyond.starts_with("BIFROST_WARM keeps 4 machines") && beyond.contains("lets 3 exist"), "{beyond}");
    }
}
