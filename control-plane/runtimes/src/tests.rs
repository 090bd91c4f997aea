//! The way of triggers on both databases, by the clock.

use std::time::Duration;

use chrono::TimeDelta;
use kernel::{Ctx, Error, Migration, Reconciler, audit};
use wire::id::{RuntimeId, TenantId};
use wire::runtime::{
    Backend, ForcedTrigger, Management, NewRuntime, NewTrigger, NextTrigger, Pause, RuntimeHeartbeat, RuntimeState,
    ToWrite, TriggerReason, TriggerReport, TriggerState, TriggerView, Via, WriteResult,
};

use crate::{
    Settings, Sweep, deregister, force, get, heartbeat, list, next, pause, register, report, resume, trigger, triggers,
};

const NOW: NextTrigger = NextTrigger { wait_seconds: 0 };
/// Much less than a request is held, and much more than anything takes.
const SOON: Duration = Duration::from_secs(20);

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

fn settings() -> Settings {
    Settings::default()
}

fn tenant() -> TenantId {
    TenantId::from(sqlx::types::Uuid::from_u128(1))
}

fn new(session: &str) -> NewRuntime {
    NewRuntime {
        session_id: session.into(),
        agent: "codex".into(),
        host: "laptop".into(),
        pid: 4711,
        backend: Backend::Tmux,
        target: "fleet-7:0.0".into(),
        management: Management::Managed,
        can_resume: false,
        task_id: None,
    }
}

async fn runtime(ctx: &Ctx, session: &str) -> RuntimeId {
    register(ctx, &settings(), tenant(), &new(session)).await.expect("registers").id
}

async fn say(ctx: &Ctx, id: RuntimeId, text: &str) -> TriggerView {
    let new = NewTrigger { text: text.into(), dedupe_key: None };
    trigger(ctx, &settings(), tenant(), id, &new).await.expect("is queued")
}

async fn order(ctx: &Ctx, id: RuntimeId) -> Option<(i64, Via)> {
    let ToWrite { trigger } = next(ctx, &settings(), tenant(), id, NOW).await.expect("asks");
    trigger.map(|order| (order.number, order.via))
}

async fn tell(ctx: &Ctx, id: RuntimeId, number: i64, result: WriteResult, via: Via) -> TriggerView {
    let until = (result == WriteResult::Deferred).then(|| ctx.now() + TimeDelta::seconds(5));
    let told = TriggerReport { number, attempt: None, result, via, until };
    report(ctx, &settings(), tenant(), id, &told).await.expect("is heard")
}

async fn read_up_to(ctx: &Ctx, id: RuntimeId, cursor: i64) {
    let beat = RuntimeHeartbeat { read_cursor: Some(cursor), pid: None };
    heartbeat(ctx, &settings(), tenant(), id, beat).await.expect("is heard");
}

async fn stands(ctx: &Ctx, id: RuntimeId, number: i64) -> (TriggerState, TriggerReason) {
    let all = triggers(ctx, tenant(), id).await.expect("lists");
    let one = all.iter().find(|one| one.number == number).expect("is there");
    (one.state, one.reason)
}

fn code(error: &Error) -> &'static str {
    error.code()
}

/// The reason codes of a trigger's hops, in order.
async fn hops(ctx: &Ctx, trigger: &TriggerView) -> Vec<String> {
    let filter = audit::Filter { entity_id: Some(trigger.id.to_string()), ..audit::Filter::default() };
    let page = audit::list(ctx, tenant(), &filter).await.expect("lists");
    let mut hops: Vec<String> = page.entries.into_iter().filter_map(|entry| entry.reason).collect();
    hops.reverse();
    hops
}

