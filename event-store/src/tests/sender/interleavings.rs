//! Any interleaving of sends, failures, crashes of either side, damage to the
//! spool and wrong clocks shows each event once and in order. What a process took
//! is only ever lost with the power, and then only what no flush had answered for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::events::EventStore;
use client::sender::{Flushed, Limits, Sender};
use kit::{Chance, Clock, Tasks};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use wire::event::Event;

use super::super::world::{DEADLINE, Place, World, event, key, now, signer, task};
use gateway::{Fault, Gateway};

mod gateway;

/// Some six events fill it.
const LIMITS: Limits = Limits { spool_bytes: 1_500, batch_events: 5, batch_bytes: 1_000 };

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many events are to be sent; some may have to wait for room.
    Send(u8),
    /// A request will go wrong.
    Fail(Fault),
    /// The store's process is gone.
    LoseStore,
    /// The store's process comes back, with its clock set back to the beginning.
    StartStore,
    /// The store's clock moves on by so many seconds, and the sender's does not.
    StoreClock(u16),
    /// The sender's clock moves on by so many seconds, and the store's does not.
    SenderClock(u16),
    /// The sender's process ends, and another takes over.
    Restart(End, Damage),
    /// Everything sent so far is to be delivered or at least on disk.
    Flush,
    /// Everything sent so far arrives.
    Settle,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is told to stop, and nothing that it has at hand may be lost.
    Stop,
    /// What waits in its memory is gone.
    Kill,
    /// As well as what was written since the last flush, down to so many of 256 parts of it.
    PowerCut(u8),
}

/// What the next process finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Nothing,
    TornLine,
    NoCursor,
    OldCursor,
    GarbledCursor,
}

/// A process that sends.
struct Process {
    tasks: Tasks,
    sender: Sender,
    orders: mpsc::UnboundedSender<u8>,
    producer: tokio::task::JoinHandle<()>,
}

impl Process {
    /// `sent` is how many events the spool took, which is also the next one's number.
    fn start(spool: &Path, store: &EventStore, sent: &watch::Sender<u64>) -> Self {
        let tasks = Tasks::new();
        let sender = Sender::open(spool, store.clone(), LIMITS, Chance::seeded(1), &tasks).expect("opens");
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (producing, sent) = (sender.clone(), sent.clone());
        let producer = tasks.spawn("producer", async move {
            while let Some(count) = ordered.recv().await {
                for _ in 0..count {
                    let number = *sent.borrow();
                    let task = task(u8::try_from(number % 3).expect("is small"));
                    producing.send(Event { task_id: Some(task), ..event(number) }).await;
                    sent.send_modify(|sent| *sent += 1);
                }
            }
        });
        Self { tasks, sender, orders, producer }
    }

    async fn end(self, end: End) {
        if end != End::Stop {
            self.producer.abort();
        }
        drop(self.orders);
        self.tasks.stop_within(DEADLINE).await.expect("ends");
    }
}

struct Run {
    place: Place,
    spool: TempDir,
    gateway: Gateway,
    gateway_tasks: Tasks,
    world: Option<World>,
    clock: Clock,
    store: EventStore,
    sent: watch::Sender<u64>,
    ordered: u64,
    /// The spool's files, as long as they were when last flushed, and the events in them.
    flushed: (BTreeMap<PathBuf, u64>, u64),
    /// Events that a power cut may have taken.
    at_risk: BTreeSet<u64>,
    visible: usize,
}

impl Run {
    async fn start() -> Self {
        let (place, spool, gateway_tasks) = (Place::sqlite(), TempDir::new().unwrap(), Tasks::new());
        let (gateway, base) = Gateway::start(&gateway_tasks).await;
        let clock = Clock::manual(now());
        let store = EventStore::new(&base, signer(key(), None, &clock));
        let mut run = Self {
            place,
            spool,
            gateway,
            gateway_tasks,
            world: None,
            clock,
            store,
            sent: watch::Sender::new(0),
            ordered: 0,
            flushed: Default::default(),
            at_risk: BTreeSet::new(),
            visible: 0,
        };
        run.start_store().await;
        run
    }

    async fn start_store(&mut self) {
        if self.world.is_none() {
            let world = World::start(&self.place).await;
            self.gateway.lead_to(Some(world.base.clone()));
            self.world = Some(world);
        }
    }

    async fn lose_store(&mut self) {
        self.gateway.lead_to(None);
        if let Some(world) = self.world.take() {
            world.stop().await;
        }
    }

