//! Every operation that changes something, with what it needs to be called.

use super::*;

/// Operations that change nothing that lasts, or are no caller's decision.
const NO_DECISION: [(&str, &str); 16] = [
    ("POST", "/v1/executions/{id}/heartbeat"),
    ("POST", "/v1/plan"),
    // Here no machine has saved anything; the tests of `work` look for the rows.
    ("PUT", "/v1/checkpoints/{id}/pin"),
    ("DELETE", "/v1/checkpoints/{id}/pin"),
    ("POST", "/v1/tasks/{id}/restore"),
    // Here the provider has nothing to reap; the tests of `pool` look for the row.
    ("POST", "/v1/machines/sweep"),
    // Here no provider says that the app is gone; the tests of `pool` look for the rows.
    ("POST", "/v1/machines/abandon"),
    // Here no volume outlives its machine; the tests of `pool` look for the row.
    ("DELETE", "/v1/volumes/{id}"),
    ("POST", "/v1/tasks/metadata/batch"),
    ("POST", "/v1/webhooks/verify"),
    ("POST", "/v1/webhooks/{id}/ping"),
    ("POST", "/v1/runtimes/{id}/heartbeat"),
    ("POST", "/v1/runtimes/{id}/next"),
    ("POST", "/v1/workers/{id}/heartbeat"),
    ("POST", "/v1/workers/{id}/next"),
    // What a runner says of its executions is heard by the tests of `work`; here no machine has any.
    ("POST", "/v1/workers/register"),
];

