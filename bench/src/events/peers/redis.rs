//! Redis Streams with an append-only file that is synced before each answer. A
//! batch is as many commands sent at once.

use std::path::Path;

use kit::process::Sig;

use super::super::load::{Answer, Protocol};
use super::super::records::{KIND, PRODUCER, Record, Source};
use super::super::server::{Server, free_address};
use super::{Peer, line, version};

/// How Redis speaks.
pub(crate) struct Resp {
    batch: usize,
}

/// Starts it on an empty directory.
pub(crate) async fn start(program: &Path, directory: &Path, batch: usize) -> anyhow::Result<Peer<Resp>> {
    let address = free_address()?;
    let mut command = kit::process::command(program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(directory);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    // A rewrite in the middle would measure something else.
    command.args(["--auto-aof-rewrite-percentage", "0"]);
    let mut server = Server::start(&mut command, address, directory)?;
    server.listens().await?;
    let label = format!("Redis {}", version(program).await?.trim_start_matches("v="));
    Ok(Peer { server, protocol: Resp { batch }, label, end: Sig::SIGKILL })
}

impl Protocol for Resp {
    fn greet(&self, _: &mut std::net::TcpStream, _: usize) -> anyhow::Result<()> {
        Ok(())
    }

    fn request(&self, source: &Source, records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(|record| command(source, record)).collect()
    }

    fn answer(&self, received: &[u8]) -> Answer {
        let (mut rest, mut refusal) = (received, None);
        for _ in 0..self.batch {
            let Some((line, behind)) = line(rest) else { return Answer::Partial };
            match line.split_first() {
                Some((b'$', length)) => {
                    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<usize>().ok());
                    let Some(behind) = length.and_then(|length| behind.get(length + 2..)) else {
                        return Answer::Partial;
                    };
                    rest = behind;
                }
                _ => {
                    refusal.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
                    rest = behind;
                }
            }
        }
        refusal.map_or(Answer::Accepted, Answer::Refused)
    }
}

/// `XADD`, with one field for each column of ours.
fn command(source: &Source, record: &Record) -> Vec<u8> {
    let (id, task, execution) = (record.id.to_string(), record.task.to_string(), record.execution.to_string());
    let at = record.at.timestamp_micros().to_string();
    let version = wire::event::SCHEMA_VERSION.to_string();
    let words = [
        "XADD",
        "events",
        "*",
        "id",
        &id,
        "type",
        KIND,
        "task_id",
        &task,
        "execution_id",
        &execution,
        "producer",
        PRODUCER,
        "created_at",
        &at,
        "schema_version",
        &version,
        "payload",
        source.payload(),
    ];
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    command.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_answered_with_its_last_command() {
        let resp = Resp { batch: 2 };
        let whole = b"$3\r\n1-0\r\n$3\r\n2-0\r\n";
        for end in 0..whole.len() {
            assert_eq!(resp.answer(&whole[..end]), Answer::Partial, "{end}");
        }
        assert_eq!(resp.answer(whole), Answer::Accepted);
        assert_eq!(resp.answer(b"-ERR full\r\n"), Answer::Partial);
        assert_eq!(resp.answer(b"-ERR full\r\n$3\r\n1-0\r\n"), Answer::Refused("-ERR full".into()));
    }

    #[test]
    fn a_command_says_the_length_of_each_word() {
        let mut source = Source::new(1);
        let record = source.records(1)[0];
        let text = String::from_utf8(command(&source, &record)).expect("is text");
        assert!(text.starts_with("*19\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$2\r\nid\r\n$36\r\n"), "{text}");
        assert!(text.ends_with("\"}\r\n"), "{text}");
    }
}
