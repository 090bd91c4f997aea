//! Followers that are new, slow, late and gone, on both databases.

use kernel::Migration;
use kernel::outbox::About;
use serde_json::json;

use super::*;

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

async fn happens(ctx: &Ctx, kind: &str, about: About, number: i64) {
    let mut tx = ctx.begin("test.happens").await.expect("begins");
    outbox::push(ctx, &mut tx, kind, about, &json!(number)).await.expect("pushes");
    tx.commit(()).await.expect("commits");
}

fn wanted(tenant: TenantId) -> Wanted {
    Wanted { tenant, is_shared_wanted: false, task: None, types: Vec::new() }
}

/// What a follower hears next, of what it can hear without waiting for anybody.
async fn number(follower: &mut Follower) -> i64 {
    match tokio::time::timeout(Duration::from_secs(30), follower.next()).await.expect("in time").expect("reads") {
        Some(News::Happened(_, happening)) => happening.data.details.as_i64().expect("a number"),
        other => panic!("{other:?}"),
    }
}

async fn numbers(follower: &mut Follower, count: usize) -> Vec<i64> {
    let mut heard = Vec::new();
    for _ in 0..count {
        heard.push(number(follower).await);
    }
    heard
}

async fn pass_on(ctx: &Ctx, live: &Live) {
    let feed = LiveFeed(live.clone());
    while feed.tick(ctx).await.expect("reads") > 0 {}
}

