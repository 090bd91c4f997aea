//! The store on a private network (FLY-013-E), among hosts made of network
//! namespaces: who is on that network gets in with a signature, and who is not
//! gets no connection, though a route exists.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use kit::hosts::Hosts;
use wire::signature::Key;

use crate::program::{Program, client_of, event, key, task};

/// The store's address in the private network; `INSIDE` has the one behind it.
const STORE: &str = "fdaa:0:1:a7b::1";
const PORT: u16 = 7601;
/// A second store, which takes everybody.
const OPEN_PORT: u16 = 7602;

/// The private network is between the store and `inside`. The store has another wire, to
/// `outside`, which routes the private network over it.
async fn make_hosts() -> Hosts {
    let hosts = Hosts::make(&["store", "inside", "outside"]).await;
    let store = format!("{STORE}/64");
    hosts.wire(("store", "private", &store), ("inside", "wire", "fdaa:0:1:a7b::2/64")).await;
    hosts.wire(("store", "public", "2001:db8::1/64"), ("outside", "wire", "2001:db8::2/64")).await;
    hosts.ip("outside", &["-6", "route", "add", "fdaa::/16", "via", "2001:db8::1"]).await;
    hosts
}

/// How an append from the host went: a status, or nothing where there was no connection.
async fn append_from(hosts: &Hosts, role: &str, port: u16, key: Key) -> Option<u16> {
    let address: SocketAddr = format!("[{STORE}]:{port}").parse().expect("an address");
    let append = move || async move {
        match client_of(address, key).append(&[event(1, task(1))]).await {
            Ok(_) => Some(201),
            Err(error) => error.status(),
        }
    };
    hosts.on(role, append).await
}

async fn the_private_network_only(hosts: &Hosts) {
    let (data, open_data) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (listen, open_listen) = (format!("[{STORE}]:{PORT}"), format!("[{STORE}]:{OPEN_PORT}"));
    let on_host = ["ip", "netns", "exec", hosts.name("store")];
    let on_fly = [("FLY_PRIVATE_IP", STORE), ("FLY_APP_NAME", "bifrost-events")];
    let program = Program::start_as(&on_host, data.path(), &listen, &on_fly).await;
    let open = Program::start_as(&on_host, open_data.path(), &open_listen, &[]).await;
    let wrong = Key::from_bytes([2; 32]);
    assert_eq!(append_from(hosts, "inside", PORT, key()).await, Some(201));
    assert_eq!(append_from(hosts, "inside", PORT, wrong).await, Some(401));
    assert_eq!(append_from(hosts, "outside", PORT, key()).await, None);
    assert_eq!(append_from(hosts, "store", PORT, key()).await, Some(201), "the machine itself");
    // There is a way: a store that takes everybody is reached by it.
    assert_eq!(append_from(hosts, "outside", OPEN_PORT, key()).await, Some(201));
    program.stop().await;
    open.stop().await;
}

#[tokio::test]
async fn network_namespaces_only_the_private_network_gets_a_connection() {
    if let Some(obstacle) = Hosts::obstacle().await {
        eprintln!("skipped: {obstacle}");
        return;
    }
    let hosts = make_hosts().await;
    let outcome = AssertUnwindSafe(the_private_network_only(&hosts)).catch_unwind().await;
    hosts.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
