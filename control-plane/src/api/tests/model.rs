//! Random calls, well-formed and not, through the whole router against a small model of the
//! task API, on both databases: after every call the answer is what the model says, and
//! now and then so is everything that is stored. A failure is cut down to few calls, and
//! tells its seed: `BIFROST_TEST_SEED=…` repeats it.

mod known;
mod many;
mod play;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};

use super::*;
use known::Model;
use many::{Many, many};

/// Tasks of a call are chosen among those there are by a number, and now and then there is none of that id.
type Pick = u8;

/// One call.
#[derive(Debug, Clone)]
enum Call {
    Create { title: Text, priority: i16, effort: i32, is_misspelt: bool },
    Patch { task: Pick, title: Option<Text>, priority: Option<i16>, effort: Option<i32>, status: Option<u8> },
    Assign { task: Pick, worker: bool },
    Start { task: Pick, worker: bool },
    Complete { task: Pick, success: bool },
    Retry { task: Pick },
    Cancel { task: Pick },
    Delete { task: Pick },
    Depend { task: Pick, needed: Pick, soft: bool, condition: u8, group: Option<u8> },
    Undepend { task: Pick, number: u8 },
    SetOutcome { task: Pick, name: u8 },
    Withdraw { task: Pick, name: u8 },
    Tag { task: Pick, tags: Vec<Text> },
    SetMetadata { task: Pick, key: Text, value: Text },
    Batch { titles: Vec<Text>, needs: Vec<(u8, u8)> },
    Many(Many),
}

/// Texts of all kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Empty,
    Blank,
    Word(u8),
    Emoji,
    RightToLeft,
    Nul,
    Sql,
    Shell,
    Longest,
    TooLong,
}

impl Text {
    fn text(self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Blank => " \t".into(),
            Self::Word(number) => format!("w{number}"),
            Self::Emoji => "🙂👩‍👩‍👧".into(),
            Self::RightToLeft => "مرحبا بالعالم".into(),
            Self::Nul => "a\0b".into(),
            Self::Sql => "'; DROP TABLE tasks; --".into(),
            Self::Shell => "$(rm -rf /) `id` && %n\\".into(),
            Self::Longest => "x".repeat(100),
            Self::TooLong => "x".repeat(501),
        }
    }

    /// Whether it can be a name of at most so many characters.
    fn is_name(self, most: usize) -> bool {
        let text = self.text();
        !text.trim().is_empty() && text.chars().count() <= most && !text.contains('\0')
    }
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        12 => (0..4_u8).prop_map(Text::Word),
        1 => Just(Text::Empty), 1 => Just(Text::Blank), 1 => Just(Text::Emoji), 1 => Just(Text::RightToLeft),
        1 => Just(Text::Nul), 1 => Just(Text::Sql), 1 => Just(Text::Shell), 1 => Just(Text::Longest),
        1 => Just(Text::TooLong),
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![30 => 0..8_u8, 1 => Just(NOBODY)]
}

/// Picks an id that no task has.
const NOBODY: Pick = 255;

fn call() -> impl Strategy<Value = Call> {
    let priority = || prop_oneof![8 => 1..6_i16, 1 => Just(0_i16), 1 => Just(6_i16)];
    let effort = || prop_oneof![6 => 0..90_i32, 1 => Just(-1)];
    let is_rare = || (0..12_u8).prop_map(|chance| chance == 0);
    prop_oneof![
        4 => (text(), priority(), effort(), is_rare())
            .prop_map(|(title, priority, effort, is_misspelt)| Call::Create { title, priority, effort, is_misspelt }),
        8 => (pick(), proptest::option::weighted(0.2, text()), proptest::option::weighted(0.2, priority()),
              proptest::option::weighted(0.2, effort()), proptest::option::weighted(0.8, 0..7_u8))
            .prop_map(|(task, title, priority, effort, status)| Call::Patch { task, title, priority, effort, status }),
        4 => (pick(), is_rare()).prop_map(|(task, rare)| Call::Assign { task, worker: !rare }),
        4 => (pick(), is_rare()).prop_map(|(task, rare)| Call::Start { task, worker: !rare }),
        4 => (pick(), any::<bool>()).prop_map(|(task, success)| Call::Complete { task, success }),
        3 => pick().prop_map(|task| Call::Retry { task }),
        2 => pick().prop_map(|task| Call::Cancel { task }),
        1 => pick().prop_map(|task| Call::Delete { task }),
        10 => (pick(), pick(), is_rare(), 0..5_u8, proptest::option::weighted(0.4, 0..2_u8))
            .prop_map(|(task, needed, soft, condition, group)| Call::Depend { task, needed, soft, condition, group }),
        2 => (pick(), 0..4_u8).prop_map(|(task, number)| Call::Undepend { task, number }),
        4 => (pick(), 0..6_u8).prop_map(|(task, name)| Call::SetOutcome { task, name }),
        2 => (pick(), 0..6_u8).prop_map(|(task, name)| Call::Withdraw { task, name }),
        1 => (pick(), vec(text(), 0..4)).prop_map(|(task, tags)| Call::Tag { task, tags }),
        1 => (pick(), text(), text()).prop_map(|(task, key, value)| Call::SetMetadata { task, key, value }),
        1 => (vec(text(), 0..4), vec((0..4_u8, 0..4_u8), 0..4)).prop_map(|(titles, needs)| Call::Batch { titles, needs }),
        14 => many().prop_map(Call::Many),
    ]
}

/// Sequences on each database, and the most calls of one; some seconds on a small computer.
const SEQUENCES: u32 = 72;
const CALLS: usize = 120;

/// Answers that every run must have heard: a walk that never comes so far proves little.
const ANSWERS: [&str; 18] = [
    "ok",
    "dependency_cycle",
    "dependency_exists",
    "execution_finished",
    "execution_not_leased",
    "invalid",
    "lease_lost",
    "not_found",
    "stale_version",
    "task_blocked",
    "task_finished",
    "task_in_hand",
    "task_leased",
    "task_not_assigned",
    "task_not_failed",
    "task_not_ready",
    "completed",
    "failed",
];

kernel::on_both! { crate::migrations();
    async fn whatever_is_called_the_api_answers_as_its_model_says(ctx) {
        let app = app(&ctx).await;
        let seed = kit::Vars::from_process().text("BIFROST_TEST_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(6_u64);
        let runtime = tokio::runtime::Handle::current();
        // The search for a failure is no future of its own: it runs beside, and drives one for each sequence.
        let search = tokio::task::spawn_blocking(move || {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            let runs = Runs { cases: SEQUENCES, failure_persistence: None, max_shrink_iters: 200, ..Runs::default() };
            let mut runner = TestRunner::new_with_rng(runs, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
            let seen = RefCell::new(BTreeSet::new());
            let played = runner.run(&vec(call(), 1..CALLS), |calls| {
                let answers = runtime.block_on(play::play(&ctx, &app, &calls)).map_err(TestCaseError::fail)?;
                seen.borrow_mut().extend(answers);
                Ok(())
            });
            played.map(|()| seen.into_inner()).map_err(|failure| format!("BIFROST_TEST_SEED={seed}: {failure}"))
        });
        let seen = search.await.expect("ends").unwrap_or_else(|failure| panic!("{failure}"));
        let missing: Vec<_> = ANSWERS.iter().filter(|answer| !seen.contains(**answer)).collect();
        assert!(missing.is_empty(), "with the seed {seed} no call was answered so: {missing:?}");
    }
}
