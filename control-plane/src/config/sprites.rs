//! The configuration of sprites as machines. What a sprite does not have is refused
//! when it is set, and so is an address that no sprite reaches.

use fly::{Program, SpriteAction, SpritePolicy, SpriteRule};
use kit::Vars;
use pool::{Provider, SPRITES_REGION, Sprites};
use url::{Host, Url};
use wire::worker::env::STEERING;

/// Which provider there is.
const PROVIDER: &str = "BIFROST_PROVIDER";
/// What is for machines alone, and why not for sprites.
const OF_MACHINES: [(&str, &str); 10] = [
    ("BIFROST_RUNNER_APP", "sprites belong to no app"),
    ("BIFROST_FLY_ORG", "the token says whose sprites they are"),
    ("BIFROST_RUNNER_IMAGE", "a sprite has no image: BIFROST_SPRITES_RUNNER says what runs in it"),
    ("BIFROST_ALLOW_UNPINNED_IMAGE", "a sprite has no image"),
    ("BIFROST_RUNNER_COMMAND", "BIFROST_SPRITES_RUNNER says what runs in a sprite"),
    ("BIFROST_REGION", "where sprites are is not ours to choose"),
    ("BIFROST_MACHINE_CPU_KIND", "all sprites are of one size"),
    ("BIFROST_MACHINE_CPUS", "all sprites are of one size"),
    ("BIFROST_MACHINE_MEMORY_MB", "all sprites are of one size"),
    ("BIFROST_VOLUME_GB", "a sprite has its own disk, of 100 GB"),
];
/// What is for sprites alone.
const OF_SPRITES: [&str; 5] = [
    "BIFROST_SPRITES_URL",
    "BIFROST_SPRITES_TOKEN",
    "BIFROST_SPRITES_RUNNER",
    "BIFROST_SPRITES_DIR",
    "BIFROST_SPRITES_ALLOW",
];
/// The directory of the runner in a sprite, in the home of its user.
const DIRECTORY: &str = "/home/sprite/bifrost";
/// The platform's own list: git hosts, registries and model APIs, as on the egress proxy's.
const DEFAULTS: &str = "defaults";
const DISK_GB: u32 = 100;
/// What the names of private hosts end in.
const PRIVATE: [&str; 6] = ["internal", "flycast", "local", "localhost", "lan", "arpa"];

/// Whether machines are sprites; what is set for the other kind is a problem in `vars`.
pub(super) fn are_chosen(vars: &mut Vars) -> bool {
    let is_sprites = match vars.text(PROVIDER).unwrap_or("fly") {
        "fly" => false,
        "sprites" => true,
        _ => {
            vars.problem(format!("{PROVIDER}: must be fly or sprites"));
            return false;
        }
    };
    if is_sprites {
        for (name, why) in OF_MACHINES.into_iter().filter(|(name, _)| vars.text(name).is_some()).collect::<Vec<_>>() {
            vars.problem(format!("{name}: {why}; leave it out with {PROVIDER}=sprites"));
        }
    } else {
        for name in OF_SPRITES.into_iter().filter(|name| vars.text(name).is_some()).collect::<Vec<_>>() {
            vars.problem(format!("{name}: is for sprites alone; set {PROVIDER}=sprites as well, or leave it out"));
        }
    }
    is_sprites
}

