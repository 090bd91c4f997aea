//! Plays calls to the router and to the model, and says where they differ.

use std::collections::BTreeSet;

use super::known::{Answered, Known, Need, STATUSES};
use super::*;

const CONDITIONS: [&str; 5] = ["completed", "merged", "artefact:a/b", "ci_green", "green"];
const OUTCOMES: [&str; 6] = ["merged", "artefact:a/b", "ci_green", "merged", "artefact:", "green"];

/// As many calls apart everything that is stored is looked at.
const LOOK_EVERY: usize = 10;

pub(super) struct Stage<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) app: &'a Router,
    worker: String,
    pub(super) model: Model,
}

/// Plays the calls on an empty tenant and leaves it empty, also after a difference. Gives the codes that were
/// answered, and where tasks came to stand.
pub(super) async fn play(ctx: &Ctx, app: &Router, calls: &[Call]) -> Result<BTreeSet<&'static str>, String> {
    let new = json!({ "worker_type": "w", "capacity": 100 });
    let worker = post(app, "/v1/workers", &new).await.body["id"].as_str().expect("an id").to_owned();
    let mut stage = Stage { ctx, app, worker, model: Model::default() };
    let played = stage.play(calls).await;
    stage.clear().await;
    played
}

impl Stage<'_> {
    async fn play(&mut self, calls: &[Call]) -> Result<BTreeSet<&'static str>, String> {
        let mut seen = BTreeSet::new();
        for (number, call) in calls.iter().enumerate() {
            self.ctx.clock.advance(std::time::Duration::from_millis(1));
            let (expect, answer) = self.take(call).await;
            let found = match answer.status.as_u16() {
                status if answer.status.is_success() => Ok(status),
                status => Err((status, answer.body["code"].as_str().unwrap_or("none"))),
            };
            if found != expect {
                return Err(format!(
                    "call {number}, {call:?}: {expect:?} was expected: {} {}",
                    answer.status, answer.body
                ));
            }
            seen.insert(expect.map_or_else(|(_, code)| code, |_| "ok"));
            seen.extend(self.model.tasks.values().map(|known| known.status));
            if number % LOOK_EVERY == 0 || number + 1 == calls.len() {
                self.look().await.map_err(|difference| format!("after call {number}, {call:?}: {difference}"))?;
            }
        }
        Ok(seen)
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        ask(self.app, method, path, Some(KEY), body.map(|body| body.to_string()).as_deref()).await
    }

    /// The id that a number picks, whether there is such a task or not.
    pub(super) fn pick(&self, pick: Pick) -> String {
        let nobody = || uuid::Uuid::nil().to_string();
        if pick == NOBODY || self.model.tasks.is_empty() {
            return nobody();
        }
        self.model.tasks.keys().nth(usize::from(pick) % self.model.tasks.len()).cloned().unwrap_or_else(nobody)
    }

    fn is_there(&self, id: &str) -> bool {
        self.model.tasks.contains_key(id)
    }

    /// Makes a call; gives what the model says of it, which knows of it from then on, and the answer.
    async fn take(&mut self, call: &Call) -> (Answered, Answer) {
        match call {
            Call::Create { title, priority, effort, is_misspelt } => {
                let mut body = json!({ "title": title.text(), "priority": priority, "effort_estimate": effort });
                if *is_misspelt {
                    body["prority"] = json!(3);
                }
                let answer = self.call(Method::POST, "/v1/tasks", Some(body)).await;
                let is_well = title.is_name(500) && (1..=5).contains(priority) && *effort >= 0 && !is_misspelt;
                if is_well && let Some(id) = answer.body["id"].as_str() {
                    self.model.add(id, title.text(), *priority, Some(*effort));
                }
                (if is_well { Ok(201) } else { Err((400, "invalid")) }, answer)
            }
            Call::Patch { task, title, priority, effort, status } => {
                let id = self.pick(*task);
                let status = status.map(|status| STATUSES[usize::from(status)]);
                let mut body = json!({});
                if let Some(title) = title {
                    body["title"] = json!(title.text());
                }
                if let Some(priority) = priority {
                    body["priority"] = json!(priority);
                }
                if let Some(effort) = effort {
                    body["effort_estimate"] = json!(effort);
                }
                if let Some(status) = status {
                    body["status"] = json!(status);
                }
                let answer = self.call(Method::PATCH, &format!("/v1/tasks/{id}"), Some(body)).await;
                let is_well = title.is_none_or(|title| title.is_name(500))
                    && priority.is_none_or(|priority| (1..=5).contains(&priority))
                    && effort.is_none_or(|effort| effort >= 0);
                let expect = if !is_well {
                    Err((400, "invalid"))
                } else if !self.is_there(&id) {
                    Err((404, "not_found"))
                } else {
                    status.map_or(Ok(200), |status| self.model.set_status(&id, status))
                };
                if expect.is_ok() {
                    if let Some(status) = status {
                        if matches!(status, "completed" | "failed") {
                            self.model.end(&id, status);
                        }
                        let known = self.known(&id);
                        known.has_begun |= status == "in_progress" && known.open.is_some();
                        known.stand(status);
                    }
                    let known = self.known(&id);
                    if let Some(title) = title {
                        known.title = title.text();
                    }
                    if let Some(priority) = priority {
                        known.priority = *priority;
                    }
                    if let Some(effort) = effort {
                        known.effort = Some(*effort);
                    }
                }
                (expect, answer)
            }
            Call::Assign { task, worker } => {
                let id = self.pick(*task);
                let body = json!({ "worker_id": self.worker(*worker) });
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/assign"), Some(body)).await;
                let expect = match self.model.tasks.get(&id) {
                    None => Err((404, "not_found")),
                    Some(known) if known.status != "ready" => Err((409, "task_not_ready")),
                    Some(_) if self.model.waits_for(&id) > 0 => Err((409, "task_blocked")),
                    Some(_) if !worker => Err((400, "invalid")),
                    Some(_) => Ok(200),
                };
                if expect.is_ok() {
                    let worker = self.worker.clone();
                    let promised = answer.body["execution"]["id"].as_str().map(str::to_owned);
                    let known = self.known(&id);
                    known.status = "assigned";
                    known.open.clone_from(&promised);
                    known.newest = promised;
                    known.ended = None;
                    known.metadata.insert("assigned_worker".into(), worker);
                }
                (expect, answer)
            }
            Call::Start { task, worker } => {
                let id = self.pick(*task);
                let body = json!({ "agent_type": "a", "worker_id": self.worker(*worker) });
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/executions"), Some(body)).await;
                let expect = match self.model.tasks.get(&id) {
                    None => Err((404, "not_found")),
                    Some(known) if known.status != "assigned" || known.has_begun || known.is_leased => {
                        Err((409, "task_not_assigned"))
                    }
                    Some(known) if known.open.is_some() && !worker => Err((409, "task_assigned_elsewhere")),
                    Some(_) if !worker => Err((400, "invalid")),
                    Some(_) => Ok(201),
                };
                if expect.is_ok() {
                    let execution = answer.body["id"].as_str().map(str::to_owned);
                    let known = self.known(&id);
                    known.status = "in_progress";
                    known.has_begun = true;
                    known.open.clone_from(&execution);
                    known.newest = execution;
                    known.ended = None;
                }
                (expect, answer)
            }
            Call::Complete { task, success } => {
                let id = self.pick(*task);
                let of = self.newest(&id);
                let body = json!({ "success": success, "cost_dollars": "0.5" });
                let answer = self.call(Method::POST, &format!("/v1/executions/{of}/complete"), Some(body)).await;
                (self.model.complete(&id, if *success { "completed" } else { "failed" }), answer)
            }
            Call::Retry { task } => {
                let id = self.pick(*task);
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/retry"), None).await;
                (self.model.retry(&id), answer)
            }
            Call::Cancel { task } => {
                let id = self.pick(*task);
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/cancel"), None).await;
                (self.model.cancel(&id), answer)
            }
            Call::Delete { task } => {
                let id = self.pick(*task);
                let answer = self.call(Method::DELETE, &format!("/v1/tasks/{id}"), None).await;
                let expect = match self.model.tasks.get(&id) {
                    None => Err((404, "not_found")),
                    Some(known) if known.open.is_some() => Err((409, "task_in_hand")),
                    Some(_) => Ok(204),
                };
                if expect.is_ok() {
                    self.model.forget(&id);
                }
                (expect, answer)
            }
            Call::Depend { task, needed, soft, condition, group } => {
                let (id, on) = (self.pick(*task), self.pick(*needed));
                let condition = CONDITIONS[usize::from(*condition)].to_owned();
                let group = group.map(|group| format!("g{group}"));
                let mut body = json!({ "depends_on_task_id": on, "condition": condition });
                if *soft {
                    body["dependency_type"] = json!("soft");
                }
                if let Some(group) = &group {
                    body["group"] = json!(group);
                }
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/dependencies"), Some(body)).await;
                let mut need = Need { id: String::new(), on, soft: *soft, condition, group };
                let expect =
                    if need.condition == "green" { Err((400, "invalid")) } else { self.model.depend(&id, &need) };
                if expect.is_ok()
                    && let Some(new) = answer.body["id"].as_str()
                {
                    new.clone_into(&mut need.id);
                    self.known(&id).needs.push(need);
                }
                (expect, answer)
            }
            Call::Undepend { task, number } => {
                let id = self.pick(*task);
                let need = self.model.tasks.get(&id).and_then(|known| known.needs.get(usize::from(*number))).cloned();
                let of = need.as_ref().map_or_else(|| uuid::Uuid::nil().to_string(), |need| need.id.clone());
                let answer = self.call(Method::DELETE, &format!("/v1/tasks/{id}/dependencies/{of}"), None).await;
                if let Some(need) = &need {
                    self.known(&id).needs.retain(|other| other != need);
                }
                (need.map_or(Err((404, "not_found")), |_| Ok(204)), answer)
            }
            Call::SetOutcome { task, name } => {
                let (id, name) = (self.pick(*task), OUTCOMES[usize::from(*name)]);
                let path = format!("/v1/tasks/{id}/outcomes/{}", name.replace('/', "%2F"));
                let answer = self.call(Method::PUT, &path, Some(json!({}))).await;
                let expect = if matches!(name, "green" | "artefact:") {
                    Err((400, "invalid"))
                } else if self.is_there(&id) {
                    self.known(&id).outcomes.insert(name.to_owned());
                    Ok(200)
                } else {
                    Err((404, "not_found"))
                };
                (expect, answer)
            }
            Call::Withdraw { task, name } => {
                let (id, name) = (self.pick(*task), OUTCOMES[usize::from(*name)]);
                let path = format!("/v1/tasks/{id}/outcomes/{}", name.replace('/', "%2F"));
                let answer = self.call(Method::DELETE, &path, None).await;
                let expect = if matches!(name, "green" | "artefact:") {
                    Err((400, "invalid"))
                } else if self.is_there(&id) && self.known(&id).outcomes.remove(name) {
                    Ok(204)
                } else {
                    Err((404, "not_found"))
                };
                (expect, answer)
            }
            Call::Tag { task, tags } => {
                let id = self.pick(*task);
                let texts: Vec<String> = tags.iter().map(|tag| tag.text()).collect();
                let answer =
                    self.call(Method::POST, &format!("/v1/tasks/{id}/tags"), Some(json!({ "tags": texts }))).await;
                let expect = if !tags.iter().all(|tag| tag.is_name(100)) {
                    Err((400, "invalid"))
                } else if self.is_there(&id) {
                    let mut seen = BTreeSet::new();
                    let once: Vec<&String> = texts.iter().filter(|tag| seen.insert((*tag).clone())).collect();
                    self.known(&id).metadata.insert("tags".into(), json!(once).to_string());
                    Ok(200)
                } else {
                    Err((404, "not_found"))
                };
                (expect, answer)
            }
            Call::SetMetadata { task, key, value } => {
                let id = self.pick(*task);
                let body = json!({ "key": key.text(), "value": value.text() });
                let answer = self.call(Method::POST, &format!("/v1/tasks/{id}/metadata"), Some(body)).await;
                let expect = if !key.is_name(200) || *value == Text::Nul {
                    Err((400, "invalid"))
                } else if self.is_there(&id) {
                    self.known(&id).metadata.insert(key.text(), value.text());
                    Ok(200)
                } else {
                    Err((404, "not_found"))
                };
                (expect, answer)
            }
            Call::Batch { titles, needs } => {
                let tasks: Vec<Value> = titles.iter().map(|title| json!({ "title": title.text() })).collect();
                let dependencies: Vec<Value> =
                    needs.iter().map(|(task, on)| json!({ "task": task, "depends_on": on })).collect();
                let body = json!({ "tasks": tasks, "dependencies": dependencies });
                let answer = self.call(Method::POST, "/v1/tasks/batch", Some(body)).await;
                let is_well = !titles.is_empty()
                    && titles.iter().all(|title| title.is_name(500))
                    && is_graph(titles.len(), needs);
                if is_well {
                    self.learn(titles, needs, &answer).await;
                }
                (if is_well { Ok(201) } else { Err((400, "invalid")) }, answer)
            }
            Call::Many(many) => self.take_many(many).await,
        }
    }

    /// The newest execution of a task, or one that nobody knows.
    pub(super) fn newest(&self, id: &str) -> String {
        let newest = self.model.tasks.get(id).and_then(|known| known.newest.clone());
        newest.unwrap_or_else(|| uuid::Uuid::nil().to_string())
    }

    /// The tasks of a batch, with what they need.
    async fn learn(&mut self, titles: &[Text], needs: &[(u8, u8)], answer: &Answer) {
        let id = |at: usize| answer.body[at]["id"].as_str().unwrap_or_default().to_owned();
        for (at, title) in titles.iter().enumerate() {
            self.model.add(&id(at), title.text(), 3, None);
        }
        for (task, on) in needs {
            let (task, on) = (id(usize::from(*task)), id(usize::from(*on)));
            let listed = self.call(Method::GET, &format!("/v1/tasks/{task}/dependencies"), None).await;
            let all = listed.body.as_array().cloned().unwrap_or_default();
            let Some(found) = all.iter().find(|need| need["depends_on_task_id"] == on.as_str()) else { continue };
            let need = Need {
                id: found["id"].as_str().unwrap_or_default().to_owned(),
                on,
                soft: false,
                condition: "completed".into(),
                group: None,
            };
            self.known(&task).needs.push(need);
        }
    }

    fn known(&mut self, id: &str) -> &mut Known {
        self.model.tasks.get_mut(id).expect("the model knows it")
    }

    fn worker(&self, is_known: bool) -> String {
        if is_known { self.worker.clone() } else { uuid::Uuid::nil().to_string() }
    }

    /// Compares everything that is stored.
    async fn look(&self) -> Result<(), String> {
        let listed = self.call(Method::GET, "/v1/tasks?limit=1000", None).await.body;
        let view = |task: &Value| {
            json!({
                "id": task["id"], "title": task["title"], "status": task["status"], "priority": task["priority"],
                "effort_estimate": task["effort_estimate"], "attempts": task["attempts"],
                "waits_for": task["waits_for"], "execution": task["execution"]["id"],
            })
        };
        let listed: Vec<Value> = listed.as_array().into_iter().flatten().map(view).collect();
        same("the list", &json!(listed), &json!(self.model.list()))?;
        let ready = self.call(Method::GET, "/v1/tasks?status=ready&blocked=false&limit=1000", None).await.body;
        let ready: BTreeSet<&str> =
            ready.as_array().into_iter().flatten().filter_map(|task| task["id"].as_str()).collect();
        same("what is ready", &json!(ready), &json!(self.model.ready()))?;
        let ids: Vec<&String> = self.model.tasks.keys().collect();
        let metadata = self.call(Method::POST, "/v1/tasks/metadata/batch", Some(json!(ids))).await.body;
        let expect: Value = self.model.tasks.iter().map(|(id, known)| (id.clone(), json!(known.metadata))).collect();
        same("the metadata", &metadata, &expect)?;
        for (id, known) in &self.model.tasks {
            let outcomes = self.call(Method::GET, &format!("/v1/tasks/{id}/outcomes"), None).await.body;
            let outcomes: BTreeSet<&str> =
                outcomes.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
            same("the outcomes", &json!(outcomes), &json!(known.outcomes))?;
            let needs = self.call(Method::GET, &format!("/v1/tasks/{id}/dependencies"), None).await.body;
            let needs: BTreeSet<String> = needs
                .as_array()
                .into_iter()
                .flatten()
                .map(|need| {
                    json!([
                        need["id"],
                        need["depends_on_task_id"],
                        need["condition"],
                        need["group"],
                        need["dependency_type"]
                    ])
                    .to_string()
                })
                .collect();
            let expect: BTreeSet<String> = known
                .needs
                .iter()
                .map(|need| {
                    json!([need.id, need.on, need.condition, need.group, if need.soft { "soft" } else { "hard" }])
                        .to_string()
                })
                .collect();
            same("the dependencies", &json!(needs), &json!(expect))?;
        }
        Ok(())
    }

    /// Ends and deletes everything, whatever the model thinks of it.
    async fn clear(&self) {
        let listed = self.call(Method::GET, "/v1/tasks?limit=1000", None).await.body;
        for task in listed.as_array().into_iter().flatten() {
            let id = task["id"].as_str().unwrap_or_default();
            self.call(Method::POST, &format!("/v1/tasks/{id}/cancel"), None).await;
            // A claimer is asked to end it.
            if let Some(execution) = task["execution"]["id"].as_str() {
                self.call(Method::POST, &format!("/v1/executions/{execution}/release"), Some(json!({}))).await;
            }
            self.call(Method::DELETE, &format!("/v1/tasks/{id}"), None).await;
        }
    }
}

fn same(what: &str, found: &Value, expect: &Value) -> Result<(), String> {
    if found == expect { Ok(()) } else { Err(format!("{what} should be {expect} and is {found}")) }
}

/// Whether needs lead between so many tasks, each once, and in no circle.
fn is_graph(count: usize, needs: &[(u8, u8)]) -> bool {
    let once: BTreeSet<&(u8, u8)> = needs.iter().collect();
    let inside = needs.iter().all(|(task, on)| usize::from(*task.max(on)) < count);
    // What needs nothing that is left goes, until nothing goes.
    let mut left: BTreeSet<u8> = needs.iter().flat_map(|(task, on)| [*task, *on]).collect();
    while let Some(task) =
        left.iter().copied().find(|task| !needs.iter().any(|(of, on)| of == task && left.contains(on)))
    {
        left.remove(&task);
    }
    once.len() == needs.len() && inside && left.is_empty()
}
