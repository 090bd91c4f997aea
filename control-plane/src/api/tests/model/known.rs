//! The model: what the API should hold, kept in the plainest way, and what it should
//! answer. It counts nothing as it goes and walks the whole graph each time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What a call should answer: its status, and the code of a problem.
pub(super) type Answered = Result<u16, (u16, &'static str)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) id: String,
    pub(super) on: String,
    pub(super) soft: bool,
    pub(super) condition: String,
    pub(super) group: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) title: String,
    pub(super) status: &'static str,
    pub(super) priority: i16,
    pub(super) effort: Option<i32>,
    pub(super) attempts: i32,
    pub(super) needs: Vec<Need>,
    pub(super) outcomes: BTreeSet<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// The execution that is promised or under way.
    pub(super) open: Option<String>,
    /// Whether that has begun.
    pub(super) has_begun: bool,
    /// Whether it was claimed, and so is under a lease.
    pub(super) is_leased: bool,
    /// Whether it was called off while a claimer was on it.
    pub(super) is_called_off: bool,
    /// How the newest execution ended, if that was claimed.
    pub(super) ended: Option<&'static str>,
    pub(super) retries: u32,
    /// The newest execution.
    pub(super) newest: Option<String>,
    /// In which order it came.
    pub(super) age: usize,
}

impl Known {
    /// Changes the status; as long as that is failed, a tag says so.
    pub(super) fn stand(&mut self, status: &'static str) {
        self.status = status;
        let tags = self.metadata.get("tags").and_then(|tags| serde_json::from_str::<Vec<String>>(tags).ok());
        let mut tags = tags.unwrap_or_default();
        let before = tags.clone();
        match status {
            "failed" if !tags.iter().any(|tag| tag == BLOCKED) => tags.push(BLOCKED.into()),
            "failed" => (),
            _ => tags.retain(|tag| tag != BLOCKED),
        }
        match tags.is_empty() {
            _ if tags == before => (),
            true => drop(self.metadata.remove("tags")),
            false => drop(self.metadata.insert("tags".into(), json!(tags).to_string())),
        }
    }
}

/// What a failed task is tagged with.
const BLOCKED: &str = "swarm:blocked";

/// Every task by its id.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) tasks: BTreeMap<String, Known>,
    pub(super) age: usize,
}

pub(super) const STATUSES: [&str; 7] =
    ["ready", "assigned", "in_progress", "completed", "failed", "split", "cancelled"];

impl Model {
    pub(super) fn add(&mut self, id: &str, title: String, priority: i16, effort: Option<i32>) {
        self.age += 1;
        let known = Known {
            title,
            status: "ready",
            priority,
            effort,
            attempts: 0,
            needs: vec![],
            outcomes: BTreeSet::new(),
            metadata: BTreeMap::new(),
            open: None,
            has_begun: false,
            is_leased: false,
            is_called_off: false,
            ended: None,
            retries: 0,
            newest: None,
            age: self.age,
        };
        self.tasks.insert(id.to_owned(), known);
    }

    fn is_true(&self, need: &Need) -> bool {
        let on = &self.tasks[&need.on];
        if need.condition == "completed" { on.status == "completed" } else { on.outcomes.contains(&need.condition) }
    }

    pub(super) fn waits_for(&self, id: &str) -> usize {
        let hard: Vec<&Need> = self.tasks[id].needs.iter().filter(|need| !need.soft).collect();
        let alone = hard.iter().filter(|need| need.group.is_none() && !self.is_true(need)).count();
        let groups: BTreeSet<&String> = hard.iter().filter_map(|need| need.group.as_ref()).collect();
        let is_open =
            |group: &&&String| !hard.iter().any(|need| need.group.as_ref() == Some(**group) && self.is_true(need));
        alone + groups.iter().filter(is_open).count()
    }

    fn reaches(&self, from: &str, to: &str, seen: &mut BTreeSet<String>) -> bool {
        from == to
            || (seen.insert(from.to_owned())
                && self.tasks[from].needs.iter().any(|need| self.reaches(&need.on, to, seen)))
    }

    /// Whether a task may come to need another.
    pub(super) fn depend(&self, task: &str, new: &Need) -> Answered {
        if task == new.on || (new.soft && new.group.is_some()) {
            return Err((400, "invalid"));
        }
        if !self.tasks.contains_key(task) || !self.tasks.contains_key(&new.on) {
            return Err((404, "not_found"));
        }
        if self.tasks[task].needs.iter().any(|need| need.on == new.on && need.condition == new.condition) {
            return Err((409, "dependency_exists"));
        }
        if self.reaches(&new.on, task, &mut BTreeSet::new()) {
            return Err((409, "dependency_cycle"));
        }
        Ok(201)
    }

