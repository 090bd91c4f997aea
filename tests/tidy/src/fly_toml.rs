//! The deploy files under `fly/`: they use keys that flyctl knows, and hold the
//! facts on which safety and money rest.
//!
//! flyctl itself ignores a misspelt key unless asked to be strict, which is how a
//! private store would become public by a typing mistake.

use toml::{Table, Value};

use crate::Offence;
use crate::tree::{File, Tree};

/// The keys flyctl knows, one a line; `*` stands for a name of one's own.
const KNOWN_KEYS: &str = include_str!("../fly-toml-keys.txt");

/// The deploy file of the event store, and the variable that says where that keeps its database.
const EVENTS: &str = "fly/events.toml";
const EVENTS_DATA: &str = "BIFROST_EVENTS_DATA";

/// What must be true of a deploy file, and why.
struct Fact {
    file: &'static str,
    holds: fn(&Table) -> bool,
    cure: &'static str,
}

const FACTS: [Fact; 9] = [
    Fact {
        file: EVENTS,
        holds: has_no_service,
        cure: "the event store is private: no `services` and no `http_service`",
    },
    Fact {
        file: EVENTS,
        holds: |file| event_mount(file).and_then(|mount| text(mount, "initial_size")) == Some("1gb"),
        cure: "mount `ev_store_data` with initial_size \"1gb\": what is acknowledged is on that volume",
    },
    Fact {
        file: EVENTS,
        holds: |file| file.contains_key("machine_checks"),
        cure: "a deploy goes on once the new machine answers: `machine_checks`",
    },
    Fact {
        file: "fly/control-plane.toml",
        holds: checks_health,
        cure: "check `/health` in http_service.checks, so that a server which hangs is seen",
    },
    Fact {
        file: "fly/egress.toml",
        holds: passes_bytes_on,
        cure: "three `services` of tcp without `handlers`: the proxy's protocol is not Fly's to terminate",
    },
    Fact {
        file: "fly/egress.toml",
        holds: |file| !file.contains_key("http_service"),
        cure: "only the runners' network reaches the egress proxy: no `http_service`",
    },
    Fact {
        file: "fly/runner.toml",
        holds: has_no_service,
        cure: "a runner is never called from outside: no `services` and no `http_service`",
    },
    Fact {
        file: "fly/runner.toml",
        holds: |file| !file.contains_key("env"),
        cure: "machines of the runner app are made by the pool, which hands them their environment: no `env`",
    },
    Fact {
        file: "fly/control-plane.toml",
        holds: |file| {
            file.get("http_service").and_then(|service| service.get("auto_stop_machines")).is_some_and(is_off)
        },
        cure: "set http_service.auto_stop_machines to \"off\": the scheduler works without being asked",
    },
];

/// Unknown keys, missing facts, and images built from files that are not there.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.of_kind("toml").filter(|file| is_deploy_file(file)) {
        match file.text.parse::<Table>() {
            Ok(table) => offences.extend(of_table(tree, file, &table)),
            Err(error) => offences.push(Offence::in_file(&file.path, format!("is not TOML: {}", error.message()))),
        }
    }
    let missing = FACTS.iter().filter(|fact| tree.file(fact.file).is_none());
    offences.extend(missing.map(|fact| Offence::in_file(fact.file, format!("is missing; {}", fact.cure))));
    offences
}

fn is_deploy_file(file: &File) -> bool {
    file.path.strip_prefix("fly/").is_some_and(|name| !name.contains('/') && name != "Cargo.toml")
}

fn of_table(tree: &Tree, file: &File, table: &Table) -> Vec<Offence> {
    let mut keys = Vec::new();
    leaves(None, &Value::Table(table.clone()), &mut keys);
    let unknown = keys.iter().filter(|key| !is_known(key)).map(|key| {
        let cure = format!("flyctl knows no `{key}`: mend its name, or add it to tests/tidy/fly-toml-keys.txt");
        Offence::at(&file.path, line_of(&file.text, key), cure)
    });
    let broken = FACTS.iter().filter(|fact| fact.file == file.path && !(fact.holds)(table));
    let broken = broken.map(|fact| Offence::in_file(&file.path, fact.cure));
    unknown
        .chain(broken)
        .chain(missing_dockerfile(tree, file, table))
        .chain(events_off_volume(tree, file, table))
        .collect()
}

