//! What was seen of the provider, and when it says nothing any more.

use super::*;

kernel::on_both! { [kernel::MIGRATIONS, crate::MIGRATIONS].concat();
    async fn a_look_that_began_before_something_went_uncounted_says_nothing(ctx) {
        let (first, second) = (ctx.now(), ctx.now() + TimeDelta::seconds(1));
        let mut tx = ctx.begin("test").await.expect("begins");
        let mut sure = Vec::new();
        store::observe(&mut tx, 2, first).await.expect("notes");
        sure.push(strangers_for_sure(&mut tx, second).await.expect("reads"));
        look_again(&mut tx, second).await.expect("notes");
        sure.push(strangers_for_sure(&mut tx, second).await.expect("reads"));
        store::observe(&mut tx, 2, first).await.expect("notes");
        sure.push(strangers_for_sure(&mut tx, second).await.expect("reads"));
        store::observe(&mut tx, 3, second).await.expect("notes");
        sure.push(strangers_for_sure(&mut tx, second).await.expect("reads"));
        sure.push(strangers_for_sure(&mut tx, second + OBSERVATION_AGE_MAX * 2).await.expect("reads"));
        assert_eq!(sure, [Some(2), None, None, Some(3), None]);
    }
}
