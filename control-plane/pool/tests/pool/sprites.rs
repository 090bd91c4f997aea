//! Sprites as machines, against a fake that speaks the API's wire: programs that are
//! run in one are real, and so is the socket in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use emulator::sprites::{Refusal, Seen, Services, Sprites as Fake};
use fly::{Pace, SpriteAction, SpritePolicy, SpriteRule, SpriteStatus};
use kernel::{Ctx, Reconciler as _};
use kit::{Tasks, Vars};
use pool::WorkOnDisks as _;
use pool::machines::{self, Machine};
use pool::plan::{Action, Reason};
use pool::{
    EnsureApp, Ledger, Provider, Provision, SPRITES_REGION, Settings, SharedProvider, SharedWork, SpriteMachines, Watch,
};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;
use wire::event::kind;
use wire::machine::MachineState;
use wire::worker::env;

use crate::world::{Said, hello, migrations, payload, provision};

const TOKEN: &str = "org/secret";
/// Rounds of ten seconds.
const ROUNDS: usize = 300;
/// What the runner is here.
const RUNNER: &[u8] = b"#!/bin/true\n";
const RUNNER_SHA256: &str = "1b577383bcfb9f191c785497f4ac34a8fb546807bd1094ef65d0ce9a5a63423e";

struct World {
    ctx: Ctx,
    fake: Fake,
    settings: Arc<Settings>,
    provider: SharedProvider,
    provision: Provision,
    said: Arc<Said>,
    watch: Watch,
    app: EnsureApp,
    ledger: Ledger,
    /// Whether runners report in.
    are_runners_deaf: bool,
    data: TempDir,
}

/// Sprites into which a runner is fetched from there.
pub(crate) fn of_runner(url: &str, sha256: &str) -> pool::Sprites {
    let allow = SpriteRule::Domain { domain: "127.0.0.1".into(), action: SpriteAction::Allow };
    let deny = SpriteRule::Domain { domain: "*".into(), action: SpriteAction::Deny };
    pool::Sprites {
        runner: format!("{url}@sha256:{sha256}").parse().expect("is pinned"),
        directory: "/home/sprite/bifrost".into(),
        policy: SpritePolicy { rules: vec![allow, deny] },
    }
}

fn settings(runner_url: &str, sha256: &str) -> Settings {
    let sprites = of_runner(runner_url, sha256);
    let provider = Provider {
        pool_name: "p1".into(),
        image: sprites.runner.to_string(),
        regions: vec![SPRITES_REGION.into()],
        sprites: Some(sprites),
        ..Provider::default()
    };
    Settings { step_wait: Duration::ZERO, provider, ..Settings::default() }
}

impl World {
    async fn new(ctx: &Ctx) -> Self {
        Self::with(ctx, TOKEN, RUNNER_SHA256).await
    }

