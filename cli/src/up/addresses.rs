//! Where the parts of a local system listen. Remembered, so that machines which
//! were asleep find it again after a restart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::exit::{Code, failure};

const FILE: &str = "addresses.json";
/// Any port of this computer.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The addresses of a local system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) control: SocketAddr,
    pub(super) events: SocketAddr,
    pub(super) emulator: SocketAddr,
    /// The port of the egress proxy, in the network of machines that are containers.
    #[serde(default)]
    pub(super) egress: Option<u16>,
}

/// Where the control plane is to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    /// There, or not at all. Where any port will do, that is the one of the last time while it is free.
    Exactly(SocketAddr),
    /// Where it was, else there, so that machines which are asleep find a later system too; else anywhere.
    Preferably(SocketAddr),
}

/// The bound listeners.
pub(super) struct Listeners {
    pub(super) control: TcpListener,
    pub(super) events: TcpListener,
    pub(super) emulator: TcpListener,
}

impl Addresses {
    /// Where they are kept.
    pub(super) fn file(data: &Path) -> PathBuf {
        data.join(FILE)
    }

    /// Those of the system that uses the data directory, or used it last.
    pub(super) fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        let text = kit::files::read_if_exists(&Self::file(data))?;
        // What an older version wrote, or a person broke, is as good as nothing.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Binds all three: the control plane where it was asked to be, the others where they were.
    pub(super) async fn bind(data: &Path, listen: Listen) -> anyhow::Result<(Self, Listeners)> {
        let earlier = Self::read(data)?;
        let control = match listen {
            Listen::Exactly(address) => bind_again(address, earlier.as_ref().map(|earlier| earlier.control)).await?,
            Listen::Preferably(usual) => {
                bind_preferably(earlier.iter().map(|earlier| earlier.control).chain([usual])).await?
            }
        };
        let events = bind_preferably(earlier.iter().map(|earlier| earlier.events)).await?;
        let emulator = bind_preferably(earlier.iter().map(|earlier| earlier.emulator)).await?;
        let addresses = Self {
            control: control.local_addr()?,
            events: events.local_addr()?,
            emulator: emulator.local_addr()?,
            egress: earlier.and_then(|earlier| earlier.egress),
        };
        addresses.write(data)?;
        Ok((addresses, Listeners { control, events, emulator }))
    }

    /// Keeps them for the next system.
    pub(super) fn write(&self, data: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        kit::files::replace(&Self::file(data), &text, 0o600).context("cannot write into the data directory")
    }

    pub(super) fn control_url(&self) -> String {
        url(self.control)
    }

    pub(super) fn events_url(&self) -> String {
        url(self.events)
    }

    pub(super) fn emulator_url(&self) -> String {
        url(self.emulator)
    }
}

/// Where a program on this computer reaches the address: "all addresses" is none.
fn url(address: SocketAddr) -> String {
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// There; where any port will do, the earlier one if it is free, which machines that are asleep still know.
async fn bind_again(address: SocketAddr, earlier: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    let will_do = |earlier: &SocketAddr| address.port() == 0 && earlier.ip() == address.ip();
    if let Some(earlier) = earlier.filter(will_do)
        && let Ok(listener) = kit::net::listen(earlier).await
    {
        return Ok(listener);
    }
    bind_exactly(address).await
}

async fn bind_exactly(address: SocketAddr) -> anyhow::Result<TcpListener> {
    kit::net::listen(address).await.map_err(|error| {
        let cure = "stop what listens there, or choose another address with --listen ADDR";
        failure(Code::Unavailable, format!("cannot listen on {address}: {error}"), cure)
    })
}

/// The first of the addresses that is this computer's own and free, else any port.
async fn bind_preferably(addresses: impl IntoIterator<Item = SocketAddr>) -> anyhow::Result<TcpListener> {
    for address in addresses.into_iter().filter(|address| address.ip().is_loopback()) {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(listener);
        }
    }
    bind_exactly(ANYWHERE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_restarted_system_listens_where_it_did_and_a_taken_port_is_named() {
        let data = tempfile::tempdir().expect("a directory");
        let anywhere = Listen::Preferably(ANYWHERE);
        let (first, listeners) = Addresses::bind(data.path(), anywhere).await.expect("binds");
        let refused = Addresses::bind(data.path(), Listen::Exactly(first.control)).await;
        let refused = refused.err().expect("taken").to_string();
        assert!(refused.contains(&first.control.to_string()), "{refused}");
        drop(listeners);
        let (second, _) = Addresses::bind(data.path(), anywhere).await.expect("binds again");
        assert_eq!(first, second);
        assert_eq!(Addresses::read(data.path()).expect("reads"), Some(second));
    }

    #[tokio::test]
    async fn a_new_system_prefers_the_usual_address_and_goes_elsewhere_only_when_it_is_taken() {
        let usual = TcpListener::bind(ANYWHERE).await.expect("a port");
        let address = usual.local_addr().expect("bound");
        let bind = async || {
            let data = tempfile::tempdir().expect("a directory");
            Addresses::bind(data.path(), Listen::Preferably(address)).await.expect("binds").0.control
        };
        assert_ne!(bind().await, address);
        drop(usual);
        assert_eq!(bind().await, address);
    }

    #[tokio::test]
    async fn any_port_is_the_one_of_the_last_time_while_that_is_free() {
        let data = tempfile::tempdir().expect("a directory");
        let bind = async || Addresses::bind(data.path(), Listen::Exactly(ANYWHERE)).await.expect("binds");
        let (first, listeners) = bind().await;
        drop(listeners);
        let (second, listeners) = bind().await;
        assert_eq!(first.control, second.control);
        // A port of another of this computer's addresses is not the one that was asked for.
        let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        let (third, _) = Addresses::bind(data.path(), Listen::Exactly(elsewhere)).await.expect("binds");
        assert_eq!(third.control.ip(), elsewhere.ip());
        second.write(data.path()).expect("may be written");
        assert_ne!(bind().await.0.control, second.control, "it is taken");
        drop(listeners);
    }

    #[test]
    fn all_addresses_are_reached_on_this_computer() {
        assert_eq!(url("0.0.0.0:7600".parse().expect("valid")), "http://127.0.0.1:7600");
        assert_eq!(url("[::]:7600".parse().expect("valid")), "http://127.0.0.1:7600");
        assert_eq!(url("10.0.0.5:1".parse().expect("valid")), "http://10.0.0.5:1");
    }
}
