//! A provider that cannot be reached, or what answers in its stead: whoever waits is told
//! so, with the address and what came back.

use std::sync::Arc;
use std::time::Duration;

use fly::{Pace, Sprites};
use pool::plan::{Action, Outlook};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wire::machine::MachineState;

use crate::fault::answering;
use crate::world::{World, migrations};

const NOBODY: &str = "http://127.0.0.1:1";

/// Answers every call with a page, as whoever else may listen at an address does.
async fn page(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    kit::Tasks::new().spawn("page", async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked).await;
            let body = "<html>It works!</html>";
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// What is told of the provider, the same everywhere; nothing where there is nothing to tell.
async fn told(world: &World) -> Option<String> {
    let report = pool::money::report(&world.ctx, &world.settings).await.expect("reports");
    let found = report.absence_of_provider().map(|finding| finding.message.clone());
    let (actions, outlook) = world.plan(1).await;
    let told = match outlook {
        Outlook::Trouble { error, .. } => error,
        Outlook::Coming(_) | Outlook::QueueShort { .. } => {
            assert_eq!((found, report.held), (None, None));
            return None;
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(actions, []);
    assert!(found.is_some_and(|found| found.contains(&told)), "{told}");
    assert!(report.held.is_some_and(|held| held.contains(&told)), "{told}");
    Some(told)
}

kernel::on_both! { migrations();
    async fn an_address_at_which_nobody_or_something_else_answers_is_said_to_whoever_waits(ctx) {
        let mut world = World::new(&ctx, "").await;
        for (url, came) in [
            (NOBODY.to_owned(), "Connection refused"),
            (page("200 OK").await, "begins with \"<html>It works!</html>\""),
            (page("404 Not Found").await, "begins with \"<html>It works!</html>\" (HTTP 404)"),
        ] {
            world.calls(&url);
            world.beat().await;
            world.beat().await;
            let told = told(&world).await.expect("it is away");
            assert!([&url, came, "FLY_FLAPS_BASE_URL"].iter().all(|words| told.contains(*words)), "{told}");
            assert_eq!(world.rows().await, []);
        }
        world.calls_the_emulator();
        world.beat().await;
        world.beat().await;
        assert_eq!(told(&world).await, None);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        world.stop().await;
    }

    async fn the_sprites_api_is_told_of_with_its_own_address(ctx) {
        let mut world = World::new(&ctx, "").await;
        let sprites = Sprites::with_pace(NOBODY, &"any".parse().expect("a token"), Pace::Unlimited);
        world.provider = Arc::new(pool::SpriteMachines::new(sprites, crate::sprites::of_runner(NOBODY, &"0".repeat(64))));
        world.start_on(&ctx);
        world.beat().await;
        let told = told(&world).await.expect("it is away");
        assert!(["the Sprites API", NOBODY, "BIFROST_SPRITES_URL"].iter().all(|words| told.contains(words)), "{told}");
        world.stop().await;
    }

    async fn what_is_on_its_way_or_asleep_while_the_provider_is_away_is_no_machine_that_comes(ctx) {
        let mut world = World::new(&ctx, "").await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.calls(NOBODY);
        world.beat().await;
        assert!(told(&world).await.is_some());
        world.calls_the_emulator();
        world.settle().await;
        world.suspend().await;
        let unwell = [answering("list_machines", 503, "we are down", 1_000), answering("start", 503, "we are down", 1_000)];
        world.script(&unwell.join("\n")).await;
        world.beat().await;
        assert!(told(&world).await.is_some_and(|told| told.contains("we are down (HTTP 503)")));
        world.script("").await;
        ctx.clock.advance(Duration::from_secs(30));
        world.beat().await;
        assert_eq!(world.plan(1).await.0, [Action::Resume(world.row().await.id)]);
        world.stop().await;
    }
}
