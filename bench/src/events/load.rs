//! The load generator: one thread, any number of connections, one request under
//! way on each. Requests are complete before the clock starts, and of an answer no
//! more is read than whether it is whole and what it says of success: the system
//! that is measured shares the processors with this.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kit::Tasks;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::outcome::Outcome;
use super::records::{Record, Source};

/// The longest that no answer at all may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest that a system may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// Most answers fit into it.
const BUFFER_BYTES: usize = 256 * 1024;

/// What has come back of an answer so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Partial,
    Accepted,
    Refused(String),
}

/// How a system speaks.
pub(crate) trait Protocol {
    /// Brings a new connection to where it takes requests.
    fn greet(&self, stream: &mut std::net::TcpStream, connection: usize) -> anyhow::Result<()>;

    /// One request to write these records.
    fn request(&self, source: &Source, records: &[Record]) -> Vec<u8>;

    /// Writes into the request over which connection it goes, where the system needs to be told.
    fn address(&self, _request: &mut [u8], _connection: usize) {}

    /// Reads everything that came since the request was sent.
    fn answer(&self, received: &[u8]) -> Answer;
}

/// Open connections to one system.
pub(crate) struct Load<'a, P> {
    protocol: &'a P,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    tasks: Tasks,
}

struct Connection {
    number: usize,
    stream: TcpStream,
    /// The request that is under way, and how much of it has left; out of bounds while there is none.
    request: usize,
    written: usize,
    sent_at: Instant,
    /// The beginning of an answer that did not come at once.
    received: Vec<u8>,
}

impl<'a, P: Protocol> Load<'a, P> {
    /// Connects; the stop of the tasks ends a run early, as an error.
    pub(crate) fn open(
        protocol: &'a P,
        address: SocketAddr,
        connections: usize,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..connections).map(|index| Connection::open(protocol, address, &poll, index));
        let connections = connections.collect::<anyhow::Result<_>>().context("cannot connect")?;
        Ok(Self { protocol, poll, connections, buffer: vec![0; BUFFER_BYTES], tasks: tasks.clone() })
    }

    /// Sends the requests, each once and in their order, until they are used up or the time
    /// is, and waits for every answer.
    pub(crate) fn run(&mut self, requests: &mut [Vec<u8>], limit: Duration) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { latencies: Vec::with_capacity(requests.len()), ..Outcome::default() };
        let mut ready = Events::with_capacity(self.connections.len());
        let began = Instant::now();
        for connection in self.connections.iter_mut().take(requests.len()) {
            connection.send(self.protocol, requests, outcome.sent, Instant::now())?;
            outcome.sent += 1;
        }
        while outcome.latencies.len() < outcome.sent {
            wait(&mut self.poll, &mut ready)?;
            if self.tasks.is_stopping() {
                bail!("interrupted");
            }
            for event in &ready {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write(requests)?;
                }
                match connection.read(self.protocol, &mut self.buffer)? {
                    Answer::Partial => continue,
                    Answer::Accepted => (),
                    Answer::Refused(why) => outcome.refuse(why),
                }
                let now = Instant::now();
                outcome.latencies.push(now - connection.sent_at);
                outcome.elapsed = now - began;
                if outcome.elapsed < limit && outcome.sent < requests.len() {
                    connection.send(self.protocol, requests, outcome.sent, now)?;
                    outcome.sent += 1;
                }
            }
        }
        Ok(outcome)
    }
}

impl Connection {
    fn open(protocol: &impl Protocol, address: SocketAddr, poll: &Poll, number: usize) -> anyhow::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GREETING_LIMIT))?;
        protocol.greet(&mut stream, number)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { number, stream, request: 0, written: usize::MAX, sent_at: Instant::now(), received: Vec::new() })
    }

    fn send(
        &mut self,
        protocol: &impl Protocol,
        requests: &mut [Vec<u8>],
        request: usize,
        now: Instant,
    ) -> io::Result<()> {
        protocol.address(&mut requests[request], self.number);
        (self.request, self.written, self.sent_at) = (request, 0, now);
        self.write(requests)
    }

    /// Writes what has not left yet, as far as there is room.
    fn write(&mut self, requests: &[Vec<u8>]) -> io::Result<()> {
        while let Some(rest) = requests.get(self.request).and_then(|request| request.get(self.written..)) {
            if rest.is_empty() {
                break;
            }
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what has come. The next edge tells of what comes later, so a read that leaves room
    /// in the buffer need not be followed by one that finds nothing.
    fn read(&mut self, protocol: &impl Protocol, buffer: &mut [u8]) -> anyhow::Result<Answer> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the system closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Answer::Partial),
                Err(error) => return Err(error.into()),
            };
            let answer = if self.received.is_empty() {
                protocol.answer(&buffer[..count])
            } else {
                self.received.extend_from_slice(&buffer[..count]);
                protocol.answer(&self.received)
            };
            match answer {
                Answer::Partial if self.received.is_empty() => self.received.extend_from_slice(&buffer[..count]),
                Answer::Partial => (),
                Answer::Accepted | Answer::Refused(_) => {
                    self.received.clear();
                    self.written = usize::MAX;
                    return Ok(answer);
                }
            }
            if count < buffer.len() {
                return Ok(Answer::Partial);
            }
        }
    }
}

fn wait(poll: &mut Poll, ready: &mut Events) -> anyhow::Result<()> {
    match poll.poll(ready, Some(PATIENCE)) {
        Ok(()) if ready.is_empty() => bail!("no answer came within {PATIENCE:?}"),
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
