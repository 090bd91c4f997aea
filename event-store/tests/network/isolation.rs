//! The store on a private network (FLY-013-E), among hosts made of network
//! namespaces: who is on that network gets in with a signature, and who is not
//! gets no connection, though a route exists.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use kit::process::command;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wire::signature::Key;

use crate::program::{DEADLINE, Program, client_of, event, key, task};

/// The store's address in the private network; `INSIDE` has the one behind it.
const STORE: &str = "fdaa:0:1:a7b::1";
const PORT: u16 = 7601;
/// A second store, which takes everybody.
const OPEN_PORT: u16 = 7602;

/// A few hosts; removed by [`Hosts::remove`].
struct Hosts {
    store: String,
    inside: String,
    outside: String,
}

impl Hosts {
    /// The private network is between the store and `inside`. The store has another wire, to
    /// `outside`, which routes the private network over it.
    async fn make() -> Self {
        let name = |role: &str| format!("bifrost-{}-{role}", std::process::id());
        let hosts = Self { store: name("store"), inside: name("inside"), outside: name("outside") };
        let Self { store, inside, outside } = &hosts;
        for host in [store, inside, outside] {
            ip(&["netns", "add", host]).await;
            ip(&["-n", host, "link", "set", "lo", "up"]).await;
        }
        wire(store, "private", &format!("{STORE}/64"), inside, "fdaa:0:1:a7b::2/64").await;
        wire(store, "public", "2001:db8::1/64", outside, "2001:db8::2/64").await;
        ip(&["-n", outside, "-6", "route", "add", "fdaa::/16", "via", "2001:db8::1"]).await;
        hosts
    }

    async fn remove(&self) {
        for host in [&self.store, &self.inside, &self.outside] {
            ip(&["netns", "delete", host]).await;
        }
    }
}

/// Connects two hosts: `name` is the store's end, `wire` the other's.
async fn wire(store: &str, name: &str, store_address: &str, host: &str, address: &str) {
    ip(&["-n", store, "link", "add", name, "type", "veth", "peer", "name", "wire", "netns", host]).await;
    for (host, link, address) in [(store, name, store_address), (host, "wire", address)] {
        // Nobody else can have the address.
        ip(&["-n", host, "address", "add", address, "dev", link, "nodad"]).await;
        ip(&["-n", host, "link", "set", link, "up"]).await;
    }
}

async fn ip(arguments: &[&str]) {
    let output = command("ip").args(arguments).output().await.expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Why this machine cannot be divided into hosts, if it cannot.
async fn obstacle() -> Option<&'static str> {
    if !rustix::process::getuid().is_root() {
        return Some("it needs root");
    }
    let host = format!("bifrost-{}-try", std::process::id());
    let tried = command("ip").args(["netns", "add", &host]).output().await;
    match tried {
        Ok(output) if output.status.success() => ip(&["netns", "delete", &host]).await,
        Ok(_) => return Some("this machine makes no network namespaces"),
        Err(_) => return Some("it needs the command ip, of Debian's iproute2"),
    }
    None
}

/// How an append from the host went: a status, or nothing where there was no connection.
async fn append_from(host: &str, port: u16, key: Key) -> Option<u16> {
    let namespace = File::open(format!("/run/netns/{host}")).expect("the host exists");
    let address: SocketAddr = format!("[{STORE}]:{port}").parse().expect("an address");
    // A thread has a network of its own as soon as it enters one, and takes it along when it ends.
    let visit = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        runtime.block_on(async {
            match client_of(address, key).append(&[event(1, task(1))]).await {
                Ok(_) => Some(201),
                Err(error) => error.status(),
            }
        })
    });
    let joined = tokio::task::spawn_blocking(|| visit.join());
    tokio::time::timeout(DEADLINE, joined).await.expect("answers").expect("is joined").expect("no panic")
}

async fn the_private_network_only(hosts: &Hosts) {
    let (data, open_data) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (listen, open_listen) = (format!("[{STORE}]:{PORT}"), format!("[{STORE}]:{OPEN_PORT}"));
    let on_host = ["ip", "netns", "exec", &hosts.store];
    let on_fly = [("FLY_PRIVATE_IP", STORE), ("FLY_APP_NAME", "bifrost-events")];
    let program = Program::start_as(&on_host, data.path(), &listen, &on_fly).await;
    let open = Program::start_as(&on_host, open_data.path(), &open_listen, &[]).await;
    let wrong = Key::from_bytes([2; 32]);
    assert_eq!(append_from(&hosts.inside, PORT, key()).await, Some(201));
    assert_eq!(append_from(&hosts.inside, PORT, wrong).await, Some(401));
    assert_eq!(append_from(&hosts.outside, PORT, key()).await, None);
    assert_eq!(append_from(&hosts.store, PORT, key()).await, Some(201), "the machine itself");
    // There is a way: a store that takes everybody is reached by it.
    assert_eq!(append_from(&hosts.outside, OPEN_PORT, key()).await, Some(201));
    program.stop().await;
    open.stop().await;
}

#[tokio::test]
async fn network_namespaces_only_the_private_network_gets_a_connection() {
    if let Some(obstacle) = obstacle().await {
        eprintln!("skipped: {obstacle}");
        return;
    }
    let hosts = Hosts::make().await;
    let outcome = AssertUnwindSafe(the_private_network_only(&hosts)).catch_unwind().await;
    hosts.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