/// What the Sprites API is asked for; nothing where something is missing, and `vars` knows what.
pub(super) fn provider(vars: &mut Vars, pool_name: String, events_url: Option<&str>) -> Option<Provider> {
    let defaults = Provider::default();
    let control_url = vars.or("BIFROST_PUBLIC_URL", defaults.control_url.clone());
    let runner: Option<Program> = vars.required("BIFROST_SPRITES_RUNNER");
    let directory = vars.or("BIFROST_SPRITES_DIR", DIRECTORY.to_owned());
    if !directory.starts_with('/') || directory.starts_with("/.sprite") || directory.contains([':', '\n']) {
        let cure = "must be an absolute path without a colon, and not below /.sprite, which is the platform's";
        vars.problem(format!("BIFROST_SPRITES_DIR: {cure}"));
    }
    let reached = [("BIFROST_PUBLIC_URL", Some(control_url.as_str())), ("BIFROST_EVENTS_PUBLIC_URL", events_url)];
    let mut hosts: Vec<String> = runner.as_ref().and_then(Program::host).into_iter().collect();
    for (name, url) in reached {
        match url.map(|url| host_of(url, is_local(vars))).transpose() {
            Ok(host) => hosts.extend(host),
            Err(why) => vars.problem(format!("{name}: {why}")),
        }
    }
    let policy = policy(vars, hosts);
    // A sprite has no image with an environment of its own.
    let handed_on = STEERING.iter().filter_map(|name| Some(((*name).to_owned(), vars.text(name)?.to_owned())));
    let runner_env = handed_on.collect();
    let image = runner.as_ref().map(ToString::to_string).unwrap_or_default();
    let sprites = Sprites { runner: runner?, directory: directory.trim_end_matches('/').to_owned(), policy };
    Some(Provider {
        pool_name,
        image,
        regions: vec![SPRITES_REGION.to_owned()],
        volume_gb: DISK_GB,
        control_url,
        runner_env,
        sprites: Some(sprites),
        ..defaults
    })
}

/// Whether the Sprites API is a fake on this computer, whose sprites reach it as well.
fn is_local(vars: &Vars) -> bool {
    let url = vars.text("BIFROST_SPRITES_URL").and_then(|url| Url::parse(url).ok());
    url.as_ref().and_then(Url::host).is_some_and(|host| match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    })
}

