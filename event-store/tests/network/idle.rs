//! Ten thousand clients that connect and say nothing.

use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::program::{DEADLINE, Program, event, task};

const IDLE: usize = 10_000;
/// What one of them may take of the store's memory.
const BYTES_EACH: u64 = 4 * 1024;

/// Lets the test open so many files, where the system does.
fn may_open(files: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    maximum.is_none_or(|maximum| maximum >= files)
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok()
}

#[tokio::test]
async fn ten_thousand_idle_connections_cost_little_and_hold_up_nobody() {
    // The store is to have room for more than these, so that none of them is hurried.
    if !may_open(13_000) {
        eprintln!("skipped: the system lets a process open too few files for {IDLE} connections (ulimit -Hn)");
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path()).await;
    program.store.append(&[event(1, task(1))]).await.expect("stores");
    let before = program.resident_kib();
    let connect = stream::iter(0..IDLE).map(|_| TcpStream::connect(program.address));
    let idle: Vec<TcpStream> = connect.buffer_unordered(64).map(|it| it.expect("connects")).collect().await;
    let all_in = async { while program.metric("event_store_connections").await <= IDLE as u64 {} };
    tokio::time::timeout(DEADLINE, all_in).await.expect("all are accepted");
    let each = program.resident_kib().saturating_sub(before) * 1024 / IDLE as u64;
    assert!(each <= BYTES_EACH, "an idle connection takes {each} bytes");
    program.store.append(&[event(2, task(1))]).await.expect("stores");
    let page = program.store.task_events(task(1), 0, 10).await.expect("reads");
    assert_eq!(page.events.len(), 2);
    let open = idle
        .iter()
        .filter(|stream| stream.try_read(&mut [0]).is_err_and(|it| it.kind() == std::io::ErrorKind::WouldBlock));
    assert_eq!(open.count(), IDLE);
    program.stop().await;
}
