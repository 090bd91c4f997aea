//! Disks that are full, fill up, refuse, and get better: real ones, so these
//! tests need the right to mount; `scripts/test` leaves them out by the name of this
//! file where nobody has it.

use std::fs::{self, File};
use std::path::Path;

use client::events::EventStore;
use kit::process::command;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use tokio::time::Instant;
use wire::event::{Event, VolumeLevel, kind};

use super::world::{DEADLINE, Place, World, config, event, next};
#[cfg(feature = "jetstream")]
use super::{nats::Server, world::until};
use crate::log::tests::assert_whole;
use crate::log::{DATABASE, JOURNAL};
use crate::{Amount, Config, Marks};

/// A place on a small file system of its own, gone with the test.
struct Disk(Place);

impl Disk {
    /// Of so many megabytes.
    async fn new(place: Place, megabytes: u32) -> Self {
        let size = format!("size={megabytes}m");
        let mount = command("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(place.data.path()).output().await;
        let output = mount.expect("runs");
        assert!(output.status.success(), "only root can mount a small file system");
        Self(place)
    }

    async fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let output = command("mount").args(["-o", &options]).arg(self.0.data.path()).output().await.expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self) -> &Path {
        self.0.data.path()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.data.path().join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing waits for it, and what is still open goes when it is closed.
        rustix::mount::unmount(self.0.data.path(), rustix::mount::UnmountFlags::DETACH).ok();
    }
}

fn marks(warn: u64, stop: u64) -> Marks {
    Marks { warn: Amount::Bytes(warn), stop: Amount::Bytes(stop) }
}

/// Events of ten kilobytes each.
fn batch(numbers: std::ops::Range<u64>) -> Vec<Event> {
    let payload = |number| serde_json::value::to_raw_value(&format!("{number} {}", "x".repeat(10_000))).unwrap();
    numbers.map(|number| Event { payload: payload(number), ..event(number) }).collect()
}

