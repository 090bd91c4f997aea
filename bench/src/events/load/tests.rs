//! The generator against servers that answer in pieces.

use std::net::TcpListener;
use std::thread;

use super::*;

/// A request is a byte, its answer the byte and a dot; `n` is a refusal.
struct Bytes;

impl Protocol for Bytes {
    fn greet(&self, stream: &mut std::net::TcpStream, connection: usize) -> anyhow::Result<()> {
        Ok(stream.write_all(&[b'0' + u8::try_from(connection)?])?)
    }

    fn request(&self, _: &Source, _: &[Record]) -> Vec<u8> {
        Vec::new()
    }

    fn answer(&self, received: &[u8]) -> Answer {
        match received {
            [b'n', b'.'] => Answer::Refused("no".into()),
            [_, b'.'] => Answer::Accepted,
            _ => Answer::Partial,
        }
    }
}

/// Answers in two pieces; ends when nobody is connected any more.
fn serve(connections: usize) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let accepted = listener.incoming().take(connections).map(|stream| {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut seen = [0; 1];
                stream.read_exact(&mut seen).unwrap();
                let mut all = seen.to_vec();
                while stream.read_exact(&mut seen).is_ok() {
                    all.push(seen[0]);
                    // Who has hung up does not wait for the rest.
                    if stream.write_all(&seen).and_then(|()| stream.write_all(b".")).is_err() {
                        break;
                    }
                }
                all
            })
        });
        let accepted: Vec<_> = accepted.collect();
        accepted.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (address, serving)
}

#[test]
fn every_request_is_sent_once_and_every_answer_counted() {
    let (address, serving) = serve(3);
    let mut load = Load::open(&Bytes, address, 3, &Tasks::new()).unwrap();
    let mut requests: Vec<_> = b"abcdefgnijk".iter().map(|byte| vec![*byte]).collect();
    let outcome = load.run(&mut requests, Duration::from_secs(60)).unwrap();
    assert_eq!((outcome.sent, outcome.latencies.len()), (11, 11));
    assert_eq!((outcome.refused, outcome.refusal.as_deref()), (1, Some("no")));
    drop(load);
    let mut seen = serving.join().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, b"012abcdefgijkn");
}

#[test]
fn when_the_time_is_up_only_what_is_under_way_is_waited_for() {
    let (address, serving) = serve(2);
    let mut load = Load::open(&Bytes, address, 2, &Tasks::new()).unwrap();
    let outcome = load.run(&mut vec![b"a".to_vec(); 9], Duration::ZERO).unwrap();
    assert_eq!((outcome.sent, outcome.latencies.len()), (2, 2));
    drop(load);
    serving.join().unwrap();
}

#[test]
fn a_stop_ends_a_run() {
    let (address, serving) = serve(1);
    let tasks = Tasks::new();
    let mut load = Load::open(&Bytes, address, 1, &tasks).unwrap();
    tasks.stop();
    assert_eq!(load.run(&mut [b"a".to_vec()], Duration::MAX).unwrap_err().to_string(), "interrupted");
    drop(load);
    serving.join().unwrap();
}
