//! What machines tell on both databases, and what follows from it.

use chrono::TimeDelta;
use wire::task::TaskSpec;
use wire::worker::Poll;

use super::*;
use crate::tests::{begun, migrations, run, submit, tenant};
use crate::{Settings, leases, tasks};

fn work(execution: wire::id::ExecutionId, reference: &str, commit: char) -> KeptWork {
    KeptWork {
        execution_id: execution,
        repository: repository_name("https://example.org/a"),
        reference: reference.into(),
        commit: commit.to_string().repeat(40),
    }
}

kernel::on_both! { migrations();
    async fn what_a_machine_alone_has_is_listed_until_it_names_it_no_more(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let machine = pool::workers::get(&ctx, worker).await.expect("found").machine_id.expect("has one");
        let poll = async |kept: Option<Vec<KeptWork>>| {
            let poll = Poll { kept, ..Poll::default() };
            leases::next(&ctx, &Settings::default(), worker, &poll).await.expect("polls");
        };
        let (wip, branch) = (work(lease.execution_id, "refs/bifrost/wip/x", 'a'), work(lease.execution_id, "refs/bifrost/branches/x/fix", 'b'));
        let nonsense = KeptWork { reference: "x\0".into(), ..wip.clone() };
        poll(Some(vec![wip.clone(), branch.clone(), nonsense])).await;
        let of = |work: &KeptWork| KeptWorkView {
            machine_id: machine, task_id: task, work: work.clone(), began_at: lease.execution_id.minted_at(),
        };
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [of(&branch), of(&wip)]);
        assert_eq!(list(&ctx, ctx.id(TenantId::mint)).await.expect("lists"), []);
        // A runner that does not tell takes nothing back.
        poll(None).await;
        let moved = KeptWork { commit: "c".repeat(40), ..branch };
        poll(Some(vec![moved.clone()])).await;
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [of(&moved)]);
        poll(Some(vec![])).await;
        assert_eq!(list(&ctx, tenant).await.expect("lists"), []);
    }

    async fn a_machine_is_wanted_for_what_it_alone_has(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let machine = pool::workers::get(&ctx, worker).await.expect("found").machine_id.expect("has one");
        let poll = Poll { kept: Some(vec![work(lease.execution_id, "refs/bifrost/wip/x", 'a')]), ..Poll::default() };
        leases::next(&ctx, &Settings::default(), worker, &poll).await.expect("polls");
        let began = lease.execution_id.minted_at();
        let wanted = async |since| {
            let mut tx = ctx.begin("test").await.expect("begins");
            machines(&mut tx, since).await.expect("looks")
        };
        assert_eq!(wanted(began - TimeDelta::seconds(1)).await, [machine]);
        assert_eq!(wanted(began + TimeDelta::seconds(1)).await, [], "for too long");
        let bound = async |reference: &str| {
            let mut new = run("t");
            let spec = TaskSpec { reference: Some(reference.into()), ..new.spec.expect("has one") };
            new.spec = Some(spec);
            let id = submit(&ctx, tenant, new).await.id;
            let mut tx = ctx.read("test").await.expect("begins");
            tasks::load(&mut tx, tenant, id).await.expect("found").machine
        };
        assert_eq!(bound(&"A".repeat(40)).await, Some(machine));
        assert_eq!(bound(&"b".repeat(40)).await, None);
        assert_eq!(bound("main").await, None);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, crate::tests::ended(&lease, wire::execution::Outcome::Failed)).await.expect("completes");
        tasks::delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(wanted(began - TimeDelta::seconds(1)).await, [], "nobody wants it");
    }
}
