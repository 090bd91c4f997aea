//! What machines tell on both databases, and what follows from it.

use std::time::Duration;

use chrono::TimeDelta;
use wire::event::kind;
use wire::task::{TaskSpec, TaskStatus};
use wire::worker::Poll;

use super::*;
use crate::checkpoints::tests::saved;
use crate::checkpoints::{self, OnDisks};
use crate::tests::{begun, holding, leased, migrations, run, schedule, status, submit, take_back, tenant, worker};
use crate::{Settings, leases, tasks};

fn work(execution: ExecutionId, reference: &str, commit: char) -> KeptWork {
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
        // Nobody can ask for it by a commit.
        let aside = KeptWork { commit: String::new(), reference: "aside/1.work.x".into(), repository: "unknown".into(), ..wip.clone() };
        poll(Some(vec![wip.clone(), branch.clone(), aside.clone(), nonsense])).await;
        let of = |work: &KeptWork| KeptWorkView {
            machine_id: machine, task_id: task, work: work.clone(), url: Some("https://example.org/a".into()),
            began_at: lease.execution_id.minted_at(),
        };
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [of(&branch), of(&wip), of(&aside)]);
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
        let in_checkpoint = work(lease.execution_id, "checkpoints/x", 'd');
        let kept = Some(vec![work(lease.execution_id, "refs/bifrost/wip/x", 'a'), in_checkpoint]);
        let poll = Poll { kept, ..Poll::default() };
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
        assert_eq!(bound(&"d".repeat(40)).await, None, "its commit is one that everybody has");
        assert_eq!(bound("main").await, None);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, crate::tests::ended(&lease, wire::execution::Outcome::Failed)).await.expect("completes");
        tasks::delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(wanted(began - TimeDelta::seconds(1)).await, [], "nobody wants it");
    }

    async fn a_machine_is_kept_for_an_execution_that_was_lost_on_it_until_it_tells_what_became_of_that(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let machine = pool::workers::get(&ctx, worker).await.expect("found").machine_id.expect("has one");
        let settings = Settings::default();
        let kept_for = async |later: Duration| {
            let mut tx = ctx.begin("test").await.expect("begins");
            let now = ctx.now() + later;
            pool::WorkOnDisks::of(&OnDisks::new(&settings), &mut tx, machine, now).await.expect("says")
        };
        let poll = async |kept, running| {
            let poll = Poll { kept, running, ..Poll::default() };
            leases::next(&ctx, &settings, worker, &poll).await.expect("polls");
        };
        let what = Some("1 execution whose work was not saved".to_owned());
        assert_eq!(kept_for(Duration::ZERO).await, what, "it is under way");
        assert_eq!(list(&ctx, tenant).await.expect("lists"), []);
        ctx.clock.advance(settings.lease + Duration::from_secs(1));
        take_back(&ctx).await;
        assert_eq!(kept_for(Duration::ZERO).await, what, "its machine was lost under it");
        assert_eq!(kept_for(settings.keep_work * 2).await, None, "for too long");
        let unsaved = KeptWork::unsaved(lease.execution_id, repository_name("https://example.org/a"));
        let shown = list(&ctx, tenant).await.expect("lists");
        assert_eq!(shown.iter().map(|one| (&one.work, one.task_id)).collect::<Vec<_>>(), [(&unsaved, task)]);
        let mut tx = ctx.begin("test").await.expect("begins");
        assert_eq!(machines(&mut tx, lease.execution_id.minted_at() - TimeDelta::seconds(1)).await.expect("looks"), [machine]);
        drop(tx);
        poll(None, vec![]).await;
        poll(Some(vec![]), vec![holding(&lease)]).await;
        assert_eq!(kept_for(Duration::ZERO).await, what, "it has not heard of it yet");
        poll(Some(vec![unsaved]), vec![]).await;
        assert_eq!(kept_for(Duration::ZERO).await, what, "it cannot save it");
        poll(Some(vec![]), vec![]).await;
        assert_eq!(kept_for(Duration::ZERO).await, None, "it is saved, or there was nothing");
    }

    async fn of_a_lost_execution_that_never_began_or_has_a_checkpoint_nothing_else_is_expected(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lose = async || {
            ctx.clock.advance(Settings::default().lease + Duration::from_secs(1));
            take_back(&ctx).await;
            assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
            leases::next(&ctx, &Settings::default(), worker, &Poll::default()).await.expect("is heard again");
            schedule(&ctx).await;
        };
        leased(&ctx, worker).await;
        lose().await;
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [], "it never began");
        let lease = leased(&ctx, worker).await;
        leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
        let of = pool::workers::get(&ctx, worker).await.expect("found");
        checkpoints::tell(&ctx, &of, saved(&ctx, &lease, &[])).await.expect("heard");
        lose().await;
        assert_eq!(list(&ctx, tenant).await.expect("lists"), [], "it is in a checkpoint");
    }

    async fn of_work_that_is_gone_with_its_machines_disk_its_tenant_is_told(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let machine = pool::workers::get(&ctx, worker).await.expect("found").machine_id.expect("has one");
        let branch = work(lease.execution_id, "refs/bifrost/branches/x/fix", 'b');
        let aside = KeptWork { commit: String::new(), ..work(lease.execution_id, "aside/1.work.x", 'a') };
        let poll = Poll { kept: Some(vec![branch, aside]), running: vec![holding(&lease)], ..Poll::default() };
        leases::next(&ctx, &Settings::default(), worker, &poll).await.expect("polls");
        let mut tx = ctx.begin("test").await.expect("begins");
        let disks = OnDisks::new(&Settings::default());
        pool::WorkOnDisks::gone(&disks, &ctx, &mut tx, machine).await.expect("hears");
        tx.commit(()).await.expect("commits");
        assert_eq!(list(&ctx, tenant).await.expect("lists"), []);
        let mut tx = ctx.begin("test").await.expect("begins");
        let told = kernel::outbox::pending(&mut tx, 1_000).await.expect("reads");
        let told: Vec<_> = told.into_iter().filter(|event| event.kind == kind::WORK_GONE).collect();
        let [event] = &told[..] else { panic!("{told:?}") };
        assert_eq!((event.task_id, event.execution_id), (Some(task), Some(lease.execution_id)));
        let payload: serde_json::Value = serde_json::from_str(event.payload.get()).expect("JSON");
        let references = serde_json::json!(["aside/1.work.x", "refs/bifrost/branches/x/fix"]);
        assert_eq!(payload, serde_json::json!({ "machine_id": machine, "references": references }));
    }
}
