//! PostgreSQL as it comes, which syncs each commit: the same table and the same
//! indexes, prepared inserts of one or of many rows, on a connection each.
//!
//! Its protocol is spoken directly, so that its client costs no more than ours.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use kit::process::Sig;
use nix::unistd::{Uid, User, chown};
use tokio::process::Command;
use tokio::task::block_in_place;

use super::super::load::{Answer, Protocol};
use super::super::records::{KIND, PRODUCER, Record, Source};
use super::super::server::{Server, free_address};
use super::{Peer, read_until, version};

/// The longest an answer may take while the table is made.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of which the server runs where we are root, which it refuses to be.
const OWNERS: [&str; 2] = ["postgres", "nobody"];
const TABLE: &str = "
    CREATE TABLE events (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL UNIQUE,
        type text NOT NULL,
        task_id uuid,
        execution_id uuid,
        producer text NOT NULL,
        created_at timestamptz NOT NULL,
        schema_version smallint NOT NULL,
        payload text NOT NULL
    );
    CREATE INDEX events_by_task ON events (task_id, seq) WHERE task_id IS NOT NULL";
const INSERT: &str =
    "INSERT INTO events (id, type, task_id, execution_id, producer, created_at, schema_version, payload) VALUES ";
/// The types of a row's values, as the server numbers them.
const TYPES: [u32; 8] = [UUID, TEXT, UUID, UUID, TEXT, TIMESTAMPTZ, INT2, TEXT];
const UUID: u32 = 2_950;
const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1_184;
const INT2: u32 = 21;
/// 2000-01-01, from which the server counts.
const EPOCH_SECONDS: i64 = 946_684_800;

/// How PostgreSQL speaks.
pub(crate) struct Frontend {
    batch: usize,
}

/// Makes a cluster in the directory and starts it.
pub(crate) async fn start(programs: &Path, directory: &Path, batch: usize) -> anyhow::Result<Peer<Frontend>> {
    let address = free_address()?;
    let owner = owner(directory)?;
    let data = directory.join("data");
    let mut make = command(&programs.join("initdb"), owner.as_ref());
    make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"]).arg(&data);
    let made = make.current_dir(directory).output().await?;
    ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let program = programs.join("postgres");
    let mut command = command(&program, owner.as_ref());
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-D"]).arg(&data);
    for setting in ["fsync=on", "synchronous_commit=on", "max_connections=300", "unix_socket_directories="] {
        command.args(["-c", setting]);
    }
    let mut server = Server::start(command.current_dir(directory), address, directory)?;
    server.listens().await?;
    while let Err(error) = block_in_place(|| make_table(address)) {
        // It listens before it is ready.
        server.still_starts().context(error)?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let label = format!("PostgreSQL {}", version(&program).await?);
    Ok(Peer { server, protocol: Frontend { batch }, label, end: Sig::SIGQUIT })
}

/// Who the server is to run as, where that is not ourselves; the directory becomes theirs.
fn owner(directory: &Path) -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let users = OWNERS.iter().filter_map(|name| User::from_name(name).ok().flatten());
    let user = users.into_iter().next().context("the server does not run as root, and nobody else is there")?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    chown(directory, Some(user.uid), Some(user.gid))?;
    Ok(Some(user))
}

fn command(program: &Path, owner: Option<&User>) -> Command {
    let mut command = kit::process::command(program);
    if let Some(owner) = owner {
        command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
    }
    command
}

fn make_table(address: SocketAddr) -> anyhow::Result<()> {
    execute(address, TABLE)
}

/// Has a server that was started here carry out statements of no answer.
pub(crate) fn execute(address: SocketAddr, statements: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    hello(&mut stream)?;
    ask(&mut stream, &message(b'Q', &[statements.as_bytes(), b"\0"].concat()))
}

/// Opens a session as the superuser, which nobody here has to prove to be.
fn hello(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut startup = 196_608_u32.to_be_bytes().to_vec();
    startup.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    // The first message of all has no type.
    ask(stream, &message(0, &startup)[1..])
}

