//! The search on both databases against the plainest one: look at every task.

use kit::Chance;
use wire::task::{NewTask, Priority, TaskView};

use super::*;
use crate::Settings;
use crate::tasks;
use crate::tests::{migrations, note, submit, tenant};

/// Letters that come often, and signs that mean something to somebody.
const LETTERS: [&str; 9] = ["a", "b", "A", "é", "ß", "%", "_", "\\", "\""];

fn text(chance: &Chance, most: u64) -> String {
    (0..chance.below(most + 1)).map(|_| LETTERS[usize::try_from(chance.below(9)).expect("small")]).collect()
}

/// What has the text, in order: which of its fields has it how, then priority, then age.
fn plainly(all: &[TaskView], text: &str) -> Vec<TaskId> {
    let text = text.to_lowercase();
    let rank = |task: &TaskView| {
        let (title, description) = (task.title.to_lowercase(), task.description.to_lowercase());
        let ranks = [title == text, description == text, title.contains(&text), description.contains(&text)];
        ranks.iter().position(|is_so| *is_so)
    };
    let mut found: Vec<_> =
        all.iter().filter_map(|task| Some((rank(task)?, -task.priority.get(), task.created_at, task.id))).collect();
    found.sort_unstable();
    found.into_iter().map(|(.., id)| id).take(50).collect()
}

kernel::on_both! { migrations();
    async fn every_text_finds_what_a_look_at_every_task_finds_in_the_same_order(ctx) {
        let (tenant, chance) = (tenant(&ctx).await, Chance::seeded(3));
        let mut all = Vec::new();
        for number in 0..120 {
            let title = match text(&chance, 7) {
                title if title.trim().is_empty() => format!("t{number}"),
                title => title,
            };
            let priority = Priority::try_from(1 + i16::try_from(chance.below(5)).expect("small")).expect("valid");
            let new = NewTask { description: text(&chance, 9), priority, ..note(&title) };
            all.push(submit(&ctx, tenant, new).await);
        }
        // What was changed is found by its new text alone, and what was deleted not at all.
        let changed = wire::task::TaskChange { title: Some("abab".into()), ..Default::default() };
        all[7] = tasks::update(&ctx, &Settings::default(), tenant, all[7].id, changed).await.expect("changes");
        tasks::delete(&ctx, tenant, all.remove(9).id).await.expect("deletes");
        for _ in 0..150 {
            let text = match text(&chance, 5) {
                text if text.is_empty() => "abab".to_owned(),
                text => text,
            };
            let found = tasks::search(&ctx, tenant, &text).await.expect("searches");
            let found: Vec<TaskId> = found.into_iter().map(|task| task.id).collect();
            assert_eq!(found, plainly(&all, &text), "{text:?}");
        }
        assert!(tasks::search(&ctx, ctx.id(TenantId::mint), "a").await.expect("searches").is_empty());
    }
}
