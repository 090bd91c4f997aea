//! Batches on both databases: all or nothing, in order, with what each needs.

use kernel::Ctx;

use super::*;
use crate::tasks::{self, Filter};
use crate::tests::{code, migrations, note, tenant};

fn batch(titles: &[&str], needs: &[(usize, usize)]) -> NewGraph {
    let dependency = |(task, depends_on): &(usize, usize)| BatchDependency::on(*task, *depends_on);
    NewGraph {
        tasks: titles.iter().map(|title| note(title)).collect(),
        dependencies: needs.iter().map(dependency).collect(),
    }
}

async fn send(ctx: &Ctx, tenant: TenantId, new: NewGraph) -> Result<Vec<TaskView>> {
    submit(ctx, &Settings::default(), tenant, new, None).await
}

async fn all(ctx: &Ctx, tenant: TenantId) -> Vec<TaskView> {
    tasks::list(ctx, tenant, Filter { limit: Some(1_000), ..Filter::default() }).await.expect("lists").tasks
}

kernel::on_both! { migrations();
    async fn a_hundred_tasks_are_submitted_in_order_and_one_more_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let refused = send(&ctx, tenant, batch(&["t"; 101], &[])).await.expect_err("are too many");
        assert_eq!(refused.to_string(), "tasks: must be 1 to 100 tasks, and these are 101");
        assert_eq!(code(send(&ctx, tenant, batch(&[], &[])).await), "invalid");
        let titles: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let submitted = send(&ctx, tenant, batch(&titles, &[])).await.expect("submits");
        assert_eq!(submitted.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), titles);
        assert_eq!(all(&ctx, tenant).await, submitted);
    }

    async fn one_invalid_task_keeps_all_of_them_out_and_is_named(ctx) {
        let tenant = tenant(&ctx).await;
        let refused = send(&ctx, tenant, batch(&["a", "b", " "], &[])).await.expect_err("is refused");
        assert!(refused.to_string().starts_with("tasks[2].title: "), "{refused}");
        assert_eq!(all(&ctx, tenant).await, []);
    }

    async fn tasks_of_a_batch_wait_for_each_other(ctx) {
        let tenant = tenant(&ctx).await;
        let submitted = send(&ctx, tenant, batch(&["build", "test", "ship"], &[(1, 0), (2, 0), (2, 1)])).await.expect("submits");
        assert_eq!(submitted.iter().map(|task| task.waits_for).collect::<Vec<_>>(), [0, 1, 2]);
        let ship = dependencies::readiness(&ctx, tenant, submitted[2].id).await.expect("found");
        assert_eq!(ship.unsatisfied.len(), 2);
        let soft = BatchDependency { dependency_type: DependencyType::Soft, ..BatchDependency::on(1, 0) };
        let softly = NewGraph { dependencies: vec![soft], ..batch(&["a", "b"], &[]) };
        assert_eq!(send(&ctx, tenant, softly).await.expect("submits")[1].waits_for, 0);
    }

    async fn what_cannot_be_a_graph_is_refused_by_the_dependency_at_fault(ctx) {
        let tenant = tenant(&ctx).await;
        let many: Vec<(usize, usize)> = vec![(1, 0); 1_001];
        for (needs, field, said) in [
            (&[(1, 0), (2, 1), (0, 2)][..], "dependencies[2]", "0 (a) → 2 (c) → 1 (b) → 0 (a)"),
            (&[(1, 1)], "dependencies[0]", "1 (b) → 1 (b)"),
            (&[(1, 0), (1, 0)], "dependencies[1]", "there already"),
            (&[(3, 0)], "dependencies[0]", "the task 3"),
            (&[(0, usize::MAX)], "dependencies[0]", "the last one is 2"),
            (&many, "dependencies", "at most 1000"),
        ] {
            let refused = send(&ctx, tenant, batch(&["a", "b", "c"], needs)).await.expect_err("is refused").to_string();
            assert!(refused.starts_with(&format!("{field}: ")) && refused.contains(said), "{refused}");
        }
        assert_eq!(all(&ctx, tenant).await, []);
    }

    async fn a_repeated_batch_gives_the_first_answer(ctx) {
        let tenant = tenant(&ctx).await;
        let attempt = Attempt::new("k1", "tasks.batch", &"the same").expect("a key");
        let send = async || submit(&ctx, &Settings::default(), tenant, batch(&["a", "b"], &[(1, 0)]), Some(&attempt)).await;
        let first = send().await.expect("submits");
        assert_eq!(send().await.expect("replays"), first);
        assert_eq!(all(&ctx, tenant).await, first);
    }
}
