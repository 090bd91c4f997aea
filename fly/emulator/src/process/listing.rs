//! What runs in a machine, as Fly lists it (platform notes §1.2): read from `/proc`,
//! where a process that ends meanwhile is left out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;

use super::members::Root;
use super::table;

/// A socket that listens, in the kernel's table.
const LISTENS: &str = "0A";

/// A process of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) directory: String,
    /// Seconds of processor time, in the kernel and outside.
    pub(crate) cpu: u64,
    /// Bytes in memory.
    pub(crate) rss: u64,
    /// Seconds since it began.
    pub(crate) rtime: u64,
    /// Seconds of processor time in the kernel.
    pub(crate) stime: u64,
    pub(crate) listen_sockets: Vec<Listening>,
}

/// Where a process listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listening {
    pub(crate) proto: &'static str,
    pub(crate) address: String,
}

/// The machine's processes, parents before children. Blocks for as long as many small files take.
pub(crate) fn list(root: &Root) -> io::Result<Vec<Listed>> {
    let now = table::since_boot()?;
    let listed = root.members()?.into_iter().filter_map(|process| {
        let usage = table::usage(process.pid)?;
        Some(Listed {
            pid: process.pid,
            command: table::command_line(process.pid),
            directory: table::directory(process.pid),
            cpu: table::seconds(usage.user_ticks + usage.system_ticks),
            rss: usage.resident_bytes,
            rtime: now.saturating_sub(table::seconds(process.start_ticks)),
            stime: table::seconds(usage.system_ticks),
            listen_sockets: listening(process.pid),
        })
    });
    Ok(listed.collect())
}

fn listening(pid: i32) -> Vec<Listening> {
    let own = table::sockets(pid);
    if own.is_empty() {
        return Vec::new();
    }
    let tables = ["tcp", "tcp6"].into_iter().flat_map(|name| parse(&table::network(pid, name)));
    let by_inode: BTreeMap<u64, SocketAddr> = tables.collect();
    let addresses = own.iter().filter_map(|inode| by_inode.get(inode));
    addresses.map(|address| Listening { proto: "tcp", address: address.to_string() }).collect()
}

/// The sockets that listen, of a table such as `/proc/net/tcp`.
fn parse(table: &str) -> Vec<(u64, SocketAddr)> {
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_listening = fields.get(3).is_some_and(|state| *state == LISTENS);
        is_listening.then(|| Some((fields.get(9)?.parse().ok()?, address(fields.get(1)?)?))).flatten()
    };
    table.lines().skip(1).filter_map(listens).collect()
}

/// Words of 32 bits in this computer's order, each in hexadecimal, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word =
        |index: usize| u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_who_listens_where() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1DB2 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0\n   \
                     1: 0100007F:1DB3 0100007F:1DB2 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0\n";
        assert_eq!(parse(table), [(4_242, "127.0.0.1:7602".parse().expect("an address"))]);
        let any = address("00000000000000000000000000000000:0016");
        assert_eq!(any, Some("[::]:22".parse().expect("an address")));
        assert_eq!(address("00:16"), None);
    }
}
