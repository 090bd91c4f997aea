//! An image that no registry has: the provider says so at the first creation, and nothing
//! is left of that.

use std::time::Duration;

use chrono::TimeDelta;
use pool::plan::{Action, Outlook};
use wire::cost::{CostFinding, CostProblem, CostView};
use wire::machine::MachineState;

use crate::fault::failing;
use crate::world::{World, migrations};

const IMAGE: &str = "example/image:1";

async fn cost(world: &World) -> CostView {
    pool::money::report(&world.ctx, &world.settings).await.expect("reports")
}

fn missing(cost: &CostView) -> Option<&CostFinding> {
    cost.find(CostProblem::ImageMissing)
}

fn names_image_and_cure(said: &str) -> bool {
    [IMAGE, "BIFROST_RUNNER_IMAGE", "scripts/deploy", "scripts/images"].iter().all(|words| said.contains(words))
}

kernel::on_both! { migrations();
    async fn an_image_that_no_registry_has_leaves_nothing_and_is_named_with_the_cure(ctx) {
        let mut world = World::new(&ctx, &failing("create_machine", "image-unknown", 1_000)).await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.beat().await;
        world.beat().await;
        let row = world.row().await;
        assert_eq!(row.state, MachineState::Creating, "a registry may be behind a push");
        assert!(row.error.as_deref().is_some_and(names_image_and_cure), "{row:?}");
        world.settle().await;
        assert_eq!(world.rows().await, []);
        assert_eq!(world.there().await, (vec![], 0));

        let (actions, outlook) = world.plan(1).await;
        assert_eq!(actions, []);
        let Outlook::Trouble { error, until } = outlook else { panic!("{outlook:?}") };
        assert!(names_image_and_cure(&error) && until > ctx.now(), "{error}");
        let report = cost(&world).await;
        assert!(missing(&report).is_some_and(|finding| names_image_and_cure(&finding.message)), "{report:?}");
        assert!(report.held.as_deref().is_some_and(names_image_and_cure), "{report:?}");
        world.stop().await;
    }

    async fn an_image_that_cannot_be_had_is_asked_for_ever_more_seldom_and_what_was_pushed_is_taken(ctx) {
        let mut world = World::new(&ctx, &failing("create_machine", "image-unknown", 1_000)).await;
        let day = ctx.now() + TimeDelta::days(1);
        let mut made = 0;
        while ctx.now() < day {
            made += world.plan(1).await.0.len();
            world.beat().await;
            if world.rows().await.is_empty() {
                // Nothing happens before the image has rested.
                ctx.clock.advance(Duration::from_secs(50));
            }
        }
        assert!((20..=110).contains(&made), "{made} tries in a day");
        world.script("").await;
        world.settle().await;
        ctx.clock.advance(Duration::from_secs(15 * 60));
        world.beat().await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        let report = cost(&world).await;
        assert_eq!((missing(&report), &report.held), (None, &None));
        world.stop().await;
    }

    async fn another_image_is_tried_at_once(ctx) {
        let mut world = World::new(&ctx, &failing("create_machine", "image-unknown", 1_000)).await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.settle().await;
        world.script("").await;
        world.has_image("example/image:2");
        ctx.clock.advance(Duration::from_secs(10));
        assert_eq!(missing(&cost(&world).await), None);
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        world.stop().await;
    }
}
