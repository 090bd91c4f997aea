//! Real deadlocks, through the real edge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use kernel::Ctx;
use kernel::testing::with_postgres;
use tokio::sync::Barrier;
use tower::ServiceExt as _;

use super::*;
use crate::api::tests::state;

/// What the handlers of one test share.
#[derive(Clone)]
struct Crossing {
    ctx: Ctx,
    met: Arc<Barrier>,
    runs: Arc<AtomicU32>,
    /// Whether each request has committed something before it comes to the crossing.
    has_committed: bool,
}

/// Takes one lock and then another; the first two wait for each other in between.
async fn cross(crossing: Crossing, first: i64, second: i64) -> kernel::Result<()> {
    let run = crossing.runs.fetch_add(1, Ordering::Relaxed);
    if crossing.has_committed {
        crossing.ctx.begin("test.before").await?.commit(()).await?;
    }
    let mut tx = crossing.ctx.begin("test.cross").await?;
    tx.alone(first).await?;
    if run < 2 {
        crossing.met.wait().await;
    }
    tx.alone(second).await?;
    tx.commit(()).await
}

/// The statuses of two requests that take the same locks in opposite order, and how often handlers ran.
async fn two_that_cross(ctx: Ctx, has_committed: bool) -> ([StatusCode; 2], u32) {
    let (met, runs) = (Arc::new(Barrier::new(2)), Arc::default());
    let crossing = Crossing { ctx: ctx.clone(), met, runs, has_committed };
    let own = crossing.clone();
    let handler = move |Path((first, second)): Path<(i64, i64)>| async move {
        cross(own, first, second).await.map_err(ApiError::from)
    };
    let router =
        Router::new().route("/{first}/{second}", post(handler)).layer(from_fn_with_state(state(&ctx).await, edge));
    let ask = async |path: &str| {
        let request = Request::post(path).body(Body::from("{}")).expect("a request");
        router.clone().oneshot(request).await.expect("answers").status()
    };
    let (one, other) = tokio::join!(ask("/1/2"), ask("/2/1"));
    ([one, other], crossing.runs.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_request_that_loses_a_deadlock_is_made_again_on_postgres() {
    with_postgres(&crate::migrations(), async |ctx| {
        let (statuses, runs) = two_that_cross(ctx, false).await;
        assert_eq!((statuses, runs), ([StatusCode::OK; 2], 3));
    })
    .await;
}

#[tokio::test]
async fn one_that_has_changed_something_before_is_told_instead_on_postgres() {
    with_postgres(&crate::migrations(), async |ctx| {
        let (mut statuses, runs) = two_that_cross(ctx, true).await;
        statuses.sort();
        assert_eq!((statuses, runs), ([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE], 2));
    })
    .await;
}