kernel::on_both! { migrations();
    async fn a_runtime_is_registered_heard_of_and_ends(ctx) {
        let first = register(&ctx, &settings(), tenant(), &new("s-1")).await.expect("registers");
        assert_eq!((first.registered.clone(), first.state, first.waiting), (new("s-1"), RuntimeState::Live, 0));
        ctx.clock.advance(Duration::from_secs(89));
        assert_eq!(list(&ctx, &settings(), tenant()).await.expect("lists")[0].state, RuntimeState::Live);
        ctx.clock.advance(Duration::from_secs(1));
        assert_eq!(get(&ctx, &settings(), tenant(), first.id).await.expect("is there").state, RuntimeState::Stale);
        for (seconds, expect) in [(90, RuntimeState::Stale), (91, RuntimeState::Live)] {
            let patient = Settings { silence: TimeDelta::seconds(seconds), ..settings() };
            let seen = get(&ctx, &patient, tenant(), first.id).await.expect("is there");
            assert_eq!(seen.state, expect, "as configured");
        }
        let beat = RuntimeHeartbeat { pid: Some(12), ..RuntimeHeartbeat::default() };
        let heard = heartbeat(&ctx, &settings(), tenant(), first.id, beat).await.expect("is heard");
        assert_eq!((heard.state, heard.registered.pid), (RuntimeState::Live, 12));
        // Another process of the same session is the same runtime.
        let again = NewRuntime { backend: Backend::Pty, pid: 13, ..new("s-1") };
        let again = register(&ctx, &settings(), tenant(), &again).await.expect("registers");
        assert_eq!((again.id, again.registered.backend), (first.id, Backend::Pty));
        let elsewhere = NewRuntime { host: "desk".into(), ..new("s-1") };
        let refused = register(&ctx, &settings(), tenant(), &elsewhere).await.expect_err("somebody is in it");
        assert!(code(&refused) == "session_in_use" && refused.to_string().contains("13 on laptop"), "{refused}");
        ctx.clock.advance(Duration::from_secs(90));
        let taken = register(&ctx, &settings(), tenant(), &elsewhere).await.expect("it is stale");
        assert_eq!((taken.id, taken.registered.host.as_str()), (first.id, "desk"));
        deregister(&ctx, &settings(), tenant(), first.id).await.expect("ends");
        deregister(&ctx, &settings(), tenant(), first.id).await.expect("has ended");
        assert_eq!(get(&ctx, &settings(), tenant(), first.id).await.expect("is there").state, RuntimeState::Gone);
        let late = heartbeat(&ctx, &settings(), tenant(), first.id, RuntimeHeartbeat::default()).await;
        assert_eq!(code(&late.expect_err("has ended")), "runtime_gone");
        let other = TenantId::from(sqlx::types::Uuid::from_u128(2));
        assert_eq!(code(&get(&ctx, &settings(), other, first.id).await.expect_err("another's")), "not_found");
        assert_eq!(runtime(&ctx, "s-1").await, first.id);
        // Words of long ago are forgotten while the runtime lives, and with a week of silence the runtime itself.
        say(&ctx, first.id, "old").await;
        tell(&ctx, first.id, 1, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, first.id, 1).await;
        ctx.clock.advance(Duration::from_secs(7 * 86_400 + 1));
        heartbeat(&ctx, &settings(), tenant(), first.id, RuntimeHeartbeat::default()).await.expect("is heard");
        Sweep::default().tick(&ctx).await.expect("sweeps");
        assert_eq!(triggers(&ctx, tenant(), first.id).await.expect("lists"), []);
        ctx.clock.advance(Duration::from_secs(7 * 86_400 + 1));
        Sweep::default().tick(&ctx).await.expect("sweeps");
        assert_eq!(list(&ctx, &settings(), tenant()).await.expect("lists"), []);
    }

    async fn what_is_written_is_delivered_once_it_is_read(ctx) {
        let id = runtime(&ctx, "s").await;
        let (one, two) = (say(&ctx, id, "one").await, say(&ctx, id, "two").await);
        assert_eq!((one.number, two.number), (1, 2));
        assert_eq!(order(&ctx, id).await, Some((1, Via::Terminal)));
        // Until it is told of, it is asked for again.
        assert_eq!(order(&ctx, id).await, Some((1, Via::Terminal)));
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        assert_eq!(stands(&ctx, id, 1).await, (TriggerState::Written, TriggerReason::Written));
        assert_eq!(order(&ctx, id).await, None, "one at a time");
        read_up_to(&ctx, id, 1).await;
        assert_eq!(stands(&ctx, id, 1).await, (TriggerState::Delivered, TriggerReason::Acknowledged));
        assert_eq!(order(&ctx, id).await, Some((2, Via::Terminal)));
        assert_eq!(hops(&ctx, &one).await, ["queued", "written", "acknowledged"]);
        let beyond = RuntimeHeartbeat { read_cursor: Some(3), pid: None };
        let beyond = heartbeat(&ctx, &settings(), tenant(), id, beyond).await.expect_err("is refused");
        assert!(beyond.to_string().contains("beyond the runtime's newest trigger, which is 2"), "{beyond}");
        // The same word twice counts once.
        let attempt = TriggerReport { number: 2, attempt: Some(1), result: WriteResult::Written, via: Via::Terminal, until: None };
        for _ in 0..2 {
            let heard = report(&ctx, &settings(), tenant(), id, &attempt).await.expect("is heard");
            assert_eq!((heard.attempts, heard.reason), (1, TriggerReason::Written));
        }
        // A word that comes late says how it stands.
        assert_eq!(tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await.state, TriggerState::Delivered);
    }

    async fn what_is_not_read_is_written_again_and_then_by_another_way(ctx) {
        let resumable = NewRuntime { can_resume: true, ..new("s") };
        let id = register(&ctx, &settings(), tenant(), &resumable).await.expect("registers").id;
        let said = say(&ctx, id, "wake up").await;
        for _ in 0..3 {
            assert_eq!(order(&ctx, id).await, Some((1, Via::Terminal)));
            tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
            assert_eq!(order(&ctx, id).await, None);
            ctx.clock.advance(Duration::from_secs(60));
        }
        assert_eq!(order(&ctx, id).await, Some((1, Via::Resume)));
        tell(&ctx, id, 1, WriteResult::Written, Via::Resume).await;
        ctx.clock.advance(Duration::from_secs(60));
        assert_eq!(order(&ctx, id).await, None);
        assert_eq!(stands(&ctx, id, 1).await, (TriggerState::Failed, TriggerReason::Unacknowledged));
        let expect = ["queued", "written", "ack_timeout", "ack_timeout", "resumed", "unacknowledged"];
        assert_eq!(hops(&ctx, &said).await, expect);
    }

    async fn a_person_who_types_defers_it_and_nothing_is_lost(ctx) {
        let id = runtime(&ctx, "s").await;
        let said = say(&ctx, id, "hello").await;
        tell(&ctx, id, 1, WriteResult::Deferred, Via::Terminal).await;
        assert_eq!(stands(&ctx, id, 1).await, (TriggerState::Pending, TriggerReason::HumanTyping));
        assert_eq!(order(&ctx, id).await, None);
        ctx.clock.advance(Duration::from_secs(5));
        assert_eq!(order(&ctx, id).await, Some((1, Via::Terminal)));
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, id, 1).await;
        assert_eq!(hops(&ctx, &said).await, ["queued", "human_typing", "written", "acknowledged"]);
        let told = |until| TriggerReport { number: 1, attempt: None, result: WriteResult::Deferred, via: Via::Terminal, until };
        for until in [None, Some(ctx.now() + TimeDelta::minutes(11))] {
            let refused = report(&ctx, &settings(), tenant(), id, &told(until)).await.expect_err("is refused");
            assert!(refused.to_string().starts_with("until: "), "{refused}");
        }
    }

    async fn the_same_key_is_the_same_trigger_and_a_storm_is_refused(ctx) {
        let id = runtime(&ctx, "s").await;
        let keyed = NewTrigger { text: "look".into(), dedupe_key: Some("mail-7".into()) };
        let ask = async || trigger(&ctx, &settings(), tenant(), id, &keyed).await.expect("is queued");
        let first = ask().await;
        for _ in 0..99 {
            assert_eq!(ask().await, first);
        }
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, id, 1).await;
        assert_eq!(ask().await.number, 1, "it was delivered just now");
        ctx.clock.advance(Duration::from_secs(601));
        assert_eq!(ask().await.number, 2);
        for number in 3..=31 {
            assert_eq!(say(&ctx, id, "more").await.number, number);
        }
        let storm = NewTrigger { text: "too much".into(), dedupe_key: None };
        let refused = trigger(&ctx, &settings(), tenant(), id, &storm).await.expect_err("is refused");
        assert!(matches!(refused, Error::TooMany { code: "too_many_triggers", seconds: 61, .. }), "{refused:?}");
        ctx.clock.advance(Duration::from_secs(60));
        say(&ctx, id, "after a minute").await;
    }

    async fn a_paused_runtime_queues_and_a_resumed_one_drains_but_force_goes_first(ctx) {
        let id = runtime(&ctx, "s").await;
        let reason = || Pause { reason: "I think".into() };
        let paused = pause(&ctx, &settings(), tenant(), id, &reason()).await.expect("pauses");
        assert_eq!(paused.paused.as_deref(), Some("I think"));
        let forced = ForcedTrigger { text: "stop".into(), reason: "it deletes files".into() };
        let said = force(&ctx, &settings(), tenant(), id, &forced).await.expect("is queued");
        assert_eq!(order(&ctx, id).await, Some((1, Via::Terminal)));
        assert_eq!(hops(&ctx, &said).await, ["it deletes files"]);
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, id, 1).await;
        let later = say(&ctx, id, "later").await;
        assert_eq!((later.number, order(&ctx, id).await), (2, None));
        // Before what waits, which keeps its order and has higher numbers from then on.
        say(&ctx, id, "last").await;
        force(&ctx, &settings(), tenant(), id, &forced).await.expect("is queued");
        assert_eq!(order(&ctx, id).await, Some((4, Via::Terminal)));
        tell(&ctx, id, 4, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, id, 4).await;
        assert_eq!(order(&ctx, id).await, None);
        resume(&ctx, &settings(), tenant(), id).await.expect("resumes");
        assert_eq!(order(&ctx, id).await, Some((5, Via::Terminal)));
        tell(&ctx, id, 5, WriteResult::Written, Via::Terminal).await;
        assert_eq!(order(&ctx, id).await, None, "it has not been read");
        read_up_to(&ctx, id, 5).await;
        let texts: Vec<String> = triggers(&ctx, tenant(), id).await.expect("lists").into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["last", "later", "stop", "stop"]);
        assert_eq!((order(&ctx, id).await, say(&ctx, id, "more").await.number), (Some((6, Via::Terminal)), 7));
        let without = ForcedTrigger { reason: " ".into(), ..forced };
        let refused = force(&ctx, &settings(), tenant(), id, &without).await.expect_err("is refused");
        assert!(refused.to_string().starts_with("reason: "), "{refused}");
    }

    async fn what_is_forced_overtakes_what_waits_and_that_is_not_read_with_it(ctx) {
        let id = runtime(&ctx, "s").await;
        say(&ctx, id, "one").await;
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        for text in ["two", "three"] {
            say(&ctx, id, text).await;
        }
        let reason = Pause { reason: "I think".into() };
        pause(&ctx, &settings(), tenant(), id, &reason).await.expect("pauses");
        let forced = ForcedTrigger { text: "stop".into(), reason: "it deletes files".into() };
        force(&ctx, &settings(), tenant(), id, &forced).await.expect("is queued");
        assert_eq!(order(&ctx, id).await, Some((4, Via::Terminal)), "although the first is not read yet");
        tell(&ctx, id, 4, WriteResult::Written, Via::Terminal).await;
        read_up_to(&ctx, id, 4).await;
        let listed = triggers(&ctx, tenant(), id).await.expect("lists");
        let places: Vec<_> = listed.iter().map(|one| (one.number, one.text.as_str(), one.state)).collect();
        let (delivered, pending) = (TriggerState::Delivered, TriggerState::Pending);
        let expect = [(6, "three", pending), (5, "two", pending), (4, "stop", delivered), (1, "one", delivered)];
        assert_eq!(places, expect);
        resume(&ctx, &settings(), tenant(), id).await.expect("resumes");
        assert_eq!(order(&ctx, id).await, Some((5, Via::Terminal)));
        assert_eq!(say(&ctx, id, "four").await.number, 7);
    }

    async fn nothing_is_written_to_a_terminal_of_somebodys_own(ctx) {
        let own = NewRuntime { management: Management::Unmanaged, ..new("s") };
        let id = register(&ctx, &settings(), tenant(), &own).await.expect("registers").id;
        let asked = NewTrigger { text: "hello".into(), dedupe_key: None };
        for _ in 0..2 {
            let refused = trigger(&ctx, &settings(), tenant(), id, &asked).await.expect_err("is refused");
            assert_eq!(code(&refused), "runtime_unmanaged");
            assert!(refused.to_string().contains("`bifrost agents start`"), "{refused}");
        }
        let forced = ForcedTrigger { text: "hello".into(), reason: "r".into() };
        assert_eq!(code(&force(&ctx, &settings(), tenant(), id, &forced).await.expect_err("no")), "runtime_unmanaged");
        assert_eq!(order(&ctx, id).await, None);
    }

    async fn what_waits_for_a_runtime_that_is_gone_or_silent_ends(ctx) {
        let (gone, silent) = (runtime(&ctx, "gone").await, runtime(&ctx, "silent").await);
        say(&ctx, gone, "a").await;
        say(&ctx, silent, "b").await;
        deregister(&ctx, &settings(), tenant(), gone).await.expect("ends");
        assert_eq!(stands(&ctx, gone, 1).await, (TriggerState::Failed, TriggerReason::RuntimeGone));
        let late = NewTrigger { text: "c".into(), dedupe_key: None };
        let late = trigger(&ctx, &settings(), tenant(), gone, &late).await.expect_err("has ended");
        assert_eq!(code(&late), "runtime_gone");
        Sweep::default().tick(&ctx).await.expect("sweeps");
        assert_eq!(stands(&ctx, silent, 1).await, (TriggerState::Pending, TriggerReason::Queued));
        ctx.clock.advance(Duration::from_secs(3_600));
        Sweep::default().tick(&ctx).await.expect("sweeps");
        assert_eq!(stands(&ctx, silent, 1).await, (TriggerState::Failed, TriggerReason::Expired));
    }

    async fn who_waits_hears_at_once(ctx) {
        let id = runtime(&ctx, "s").await;
        let (asked, settings) = (NextTrigger { wait_seconds: 30 }, settings());
        let waits = next(&ctx, &settings, tenant(), id, asked);
        let says = async {
            tokio::task::yield_now().await;
            say(&ctx, id, "now").await
        };
        let (heard, _) = tokio::join!(waits, says);
        assert_eq!(heard.expect("hears").trigger.map(|order| order.text), Some("now".into()));
        tell(&ctx, id, 1, WriteResult::Written, Via::Terminal).await;
        say(&ctx, id, "then").await;
        let waits = next(&ctx, &settings, tenant(), id, asked);
        let reads = async {
            tokio::task::yield_now().await;
            read_up_to(&ctx, id, 1).await;
        };
        let (heard, _) = tokio::time::timeout(SOON, async { tokio::join!(waits, reads) }).await.expect("at once");
        assert_eq!(heard.expect("hears").trigger.map(|order| order.text), Some("then".into()));
        tell(&ctx, id, 2, WriteResult::Written, Via::Terminal).await;
        let waits = next(&ctx, &settings, tenant(), id, asked);
        let ends = async {
            tokio::task::yield_now().await;
            deregister(&ctx, &settings, tenant(), id).await
        };
        let (heard, _) = tokio::time::timeout(SOON, async { tokio::join!(waits, ends) }).await.expect("at once");
        assert_eq!(code(&heard.expect_err("is gone")), "runtime_gone");
    }

    async fn what_was_lost_with_its_terminal_is_not_read_with_what_comes_later(ctx) {
        let id = runtime(&ctx, "s").await;
        for text in ["one", "two"] {
            say(&ctx, id, text).await;
        }
        for number in [1, 2] {
            tell(&ctx, id, number, WriteResult::Written, Via::Terminal).await;
        }
        tell(&ctx, id, 2, WriteResult::Failed, Via::Terminal).await;
        let forced = ForcedTrigger { text: "stop".into(), reason: "r".into() };
        force(&ctx, &settings(), tenant(), id, &forced).await.expect("is queued");
        tell(&ctx, id, 3, WriteResult::Written, Via::Resume).await;
        read_up_to(&ctx, id, 3).await;
        let listed = triggers(&ctx, tenant(), id).await.expect("lists");
        let stands: Vec<_> = listed.iter().map(|one| (one.text.as_str(), one.state)).collect();
        let pending = TriggerState::Pending;
        assert_eq!(stands, [("two", pending), ("one", pending), ("stop", TriggerState::Delivered)]);
        // So it is when another process comes in the place of one that was killed.
        ctx.clock.advance(Duration::from_secs(5));
        tell(&ctx, id, 4, WriteResult::Written, Via::Terminal).await;
        let again = NewRuntime { pid: 4712, ..new("s") };
        register(&ctx, &settings(), tenant(), &again).await.expect("registers");
        assert_eq!(order(&ctx, id).await, Some((4, Via::Terminal)));
    }
}