kernel::on_both! { migrations();
    async fn a_follower_hears_its_tenants_events_in_order_from_now_on(ctx) {
        let (live, tenant, task) = (Live::default(), ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        happens(&ctx, "task.updated", About::task(tenant, task), 0).await;
        let mut follower = live.follow(&ctx, None, wanted(tenant)).await.expect("follows");
        let other = ctx.id(TenantId::mint);
        for count in 1..=3 {
            happens(&ctx, "task.updated", About::task(other, task), -1).await;
            happens(&ctx, "machine.state", About::default(), -1).await;
            happens(&ctx, "task.updated", About::task(tenant, task), count).await;
        }
        pass_on(&ctx, &live).await;
        assert_eq!(numbers(&mut follower, 3).await, [1, 2, 3]);
    }

    async fn a_follower_says_what_it_wants_to_hear_of(ctx) {
        let (live, tenant, task) = (Live::default(), ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        let types = Wanted::types("task.failed, machine.*").expect("types");
        let wanted = wanted(tenant);
        let mut by_type = live.follow(&ctx, None, Wanted { types, is_shared_wanted: true, ..wanted.clone() }).await.expect("follows");
        let mut by_task = live.follow(&ctx, None, Wanted { task: Some(task), ..wanted }).await.expect("follows");
        happens(&ctx, "task.failed", About::task(tenant, ctx.id(TaskId::mint)), 1).await;
        happens(&ctx, "task.updated", About::task(tenant, task), 2).await;
        happens(&ctx, "machine.state", About::default(), 3).await;
        happens(&ctx, "task.failed", About::task(tenant, task), 4).await;
        pass_on(&ctx, &live).await;
        assert_eq!(numbers(&mut by_type, 3).await, [1, 3, 4]);
        assert_eq!(numbers(&mut by_task, 2).await, [2, 4]);
        for wrong in ["", "task", "task.*,", "Task.*", &"task.*,".repeat(60)] {
            assert!(Wanted::types(wrong).expect_err(wrong).to_string().starts_with("types: "), "{wrong}");
        }
    }

    async fn a_follower_that_comes_back_misses_nothing_also_after_a_restart(ctx) {
        let (live, tenant, task) = (Live::default(), ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        let mut follower = live.follow(&ctx, None, wanted(tenant)).await.expect("follows");
        for count in 1..=500 {
            happens(&ctx, "task.updated", About::task(tenant, task), count).await;
        }
        pass_on(&ctx, &live).await;
        assert_eq!(numbers(&mut follower, 2).await, [1, 2]);
        let place = follower.place();
        drop((follower, live));
        let live = Live::default();
        let mut follower = live.follow(&ctx, Some(place), wanted(tenant)).await.expect("follows");
        happens(&ctx, "task.updated", About::task(tenant, task), 501).await;
        pass_on(&ctx, &live).await;
        assert_eq!(numbers(&mut follower, 499).await, (3..=501).collect::<Vec<_>>());
    }

    async fn a_slow_follower_catches_up_from_the_outbox(ctx) {
        let (live, tenant, task) = (Live::default(), ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        let mut follower = live.follow(&ctx, None, wanted(tenant)).await.expect("follows");
        let many = i64::try_from(BUFFER).expect("small") * 3;
        for count in 1..=many {
            happens(&ctx, "task.updated", About::task(tenant, task), count).await;
            if count == 1 {
                pass_on(&ctx, &live).await;
                assert_eq!(number(&mut follower).await, 1);
            }
        }
        // Far more than is kept in memory for it.
        pass_on(&ctx, &live).await;
        assert_eq!(numbers(&mut follower, usize::try_from(many).expect("small") - 1).await, (2..=many).collect::<Vec<_>>());
    }

    async fn what_is_no_longer_kept_is_told_as_a_gap(ctx) {
        let (live, tenant, task) = (Live::default(), ctx.id(TenantId::mint), ctx.id(TaskId::mint));
        let follower = live.follow(&ctx, None, wanted(tenant)).await.expect("follows");
        let place = follower.place();
        drop(follower);
        for count in 1..=3 {
            happens(&ctx, "task.updated", About::task(tenant, task), count).await;
        }
        latest(&ctx).await.expect("places");
        let mut tx = ctx.begin("test.prune").await.expect("begins");
        let ids: Vec<_> = outbox::pending(&mut tx, 2).await.expect("reads").iter().map(|event| event.id).collect();
        outbox::processed(&mut tx, &ids, ctx.now()).await.expect("notes");
        let pruned = outbox::prune(&mut tx, ctx.now() + chrono::TimeDelta::seconds(1), None).await.expect("prunes");
        tx.commit(()).await.expect("commits");
        assert_eq!(pruned, 2);
        let mut follower = live.follow(&ctx, Some(place), wanted(tenant)).await.expect("follows");
        let gap = follower.next().await.expect("reads");
        assert_eq!(gap, Some(News::Gap { after: place, before: place + 3 }));
        assert_eq!(number(&mut follower).await, 3);
    }

    async fn a_place_that_was_never_given_means_from_now_on(ctx) {
        let (live, tenant) = (Live::default(), ctx.id(TenantId::mint));
        happens(&ctx, "task.updated", About { tenant: Some(tenant), ..About::default() }, 1).await;
        let mut follower = live.follow(&ctx, Some(1_000), wanted(tenant)).await.expect("follows");
        happens(&ctx, "task.updated", About { tenant: Some(tenant), ..About::default() }, 2).await;
        pass_on(&ctx, &live).await;
        assert_eq!(number(&mut follower).await, 2);
    }

    async fn without_followers_nothing_is_read_or_placed(ctx) {
        let (live, tenant) = (Live::default(), ctx.id(TenantId::mint));
        drop(live.follow(&ctx, None, wanted(tenant)).await.expect("follows"));
        happens(&ctx, "task.updated", About { tenant: Some(tenant), ..About::default() }, 1).await;
        pass_on(&ctx, &live).await;
        let mut tx = ctx.read("test.places").await.expect("begins");
        assert_eq!(outbox::last_place(&mut tx).await.expect("reads"), (0, true));
    }

    async fn there_are_only_so_many_followers(ctx) {
        let (live, tenant) = (Live::default(), ctx.id(TenantId::mint));
        let mut followers = Vec::new();
        for _ in 0..FOLLOWERS_MAX {
            followers.push(live.follow(&ctx, None, wanted(tenant)).await.expect("follows"));
        }
        let refused = live.follow(&ctx, None, wanted(tenant)).await.expect_err("too many");
        assert_eq!(refused.code(), "unavailable");
        followers.pop();
        live.follow(&ctx, None, wanted(tenant)).await.expect("there is room again");
    }
}
