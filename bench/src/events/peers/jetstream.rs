//! NATS JetStream with a stream in files, one subject for each task, and an
//! acknowledgement for each message.
//!
//! Servers from 2.10 on can sync each message before they acknowledge it. For an
//! older one the file system does: it is told to write everything in the
//! directory through (`chattr +S`), which costs the same sync for each write.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use kit::process::Sig;
use tokio::task::block_in_place;

use super::super::load::{Answer, Protocol};
use super::super::records::{Record, Source};
use super::super::server::{Server, free_address};
use super::{Peer, line, read_until, version};

/// The longest an answer may take while the stream is made.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where in a message the number of the connection stands that gets the answer.
const NUMBER: std::ops::Range<usize> = {
    let start = "PUB events.00000000-0000-0000-0000-000000000000 _I.".len();
    start..start + 4
};
const STREAM: &str = r#"{"name":"EVENTS","subjects":["events.*"],"storage":"file","retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msg_size":-1,"discard":"old","num_replicas":1}"#;

/// How NATS speaks.
pub(crate) struct Nats {
    batch: usize,
}

/// Starts it on an empty directory.
pub(crate) async fn start(program: &Path, directory: &Path, batch: usize) -> anyhow::Result<Peer<Nats>> {
    let address = free_address()?;
    let data = directory.join("data");
    std::fs::create_dir(&data)?;
    let file = directory.join("nats.conf");
    let configuration = |sync: &str| {
        let text = format!("listen: \"{address}\"\njetstream {{ store_dir: \"{}\"{sync} }}\n", data.display());
        std::fs::write(&file, text)
    };
    configuration(", sync_interval: always")?;
    let check = kit::process::command(program).arg("-t").arg("-c").arg(&file).output().await?;
    let how = if check.status.success() {
        "sync_interval: always"
    } else {
        configuration("")?;
        let made = kit::process::command("chattr").arg("+S").arg(&data).output().await?;
        ensure!(made.status.success(), "chattr: {}", String::from_utf8_lossy(&made.stderr));
        "chattr +S"
    };
    let mut command = kit::process::command(program);
    command.arg("-c").arg(&file);
    let mut server = Server::start(&mut command, address, directory)?;
    server.listens().await?;
    block_in_place(|| make_stream(TcpStream::connect(address)?))?;
    let label = format!("JetStream {}, {how}", version(program).await?);
    Ok(Peer { server, protocol: Nats { batch }, label, end: Sig::SIGKILL })
}

fn make_stream(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    greet(&mut stream, "_I.made")?;
    write!(stream, "PUB $JS.API.STREAM.CREATE.EVENTS _I.made {}\r\n{STREAM}\r\n", STREAM.len())?;
    let nats = Nats { batch: 1 };
    let received = read_until(&mut stream, |received| nats.answer(received) != Answer::Partial)?;
    match nats.answer(&received) {
        Answer::Refused(why) => bail!("the stream was not made: {why}"),
        Answer::Partial | Answer::Accepted => Ok(()),
    }
}

/// Says hello and subscribes to the answers.
fn greet(stream: &mut TcpStream, inbox: &str) -> anyhow::Result<()> {
    write!(stream, "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\nPING\r\n")?;
    read_until(stream, |received| received.windows(6).any(|six| six == b"PONG\r\n")).map(drop)
}

impl Protocol for Nats {
    fn greet(&self, stream: &mut TcpStream, connection: usize) -> anyhow::Result<()> {
        greet(stream, &format!("_I.{connection:04}"))
    }

    fn request(&self, source: &Source, records: &[Record]) -> Vec<u8> {
        let messages = records.iter().flat_map(|record| {
            let event = serde_json::to_string(&source.event(*record)).expect("events are plain data");
            format!("PUB events.{} _I.0000 {}\r\n{event}\r\n", record.task, event.len()).into_bytes()
        });
        messages.collect()
    }

    fn address(&self, request: &mut [u8], connection: usize) {
        let number = format!("{connection:04}");
        let mut message = request;
        while let Some(place) = message.get_mut(NUMBER) {
            place.copy_from_slice(number.as_bytes());
            let Some((length, payload)) = line(&message[NUMBER.end + 1..]) else { break };
            let head = NUMBER.end + 1 + length.len() + 2;
            let payload = number_in(length).min(payload.len());
            message = message.get_mut(head + payload + 2..).unwrap_or_default();
        }
    }

    fn answer(&self, received: &[u8]) -> Answer {
        let (mut rest, mut answers, mut refusal) = (received, 0, None);
        while answers < self.batch {
            let Some((line, behind)) = line(rest) else { return Answer::Partial };
            rest = behind;
            if line.starts_with(b"-ERR") {
                return Answer::Refused(String::from_utf8_lossy(line).into_owned());
            }
            // What else comes is about the connection and not about a message.
            if let Some(message) = line.strip_prefix(b"MSG ") {
                let length = number_in(message.rsplit(|byte| *byte == b' ').next().unwrap_or_default());
                let Some(behind) = rest.get(length + 2..) else { return Answer::Partial };
                let text = &rest[..length];
                if text.windows(8).any(|eight| eight == b"\"error\":") {
                    refusal.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
                }
                (rest, answers) = (behind, answers + 1);
            }
        }
        refusal.map_or(Answer::Accepted, Answer::Refused)
    }
}

fn number_in(digits: &[u8]) -> usize {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_request_names_its_connection() {
        let mut source = Source::new(2);
        let records = source.records(3);
        let nats = Nats { batch: 3 };
        let mut request = nats.request(&source, &records);
        nats.address(&mut request, 17);
        let text = String::from_utf8(request).expect("is text");
        assert_eq!(text.matches(" _I.0017 ").count(), 3, "{text}");
        assert_eq!(text.matches("\r\nPUB events.").count(), 2, "{text}");
    }

    #[test]
    fn a_batch_is_answered_with_its_last_message() {
        let nats = Nats { batch: 2 };
        let whole = b"MSG _I.0001 1 2\r\n{}\r\nPING\r\nMSG _I.0001 1 2\r\n{}\r\n";
        for end in 0..whole.len() {
            assert_eq!(nats.answer(&whole[..end]), Answer::Partial, "{end}");
        }
        assert_eq!(nats.answer(whole), Answer::Accepted);
        let refusal = "{\"error\":{}}";
        let refused = format!("MSG _I.0001 1 {}\r\n{refusal}\r\nMSG _I.0001 1 2\r\n{{}}\r\n", refusal.len());
        assert_eq!(nats.answer(refused.as_bytes()), Answer::Refused(refusal.into()));
    }
}
