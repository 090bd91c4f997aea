//! This repository, held against every house rule.
//!
//! A failure lists each place with its cure. A rule is changed in CONTRIBUTING.md
//! and in its checker together, never by an exception here.

use std::path::{Path, PathBuf};

use tidy::floors::{self, Package};
use tidy::{
    Offence, Tree, dockerfiles, fly_toml, links, migrations, process_starts, pure, shape, tables, variables, words,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn hold(offences: Vec<Offence>) {
    let lines: Vec<_> = offences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} places break this rule:\n{}\n", lines.len(), lines.join("\n"));
}

#[track_caller]
fn hold_in_tree(rule: fn(&Tree) -> Vec<Offence>) {
    hold(rule(&Tree::read(&root()).expect("the repository is readable")));
}

#[expect(clippy::disallowed_methods, reason = "a test that asks cargo once, with nothing to supervise")]
fn workspace() -> Vec<Package> {
    let manifest = root().join("Cargo.toml");
    let output = std::process::Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    floors::packages(&metadata).expect("cargo prints packages")
}

#[test]
fn packages_depend_on_lower_floors_only() {
    hold(floors::floor_offences(&workspace(), floors::UPWARD_DEV_DEPENDENCIES));
}

#[test]
fn every_variable_is_on_the_configuration_page() {
    hold_in_tree(variables::offences);
}

#[test]
fn only_servers_speak_http() {
    hold(floors::transport_offences(&workspace()));
}

#[test]
fn sql_about_a_table_stays_in_its_store() {
    hold_in_tree(tables::offences);
}

#[test]
fn files_that_decide_touch_nothing() {
    hold_in_tree(pure::offences);
}

#[test]
fn files_say_what_they_promise_and_are_short_enough_to_read() {
    hold_in_tree(shape::offences);
}

#[test]
fn nothing_unfinished_enters_and_no_test_sleeps() {
    hold_in_tree(words::offences);
}

#[test]
fn the_outbox_is_the_only_way_out() {
    hold_in_tree(words::publish_offences);
}

#[test]
fn no_shell_stands_between_us_and_a_process() {
    hold_in_tree(words::shell_offences);
}

#[test]
fn every_place_that_starts_a_process_is_on_the_page_about_them() {
    hold_in_tree(process_starts::offences);
}

#[test]
fn deploy_files_say_what_flyctl_understands_and_what_safety_needs() {
    hold_in_tree(fly_toml::offences);
}

#[test]
fn nobody_is_root_in_an_image_and_programs_get_their_signals() {
    hold_in_tree(dockerfiles::offences);
}

#[test]
fn migrations_exist_for_both_databases_and_both_ways() {
    hold_in_tree(migrations::offences);
}

#[test]
fn links_between_documents_lead_somewhere() {
    hold_in_tree(links::offences);
}
