//! Several control planes on one database.

use kernel::share_nudges;
use kernel::testing::{another, with_postgres};
use kit::Tasks;
use wire::machine::MachineState;
use wire::worker::Instruction;

use super::*;

const WORK: u64 = 8;

fn scheduler() -> work::Scheduler {
    work::Scheduler::new(Default::default(), Default::default())
}

async fn submit(app: &Router) -> String {
    let spec = json!({ "repository": "https://example.org/a", "command": ["true"] });
    let task = post(app, "/v1/tasks", &json!({ "title": "t", "spec": spec })).await;
    task.body["id"].as_str().expect("an id").to_owned()
}

/// Makes a machine for what waits and registers its runner: the worker's path and its token.
async fn runner(ctx: &Ctx, app: &Router) -> (String, String) {
    scheduler().tick(ctx).await.expect("asks for a machine");
    let machine = pool::machines::list(ctx).await.expect("lists")[0].id;
    let token = pool::Credentials::new(&Key::from_bytes([2; 32])).machine_token(machine);
    let boot = uuid::Uuid::from_u128(1);
    let hello = json!({ "machine_id": machine, "boot": boot, "protocol": 1, "version": "t", "capacity": WORK });
    let answer = ask(app, Method::POST, "/v1/workers/register", Some(&token), Some(&hello.to_string())).await;
    let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
    (format!("/v1/workers/{}", text("worker_id")), text("token"))
}

kernel::on_both! { crate::migrations();
    async fn two_that_schedule_at_once_give_no_task_away_twice(ctx) {
        let (app, other) = (app(&ctx).await, another(&ctx));
        let mut tasks = Vec::new();
        for _ in 0..WORK {
            tasks.push(submit(&app).await);
        }
        runner(&ctx, &app).await;
        let (one, another) = (scheduler(), scheduler());
        for _ in 0..3 {
            let (first, second) = tokio::join!(one.tick(&ctx), another.tick(&other));
            first.and(second).expect("schedules");
        }
        for task in tasks {
            let executions = get(&app, &format!("/v1/tasks/{task}/executions")).await.body;
            assert_eq!(executions.as_array().map(Vec::len), Some(1), "{executions}");
        }
    }
}

#[tokio::test]
async fn what_one_decides_wakes_a_worker_that_another_holds_on_postgres() {
    with_postgres(&crate::migrations(), async |ctx| {
        let (other, tasks) = (another(&ctx), Tasks::new());
        let mut connected = other.nudges.subscribe("connected");
        share_nudges(&ctx, &tasks);
        share_nudges(&other, &tasks);
        connected.changed().await.expect("hears the others");
        let (app, holder) = (app(&ctx).await, app(&other).await);
        let first = submit(&app).await;
        let (worker, token) = runner(&ctx, &app).await;
        post(&app, &format!("/v1/tasks/{first}/cancel"), &Value::Null).await;
        let path = format!("{worker}/next");
        let held = ask(&holder, Method::POST, &path, Some(&token), Some("{\"wait_seconds\": 30}"));
        let decide = async {
            while pool::machines::list(&ctx).await.expect("lists")[0].state != MachineState::Ready {}
            let task = submit(&app).await;
            scheduler().tick(&ctx).await.expect("assigns");
            task
        };
        let (instruction, task) = tokio::join!(held, decide);
        match serde_json::from_value(instruction.body).expect("an instruction") {
            Instruction::Execute(lease) => assert_eq!(lease.task_id.to_string(), task),
            other => panic!("{other:?}"),
        }
        tasks.stop_within(std::time::Duration::from_secs(20)).await.expect("ends");
    })
    .await;
}

#[tokio::test]
async fn every_table_of_tenants_rows_has_its_wall_on_postgres() {
    with_postgres(&crate::migrations(), async |ctx| {
        assert_eq!(kernel::unwalled(&ctx).await.expect("looks"), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_drained_pool_leaves_no_connection_on_postgres() {
    with_postgres(&crate::migrations(), async |ctx| {
        let other = another(&ctx);
        get(&app(&ctx).await, "/v1/tasks").await;
        ctx.db.close().await;
        let mut tx = other.read("test.connections").await.expect("begins");
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        // The server notices a moment later.
        while kernel::fetch_one!(tx, (i64,), kernel::Sql { sqlite: "", postgres: others }).expect("reads").0 > 0 {
            let again = "SELECT pg_stat_clear_snapshot() IS NULL";
            kernel::fetch_one!(tx, (bool,), kernel::Sql { sqlite: "", postgres: again }).expect("looks anew");
        }
    })
    .await;
}
