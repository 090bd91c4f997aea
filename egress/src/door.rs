//! A door: a port on the machines' side that leads to one place, whoever knocks.
//! What is behind it asks for a credential of its own.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kit::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::accepted;
use crate::relay::{Carried, carry};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where a port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Where it listens, as `ADDRESS:PORT`.
    pub listen: String,
    /// Where it leads, as `HOST:PORT`.
    pub to: String,
}

/// A text that is no door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a door is LISTEN=HOST:PORT, such as [::]:7600=bifrost-control.internal:7600, which {0:?} is not")]
pub struct BadDoor(String);

impl FromStr for Door {
    type Err = BadDoor;

    fn from_str(text: &str) -> Result<Self, BadDoor> {
        let has_port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match text.split_once('=') {
            Some((listen, to)) if has_port(listen) && has_port(to) => {
                Ok(Self { listen: listen.to_owned(), to: to.to_owned() })
            }
            _ => Err(BadDoor(text.to_owned())),
        }
    }
}

impl Door {
    pub(crate) async fn serve(self, listener: TcpListener, room: Arc<Semaphore>, tasks: Tasks) {
        let to: Arc<str> = self.to.into();
        loop {
            let Some((stream, _)) = accepted(&listener).await else { continue };
            // Without room it is closed: whoever is behind a door tries again.
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (to, own) = (Arc::clone(&to), tasks.clone());
            tasks.spawn("egress door connection", async move {
                match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(&*to)).await {
                    Ok(Ok(host)) => carry(stream, host, &[], &own, &Carried::default()).await,
                    Ok(Err(error)) => tracing::warn!(%error, to = &*to, "a door leads nowhere"),
                    Err(_) => tracing::warn!(to = &*to, "a door leads nowhere: no answer"),
                }
                drop(permit);
            });
        }
    }
}