    async fn with(ctx: &Ctx, token: &str, sha256: &str) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let runner = data.path().join("runner");
        kit::files::replace(&runner, RUNNER, 0o644).expect("writes");
        let path = Vars::from_process().text("PATH").unwrap_or("/usr/bin:/bin").to_owned();
        let root = data.path().join("sprites");
        let fake = Fake::start(&root, TOKEN, &path, Services::Pretend, &Tasks::new()).await.expect("starts");
        let settings = Arc::new(settings(&fake.offer(runner), sha256));
        let provider = sprites(&fake, &settings, token);
        let said = Arc::new(Said::default());
        Self {
            ctx: ctx.clone(),
            provision: provision(&provider, &settings, said.clone()),
            said,
            watch: Watch::new(Arc::clone(&provider), Arc::clone(&settings)),
            app: EnsureApp::new(Arc::clone(&provider), &settings),
            ledger: Ledger::new(Arc::clone(&settings)),
            provider,
            settings,
            fake,
            are_runners_deaf: false,
            data,
        }
    }

    /// The control plane has started anew, with this token.
    fn begin_anew(&mut self, token: &str) {
        let (provider, settings) = (sprites(&self.fake, &self.settings, token), &self.settings);
        self.provision = provision(&provider, settings, self.work());
        self.watch = Watch::new(Arc::clone(&provider), Arc::clone(settings));
        self.app = EnsureApp::new(Arc::clone(&provider), settings);
        self.provider = provider;
    }

    fn work(&self) -> SharedWork {
        self.said.clone()
    }

    async fn apply(&self, action: Action) -> usize {
        let mut tx = self.ctx.begin("test").await.expect("begins");
        let changed = machines::apply(&self.ctx, &mut tx, &self.settings, &[action]).await.expect("applies");
        tx.commit(changed).await.expect("commits")
    }

    async fn rows(&self) -> Vec<Machine> {
        machines::list(&self.ctx).await.expect("lists")
    }

    async fn row(&self) -> Machine {
        self.rows().await.into_iter().next().expect("a machine")
    }

    /// The only sprite.
    #[track_caller]
    fn seen(&self) -> Seen {
        let mut seen = self.fake.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// The runner's program in the only sprite.
    fn program(&self) -> PathBuf {
        self.data.path().join("sprites").join(self.seen().name).join("home/sprite/bifrost/bin/bifrost-runner")
    }

    /// One beat of everything, ten seconds long. An error is the next beat's to repair.
    async fn beat(&mut self) {
        self.app.tick(&self.ctx).await.ok();
        self.provision.step_all(&self.ctx).await.ok();
        self.report_in().await;
        self.watch.tick(&self.ctx).await.ok();
        self.ledger.tick(&self.ctx).await.expect("the ledger is ours alone");
        self.ctx.clock.advance(Duration::from_secs(10));
    }

    /// The runners in sprites that are awake say so: each start of the service is another boot.
    async fn report_in(&self) {
        let seen = if self.are_runners_deaf { Vec::new() } else { self.fake.seen() };
        for row in self.rows().await {
            let is_booting = matches!(row.state, MachineState::Starting | MachineState::Resuming);
            let sprite = seen.iter().find(|sprite| Some(&sprite.name) == row.provider_id.as_ref());
            let Some((_, starts)) =
                sprite.filter(|it| it.status == SpriteStatus::Running).and_then(|it| it.service.clone())
            else {
                continue;
            };
            if !is_booting {
                continue;
            }
            let boot = Uuid::from_u128(u128::from(starts) + (row.id.uuid().as_u128() << 8));
            hello(&self.ctx, row.id, boot).await;
        }
    }

    async fn beats(&mut self, count: usize) {
        for _ in 0..count {
            self.beat().await;
        }
    }

    async fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.beat().await;
            let rows = self.rows().await;
            let at_rest = |row: &Machine| matches!(row.state, MachineState::Ready | MachineState::Suspended);
            if rows.iter().all(at_rest) {
                return;
            }
        }
        panic!("no rest: {:?} {:?}", self.rows().await, self.fake.seen());
    }

    async fn up(&mut self) {
        assert_eq!(self.apply(Action::Create).await, 1);
        self.settle().await;
        assert_eq!(self.row().await.state, MachineState::Ready, "{:?}", self.row().await);
    }

    async fn order(&mut self, action: impl Fn(wire::id::MachineId) -> Action) {
        let id = self.row().await.id;
        assert_eq!(self.apply(action(id)).await, 1);
    }

    async fn suspend(&mut self) {
        self.order(Action::Suspend).await;
        self.settle().await;
        assert_eq!((self.row().await.state, self.seen().status), (MachineState::Suspended, SpriteStatus::Warm));
    }

    async fn told(&self, kind: &str) -> Vec<serde_json::Value> {
        let mut tx = self.ctx.begin("test").await.expect("begins");
        let pending = kernel::outbox::pending(&mut tx, 10_000).await.expect("reads");
        pending.iter().filter(|event| event.kind == kind).map(payload).collect()
    }

    /// How many calls of this method came whose path ends so.
    fn count(&self, method: &str, path_end: &str) -> usize {
        let is_it = |call: &&String| {
            let (verb, uri) = call.split_once(' ').expect("a method");
            verb == method && uri.split('?').next().is_some_and(|path| path.ends_with(path_end))
        };
        self.fake.calls().iter().filter(is_it).count()
    }

    async fn stop(self) {
        assert_eq!(self.fake.strange_calls(), Vec::<String>::new(), "every call is documented");
        let secret = self.fake.calls().into_iter().find(|call| call.contains("secret") || call.contains("BIFROST_"));
        assert_eq!(secret, None, "no secret is in a URL");
        self.fake.stop().await;
    }
}

