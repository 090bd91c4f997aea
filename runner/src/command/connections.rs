//! The TCP connections of this machine, as the kernel tells them (`sock_diag(7)`): whose
//! they are and how long ago data came or went. `/proc/net/tcp` does not say the latter.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const DONE: u16 = 3;
const TCP: u8 = 6;
const ESTABLISHED: u32 = 1 << 1;
/// The attribute with a connection's numbers, and as it is asked for.
const INFO: u16 = 2;
const WITH_INFO: u8 = 1 << (INFO - 1);
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

const HEADER_BYTES: usize = 16;
/// `struct inet_diag_msg`, and where the inode is in it.
const MESSAGE_BYTES: usize = 72;
const INODE_AT: usize = 68;
/// In `struct tcp_info`: how often the same was sent again without an answer, and milliseconds since data was sent and
/// received last.
const RETRANSMITS_AT: usize = 2;
const SENT_AT: usize = 44;
const RECEIVED_AT: usize = 52;
/// The kernel answers at once; this is for one that does not.
const WITHIN_SECONDS: i64 = 2;

/// An established connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    /// By which its process has it open.
    pub(super) inode: u64,
    /// How long ago data came or went.
    pub(super) since_data: Duration,
}

/// All of them; none where the kernel does not tell. Blocks for a moment.
pub(super) fn all() -> Vec<Connection> {
    let told = FAMILIES.into_iter().map(|family| {
        of_family(family).unwrap_or_else(|error| {
            tracing::debug!("connections of {family:?} cannot be seen: {error}");
            Vec::new()
        })
    });
    told.flatten().collect()
}

fn of_family(family: AddressFamily) -> io::Result<Vec<Connection>> {
    let kind = (SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag);
    let kernel = socket(AddressFamily::Netlink, kind.0, kind.1, kind.2)?;
    setsockopt(&kernel.as_fd(), ReceiveTimeout, &TimeVal::seconds(WITHIN_SECONDS))?;
    sendto(kernel.as_raw_fd(), &request(family), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let length = recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        match parse(&buffer[..length], &mut found) {
            Some(true) => (),
            Some(false) => return Ok(found),
            None => return Err(io::Error::other("the kernel's answer is not understood")),
        }
    }
}

fn request(family: AddressFamily) -> Vec<u8> {
    let family = u8::try_from(family as i32).unwrap_or_default();
    // The family, and then a name of a socket, which is left open.
    let mut body = vec![family, TCP, WITH_INFO, 0];
    body.extend(ESTABLISHED.to_ne_bytes());
    body.extend([0; 48]);
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or_default();
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(REQUEST_AND_DUMP.to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    request
}

/// Reads one part of an answer; whether another follows (pure). Nothing where it is none.
fn parse(mut part: &[u8], found: &mut Vec<Connection>) -> Option<bool> {
    while !part.is_empty() {
        let length = usize::try_from(u32_at(part, 0)?).ok()?;
        let (message, kind) = (part.get(HEADER_BYTES..length)?, u16_at(part, 4)?);
        match kind {
            DONE => return Some(false),
            SOCK_DIAG_BY_FAMILY => found.extend(connection(message)),
            _ => return None,
        }
        part = part.get(aligned(length)..).unwrap_or_default();
    }
    Some(true)
}

fn connection(message: &[u8]) -> Option<Connection> {
    let inode = u32_at(message, INODE_AT)?.into();
    let mut attributes = message.get(MESSAGE_BYTES..)?;
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == INFO {
            let (sent_ms, received_ms) = (u32_at(value, SENT_AT)?, u32_at(value, RECEIVED_AT)?);
            // What is sent again and again to somebody who is gone is no work.
            let is_heard = *value.get(RETRANSMITS_AT)? == 0;
            let since_ms = if is_heard { sent_ms.min(received_ms) } else { received_ms };
            return Some(Connection { inode, since_data: Duration::from_millis(since_ms.into()) });
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

/// Messages and attributes begin at multiples of four.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_connection_is_found_by_its_inode_with_the_time_of_its_last_data() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut stream = TcpStream::connect(listener.local_addr().expect("it has one")).expect("connects");
        let (peer, _) = listener.accept().expect("accepts");
        stream.write_all(b"x").expect("writes");
        for end in [&stream, &peer] {
            let inode = std::fs::metadata(format!("/proc/self/fd/{}", end.as_raw_fd())).expect("is open").ino();
            let found = all().into_iter().find(|connection| connection.inode == inode).expect("is told");
            assert!(found.since_data < Duration::from_secs(10), "{found:?}");
        }
        assert!(all().iter().all(|connection| connection.inode != 0));
    }

    #[test]
    fn an_answer_that_is_cut_short_or_is_none_is_not_understood() {
        for part in [&[1_u8][..], &[0; 16], &[255; 40]] {
            assert_eq!(parse(part, &mut Vec::new()), None, "{part:?}");
        }
        let mut done = 20_u32.to_ne_bytes().to_vec();
        done.extend(DONE.to_ne_bytes());
        done.extend([0; 14]);
        assert_eq!(parse(&done, &mut Vec::new()), Some(false));
    }
}