async fn task(app: &Router) -> String {
    let answer = post(app, "/v1/tasks", &json!({ "title": "t" })).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

async fn webhook(app: &Router) -> String {
    let answer = post(app, "/v1/webhooks", &json!({ "url": "http://127.0.0.1:1/" })).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

async fn worker(app: &Router) -> String {
    let answer = post(app, "/v1/workers", &json!({ "worker_type": "w", "capacity": 100 })).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

/// A task that a worker by hand has begun: the task, and the execution.
async fn begun(app: &Router) -> (String, String) {
    let (task, worker) = (task(app).await, worker(app).await);
    post(app, &format!("/v1/tasks/{task}/assign"), &json!({ "worker_id": worker })).await;
    let new = json!({ "agent_type": "a", "worker_id": worker });
    let execution = post(app, &format!("/v1/tasks/{task}/executions"), &new).await;
    (task, execution.body["id"].as_str().expect("an id").to_owned())
}

/// An execution of the next task, claimed by a worker of a name.
async fn claimed(app: &Router) -> String {
    task(app).await;
    let claims = post(app, "/v1/tasks/claim", &json!({ "worker": "w" })).await;
    claims.body[0]["execution_id"].as_str().expect("an id").to_owned()
}

fn terminal(session: &str) -> Value {
    json!({ "session_id": session, "agent": "codex", "host": "h", "pid": 1, "backend": "pty", "target": "t",
            "management": "managed" })
}

async fn runtime(app: &Router) -> String {
    let answer = post(app, "/v1/runtimes", &terminal(&unique(app).await)).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

/// A word that was not there before.
async fn unique(app: &Router) -> String {
    task(app).await
}

fn budget(project: &str) -> Value {
    json!({ "project": project, "period": "day", "allocated_dollars": "1" })
}

fn schedule() -> Value {
    json!({ "name": "n", "cron": "0 0 * * *", "task": { "title": "t" } })
}

/// A machine whose worker has reported in.
async fn machine(ctx: &Ctx) -> String {
    let known: Vec<_> = pool::machines::list(ctx).await.expect("lists").into_iter().map(|machine| machine.id).collect();
    let mut tx = ctx.begin("test").await.expect("begins");
    let create = [pool::plan::Action::Create];
    pool::machines::apply(ctx, &mut tx, &Default::default(), &create).await.expect("applies");
    tx.commit(()).await.expect("commits");
    let machines = pool::machines::list(ctx).await.expect("lists");
    let machine_id = machines.iter().find(|machine| !known.contains(&machine.id)).expect("a new one").id;
    let hello = wire::worker::Register {
        machine_id,
        boot: uuid::Uuid::from_u128(1),
        protocol: wire::worker::PROTOCOL,
        version: "t".into(),
        capacity: 1,
        repositories: vec![],
    };
    let mut tx = ctx.begin("test").await.expect("begins");
    pool::workers::register(ctx, &mut tx, &hello).await.expect("registers");
    tx.commit(machine_id.to_string()).await.expect("commits")
}

/// A task that a worker by hand has failed at.
async fn failed(app: &Router) -> String {
    let (task, execution) = begun(app).await;
    post(app, &format!("/v1/executions/{execution}/complete"), &json!({ "success": false })).await;
    task
}

fn careful() -> Value {
    json!({ "name": "careful", "rules": [{ "on": "any", "action": { "kind": "retry" } }] })
}

async fn strategy(app: &Router) -> String {
    post(app, "/v1/failure-strategies", &careful()).await.body["id"].as_str().expect("an id").to_owned()
}

/// Makes what the operation needs; gives its path and its body.
async fn prepare(ctx: &Ctx, app: &Router, method: &str, path: &str) -> Option<(String, Value)> {
    let of = |id: &str| path.replace("{id}", id);
    Some(match (method, path) {
        ("POST", "/v1/tasks") => (path.into(), json!({ "title": "t" })),
        ("POST", "/v1/tasks/batch") => (path.into(), json!([{ "title": "t" }])),
        ("POST", "/v1/tasks/import") => (path.into(), json!({ "title": "t" })),
        ("PATCH", "/v1/tasks/{id}") => (of(&task(app).await), json!({ "title": "u" })),
        ("DELETE", "/v1/tasks/{id}") | ("POST", "/v1/tasks/{id}/cancel") => (of(&task(app).await), json!({})),
        ("POST", "/v1/tasks/{id}/assign") => {
            let (task, worker) = (task(app).await, worker(app).await);
            (of(&task), json!({ "worker_id": worker }))
        }
        ("POST", "/v1/tasks/{id}/estimate") => (of(&task(app).await), json!({ "effort_minutes": 1 })),
        ("POST", "/v1/tasks/{id}/retry") => (of(&failed(app).await), json!({})),
        ("POST", "/v1/tasks/retry") => (path.into(), json!({ "ids": [failed(app).await] })),
        ("POST", "/v1/tasks/cancel") => (path.into(), json!({ "ids": [task(app).await] })),
        ("POST", "/v1/tasks/prioritize") => (path.into(), json!({ "algorithm": "balanced" })),
        ("POST", "/v1/tasks/assign-batch") => {
            task(app).await;
            worker(app).await;
            (path.into(), json!({ "count": 1 }))
        }
        ("POST", "/v1/tasks/{id}/assign-optimal") => {
            worker(app).await;
            (of(&task(app).await), json!({}))
        }
        ("POST", "/v1/tasks/{id}/preempt") => {
            let (task, worker) = (task(app).await, worker(app).await);
            (of(&task), json!({ "target_worker_id": worker }))
        }
        ("POST", "/v1/tasks/{id}/split") => (of(&task(app).await), json!({ "subtasks": [{ "title": "t" }] })),
        ("POST", "/v1/tasks/{id}/dependencies") => {
            let (task, needed) = (task(app).await, task(app).await);
            (of(&task), json!({ "depends_on_task_id": needed }))
        }
        ("DELETE", "/v1/tasks/{id}/dependencies/{dependency_id}") => {
            let (task, needed) = (task(app).await, task(app).await);
            let new = json!({ "depends_on_task_id": needed });
            let added = post(app, &format!("/v1/tasks/{task}/dependencies"), &new).await;
            let dependency = added.body["id"].as_str().expect("an id").to_owned();
            (of(&task).replace("{dependency_id}", &dependency), json!({}))
        }
        ("PUT", "/v1/tasks/{id}/outcomes/{name}") => (of(&task(app).await).replace("{name}", "merged"), json!({})),
        ("DELETE", "/v1/tasks/{id}/outcomes/{name}") => {
            let path = of(&task(app).await).replace("{name}", "merged");
            ask(app, Method::PUT, &path, Some(KEY), Some("{}")).await;
            (path, json!({}))
        }
        ("POST", "/v1/tasks/{id}/metadata") => (of(&task(app).await), json!({ "key": "k", "value": "v" })),
        ("POST", "/v1/tasks/{id}/tags") => (of(&task(app).await), json!({ "tags": ["t"] })),
        ("POST", "/v1/tasks/{id}/executions") => {
            let (task, worker) = (task(app).await, worker(app).await);
            post(app, &format!("/v1/tasks/{task}/assign"), &json!({ "worker_id": worker })).await;
            (of(&task), json!({ "agent_type": "a", "worker_id": worker }))
        }
        ("POST", "/v1/executions/{id}/complete") => (of(&begun(app).await.1), json!({ "success": true })),
        ("POST", "/v1/tasks/claim") => {
            // Its worker is known by then.
            claimed(app).await;
            task(app).await;
            (path.into(), json!({ "worker": "w" }))
        }
        ("POST", "/v1/executions/{id}/start" | "/v1/executions/{id}/release") => (of(&claimed(app).await), json!({})),
        ("POST", "/v1/executions/complete") => {
            let end = json!({ "execution_id": claimed(app).await, "success": true });
            (path.into(), json!({ "completions": [end] }))
        }
        ("POST", "/v1/webhooks") => (path.into(), json!({ "url": "http://127.0.0.1:1/" })),
        ("PATCH", "/v1/webhooks/{id}") => (of(&webhook(app).await), json!({ "description": "d" })),
        ("DELETE", "/v1/webhooks/{id}") => (of(&webhook(app).await), json!({})),
        ("POST", "/v1/webhooks/{id}/rotate") => (of(&webhook(app).await), json!({})),
        ("POST", "/v1/machines/{id}/suspend") | ("DELETE", "/v1/machines/{id}") => (of(&machine(ctx).await), json!({})),
        ("POST", "/v1/machines/{id}/resume") => {
            let machine = machine(ctx).await;
            post(app, &format!("/v1/machines/{machine}/suspend"), &json!({})).await;
            (of(&machine), json!({}))
        }
        ("POST", "/v1/machines/{id}/abandon") => (of(&machine(ctx).await), json!({ "reason": "r" })),
        ("POST", "/v1/workers") => (path.into(), json!({ "worker_type": "w" })),
        ("POST", "/v1/failure-strategies") => (path.into(), careful()),
        ("PATCH", "/v1/failure-strategies/{id}") => (of(&strategy(app).await), json!({ "max_attempts": 9 })),
        ("DELETE", "/v1/failure-strategies/{id}") => (of(&strategy(app).await), json!({})),
        ("POST", "/v1/runtimes") => (path.into(), terminal(&unique(app).await)),
        ("DELETE", "/v1/runtimes/{id}") => (of(&runtime(app).await), json!({})),
        ("POST", "/v1/runtimes/{id}/pause") => (of(&runtime(app).await), json!({ "reason": "r" })),
        ("POST", "/v1/runtimes/{id}/resume") => {
            let id = runtime(app).await;
            post(app, &format!("/v1/runtimes/{id}/pause"), &json!({ "reason": "r" })).await;
            (of(&id), json!({}))
        }
        ("POST", "/v1/runtimes/{id}/triggers") => (of(&runtime(app).await), json!({ "text": "t" })),
        ("POST", "/v1/runtimes/{id}/force") => (of(&runtime(app).await), json!({ "text": "t", "reason": "r" })),
        ("POST", "/v1/runtimes/{id}/report") => {
            let id = runtime(app).await;
            post(app, &format!("/v1/runtimes/{id}/triggers"), &json!({ "text": "t" })).await;
            (of(&id), json!({ "number": 1, "result": "written", "via": "terminal" }))
        }
        ("POST", "/v1/proposals") => {
            (path.into(), json!({ "proposals": [{ "source": unique(app).await, "title": "t" }] }))
        }
        ("POST", "/v1/tasks/{id}/accept") => {
            let found = json!({ "proposals": [{ "source": unique(app).await, "title": "t" }] });
            let proposed = post(app, "/v1/proposals", &found).await;
            (of(proposed.body[0]["task_id"].as_str().expect("an id")), json!({}))
        }
        ("POST", "/v1/holds") => (path.into(), json!({ "project": "p", "reason": "r" })),
        ("DELETE", "/v1/holds/{id}") => {
            let hold = post(app, "/v1/holds", &json!({ "project": "p", "reason": "r" })).await;
            (of(hold.body["id"].as_str().expect("an id")), json!({}))
        }
        ("PUT" | "DELETE", "/v1/limits/{key}") => {
            let path = path.replace("{key}", "k");
            ask(app, Method::PUT, &path, Some(KEY), Some(&json!({ "max_running": 1 }).to_string())).await;
            (path, json!({ "max_running": 2 }))
        }
        ("PUT", "/v1/projects/{project}") => (path.replace("{project}", "p"), json!({ "weight": 2 })),
        ("POST", "/v1/budgets") => (path.into(), budget("all")),
        ("PATCH" | "DELETE", "/v1/budgets/{id}") => {
            let budget = post(app, "/v1/budgets", &budget(method)).await;
            (of(budget.body["id"].as_str().expect("an id")), json!({ "allocated_dollars": "2" }))
        }
        ("POST", "/v1/schedules") => (path.into(), schedule()),
        ("PATCH" | "DELETE", "/v1/schedules/{id}") => {
            let schedule = post(app, "/v1/schedules", &schedule()).await;
            (of(schedule.body["id"].as_str().expect("an id")), json!({ "paused": true }))
        }
        ("PATCH", "/v1/workers/{id}") => (of(&worker(app).await), json!({ "capacity": 5 })),
        ("DELETE", "/v1/workers/{id}") => (of(&worker(app).await), json!({})),
        _ => return None,
    })
}

/// Every operation of the document that may change something.
fn changing() -> Vec<(String, String)> {
    let document = openapi();
    let paths = document["paths"].as_object().expect("paths");
    let methods = |path: &String, item: &Value| -> Vec<(String, String)> {
        let methods = item.as_object().expect("methods").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).filter(|(method, _)| method != "GET").collect()
    };
    paths.iter().flat_map(|(path, item)| methods(path, item)).collect()
}

/// Those that are called by a key and always change something, with what they need made for them: method, path and body
/// come ready to be sent.
pub(super) async fn each_change(ctx: &Ctx, app: &Router, mut each: impl AsyncFnMut(&str, &str, &str, &str)) {
    let mut walked = 0;
    for (method, pattern) in changing() {
        // A worker's own words about its execution carry its token, not a key.
        let is_workers = ["/v1/workers/{id}/executions/", "/v1/workers/{id}/checkpoints/"]
            .iter()
            .any(|begin| pattern.starts_with(begin));
        // A delivery takes a message that was sent: see the tests of webhooks.
        let is_of_delivery = pattern.ends_with("/redeliver");
        if is_workers || is_of_delivery || NO_DECISION.contains(&(method.as_str(), pattern.as_str())) {
            continue;
        }
        let prepared = prepare(ctx, app, &method, &pattern).await;
        let (path, body) = prepared.unwrap_or_else(|| panic!("say here how {method} {pattern} is called"));
        each(&method, &pattern, &path, &body.to_string()).await;
        walked += 1;
    }
    assert!(walked > 40, "{walked}");
}