fn sprites(fake: &Fake, settings: &Settings, token: &str) -> SharedProvider {
    let client = fly::Sprites::with_pace(&fake.url(), &token.parse().expect("a token"), Pace::Unlimited);
    Arc::new(SpriteMachines::new(client, settings.provider.sprites.clone().expect("they are")))
}

/// What is under way when the control plane is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Sleep,
    Wake,
    Down,
}

/// Kills the control plane at each call of the way, before or after it was carried out, until there is none left.
async fn survives_every_kill(ctx: &Ctx, way: Way) {
    for is_carried_out in [false, true] {
        for at in 1.. {
            let mut world = World::new(ctx).await;
            if way != Way::Up {
                world.up().await;
            }
            match way {
                Way::Up => assert_eq!(world.apply(Action::Create).await, 1),
                Way::Sleep => world.order(Action::Suspend).await,
                Way::Wake => {
                    world.suspend().await;
                    world.order(Action::Resume).await;
                }
                Way::Down => {
                    drop(machines::destroy(ctx, &world.work(), world.row().await.id, true).await.expect("ordered"))
                }
            }
            let was_killed = killed_at(&world, at, is_carried_out).await;
            world.begin_anew(TOKEN);
            world.settle().await;
            let what = format!("{way:?} killed at call {at}, carried out: {is_carried_out}");
            let states: Vec<_> = world.rows().await.into_iter().map(|row| row.state).collect();
            match way {
                Way::Down => assert_eq!((states, world.fake.seen()), (vec![], vec![]), "{what}"),
                Way::Sleep => assert_eq!(
                    (states, world.seen().status),
                    (vec![MachineState::Suspended], SpriteStatus::Warm),
                    "{what}"
                ),
                Way::Up | Way::Wake => {
                    let seen = world.seen();
                    assert_eq!((states, seen.status), (vec![MachineState::Ready], SpriteStatus::Running), "{what}");
                    assert!(
                        seen.policy.is_some() && seen.service.is_some() && !seen.holds.is_empty(),
                        "{what}: {seen:?}"
                    );
                    assert!(world.program().is_file(), "{what}");
                }
            }
            for row in world.rows().await {
                machines::destroy(ctx, &world.work(), row.id, true).await.expect("ordered");
            }
            world.settle().await;
            world.stop().await;
            if !was_killed {
                assert!(at > 1, "{way:?} makes calls");
                break;
            }
        }
    }
}

/// Takes steps until the call of this number, and drops them there; says whether it came to that call.
async fn killed_at(world: &World, at: usize, is_carried_out: bool) -> bool {
    let came = world.fake.hang_at(at, is_carried_out);
    for _ in 0..6 {
        tokio::select! {
            stepped = world.provision.step_all(&world.ctx) => {
                stepped.expect("steps are recorded");
            }
            () = came.notified() => return true,
        }
        world.ctx.clock.advance(Duration::from_secs(2));
    }
    world.fake.unhang();
    false
}

