//! For tests: several hosts on one computer, made of network namespaces. For root
//! only, and with the command `ip`; a test that uses them has `network_namespaces`
//! in its name.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::command;

/// The longest that something may take on another host.
const VISIT: Duration = Duration::from_secs(30);

/// Hosts that are not connected yet; removed by [`Hosts::remove`].
#[derive(Debug)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Why this computer cannot be divided into hosts, if it cannot.
    pub async fn obstacle() -> Option<&'static str> {
        if !rustix::process::getuid().is_root() {
            return Some("it needs root");
        }
        let host = name("try");
        match command("ip").args(["netns", "add", &host]).output().await {
            Ok(output) if output.status.success() => ip(&["netns", "delete", &host]).await,
            Ok(_) => return Some("this machine makes no network namespaces"),
            Err(_) => return Some("it needs the command ip, of Debian's iproute2"),
        }
        None
    }

    /// One for each role.
    pub async fn make(roles: &[&str]) -> Self {
        let hosts: Vec<String> = roles.iter().map(|role| name(role)).collect();
        for host in &hosts {
            ip(&["netns", "add", host]).await;
            ip(&["-n", host, "link", "set", "lo", "up"]).await;
        }
        Self(hosts)
    }

    /// Removes them with their wires.
    pub async fn remove(&self) {
        for host in &self.0 {
            ip(&["netns", "delete", host]).await;
        }
    }

    /// What the system calls the host of this role.
    pub fn name(&self, role: &str) -> &str {
        let name = name(role);
        self.0.iter().find(|host| **host == name).expect("one of the roles that were made")
    }

    /// Connects two hosts: both ends of the wire have a name of their own and an address.
    pub async fn wire(&self, one: (&str, &str, &str), other: (&str, &str, &str)) {
        let ends = [one, other].map(|(role, link, address)| (self.name(role), link, address));
        let [(host, link, _), (peer_host, peer_link, _)] = ends;
        ip(&["-n", host, "link", "add", link, "type", "veth", "peer", "name", peer_link, "netns", peer_host]).await;
        for (host, link, address) in ends {
            let mut add = vec!["-n", host, "address", "add", address, "dev", link];
            if address.contains(':') {
                // Nobody else can have the address.
                add.push("nodad");
            }
            ip(&add).await;
            ip(&["-n", host, "link", "set", link, "up"]).await;
        }
    }

    /// Runs `ip` on a host.
    pub async fn ip(&self, role: &str, arguments: &[&str]) {
        ip(&[&["-n", self.name(role)], arguments].concat()).await;
    }

    /// Does something on a host, in a thread and a runtime that are there.
    pub async fn on<T: Send + 'static, F: Future<Output = T>>(
        &self,
        role: &str,
        act: impl FnOnce() -> F + Send + 'static,
    ) -> T {
        let host = self.name(role).to_owned();
        let visit = std::thread::spawn(move || {
            enter(&host);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
            runtime.block_on(act())
        });
        let joined = tokio::task::spawn_blocking(|| visit.join());
        tokio::time::timeout(VISIT, joined).await.expect("answers").expect("is joined").expect("no panic")
    }
}

/// Takes this thread to a host. It has that host's network from then on, and takes it along when it ends.
pub fn enter(host: &str) {
    let namespace = File::open(format!("/run/netns/{host}")).expect("the host exists");
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
}

fn name(role: &str) -> String {
    format!("bifrost-{}-{role}", std::process::id())
}

async fn ip(arguments: &[&str]) {
    let output = command("ip").args(arguments).output().await.expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