    async fn take(&mut self, step: Step, process: Process) -> Process {
        match step {
            Step::Send(count) => {
                process.orders.send(count).expect("the producer lives");
                self.ordered += u64::from(count);
                // Lets it begin; how far it gets is part of the interleaving.
                tokio::task::yield_now().await;
            }
            Step::Fail(fault) => self.gateway.fail(fault),
            Step::LoseStore => self.lose_store().await,
            Step::StartStore => self.start_store().await,
            Step::StoreClock(seconds) => {
                if let Some(world) = &self.world {
                    world.clock.advance(Duration::from_secs(seconds.into()));
                }
            }
            Step::SenderClock(seconds) => self.clock.advance(Duration::from_secs(seconds.into())),
            Step::Restart(end, damage) => {
                process.end(end).await;
                self.ordered = if end == End::Stop { self.ordered } else { *self.sent.borrow() };
                assert_eq!(self.ordered, *self.sent.borrow(), "a stop loses nothing that was at hand");
                if let End::PowerCut(part) = end {
                    self.cut_power(part);
                }
                damage_spool(self.spool.path(), damage);
                return Process::start(self.spool.path(), &self.store, &self.sent);
            }
            Step::Flush => {
                let sent = *self.sent.borrow();
                let lengths = segments(self.spool.path());
                let safety = process.sender.flush(Duration::from_millis(1)).await;
                assert_ne!(safety, Flushed::Unsafe);
                self.flushed = (lengths, sent);
            }
            Step::Settle => {
                self.start_store().await;
                let mut sent = self.sent.subscribe();
                let all = sent.wait_for(|sent| *sent == self.ordered);
                tokio::time::timeout(DEADLINE, all).await.expect("room comes").expect("is open");
                assert_eq!(process.sender.flush(DEADLINE).await, Flushed::Delivered);
                self.check_all().await;
            }
        }
        process
    }

    /// Takes from each file a part of what was written to it since the last flush.
    fn cut_power(&mut self, part: u8) {
        for (path, length) in segments(self.spool.path()) {
            let synced = self.flushed.0.get(&path).copied().unwrap_or(0);
            let left = synced + length.saturating_sub(synced) * u64::from(part) / 256;
            OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
        }
        self.at_risk.extend(self.flushed.1..*self.sent.borrow());
    }

    async fn stored(&self) -> Option<Vec<u64>> {
        match &self.world {
            Some(world) => Some(world.stored().await),
            None => None,
        }
    }

    /// What is to be seen now is in order, without repeats, and nothing of it has gone again.
    async fn check(&mut self) {
        let Some(stored) = self.stored().await else { return };
        assert!(stored.is_sorted_by(|a, b| a < b), "in order and once: {stored:?}");
        assert!(stored.len() >= self.visible, "{} events were visible, and now {stored:?}", self.visible);
        self.visible = stored.len();
        let missing: Vec<u64> =
            (0..stored.last().copied().unwrap_or(0)).filter(|number| !stored.contains(number)).collect();
        assert!(missing.iter().all(|number| self.at_risk.contains(number)), "{missing:?} of {stored:?}");
    }

    async fn check_all(&mut self) {
        self.check().await;
        let stored = self.stored().await.expect("the store is up");
        let lost = (0..*self.sent.borrow()).find(|number| !stored.contains(number) && !self.at_risk.contains(number));
        assert_eq!(lost, None, "stored {stored:?}");
    }
}

/// The spool's files and their lengths.
fn segments(spool: &Path) -> BTreeMap<PathBuf, u64> {
    let files = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap());
    let is_segment = |path: &Path| path.extension().is_some_and(|e| e == "jsonl") && !path.ends_with("rejected.jsonl");
    files.filter(|file| is_segment(&file.path())).map(|file| (file.path(), file.metadata().unwrap().len())).collect()
}

fn damage_spool(spool: &Path, damage: Damage) {
    let cursor = spool.join("cursor");
    match damage {
        Damage::Nothing => (),
        Damage::TornLine => {
            let (last, _) = segments(spool).pop_last().expect("there is a file");
            OpenOptions::new().append(true).open(last).unwrap().write_all(b"{\"id\":\"half a li").unwrap();
        }
        Damage::NoCursor => fs::remove_file(cursor).unwrap(),
        Damage::OldCursor => fs::write(cursor, format!("{:020}\n", 0)).unwrap(),
        Damage::GarbledCursor => fs::write(cursor, b"00000\0\xff").unwrap(),
    }
}

async fn run(steps: &[Step]) {
    let mut run = Run::start().await;
    let mut process = Process::start(run.spool.path(), &run.store, &run.sent);
    for step in steps.iter().chain([&Step::Settle]) {
        process = run.take(*step, process).await;
        run.check().await;
    }
    process.end(End::Stop).await;
    run.lose_store().await;
    run.gateway_tasks.stop_within(DEADLINE).await.unwrap();
    assert!(!run.spool.path().join("rejected.jsonl").exists(), "no event was refused");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![Just(Fault::Before), Just(Fault::After), Just(Fault::CutBefore), Just(Fault::CutAfter)];
    let end = prop_oneof![Just(End::Stop), Just(End::Kill), any::<u8>().prop_map(End::PowerCut)];
    let damage = prop_oneof![
        3 => Just(Damage::Nothing),
        1 => Just(Damage::TornLine),
        1 => Just(Damage::NoCursor),
        1 => Just(Damage::OldCursor),
        1 => Just(Damage::GarbledCursor),
    ];
    let step = prop_oneof![
        6 => (1..20_u8).prop_map(Step::Send),
        3 => fault.prop_map(Step::Fail),
        1 => Just(Step::LoseStore),
        2 => Just(Step::StartStore),
        1 => (0..4_000_u16).prop_map(Step::StoreClock),
        1 => (0..4_000_u16).prop_map(Step::SenderClock),
        4 => (end, damage).prop_map(|(end, damage)| Step::Restart(end, damage)),
        1 => Just(Step::Flush),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_event_arrives_once_and_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&steps));
    }
}