/// Waits until the store takes the event.
async fn until_taken(store: &EventStore, event: &Event) {
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = store.append(std::slice::from_ref(event)).await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

/// Waits until the store refuses; what it took until then.
async fn until_refused(store: &EventStore, first: u64, events: u64) -> (Vec<Event>, client::Error) {
    let deadline = Instant::now() + DEADLINE;
    let mut taken = Vec::new();
    loop {
        let batch = batch(first + taken.len() as u64..first + taken.len() as u64 + events);
        match store.append(&batch).await {
            Ok(_) => taken.extend(batch),
            Err(error) => return (taken, error),
        }
        assert!(Instant::now() < deadline, "the disk never fills up");
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_batch_keeps_nothing_of_it_and_recovers() {
    let disk = Disk::new(Place::sqlite(), 7).await;
    let world = World::start_as(Config { data: disk.file("data"), marks: marks(0, 0), ..config(&disk.0) }).await;
    let (taken, refused) = until_refused(&world.store, 0, 100).await;
    assert_eq!((refused.status(), refused.code()), (Some(507), Some("disk_full")));
    let stored = world.everything().await;
    assert!(stored.iter().map(|event| event.seq).eq(1..=taken.len() as u64), "nothing of the last batch");
    assert!(stored.iter().map(|event| event.id).eq(taken.iter().map(|event| event.id)));
    assert_whole(&disk.file("data"));
    disk.remount("size=64m").await;
    // The same events again, as a sender would: all of them are new.
    let again = batch(taken.len() as u64..taken.len() as u64 + 100);
    let appended = world.store.append(&again).await.expect("there is room");
    assert!(appended.events.iter().all(|receipt| !receipt.duplicate));
    assert_eq!(appended.events[0].seq, taken.len() as u64 + 1);
    // The journal that could not be folded in is folded in now.
    for first in (10_000..11_000).step_by(100) {
        world.store.append(&batch(first..first + 100)).await.expect("there is room");
    }
    let all = taken.len() as u64 + 1_100;
    assert_eq!(world.store.head().await.expect("answers").seq, all);
    assert!(fs::metadata(disk.file("data").join(DATABASE)).unwrap().len() > 5_000_000);
    assert_whole(&disk.file("data"));
    world.stop().await;
    assert!(!disk.file("data").join(JOURNAL).exists(), "closed cleanly");
    assert_whole(&disk.file("data"));
}

#[tokio::test]
async fn a_store_on_a_full_disk_can_be_restarted_and_serves_reads() {
    let disk = Disk::new(Place::sqlite(), 7).await;
    let config = Config { data: disk.file("data"), marks: marks(0, 0), ..config(&disk.0) };
    let world = World::start_as(config.clone()).await;
    let (taken, _) = until_refused(&world.store, 0, 100).await;
    world.stop().await;
    // Not a byte is left, wherever the journal went.
    fs::write(disk.file("others"), vec![0; 7 * 1024 * 1024]).expect_err("it is full");
    let world = World::start_as(config).await;
    assert_eq!(world.everything().await.len(), taken.len());
    assert_eq!(until_refused(&world.store, 10_000, 100).await.1.status(), Some(507));
    fs::remove_file(disk.file("others")).unwrap();
    disk.remount("size=64m").await;
    world.store.append(&batch(20_000..20_100)).await.expect("there is room");
    world.stop().await;
    assert_whole(&disk.file("data"));
}

#[tokio::test]
async fn a_disk_that_is_almost_full_refuses_before_it_is_and_recovers() {
    let disk = Disk::new(Place::sqlite(), 16).await;
    let marks = marks(8 * 1024 * 1024, 4 * 1024 * 1024);
    let world = World::start_as(Config { data: disk.file("data"), marks, ..config(&disk.0) }).await;
    let mut events = world.store.follow(None, 0).await.expect("follows");
    world.store.append(&[event(0)]).await.expect("there is room");
    assert_eq!(next(&mut events).await.seq, 1);
    let others = disk.file("others");
    fs::write(&others, vec![0; 9 * 1024 * 1024]).unwrap();
    assert_eq!(next(&mut events).await.kind, kind::VOLUME_LOW);
    world.store.ready().await.expect("little room is room");
    let (_, refused) = until_refused(&world.store, 1, 5).await;
    assert_eq!((refused.status(), refused.code()), (Some(507), Some("disk_full")));
    let stats = world.store.stats().await.expect("answers");
    assert_eq!(stats.disk.level, VolumeLevel::Full);
    assert!(stats.disk.free_bytes > stats.disk.journal_bytes, "{:?}", stats.disk);
    assert_eq!(world.store.ready().await.expect_err("no room").status(), Some(507));
    assert!(!world.store.feed(0, 10).await.expect("reads are served").events.is_empty());
    fs::remove_file(&others).unwrap();
    until_taken(&world.store, &event(1_000)).await;
    world.store.ready().await.expect("there is room again");
    while next(&mut events).await.kind != kind::VOLUME_RECOVERED {}
    let kinds: Vec<String> =
        world.store.feed(0, 10_000).await.expect("reads").events.into_iter().map(|event| event.kind).collect();
    let count = |wanted| kinds.iter().filter(|kind| *kind == wanted).count();
    assert_eq!((count(kind::VOLUME_LOW), count(kind::VOLUME_RECOVERED)), (1, 1));
    assert_whole(&disk.file("data"));
    world.stop().await;
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_refused_clearly_and_recovers() {
    let place = Place::sqlite();
    let world = World::start(&place).await;
    world.store.append(&[event(1)]).await.expect("stores");
    // A file system cannot be made read-only under a file that is open for writing, but a file can.
    let journal = File::open(place.data.path().join(JOURNAL)).unwrap();
    let usual = ioctl_getflags(&journal).unwrap_or(IFlags::empty());
    if ioctl_setflags(&journal, usual | IFlags::IMMUTABLE).is_err() {
        eprintln!("SKIPPED: a file cannot be made immutable here; run as root on ext4");
        return world.stop().await;
    }
    let refused = world.store.append(&[event(2)]).await.expect_err("cannot be written");
    assert_eq!((refused.status(), refused.code()), (Some(503), Some("storage_failed")));
    let ready = world.store.ready().await.expect_err("cannot be written");
    assert_eq!((ready.status(), ready.code()), (Some(503), Some("storage_failed")));
    assert!(ready.to_string().contains("see that its volume is there and can be written to"), "{ready}");
    assert_eq!(world.stored().await, [1]);
    ioctl_setflags(&journal, usual).expect("as it was");
    world.store.append(&[event(2)]).await.expect("stores");
    assert_eq!(world.stored().await, [1, 2]);
    assert_whole(place.data.path());
    world.stop().await;
}

#[tokio::test]
async fn a_start_on_a_read_only_disk_says_so() {
    let disk = Disk::new(Place::sqlite(), 8).await;
    let config = Config { data: disk.path().to_owned(), ..config(&disk.0) };
    let world = World::start_as(config.clone()).await;
    world.store.append(&[event(1)]).await.expect("stores");
    world.stop().await;
    disk.remount("ro").await;
    let tasks = kit::Tasks::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let started = crate::start(config.clone(), listener, kit::Clock::system(), None, &tasks).await;
    let error = started.expect_err("cannot write").to_string();
    assert!(error.starts_with("cannot write to the data directory"), "{error}");
    disk.remount("rw").await;
    let world = World::start_as(config).await;
    assert_eq!(world.stored().await, [1]);
    world.stop().await;
}

#[cfg(feature = "jetstream")]
#[tokio::test]
async fn a_copy_of_jetstream_whose_disk_fills_up_stops_and_goes_on_where_it_was() {
    let server = Server::start().await;
    let disk = Disk::new(Place::on(server.engine()), 7).await;
    let small = World::start_as(Config { data: disk.file("data"), ..config(&disk.0) }).await;
    let place = Place::on(server.engine());
    let large = World::start(&place).await;
    for first in (0..1_000).step_by(100) {
        large.store.append(&batch(first..first + 100)).await.expect("there is room");
    }
    let is_full = async || small.store.ready().await.err().filter(|error| error.code() == Some("disk_full"));
    until("the small disk is full", is_full).await;
    assert!(small.store.head().await.expect("answers").seq < 1_000);
    assert_whole(&disk.file("data"));
    disk.remount("size=64m").await;
    let head = large.store.head().await.expect("answers");
    let catches_up = async || small.store.head().await.ok().filter(|copy| copy.seq == head.seq);
    let copy = until("the rest is copied", catches_up).await;
    assert_eq!((copy.seq, copy.link), (1_000, head.link));
    small.is_ready().await;
    small.stop().await;
    large.stop().await;
    assert_whole(&disk.file("data"));
}
