//! Random calls against a model that keeps no counts and walks the whole graph
//! each time: after every call both have the same ready set.

use std::collections::{BTreeMap, BTreeSet};

use kit::Chance;
use wire::outcome::NewOutcome;

use super::*;

const TASKS: u64 = 7;
const STEPS: usize = 120;

#[derive(Debug, Clone)]
struct Known {
    status: TaskStatus,
    outcomes: BTreeSet<OutcomeName>,
    needs: Vec<DependencyView>,
}

/// What the server should hold.
#[derive(Debug, Default)]
struct Model(BTreeMap<TaskId, Known>);

impl Model {
    fn is_true(&self, dependency: &DependencyView) -> bool {
        let needed = &self.0[&dependency.depends_on_task_id];
        match &dependency.condition {
            Condition::Completed => needed.status == TaskStatus::Completed,
            Condition::Outcome(name) => needed.outcomes.contains(name),
        }
    }

    /// How many things a task waits for: every group, and everything that is in none.
    fn waits_for(&self, id: TaskId) -> i32 {
        let hard = || self.0[&id].needs.iter().filter(|needed| needed.dependency_type == DependencyType::Hard);
        let groups: BTreeSet<&str> = hard().filter_map(|needed| needed.group.as_deref()).collect();
        let alone = hard().filter(|needed| needed.group.is_none() && !self.is_true(needed)).count();
        let of = |group: &str| hard().filter(move |needed| needed.group.as_deref() == Some(group)).collect::<Vec<_>>();
        let closed =
            groups.into_iter().filter(|group| !of(group).into_iter().any(|needed| self.is_true(needed))).count();
        i32::try_from(alone + closed).expect("few")
    }

    fn waits(&self, id: TaskId) -> bool {
        self.waits_for(id) > 0
    }

    fn ready_set(&self) -> Vec<TaskId> {
        let is_ready = |(id, known): &(&TaskId, &Known)| known.status == TaskStatus::Ready && !self.waits(**id);
        self.0.iter().filter(is_ready).map(|(id, _)| *id).collect()
    }

    fn reaches(&self, from: TaskId, to: TaskId) -> bool {
        from == to || self.0[&from].needs.iter().any(|needed| self.reaches(needed.depends_on_task_id, to))
    }

    /// The code with which a new dependency is refused.
    fn refusal(&self, task: TaskId, new: &NewDependency) -> Option<&'static str> {
        let needed = new.depends_on_task_id;
        let is_same = |there: &DependencyView| there.depends_on_task_id == needed && there.condition == new.condition;
        if task == needed || (new.group.is_some() && new.dependency_type == DependencyType::Soft) {
            Some("invalid")
        } else if self.0[&task].needs.iter().any(is_same) {
            Some("dependency_exists")
        } else if self.reaches(needed, task) {
            Some("dependency_cycle")
        } else {
            None
        }
    }

    /// Where a task stands after a change of its status by hand, or the code with which that is refused.
    fn after(&self, id: TaskId, to: TaskStatus) -> std::result::Result<TaskStatus, &'static str> {
        use TaskStatus::{Assigned, Cancelled, Completed, Failed, InProgress, Ready, Split};
        match (self.0[&id].status, to) {
            (Completed | Split, Cancelled) => Err("task_finished"),
            (_, Cancelled) => Ok(Cancelled),
            (Failed, Ready) => Ok(Ready),
            (_, Ready) => Err("task_not_failed"),
            (Ready, Assigned) if self.waits(id) => Err("task_blocked"),
            (Ready, Assigned) | (Assigned, InProgress) | (InProgress, Completed | Failed) => Ok(to),
            _ => Err("invalid"),
        }
    }

    /// Where a task goes that is worked on.
    fn next(&self, id: TaskId) -> TaskStatus {
        use TaskStatus::{Assigned, Completed, InProgress, Ready};
        match self.0[&id].status {
            Ready => Assigned,
            Assigned => InProgress,
            InProgress => Completed,
            _ => Ready,
        }
    }

    fn forget(&mut self, id: TaskId) {
        self.0.remove(&id);
        for known in self.0.values_mut() {
            known.needs.retain(|needed| needed.depends_on_task_id != id);
        }
    }
}

async fn change(ctx: &Ctx, tenant: TenantId, id: TaskId, to: TaskStatus) -> Result<TaskView> {
    match to {
        TaskStatus::Cancelled => tasks::cancel(ctx, &Settings::default(), tenant, id).await,
        TaskStatus::Ready => tasks::retry(ctx, tenant, id, None).await,
        _ => set(ctx, tenant, id, to).await,
    }
}

