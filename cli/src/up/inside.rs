//! The machines' side of a local system whose machines are containers: the address that
//! this computer has in their network, the egress proxy there, and a door to the
//! control plane and one to the event store.

use std::net::{IpAddr, SocketAddr};

use egress::Door;
use tokio::net::TcpListener;

use super::addresses::Addresses;
use crate::exit::{Code, failure};

/// Where proxies usually listen.
const PROXY_PORT: u16 = 3128;

/// What containers reach, bound.
pub(super) struct Inside {
    pub(super) proxy: TcpListener,
    pub(super) doors: Vec<(TcpListener, Door)>,
    pub(super) proxy_url: String,
    pub(super) control_url: String,
    pub(super) events_url: String,
}

impl Inside {
    /// Binds the proxy where it was before, which containers that are asleep still know.
    pub(super) async fn open(settings: &emulator::Settings, addresses: &Addresses) -> anyhow::Result<Self> {
        let gateway = emulator::gateway(settings).await.map_err(|error| {
            let cure = "start docker or podman, or name its socket with --engine or DOCKER_HOST";
            failure(Code::Unavailable, error.to_string(), cure)
        })?;
        let gateway: IpAddr = gateway.parse()?;
        let ports = addresses.egress.into_iter().chain([PROXY_PORT, 0]);
        let proxy = ports.map(|port| kit::net::listen_ahead(SocketAddr::new(gateway, port)));
        let proxy = proxy.reduce(|bound, next| bound.or(next)).expect("there are two ports")?;
        let mut doors = Vec::new();
        // Whoever listens on all addresses listens on this one as well.
        for to in [addresses.control, addresses.events].into_iter().filter(|to| !to.ip().is_unspecified()) {
            let listen = SocketAddr::new(gateway, to.port());
            let listener = kit::net::listen_ahead(listen).map_err(|error| {
                let cure = "stop what listens there, or choose another port with --listen ADDR";
                failure(Code::Unavailable, format!("cannot listen on {listen} for machines: {error}"), cure)
            })?;
            doors.push((listener, Door { listen: listen.to_string(), to: to.to_string() }));
        }
        let url = |port| format!("http://{}", SocketAddr::new(gateway, port));
        let proxy_url = url(proxy.local_addr()?.port());
        let (control_url, events_url) = (url(addresses.control.port()), url(addresses.events.port()));
        Ok(Self { proxy, doors, proxy_url, control_url, events_url })
    }
}
