//! Where the server and the key are looked for, and what refusals come to.

use std::path::Path;

use clap::CommandFactory;
use wire::problem::Problem;

use super::*;
use crate::args::ColorChoice;

fn global(url: Option<&str>, data: &Path) -> Global {
    let url = url.map(str::to_owned);
    Global { url, api_key_file: None, data: data.to_owned(), json: false, reason: None, color: ColorChoice::Never }
}

fn code<T: std::fmt::Debug>(result: anyhow::Result<T>) -> Code {
    crate::exit::classify(&result.expect_err("is refused")).code
}

#[test]
fn the_named_file_comes_before_the_variable_and_that_before_the_data_directory() {
    let data = tempfile::tempdir().expect("a directory");
    let own = data.path().join("api-key");
    std::fs::write(&own, "from-data\n").expect("writes");
    let named = data.path().join("other");
    std::fs::write(&named, "from-file\n").expect("writes");
    let (set, unset) = (Vars::from_pairs([(API_KEY, "from-variable")]), Vars::default());

    let mut global = global(None, data.path());
    assert_eq!(read_key(&global, &unset).expect("a key"), ("from-data".into(), KeySource::File(own)));
    assert_eq!(read_key(&global, &set).expect("a key"), ("from-variable".into(), KeySource::Variable(API_KEY)));
    global.api_key_file = Some(named.clone());
    assert_eq!(read_key(&global, &set).expect("a key"), ("from-file".into(), KeySource::File(named)));
}

#[test]
fn a_missing_or_broken_key_is_a_matter_of_configuration() {
    let data = tempfile::tempdir().expect("a directory");
    let global = global(None, data.path());
    assert_eq!(code(read_key(&global, &Vars::default())), Code::Configuration);
    for broken in ["", " \n", "two words", "line\nline"] {
        std::fs::write(data.path().join("api-key"), broken).expect("writes");
        assert_eq!(code(read_key(&global, &Vars::default())), Code::Configuration, "{broken:?}");
    }
}

#[test]
fn looking_for_a_key_trims_it_and_makes_no_file() {
    let data = tempfile::tempdir().expect("a directory");
    let global = global(None, data.path());
    assert_eq!(find_key(&global, &Vars::default()).expect("looks"), None);
    assert!(!data.path().join("api-key").exists());
    let set = Vars::from_pairs([("CAIRN_API_KEY", " key \n")]);
    assert_eq!(find_key(&global, &set).expect("looks"), Some(("key".into(), KeySource::Variable("CAIRN_API_KEY"))));
}

#[test]
fn a_url_is_checked_before_anything_is_sent_to_it() {
    let here = Path::new(".");
    assert_eq!(url(&global(None, here)).expect("none"), None);
    assert_eq!(url(&global(Some(""), here)).expect("none"), None);
    let good = url(&global(Some("https://bifrost.example.org/"), here)).expect("one");
    assert_eq!(good.as_deref(), Some("https://bifrost.example.org"));
    for bad in ["127.0.0.1:7600", "ftp://x", "http://", "http://me:secret@x", "localhost"] {
        let error = url(&global(Some(bad), here)).expect_err(bad);
        assert_eq!(crate::exit::classify(&error).code, Code::Configuration, "{bad}");
        assert!(!format!("{error:#}").contains("secret"));
    }
}

#[test]
fn every_refusal_has_its_code() {
    let refused = |status, code: &str| {
        client::Error::Refused(Box::new(Problem::new(status, "title", code, "what the server says").at("field")))
    };
    let explained = |error| explain(error, "http://x", &AddressSource::Usual, &KeySource::Variable(API_KEY));
    for (status, code) in [
        (400, Code::Data),
        (401, Code::NoPermission),
        (403, Code::NoPermission),
        (404, Code::NotFound),
        (409, Code::Data),
        (422, Code::Data),
        (429, Code::TryLater),
        (503, Code::TryLater),
        (500, Code::Internal),
        (502, Code::Unavailable),
    ] {
        assert_eq!(explained(refused(status, "code")).code, code, "{status}");
    }
    assert_eq!(explained(refused(404, "not_a_problem_document")).code, Code::Unavailable);
    assert_eq!(explained(refused(400, "invalid")).message, "field: what the server says");
    let wrong_key = explained(refused(401, "unauthenticated"));
    assert!(wrong_key.help.expect("a cure").contains("BIFROST_API_KEY"));
}

#[test]
fn what_is_not_there_has_the_list_of_its_kind_as_the_cure() {
    let missing = |kind: &str| {
        let problem = Problem::new(404, "Not Found", "not_found", format!("there is no such {kind}"));
        let error = client::Error::Refused(Box::new(problem));
        explain(error, "http://x", &AddressSource::Usual, &KeySource::Variable(API_KEY)).help
    };
    for (kind, list) in [
        ("task", "tasks list"),
        ("machine", "machines list"),
        ("kept volume", "machines sweep"),
        ("budget", "budgets list"),
        ("checkpoint", "checkpoints list"),
        ("runtime", "runtimes list"),
    ] {
        assert_eq!(missing(kind), Some(format!("`bifrost {list}` shows what there is")));
    }
    assert_eq!(missing("address"), None);
}

#[test]
fn every_list_that_a_cure_names_is_a_command() {
    let whole = crate::args::Arguments::command();
    let source = include_str!("../connect.rs");
    let (_, table) = source.split_once("fn list_of").expect("is there");
    let (table, _) = table.split_once("_ => return").expect("has an end");
    let lists: Vec<&str> = table.lines().filter_map(|line| line.split("=> \"").nth(1)?.split('"').next()).collect();
    assert!(lists.len() > 10, "{lists:?}");
    for list in lists {
        let mut words = list.split(' ').filter(|word| *word != "ID");
        let found = words.try_fold(&whole, |command, word| command.find_subcommand(word));
        assert!(found.is_some(), "there is no `bifrost {list}`");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    // A port that was free a moment ago; nothing of ours listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let base = format!("http://127.0.0.1:{port}");
    let error = Control::new(&base, "key").ready().await.expect_err("nobody answers");
    let failure = explain(error, &base, &AddressSource::Usual, &KeySource::Variable(API_KEY));
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.help.expect("a cure").contains("is `bifrost up` running?"));
}

#[test]
fn the_server_is_the_one_that_is_named_else_the_data_directory_s_else_the_usual_one() {
    let data = tempfile::tempdir().expect("a directory");
    let found = |url| url_or_default(&global(url, data.path())).expect("an address");
    let usual = format!("http://{DEFAULT_LISTEN}");
    assert_eq!(found(None), (usual.clone(), AddressSource::Usual));
    let file = data.path().join("addresses.json");
    std::fs::write(&file, "what nobody can read").expect("writes");
    assert_eq!(found(None), (usual, AddressSource::Usual));
    let text = r#"{"control":"0.0.0.0:7711","events":"127.0.0.1:1","emulator":"127.0.0.1:2"}"#;
    std::fs::write(&file, text).expect("writes");
    assert_eq!(found(None), (format!("http://{DEFAULT_LISTEN}"), AddressSource::Usual), "nobody is up there");
    let lock = std::fs::File::create(data.path().join(up::LOCK_FILE)).expect("is made");
    lock.try_lock().expect("is free");
    assert_eq!(found(None), ("http://127.0.0.1:7711".into(), AddressSource::File(file.clone())));
    assert_eq!(found(Some("http://x")), ("http://x".into(), AddressSource::Named));
    assert!(AddressSource::File(file.clone()).cure().contains(&file.display().to_string()));
}