kernel::on_both! { migrations();
    async fn a_sprite_has_its_marks_its_policy_its_runner_and_a_hold_before_it_counts(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        let (row, seen) = (world.row().await, world.seen());
        assert_eq!((row.provider_id.as_deref(), row.region.as_deref()), (Some(seen.name.as_str()), Some(SPRITES_REGION)));
        assert_eq!(seen.labels, [format!("bifrost_machine-{}", row.id), "bifrost_pool-p1".to_owned()]);
        assert_eq!(seen.policy, world.settings.provider.sprites.as_ref().map(|sprites| sprites.policy.clone()));
        assert_eq!(seen.holds, [("bifrost".to_owned(), "300s".to_owned())]);
        let (service, starts) = seen.service.expect("it is defined");
        assert_eq!((service.cmd.as_str(), starts), ("/home/sprite/bifrost/bin/bifrost-runner", 1));
        let told = |name: &str| service.env.get(name).map(String::as_str);
        assert_eq!((told(env::SPRITE_DIR), told(env::SPRITE_HOLD), told(env::HIDE)), (Some("/home/sprite/bifrost"), Some("bifrost"), Some("/.sprite")));
        assert!(told(env::MACHINE_TOKEN).is_some_and(|token| !world.fake.calls().iter().any(|call| call.contains(token))));
        assert_eq!(std::fs::read(world.program()).expect("is there"), RUNNER);
        world.stop().await;
    }

    async fn a_sprite_whose_runner_cannot_be_fetched_for_a_while_is_gone_on_with(ctx) {
        let mut world = World::new(&ctx).await;
        let (runner, away) = (world.data.path().join("runner"), world.data.path().join("away"));
        std::fs::rename(&runner, &away).expect("moves");
        assert_eq!(world.apply(Action::Create).await, 1);
        world.beats(4).await;
        let row = world.row().await;
        assert!(row.state == MachineState::Creating && row.failures > 1, "{row:?}");
        assert_eq!(world.seen().service, None);
        std::fs::rename(&away, &runner).expect("moves");
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        assert!(world.seen().service.is_some());
        world.stop().await;
    }

    async fn at_the_end_of_a_batch_a_sprite_sleeps_with_its_processes_and_wakes_for_the_next(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        world.suspend().await;
        assert_eq!(world.seen().holds, []);
        world.order(Action::Resume).await;
        world.settle().await;
        let seen = world.seen();
        assert_eq!((seen.status, seen.service.map(|(_, starts)| starts)), (SpriteStatus::Running, Some(1)));
        assert_eq!(world.told(kind::MACHINE_COLD_START).await, Vec::<serde_json::Value>::new());
        world.stop().await;
    }

    async fn a_sprite_that_has_grown_cold_boots_and_that_is_noticed(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        world.suspend().await;
        let name = world.seen().name;
        world.fake.grow_cold(&name).await;
        world.beats(3).await;
        assert_eq!(world.row().await.state, MachineState::Suspended, "either sleep is one");
        world.order(Action::Resume).await;
        world.settle().await;
        let row = world.row().await;
        assert_eq!((row.state, row.cold_starts), (MachineState::Ready, 1));
        assert_eq!(world.told(kind::MACHINE_COLD_START).await.len(), 1);
        assert_eq!(world.seen().service.map(|(_, starts)| starts), Some(2));
        world.stop().await;
    }

    async fn a_sprite_that_fell_asleep_by_itself_is_woken_while_it_is_wanted(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        let name = world.seen().name;
        world.fake.run_out(&name);
        assert_eq!(world.seen().status, SpriteStatus::Warm);
        world.beat().await;
        world.settle().await;
        assert_eq!((world.row().await.state, world.seen().status), (MachineState::Ready, SpriteStatus::Running));
        world.stop().await;
    }

    async fn a_sprite_that_does_not_fall_asleep_is_not_kept_awake_by_being_let_go_of_again(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        let name = world.seen().name;
        world.fake.hold(&name, "somebody");
        let before = world.count("POST", "/exec");
        world.order(Action::Suspend).await;
        world.beats(6).await;
        assert_eq!((world.row().await.state, world.seen().status), (MachineState::Suspending, SpriteStatus::Running));
        assert_eq!(world.count("POST", "/exec") - before, 1);
        world.fake.run_out(&name);
        world.settle().await;
        assert_eq!((world.row().await.state, world.count("POST", "/exec") - before), (MachineState::Suspended, 1));
        world.stop().await;
    }

    async fn a_sprite_is_not_replaced_once_it_alone_has_work_for_its_disk_would_go_with_it(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        let before = world.row().await;
        world.order(|id| Action::Retire(id, Reason::Age)).await;
        // Its last execution leaves something.
        world.said.has(before.id, "1 pinned checkpoint");
        world.order(Action::Drain).await;
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.state, after.retiring), (MachineState::Suspended, None));
        assert_eq!((after.provider_id, after.generation), (before.provider_id, 0));
        world.said.gone(&ctx, &mut ctx.begin("test").await.expect("begins"), before.id).await.expect("hears");
        world.order(|id| Action::Retire(id, Reason::Age)).await;
        world.settle().await;
        assert_eq!(world.row().await.generation, 1, "nothing is on it any more");
        world.stop().await;
    }

    async fn a_destroyed_machine_leaves_no_sprite(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        machines::destroy(&ctx, &world.work(), world.row().await.id, true).await.expect("ordered");
        world.settle().await;
        assert_eq!((world.rows().await, world.fake.seen()), (vec![], vec![]));
        world.stop().await;
    }

    async fn a_kill_at_any_call_leaves_one_whole_sprite_or_none(ctx) {
        for way in [Way::Up, Way::Sleep, Way::Wake, Way::Down] {
            survives_every_kill(&ctx, way).await;
        }
    }

    async fn a_step_that_fails_is_done_again_and_no_half_sprite_counts(ctx) {
        for (method, path_end) in [
            ("POST", "/v1/sprites"), ("POST", "/policy/network"), ("POST", "/exec"), ("PUT", "/services/bifrost-runner"),
        ] {
            let mut world = World::new(&ctx).await;
            // More than the client itself repeats.
            let body = json!({ "error": "internal", "message": "something broke" });
            world.fake.refuse(Refusal { method, path_end, status: 500, body, times: 4 });
            world.up().await;
            let seen = world.seen();
            assert!(seen.policy.is_some() && seen.service.is_some() && !seen.holds.is_empty(), "{path_end}: {seen:?}");
            assert!(world.program().is_file(), "{path_end}");
            machines::destroy(&ctx, &world.work(), world.row().await.id, true).await.expect("ordered");
            world.settle().await;
            world.stop().await;
        }
    }

    async fn a_sprite_without_a_row_goes_and_so_does_a_row_without_a_sprite(ctx) {
        let mut world = World::new(&ctx).await;
        world.fake.plant("sprite-lost", &["bifrost_pool-p1", "bifrost_machine-x"]).await;
        world.fake.plant("sprite-another", &["bifrost_pool-p2"]).await;
        world.fake.plant("theirs", &[]).await;
        world.beats(5).await;
        assert_eq!(world.fake.seen().len(), 3, "it was there before this database");
        pool::orphans::approve(&ctx).await.expect("approves");
        world.beats(5).await;
        let names: Vec<_> = world.fake.seen().into_iter().map(|sprite| sprite.name).collect();
        assert_eq!(names, ["sprite-another", "theirs"]);
        world.apply(Action::Create).await;
        world.settle().await;
        let name = world.row().await.name;
        world.fake.destroy(&name).await;
        world.beats(5).await;
        assert_eq!(world.rows().await, []);
        world.stop().await;
    }

    async fn at_the_limit_of_awake_sprites_none_is_made_and_that_rests(ctx) {
        let mut world = World::new(&ctx).await;
        world.fake.limit(0);
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!((world.rows().await, world.fake.seen()), (vec![], vec![]));
        let now = ctx.now();
        let mut tx = ctx.begin("test").await.expect("begins");
        let closed = machines::view(&mut tx, &world.settings, now).await.expect("looks").full.expect("it rests");
        drop(tx);
        assert!(closed.until > now && closed.until <= now + TimeDelta::minutes(2), "{closed:?}");
        assert!(closed.why.contains("limit of concurrent sprites"), "{closed:?}");
        assert_eq!(world.apply(Action::Create).await, 0, "it is closed");
        assert_eq!(world.count("POST", "/v1/sprites"), 1);
        ctx.clock.advance(Duration::from_secs(121));
        world.fake.limit(1);
        world.beat().await;
        world.up().await;
        world.stop().await;
    }

    async fn a_sprite_that_is_not_let_wake_waits_as_it_was_told_and_loses_nothing(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        world.fake.limit(0);
        let asked = world.count("POST", "/exec");
        world.order(Action::Resume).await;
        world.beats(12).await;
        let row = world.row().await;
        assert_eq!(row.state, MachineState::Resuming);
        assert!(row.error.as_ref().is_some_and(|error| error.contains("limit of concurrent sprites")), "{row:?}");
        let asked = world.count("POST", "/exec") - asked;
        assert!((2..=5).contains(&asked), "once in thirty seconds: {asked}");
        world.beats(60).await;
        assert_eq!(world.row().await.state, MachineState::Suspended, "after ten minutes it sleeps on");
        world.fake.limit(1);
        world.order(Action::Resume).await;
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.state, &after.provider_id, after.generation), (MachineState::Ready, &before.provider_id, 0));
        world.stop().await;
    }

    async fn a_sprite_that_does_not_answer_is_waited_for_and_keeps_its_disk(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        let body = json!({ "error": "internal", "message": "something broke" });
        world.fake.refuse(Refusal { method: "POST", path_end: "/exec", status: 500, body, times: 200 });
        world.order(Action::Resume).await;
        for _ in 0..6 * 60 * 24 {
            world.beat().await;
            let row = world.row().await;
            if row.state == MachineState::Suspended {
                world.order(Action::Resume).await;
            }
            if row.state == MachineState::Ready {
                break;
            }
        }
        let after = world.row().await;
        assert_eq!((after.state, after.provider_id, after.generation), (MachineState::Ready, before.provider_id, 0));
        assert_eq!(world.seen().name, before.name);
        world.stop().await;
    }

    async fn a_creation_that_comes_too_soon_is_made_when_it_may(ctx) {
        let mut world = World::new(&ctx).await;
        let body = json!({ "error": "sprite_creation_rate_limited", "message": "slow down", "retry_after_seconds": 60 });
        world.fake.refuse(Refusal { method: "POST", path_end: "/v1/sprites", status: 429, body, times: 1 });
        world.apply(Action::Create).await;
        world.beats(5).await;
        assert_eq!((world.row().await.state, world.count("POST", "/v1/sprites")), (MachineState::Creating, 1));
        world.settle().await;
        assert_eq!((world.row().await.state, world.count("POST", "/v1/sprites")), (MachineState::Ready, 2));
        world.stop().await;
    }

    async fn a_runner_that_never_reports_in_is_restarted_then_made_anew_and_then_given_up(ctx) {
        let mut world = World::new(&ctx).await;
        world.are_runners_deaf = true;
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!((world.rows().await, world.fake.seen()), (vec![], vec![]), "nothing is left behind");
        let told = world.told(kind::MACHINE_RECOVERY).await;
        let how: Vec<_> = told.iter().map(|told| told["how"].as_str().expect("text").to_owned()).collect();
        assert_eq!(how, ["restarted", "stopped and started", "made anew on another host", "given up"]);
        assert_eq!((world.count("POST", "/services/bifrost-runner/restart"), world.count("POST", "/v1/sprites")), (1, 2));
        world.stop().await;
    }

    async fn a_runner_that_is_not_the_pinned_one_never_runs_and_its_sprite_goes(ctx) {
        let mut world = World::with(&ctx, TOKEN, &"0".repeat(64)).await;
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!((world.rows().await, world.fake.seen()), (vec![], vec![]));
        assert_eq!(world.count("PUT", "/services/bifrost-runner"), 0);
        let told = world.told(kind::MACHINE_STATE).await;
        let why = |told: &serde_json::Value| told["error"].as_str().is_some_and(|why| why.contains("does not have the SHA-256"));
        assert!(told.iter().any(why), "{told:?}");
        world.stop().await;
    }

    async fn a_wrong_token_is_said_once_and_named(ctx) {
        let mut world = World::with(&ctx, "another", RUNNER_SHA256).await;
        world.apply(Action::Create).await;
        world.beats(10).await;
        let told = world.told(kind::PROVIDER_REFUSED).await;
        assert_eq!(told.len(), 1);
        let why = told[0]["why"].as_str().expect("text");
        assert!(why.contains("the Sprites API refuses the control plane's token: set BIFROST_SPRITES_TOKEN"), "{why}");
        assert!(world.fake.calls().len() < 10, "{:?}", world.fake.calls());
        world.begin_anew(TOKEN);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        world.stop().await;
    }

    async fn a_sprite_is_reckoned_with_at_the_most_that_it_can_cost(ctx) {
        let mut world = World::new(&ctx).await;
        world.up().await;
        let report = pool::money::report(&ctx, &world.settings).await.expect("reports");
        let cost = &report.machines[0];
        assert_eq!((cost.hourly_micros, cost.size.as_str()), (807_223, "sprite, at most 8 CPUs and 4 GB"));
        world.suspend().await;
        let report = pool::money::report(&ctx, &world.settings).await.expect("reports");
        assert_eq!(report.machines[0].hourly_micros, 2_778, "100 GB are two dollars a month");
        world.stop().await;
    }
}