fn outcome(chance: &Chance) -> OutcomeName {
    if chance.below(2) == 0 { OutcomeName::Merged } else { OutcomeName::Artefact("a".into()) }
}

async fn step(ctx: &Ctx, tenant: TenantId, model: &mut Model, chance: &Chance) {
    use TaskStatus::{Assigned, Cancelled, Completed, Failed, InProgress, Ready};
    let ids: Vec<TaskId> = model.0.keys().copied().collect();
    if (ids.len() as u64) < TASKS {
        let id = submit(ctx, tenant, note("n")).await.id;
        model.0.insert(id, Known { status: Ready, outcomes: BTreeSet::new(), needs: vec![] });
        return;
    }
    let pick = || ids[usize::try_from(chance.below(TASKS)).expect("small")];
    let (task, other) = (pick(), pick());
    match chance.below(30) {
        0..8 => {
            let dependency_type = if chance.below(6) == 0 { DependencyType::Soft } else { DependencyType::Hard };
            let condition = match chance.below(2) {
                0 => Condition::Completed,
                _ => Condition::Outcome(outcome(chance)),
            };
            let group = (chance.below(2) == 0).then(|| ["x", "y"][usize::from(chance.below(2) == 0)].to_owned());
            let new = NewDependency { depends_on_task_id: other, dependency_type, condition, group };
            let expect = model.refusal(task, &new);
            let added = add(ctx, tenant, task, new, None).await;
            assert_eq!(added.as_ref().err().map(Error::code), expect);
            model.0.get_mut(&task).expect("is there").needs.extend(added.ok());
        }
        8..11 => {
            let Some(last) = model.0.get_mut(&task).expect("is there").needs.pop() else { return };
            remove(ctx, tenant, task, last.id).await.expect("removes");
        }
        11 => {
            tasks::delete(ctx, tenant, task).await.expect("deletes");
            model.forget(task);
        }
        24..28 => {
            let name = outcome(chance);
            outcomes::set(ctx, tenant, task, name.clone(), NewOutcome::default()).await.expect("is set");
            model.0.get_mut(&task).expect("is there").outcomes.insert(name);
        }
        28.. => {
            let name = outcome(chance);
            let was_there = model.0.get_mut(&task).expect("is there").outcomes.remove(&name);
            assert_eq!(outcomes::withdraw(ctx, tenant, task, name).await.is_ok(), was_there);
        }
        at => {
            let any = [Assigned, InProgress, Completed, Failed, Ready, Cancelled];
            let to = match usize::try_from(at - 12).ok().and_then(|at| any.get(at)) {
                Some(to) => *to,
                None => model.next(task),
            };
            let expect = model.after(task, to);
            let changed = change(ctx, tenant, task, to).await;
            assert_eq!(changed.map(|view| view.status).map_err(|error| error.code()), expect);
            if let Ok(status) = expect {
                model.0.get_mut(&task).expect("is there").status = status;
            }
        }
    }
}

async fn ready_set(ctx: &Ctx, tenant: TenantId) -> Vec<TaskId> {
    let filter = Filter { status: Some(TaskStatus::Ready), blocked: Some(false), ..Filter::default() };
    let page = tasks::list(ctx, tenant, filter).await.expect("lists");
    let mut ids: Vec<TaskId> = page.tasks.into_iter().map(|task| task.id).collect();
    ids.sort_unstable();
    ids
}

kernel::on_both! { migrations();
    async fn the_ready_set_is_what_a_walk_over_the_whole_graph_finds(ctx) {
        let tenant = tenant(&ctx).await;
        for seed in 0..4 {
            let (chance, mut model) = (Chance::seeded(seed), Model::default());
            for at in 0..STEPS {
                step(&ctx, tenant, &mut model, &chance).await;
                assert_eq!(ready_set(&ctx, tenant).await, model.ready_set(), "seed {seed}, step {at}: {model:?}");
            }
            for (id, known) in &model.0 {
                assert_eq!(tasks::get(&ctx, tenant, *id).await.expect("found").waits_for, model.waits_for(*id), "{known:?}");
                assert_eq!(readiness(&ctx, tenant, *id).await.expect("found").ready, !model.waits(*id), "{known:?}");
                assert_eq!(unsatisfied(&ctx, tenant, *id).await.is_empty(), !model.waits(*id));
            }
            for id in model.0.into_keys() {
                tasks::delete(&ctx, tenant, id).await.expect("deletes");
            }
        }
    }
}
