//! That every waiting task is counted once, under what it waits for.

use wire::dependency::NewDependency;
use wire::task::NewTask;

use super::*;
use crate::tests::{hand, migrations, note, run, submit, tenant};
use crate::{dependencies, tasks};

kernel::on_both! { migrations();
    async fn each_task_is_counted_where_it_waits_and_each_worker_once(ctx) {
        let tenant = tenant(&ctx).await;
        assert_eq!(look(&ctx, tenant).await.expect("looks"), QueueView::default());
        submit(&ctx, tenant, run("the pool's")).await;
        let first = submit(&ctx, tenant, note("first")).await;
        let second = submit(&ctx, tenant, note("second")).await;
        dependencies::add(&ctx, tenant, second.id, NewDependency::on(first.id), None).await.expect("adds");
        let later = ctx.now() + chrono::TimeDelta::hours(1);
        submit(&ctx, tenant, NewTask { not_before: Some(later), ..note("later") }).await;
        let worker = hand(&ctx, "person", 3).await;
        let others = Capacity { workers: 1, capacity: 3, load: 0, free: 3 };
        let expect = QueueView { for_machines: 1, for_claims: 1, parked: 1, blocked: 1, in_hand: 0, others, ..QueueView::default() };
        assert_eq!(look(&ctx, tenant).await.expect("looks"), expect);
        tasks::assign(&ctx, tenant, first.id, wire::metadata::Assignment { worker_id: worker }).await.expect("assigns");
        let others = Capacity { load: 1, free: 2, ..others };
        assert_eq!(look(&ctx, tenant).await.expect("looks"), QueueView { for_claims: 0, in_hand: 1, others, ..expect });
        let stranger = ctx.id(TenantId::mint);
        let theirs = look(&ctx, stranger).await.expect("looks");
        assert_eq!((theirs.in_hand, theirs.others), (0, others), "workers by hand are everybody's, tasks are not");
    }
}
