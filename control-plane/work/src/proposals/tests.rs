//! What is found becomes one task, and waits.

use std::sync::Arc;

use kernel::{Ctx, Error};
use kit::Tasks;
use wire::admission::NewHold;
use wire::claim::{Claim, NewClaim};
use wire::id::TenantId;
use wire::proposal::{NewProposal, Proposed};
use wire::task::TaskStatus;

use crate::claims::Desk;
use crate::tests::{migrations, schedule, status, tenant};
use crate::{Settings, holds, metadata, proposals, tasks};

fn proposal(source: &str) -> NewProposal {
    NewProposal {
        source: source.into(),
        title: format!("see {source}"),
        tags: vec!["bug".into()],
        ..Default::default()
    }
}

async fn propose(ctx: &Ctx, tenant: TenantId, sources: &[&str]) -> Vec<Proposed> {
    let found: Vec<NewProposal> = sources.iter().map(|source| proposal(source)).collect();
    proposals::propose(ctx, &Settings::default(), tenant, "scanner", &found).await.expect("proposes")
}

async fn waiting(ctx: &Ctx, tenant: TenantId) -> Vec<String> {
    let list = proposals::list(ctx, tenant).await.expect("lists");
    list.into_iter().map(|one| one.source).collect()
}

async fn claim(desk: &Desk, ctx: &Ctx, tenant: TenantId) -> Vec<Claim> {
    let asked = NewClaim { worker: Some("w".into()), limit: Some(10), ..NewClaim::default() };
    desk.claim(ctx, tenant, asked).await.expect("asks")
}

kernel::on_both! { migrations();
    async fn what_is_found_again_makes_no_second_task(ctx) {
        let tenant = tenant(&ctx).await;
        let first = propose(&ctx, tenant, &["a#1", "a#2"]).await;
        assert!(first.iter().all(|one| one.is_new));
        let again = propose(&ctx, tenant, &["a#2", "a#3", "a#1"]).await;
        let news: Vec<bool> = again.iter().map(|one| one.is_new).collect();
        assert_eq!((news, again[0].task_id, again[2].task_id), (vec![false, true, false], first[1].task_id, first[0].task_id));
        let both = tokio::join!(propose(&ctx, tenant, &["b#1", "b#2"]), propose(&ctx, tenant, &["b#2", "b#1"]));
        assert_eq!(both.0.iter().chain(&both.1).filter(|one| one.is_new).count(), 2);
        // Whoever deleted it does not want to see it again.
        tasks::delete(&ctx, tenant, first[0].task_id).await.expect("deletes");
        assert!(!propose(&ctx, tenant, &["a#1"]).await[0].is_new);
        let mut listed = waiting(&ctx, tenant).await;
        listed.sort();
        assert_eq!(listed, ["a#2", "a#3", "b#1", "b#2"]);
    }

    async fn a_proposed_task_starts_once_it_is_accepted_and_not_before(ctx) {
        let tenant = tenant(&ctx).await;
        let told = propose(&ctx, tenant, &["a#1", "a#2", "a#3"]).await;
        let [one, two, three] = [told[0].task_id, told[1].task_id, told[2].task_id];
        let mut tx = ctx.read("test").await.expect("begins");
        let known = metadata::store::of_tasks(&mut tx, tenant, &[one]).await.expect("reads");
        drop(tx);
        assert_eq!((known[&one]["source"].as_str(), known[&one]["tags"].as_str()), ("a#1", r#"["bug"]"#));
        schedule(&ctx).await;
        let desk = Desk::open(&ctx, &Arc::default(), &Tasks::new());
        assert_eq!(claim(&desk, &ctx, tenant).await, []);
        assert_eq!(proposals::accept(&ctx, tenant, one).await.expect("accepts").status, TaskStatus::Ready);
        let claimed = claim(&desk, &ctx, tenant).await;
        assert_eq!(claimed.iter().map(|claim| claim.task.id).collect::<Vec<_>>(), [one]);
        let refused = async |task| match proposals::accept(&ctx, tenant, task).await {
            Err(Error::Conflict { code, .. }) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(one).await, "not_proposed");
        tasks::cancel(&ctx, &Settings::default(), tenant, two).await.expect("cancels");
        assert_eq!(refused(two).await, "not_proposed");
        assert_eq!(waiting(&ctx, tenant).await, ["a#3"]);
        let held = holds::list(&ctx, tenant).await.expect("lists");
        assert_eq!(held.iter().filter_map(|hold| hold.task_id).collect::<Vec<_>>(), [three], "what was called off is not held");
        // A hold of somebody else's stands beside it.
        let other = NewHold { task_id: Some(three), reason: "mine".into(), ..Default::default() };
        holds::set(&ctx, tenant, "me", other, None).await.expect("holds");
        proposals::accept(&ctx, tenant, three).await.expect("accepts");
        assert_eq!(claim(&desk, &ctx, tenant).await, []);
        assert_eq!(status(&ctx, tenant, three).await, TaskStatus::Ready);
    }

    async fn what_is_wrong_with_one_is_told_by_its_place_and_nothing_is_stored(ctx) {
        let tenant = tenant(&ctx).await;
        let many: Vec<NewProposal> = (0..101).map(|number| proposal(&format!("a#{number}"))).collect();
        let twice = vec![proposal("a"), proposal("b"), proposal("a")];
        let nameless = vec![proposal("a"), NewProposal { title: " ".into(), ..proposal("b") }];
        for (wrong, field) in [
            (vec![], "proposals"),
            (many, "proposals"),
            (twice, "proposals[2].source"),
            (nameless, "proposals[1].title"),
            (vec![proposal("")], "proposals[0].source"),
            (vec![proposal("a\nb")], "proposals[0].source"),
            (vec![proposal(&"x".repeat(501))], "proposals[0].source"),
        ] {
            let refused = proposals::propose(&ctx, &Settings::default(), tenant, "scanner", &wrong).await;
            assert!(matches!(&refused, Err(Error::Invalid { field: named, .. }) if named == field), "{field}: {refused:?}");
        }
        assert_eq!(waiting(&ctx, tenant).await, Vec::<String>::new());
    }
}