    /// Whether a status may be set by hand.
    pub(super) fn set_status(&self, id: &str, to: &str) -> Answered {
        let legal = [
            ("ready", "assigned"),
            ("assigned", "in_progress"),
            ("in_progress", "completed"),
            ("in_progress", "failed"),
            ("failed", "ready"),
        ];
        if !legal.contains(&(self.tasks[id].status, to)) {
            return Err((400, "invalid"));
        }
        if to == "assigned" && self.waits_for(id) > 0 {
            return Err((409, "task_blocked"));
        }
        if self.tasks[id].is_leased { Err((409, "task_leased")) } else { Ok(200) }
    }

    /// The attempt under way ends, and the task with it.
    pub(super) fn end(&mut self, id: &str, status: &'static str) {
        let known = self.tasks.get_mut(id).expect("is there");
        if known.open.take().is_some() && status != "cancelled" {
            known.attempts += 1;
        }
        known.has_begun = false;
        known.is_called_off = false;
        if std::mem::take(&mut known.is_leased) {
            known.ended = Some(status);
        }
        known.stand(status);
    }

    /// A claimed task goes to a worker.
    pub(super) fn claim(&mut self, id: &str, execution: &str, is_begun: bool) {
        let known = self.tasks.get_mut(id).expect("is there");
        known.stand(if is_begun { "in_progress" } else { "assigned" });
        known.open = Some(execution.to_owned());
        known.newest = Some(execution.to_owned());
        known.has_begun = is_begun;
        known.is_leased = true;
        known.ended = None;
    }

    /// A claimer is done, and says how.
    pub(super) fn complete(&mut self, id: &str, status: &'static str) -> Answered {
        let known = self.tasks.get(id).filter(|known| known.newest.is_some()).ok_or((404, "not_found"))?;
        match (known.ended, &known.open) {
            (Some(ended), None) if ended == status => return Ok(200),
            (Some(_), None) => return Err((409, "lease_lost")),
            (None, None) => return Err((409, "execution_finished")),
            (_, Some(_)) => self.end(id, status),
        }
        Ok(200)
    }

    /// A claimer gives the task back, which spends no attempt.
    pub(super) fn release(&mut self, id: &str) -> Answered {
        let known = self.tasks.get_mut(id).filter(|known| known.newest.is_some()).ok_or((404, "not_found"))?;
        match known.ended {
            _ if known.is_leased => (),
            Some("released") => return Ok(200),
            Some(_) => return Err((409, "lease_lost")),
            None => return Err((409, "execution_not_leased")),
        }
        known.open = None;
        known.has_begun = false;
        known.is_leased = false;
        known.ended = Some("released");
        if std::mem::take(&mut known.is_called_off) {
            known.stand("cancelled");
        } else {
            known.stand("ready");
            known.metadata.remove("assigned_worker");
        }
        Ok(200)
    }

    /// Somebody calls a task off.
    pub(super) fn cancel(&mut self, id: &str) -> Answered {
        let known = self.tasks.get_mut(id).ok_or((404, "not_found"))?;
        match known.status {
            "completed" | "split" => return Err((409, "task_finished")),
            // Its worker is told, and ends it.
            "in_progress" if known.is_leased => known.is_called_off = true,
            _ => self.end(id, "cancelled"),
        }
        Ok(200)
    }

    /// Somebody has a failed task tried again.
    pub(super) fn retry(&mut self, id: &str) -> Answered {
        let known = self.tasks.get_mut(id).ok_or((404, "not_found"))?;
        if known.status != "failed" {
            return Err((409, "task_not_failed"));
        }
        known.stand("ready");
        known.retries += 1;
        known.metadata.insert("retry_count".into(), known.retries.to_string());
        known.metadata.remove("assigned_worker");
        Ok(200)
    }

    /// Every task, the most urgent first, then the oldest.
    pub(super) fn in_order(&self) -> Vec<(&String, &Known)> {
        let mut all: Vec<(&String, &Known)> = self.tasks.iter().collect();
        all.sort_by_key(|(_, known)| (-known.priority, known.age));
        all
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.tasks.remove(id);
        for known in self.tasks.values_mut() {
            known.needs.retain(|need| need.on != id);
        }
    }

    /// Every task as a list shows it, in its order.
    pub(super) fn list(&self) -> Vec<Value> {
        let view = |(id, known): (&String, &Known)| {
            json!({
                "id": id, "title": known.title, "status": known.status, "priority": known.priority,
                "effort_estimate": known.effort, "attempts": known.attempts, "waits_for": self.waits_for(id),
                "execution": known.newest,
            })
        };
        self.in_order().into_iter().map(view).collect()
    }

    /// Those that may start.
    pub(super) fn ready(&self) -> BTreeSet<&String> {
        let is_ready = |(id, known): &(&String, &Known)| known.status == "ready" && self.waits_for(id) == 0;
        self.tasks.iter().filter(is_ready).map(|(id, _)| id).collect()
    }
}