/// The path in `build.dockerfile` counts from the folder of the deploy file.
fn missing_dockerfile(tree: &Tree, file: &File, table: &Table) -> Option<Offence> {
    let dockerfile = table.get("build")?.get("dockerfile")?.as_str()?;
    let there = dockerfile.strip_prefix("../").is_some_and(|path| tree.has(path));
    (!there).then(|| {
        let cure = format!("builds `{dockerfile}`, which is not there: name a Dockerfile at the root as `../NAME`");
        Offence::at(&file.path, line_of(&file.text, "dockerfile"), cure)
    })
}

/// The event store's database, where it is not on the volume that is mounted for it: a restart would take it away.
fn events_off_volume(tree: &Tree, file: &File, table: &Table) -> Option<Offence> {
    let mount = event_mount(table).filter(|_| file.path == EVENTS)?;
    let of_file = table.get("env").and_then(|env| text(env, EVENTS_DATA));
    let data = of_file.or_else(|| variable_of_image(tree, table, EVENTS_DATA));
    let destination = text(mount, "destination");
    (destination.is_none() || destination != data).then(|| {
        let cure = format!(
            "mounts `ev_store_data` at `{}`, and {EVENTS_DATA} is `{}`: the database has to be on the volume",
            destination.unwrap_or_default(),
            data.unwrap_or_default()
        );
        Offence::at(&file.path, line_of(&file.text, "destination"), cure)
    })
}

/// The value that the image sets last: `ENV` with `NAME=VALUE`, of which a line may have several.
fn variable_of_image<'a>(tree: &'a Tree, table: &Table, name: &str) -> Option<&'a str> {
    let path = text(table.get("build")?, "dockerfile")?.strip_prefix("../")?;
    let set = tree.file(path)?.text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let values = set.flat_map(str::split_whitespace).filter_map(|word| word.split_once('='));
    values.rev().find(|(set, _)| *set == name).map(|(_, value)| value)
}

/// The dotted path of every value that is no table, and of empty tables.
fn leaves(prefix: Option<&str>, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                let path = prefix.map_or_else(|| key.clone(), |prefix| format!("{prefix}.{key}"));
                leaves(Some(&path), value, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            values.iter().for_each(|value| leaves(prefix, value, found));
        }
        _ => found.extend(prefix.map(String::from)),
    }
}

fn is_known(key: &str) -> bool {
    KNOWN_KEYS.lines().filter(|line| !line.starts_with('#')).any(|known| {
        known.split('.').count() == key.split('.').count()
            && known.split('.').zip(key.split('.')).all(|(known, part)| known == "*" || known == part)
    })
}

/// The first line that sets the last part of the key; the file's first where there is none.
fn line_of(text: &str, key: &str) -> usize {
    let last = key.rsplit('.').next().unwrap_or(key);
    let sets = |line: &str| line.split('=').next().is_some_and(|left| left.trim().rsplit('.').next() == Some(last));
    text.lines().position(sets).map_or(1, |index| index + 1)
}

fn has_no_service(file: &Table) -> bool {
    !file.contains_key("services") && !file.contains_key("http_service")
}

fn passes_bytes_on(file: &Table) -> bool {
    let services = file.get("services").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ports = |service: &Value| service.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    services.len() == 3 && services.iter().flat_map(ports).all(|port| port.get("handlers").is_none())
}

/// The mount of the event store's volume.
fn event_mount(file: &Table) -> Option<&Value> {
    let mounts = file.get("mounts").and_then(Value::as_array)?;
    mounts.iter().find(|mount| text(mount, "source") == Some("ev_store_data"))
}

fn text<'a>(table: &'a Value, key: &str) -> Option<&'a str> {
    table.get(key).and_then(Value::as_str)
}

fn checks_health(file: &Table) -> bool {
    let checks = file.get("http_service").and_then(|service| service.get("checks")).and_then(Value::as_array);
    let is_of_health = |check: &Value| text(check, "path") == Some("/health");
    checks.is_some_and(|checks| checks.iter().any(is_of_health))
}

fn is_off(value: &Value) -> bool {
    value.as_str() == Some("off")
}

#[cfg(test)]
mod tests;
