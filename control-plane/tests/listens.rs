//! The program says where it listens, also where it was left to the system to choose.

use std::process::Stdio;

use kit::process::command;
use kit::starting::address;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_port_that_the_system_chose_is_in_the_log() {
    let home = tempfile::tempdir().expect("a directory");
    let mut server = command(env!("CARGO_BIN_EXE_bifrost-control"));
    server.args(["--listen", "127.0.0.1:0", "--data"]).arg(home.path());
    server.env("BIFROST_EVENTS_URL", "http://127.0.0.1:1").env("FLY_FLAPS_BASE_URL", "http://127.0.0.1:1");
    server.env("FLY_API_TOKEN", "any").env("BIFROST_ALLOW_UNPINNED_IMAGE", "true");
    server.env("FLY_EVENT_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let mut server = server.stderr(Stdio::piped()).spawn().expect("starts");
    let address = address(&mut server).await;
    TcpStream::connect(&address).await.expect(&address);
}

#[tokio::test]
async fn an_environment_that_is_not_usable_ends_it_as_it_ends_the_command_of_bifrost() {
    let home = tempfile::tempdir().expect("a directory");
    let mut server = command(env!("CARGO_BIN_EXE_bifrost-control"));
    server.args(["--listen", "127.0.0.1:0", "--data"]).arg(home.path()).env("BIFROST_EVENTS_URL", "ftp://x");
    let ended = server.stderr(Stdio::piped()).output().await.expect("starts");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("BIFROST_EVENTS_URL: must be an http or https URL"), "{said}");
}