/// Sends, and waits until the server is ready for more.
fn ask(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<()> {
    stream.write_all(request)?;
    let received = read_until(stream, |received| answer(received) != Answer::Partial)?;
    match answer(&received) {
        Answer::Refused(why) => bail!("{why}"),
        Answer::Partial | Answer::Accepted => Ok(()),
    }
}

impl Protocol for Frontend {
    fn greet(&self, stream: &mut TcpStream, _: usize) -> anyhow::Result<()> {
        hello(stream)?;
        let row = |row: usize| {
            let places = (1..=TYPES.len()).map(|column| format!("${}", row * TYPES.len() + column));
            format!("({})", places.collect::<Vec<_>>().join(","))
        };
        let rows: Vec<_> = (0..self.batch).map(row).collect();
        let mut parse = format!("insert\0{INSERT}{}\0", rows.join(",")).into_bytes();
        parse.extend_from_slice(&count(self.batch * TYPES.len()));
        parse.extend(std::iter::repeat_n(TYPES, self.batch).flatten().flat_map(u32::to_be_bytes));
        ask(stream, &[message(b'P', &parse), message(b'S', b"")].concat())
    }

    fn request(&self, source: &Source, records: &[Record]) -> Vec<u8> {
        // No portal of its own, the statement, and all values in binary.
        let mut bind = b"\0insert\0\0\x01\0\x01".to_vec();
        bind.extend_from_slice(&count(records.len() * TYPES.len()));
        for record in records {
            let (id, task, execution) = (record.id.uuid(), record.task.uuid(), record.execution.uuid());
            let values: [&[u8]; 8] = [
                id.as_bytes(),
                KIND.as_bytes(),
                task.as_bytes(),
                execution.as_bytes(),
                PRODUCER.as_bytes(),
                &timestamp(record.at).to_be_bytes(),
                &wire::event::SCHEMA_VERSION.to_be_bytes(),
                source.payload().as_bytes(),
            ];
            for value in values {
                bind.extend_from_slice(&length(value.len()));
                bind.extend_from_slice(value);
            }
        }
        bind.extend_from_slice(b"\0\0");
        [message(b'B', &bind), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
    }

    fn answer(&self, received: &[u8]) -> Answer {
        answer(received)
    }
}

/// Ready for the next query is the last thing that the server says.
fn answer(received: &[u8]) -> Answer {
    let (mut rest, mut error) = (received, None);
    while let [kind, a, b, c, d, ..] = *rest {
        let Some(message) = rest.get(1..1 + u32::from_be_bytes([a, b, c, d]) as usize) else { break };
        match kind {
            b'E' => error = Some(String::from_utf8_lossy(&message[4..]).replace('\0', " ")),
            b'R' if message[4..] != [0; 4] => error = Some("the server wants a password".into()),
            b'Z' => return error.map_or(Answer::Accepted, Answer::Refused),
            _ => (),
        }
        rest = &rest[1 + message.len()..];
    }
    Answer::Partial
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(&length(content.len() + 4));
    message.extend_from_slice(content);
    message
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("requests are smaller than 4 GiB").to_be_bytes()
}

fn count(values: usize) -> [u8; 2] {
    u16::try_from(values).expect("a statement has fewer than 65,536 values").to_be_bytes()
}

fn timestamp(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros() - EPOCH_SECONDS * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_the_server_is_ready_again() {
        let whole = [message(b'2', b""), message(b'C', b"INSERT 0 1\0"), message(b'Z', b"I")].concat();
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]), Answer::Partial, "{end}");
        }
        assert_eq!(answer(&whole), Answer::Accepted);
        let refused = [message(b'E', b"Mno\0\0"), message(b'Z', b"I")].concat();
        assert_eq!(answer(&refused), Answer::Refused("Mno  ".into()));
    }
}