/// The host of an address that sprites must reach, or why none does: a policy knows names, and what they lead to
/// must be public.
fn host_of(url: &str, is_local: bool) -> Result<String, String> {
    let parsed = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
    let host = parsed.host().ok_or("names no host")?;
    let is_private = match &host {
        Host::Domain(name) => match name.rsplit_once('.') {
            Some((_, last)) => PRIVATE.contains(&last),
            None => true,
        },
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    if is_private && !is_local {
        return Err(format!("sprites reach public hosts by their names, and never {host}; set it to such an address"));
    }
    if parsed.scheme() != "https" && !is_local {
        return Err("must be https: sprites come over the internet, with the token of their machine".into());
    }
    Ok(host.to_string())
}

/// What sprites may reach: what they need, what the operator allows, and nothing else.
fn policy(vars: &mut Vars, mut hosts: Vec<String>) -> SpritePolicy {
    let allowed = vars.or("BIFROST_SPRITES_ALLOW", DEFAULTS.to_owned());
    let mut rules = Vec::new();
    for word in allowed.split(',').map(str::trim) {
        if word == DEFAULTS {
            rules.push(SpriteRule::Include { include: DEFAULTS.to_owned() });
        } else if is_name(word.strip_prefix("*.").unwrap_or(word)) {
            hosts.push(word.to_owned());
        } else {
            vars.problem(format!(
                "BIFROST_SPRITES_ALLOW: must be names of hosts with commas between them, such as \
                 {DEFAULTS},git.example.org,*.example.com; {DEFAULTS} is Fly's own list"
            ));
        }
    }
    hosts.sort();
    hosts.dedup();
    let rule = |(domain, action)| SpriteRule::Domain { domain, action };
    rules.extend(hosts.into_iter().map(|host| rule((host, SpriteAction::Allow))));
    // A policy without rules would allow everything.
    rules.push(rule(("*".to_owned(), SpriteAction::Deny)));
    SpritePolicy { rules }
}

fn is_name(text: &str) -> bool {
    text.contains('.')
        && text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNER: &str =
        "https://dl.example.org/r@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Result<Provider, String> {
        let needed = [
            (PROVIDER, "sprites"),
            ("BIFROST_SPRITES_RUNNER", RUNNER),
            ("BIFROST_PUBLIC_URL", "https://bifrost.example.org"),
            ("EVENTS", "https://events.example.org"),
        ];
        let mut vars = Vars::from_pairs(needed.into_iter().chain(pairs.iter().copied()));
        assert!(are_chosen(&mut vars));
        let events = vars.text("EVENTS").map(str::to_owned);
        let provider = provider(&mut vars, "p".into(), events.as_deref());
        vars.finish().map_err(|error| error.to_string()).map(|()| provider.expect("whatever is missing is a problem"))
    }

    #[test]
    fn what_no_sprite_has_or_reaches_is_refused_with_a_cure() {
        for (name, value, cure) in [
            ("BIFROST_PUBLIC_URL", "http://control.internal:7600", "public hosts by their names"),
            ("BIFROST_PUBLIC_URL", "http://127.0.0.1:7600", "never 127.0.0.1"),
            ("BIFROST_PUBLIC_URL", "https://203.0.113.7", "by their names"),
            ("BIFROST_PUBLIC_URL", "http://bifrost:7600", "never bifrost"),
            ("BIFROST_PUBLIC_URL", "http://bifrost.example.org", "must be https"),
            ("BIFROST_SPRITES_RUNNER", "https://dl.example.org/r", "pinned by its digest"),
            ("BIFROST_SPRITES_DIR", "/.sprite/bifrost", "the platform's"),
            ("BIFROST_SPRITES_DIR", "bifrost", "absolute path"),
            ("BIFROST_SPRITES_ALLOW", "git.example.org,", "defaults,git.example.org"),
            ("BIFROST_SPRITES_ALLOW", "https://git.example.org", "names of hosts"),
            ("BIFROST_REGION", "fra", "not ours to choose; leave it out with BIFROST_PROVIDER=sprites"),
            ("BIFROST_MACHINE_CPUS", "2", "one size"),
            ("BIFROST_RUNNER_IMAGE", "x@sha256:1", "BIFROST_SPRITES_RUNNER"),
            ("BIFROST_VOLUME_GB", "10", "100 GB"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert!(error.contains(name) && error.contains(cure), "{error}");
        }
        let error = read(&[("EVENTS", "http://events.internal:7601")]).expect_err("private");
        assert!(error.contains("BIFROST_EVENTS_PUBLIC_URL: "), "{error}");
    }

    #[test]
    fn what_is_for_sprites_alone_is_refused_without_them() {
        let mut vars = Vars::from_pairs([("BIFROST_SPRITES_TOKEN", "hunter2")]);
        assert!(!are_chosen(&mut vars));
        let error = vars.finish().expect_err("a problem").to_string();
        assert!(error.contains("BIFROST_SPRITES_TOKEN: ") && error.contains("BIFROST_PROVIDER=sprites"), "{error}");
        assert!(!error.contains("hunter2"));
        let mut vars = Vars::from_pairs([(PROVIDER, "fargate")]);
        assert!(!are_chosen(&mut vars));
        assert!(vars.finish().expect_err("a problem").to_string().contains("fly or sprites"));
    }

    #[test]
    fn sprites_reach_what_they_need_what_is_allowed_and_nothing_else() {
        let provider = read(&[("BIFROST_SPRITES_ALLOW", "*.git.example.org, registry.example.org")]).expect("reads");
        assert_eq!((provider.image.as_str(), provider.regions.as_slice()), (RUNNER, ["sprites".to_owned()].as_slice()));
        let sprites = provider.sprites.expect("they are");
        assert_eq!(sprites.directory, DIRECTORY);
        let rule = |domain: &str, action| SpriteRule::Domain { domain: domain.to_owned(), action };
        let hosts = [
            "*.git.example.org",
            "bifrost.example.org",
            "dl.example.org",
            "events.example.org",
            "registry.example.org",
        ];
        let mut expect: Vec<_> = hosts.iter().map(|host| rule(host, SpriteAction::Allow)).collect();
        expect.push(rule("*", SpriteAction::Deny));
        assert_eq!(sprites.policy.rules, expect);
        let first = read(&[]).expect("reads").sprites.expect("they are").policy.rules.remove(0);
        assert_eq!(first, SpriteRule::Include { include: DEFAULTS.to_owned() });
    }

    #[test]
    fn runners_in_sprites_are_told_their_bounds() {
        let provider = read(&[("BIFROST_ISOLATION", "required"), ("BIFROST_LEASE_SECONDS", "9")]).expect("reads");
        assert_eq!(provider.runner_env, [("BIFROST_ISOLATION".to_owned(), "required".to_owned())]);
    }

    #[test]
    fn a_fake_on_this_computer_has_sprites_that_reach_it() {
        let local = [("BIFROST_SPRITES_URL", "http://127.0.0.1:9"), ("BIFROST_PUBLIC_URL", "http://127.0.0.1:7600")];
        assert_eq!(read(&local).expect("reads").control_url, "http://127.0.0.1:7600");
    }
}
