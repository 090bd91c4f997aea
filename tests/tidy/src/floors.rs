//! Packages stand on floors and depend only on lower ones; only a few may speak HTTP.
//!
//! Reads what `cargo metadata --no-deps` prints. A new package gets its line in
//! [`FLOORS`] together with its first feature.

use serde_json::Value;

use crate::Offence;

/// Every package of the workspace and its floor (ARCHITECTURE.md).
pub const FLOORS: [(&str, u8); 22] = [
    ("wire", 0),
    ("kit", 0),
    ("fly", 1),
    ("github", 1),
    ("client", 1),
    ("snapshot", 1),
    ("kernel", 1),
    ("emulator", 2),
    ("event-store", 2),
    ("egress", 2),
    ("runner", 2),
    ("access", 2),
    ("pool", 2),
    ("runtimes", 2),
    ("signals", 2),
    ("spawner", 3),
    ("work", 3),
    ("control-plane", 5),
    ("cli", 6),
    ("bench", 7),
    ("world", 7),
    ("tidy", 7),
];

/// Packages whose tests alone look upwards; each pair needs a comment that says why.
pub const UPWARD_DEV_DEPENDENCIES: &[(&str, &str)] = &[];

/// Crates that serve HTTP, and the packages that may.
const TRANSPORTS: [&str; 2] = ["axum", "async-graphql"];
const SERVERS: [&str; 4] = ["control-plane", "event-store", "emulator", "cli"];

/// A package, as far as these rules care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    name: String,
    only_for_tests: bool,
}

/// Reads the packages out of `cargo metadata`'s JSON; nothing where it has another shape.
pub fn packages(metadata: &Value) -> Option<Vec<Package>> {
    metadata["packages"].as_array()?.iter().map(package).collect()
}

fn package(value: &Value) -> Option<Package> {
    let dependency = |value: &Value| {
        Some(Dependency { name: value["name"].as_str()?.into(), only_for_tests: value["kind"] == "dev" })
    };
    Some(Package {
        name: value["name"].as_str()?.into(),
        dependencies: value["dependencies"].as_array()?.iter().map(dependency).collect::<Option<_>>()?,
    })
}

/// Where a package depends on its own floor or a higher one, or has no floor.
/// `upward` lists what tests alone may do.
pub fn floor_offences(packages: &[Package], upward: &[(&str, &str)]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for package in packages {
        let Some(floor) = floor(&package.name) else {
            offences
                .push(offence(package, "has no floor: give it a line in FLOORS of tests/tidy/src/floors.rs".into()));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(below) = floor_of_dependency(packages, dependency) else { continue };
            let listed = upward.contains(&(package.name.as_str(), dependency.name.as_str()));
            if below < floor || (dependency.only_for_tests && (below == floor || listed)) {
                continue;
            }
            offences.push(offence(
                package,
                format!(
                    "is on floor {floor} and depends on `{}` on floor {below}: depend on lower floors only, \
                     or move what both need down",
                    dependency.name
                ),
            ));
        }
    }
    for (name, _) in FLOORS {
        if !packages.iter().any(|package| package.name == name) {
            offences
                .push(Offence::in_file("tests/tidy/src/floors.rs", format!("`{name}` has a floor and is no package")));
        }
    }
    offences
}

/// Where a package speaks HTTP that should not.
pub fn transport_offences(packages: &[Package]) -> Vec<Offence> {
    let closed = packages.iter().filter(|package| !SERVERS.contains(&package.name.as_str()));
    closed
        .flat_map(|package| {
            let transports = package.dependencies.iter().filter(|d| TRANSPORTS.contains(&d.name.as_str()));
            transports.map(move |dependency| {
                let cure = "only the servers speak HTTP, so keep handlers there and use-cases here";
                offence(package, format!("depends on `{}`: {cure} ({})", dependency.name, SERVERS.join(", ")))
            })
        })
        .collect()
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(package, _)| *package == name).map(|(_, floor)| *floor)
}

/// The floor of a dependency that is one of ours.
fn floor_of_dependency(packages: &[Package], dependency: &Dependency) -> Option<u8> {
    let ours = packages.iter().any(|package| package.name == dependency.name);
    floor(&dependency.name).filter(|_| ours)
}

fn offence(package: &Package, cure: String) -> Offence {
    Offence::in_file(&format!("package {}", package.name), cure)
}

#[cfg(test)]
mod tests;
