//! The program says where it listens, also where it was left to the system to choose.

use std::process::Stdio;

use kit::process::command;
use kit::starting::address;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_port_that_the_system_chose_is_in_the_log() {
    let home = tempfile::tempdir().expect("a directory");
    let mut proxy = command(env!("CARGO_BIN_EXE_bifrost-egress"));
    proxy.args(["--listen", "127.0.0.1:0", "--spool"]).arg(home.path());
    proxy.env("BIFROST_EVENTS_URL", "http://127.0.0.1:1");
    proxy.env("FLY_EVENT_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let mut proxy = proxy.stderr(Stdio::piped()).spawn().expect("starts");
    let address = address(&mut proxy).await;
    TcpStream::connect(&address).await.expect(&address);
}
