//! The floors, shown failing on a few lines of metadata.

use serde_json::json;

use super::*;

/// All packages of the table, with these dependencies of some on others.
fn workspace(edges: &[(&str, &str, &str)]) -> Vec<Package> {
    let package = |name: &str| {
        let dependencies: Vec<_> = edges
            .iter()
            .filter(|(from, ..)| *from == name)
            .map(|(_, kind, to)| json!({ "name": to, "kind": (*kind == "dev").then_some("dev") }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    };
    let metadata = json!({ "packages": FLOORS.map(|(name, _)| package(name)) });
    packages(&metadata).expect("has the shape of metadata")
}

#[track_caller]
fn check(offences: Vec<Offence>, expect: &[&str]) {
    let found: Vec<_> = offences.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expect.len(), "{found:?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!(found.contains(expect), "{found}");
    }
}

#[test]
fn a_package_may_depend_downwards_only() {
    check(floor_offences(&workspace(&[("work", "normal", "pool"), ("work", "normal", "serde")]), &[]), &[]);
    check(
        floor_offences(&workspace(&[("pool", "normal", "work")]), &[]),
        &["package pool: is on floor 2 and depends on `work`"],
    );
    check(floor_offences(&workspace(&[("pool", "normal", "access")]), &[]), &["`access` on floor 2"]);
}

#[test]
fn tests_may_look_sideways_and_upwards_only_where_it_is_listed() {
    let upwards = workspace(&[("fly", "dev", "emulator")]);
    check(floor_offences(&upwards, &[("fly", "emulator")]), &[]);
    check(floor_offences(&upwards, &[]), &["package fly: is on floor 1 and depends on `emulator`"]);
    check(floor_offences(&workspace(&[("pool", "dev", "access")]), &[]), &[]);
    let shipped = workspace(&[("fly", "normal", "emulator")]);
    check(floor_offences(&shipped, &[("fly", "emulator")]), &["`emulator` on floor 2"]);
}

#[test]
fn the_table_and_the_workspace_name_the_same_packages() {
    let mut more = workspace(&[]);
    more.push(Package { name: "attic".into(), dependencies: Vec::new() });
    check(floor_offences(&more, &[]), &["package attic: has no floor"]);
    let fewer: Vec<_> = workspace(&[]).into_iter().filter(|package| package.name != "fly").collect();
    check(floor_offences(&fewer, &[]), &["`fly` has a floor and is no package"]);
}

#[test]
fn only_servers_speak_http() {
    check(transport_offences(&workspace(&[("event-store", "normal", "axum")])), &[]);
    check(transport_offences(&workspace(&[("work", "normal", "axum")])), &["package work: depends on `axum`"]);
    check(
        transport_offences(&workspace(&[("cli", "normal", "async-graphql"), ("kit", "dev", "axum")])),
        &["package kit"],
    );
}
