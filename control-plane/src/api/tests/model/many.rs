//! Calls about many tasks, or about whichever there are: claims and what claimers say, lists, searches, several tasks
//! at once, and changes of one version.

use super::known::{Answered, STATUSES};
use super::play::Stage;
use super::*;

/// One call.
#[derive(Debug, Clone)]
pub(super) enum Many {
    Claim { limit: u8, start: bool },
    Release { task: Pick },
    Cancel { tasks: Vec<Pick> },
    Retry { tasks: Vec<Pick> },
    PatchIf { task: Pick, priority: i16, is_late: bool },
    Search { text: Text },
    List { status: Option<u8>, priority: Option<i16> },
}

/// What is said of an answer that holds others than the model does.
const OTHERS: Answered = Err((200, "others"));

pub(super) fn many() -> impl Strategy<Value = Many> {
    prop_oneof![
        6 => (1..4_u8, any::<bool>()).prop_map(|(limit, start)| Many::Claim { limit, start }),
        2 => pick().prop_map(|task| Many::Release { task }),
        1 => vec(pick(), 0..4).prop_map(|tasks| Many::Cancel { tasks }),
        1 => vec(pick(), 0..4).prop_map(|tasks| Many::Retry { tasks }),
        2 => (pick(), 1..6_i16, any::<bool>())
            .prop_map(|(task, priority, is_late)| Many::PatchIf { task, priority, is_late }),
        1 => text().prop_map(|text| Many::Search { text }),
        1 => (proptest::option::weighted(0.7, 0..7_u8), proptest::option::weighted(0.3, 0..7_i16))
            .prop_map(|(status, priority)| Many::List { status, priority }),
    ]
}

impl Stage<'_> {
    /// As the play takes other calls.
    pub(super) async fn take_many(&mut self, call: &Many) -> (Answered, Answer) {
        match call {
            Many::Claim { limit, start } => self.claim(*limit, *start).await,
            Many::Release { task } => {
                let id = self.pick(*task);
                let path = format!("/v1/executions/{}/release", self.newest(&id));
                let answer = self.call(Method::POST, &path, Some(json!({}))).await;
                (self.model.release(&id), answer)
            }
            Many::Cancel { tasks } => {
                let (ids, answer) = self.each("/v1/tasks/cancel", tasks).await;
                let expect: Vec<Answered> = ids.iter().map(|id| self.model.cancel(id)).collect();
                (said(&ids, &expect, &answer), answer)
            }
            Many::Retry { tasks } => {
                let (ids, answer) = self.each("/v1/tasks/retry", tasks).await;
                let expect: Vec<Answered> = ids.iter().map(|id| self.model.retry(id)).collect();
                (said(&ids, &expect, &answer), answer)
            }
            Many::PatchIf { task, priority, is_late } => self.patch_if(&self.pick(*task), *priority, *is_late).await,
            Many::Search { text } => {
                let query: String = url::form_urlencoded::byte_serialize(text.text().as_bytes()).collect();
                let answer = self.call(Method::GET, &format!("/v1/tasks/search?q={query}"), None).await;
                if matches!(text, Text::Empty | Text::Nul | Text::TooLong) {
                    return (Err((400, "invalid")), answer);
                }
                let sought = text.text().to_lowercase();
                let has_it = |id: &&String| self.model.tasks[*id].title.to_lowercase().contains(&sought);
                let expect: BTreeSet<&String> = self.model.tasks.keys().filter(has_it).collect();
                let found = ids_of(&answer);
                (if found.iter().collect::<BTreeSet<_>>() == expect { Ok(200) } else { OTHERS }, answer)
            }
            Many::List { status, priority } => {
                let status = status.map(|status| STATUSES[usize::from(status)]);
                let of_status = status.map(|status| format!("&status={status}")).unwrap_or_default();
                let of_priority = priority.map(|priority| format!("&priority={priority}")).unwrap_or_default();
                let path = format!("/v1/tasks?limit=1000{of_status}{of_priority}");
                let answer = self.call(Method::GET, &path, None).await;
                if priority.is_some_and(|priority| !(1..=5).contains(&priority)) {
                    return (Err((400, "invalid")), answer);
                }
                let all = self.model.in_order().into_iter();
                let is_meant = all.filter(|(_, known)| {
                    status.is_none_or(|status| known.status == status)
                        && priority.is_none_or(|priority| known.priority == priority)
                });
                let expect: Vec<&String> = is_meant.map(|(id, _)| id).collect();
                (if ids_of(&answer).iter().eq(expect) { Ok(200) } else { OTHERS }, answer)
            }
        }
    }

    /// Waits until no transaction is left open. One that was refused is rolled back behind its answer, and as long as it
    /// holds a task a claim passes that over.
    async fn let_others_end(&self) {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                    AND state LIKE 'idle in transaction%'";
        let kernel::Db::Postgres(pool) = &self.ctx.db else { return };
        while sqlx::query_as::<_, (i64,)>(open).fetch_one(pool).await.expect("is told").0 > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn claim(&mut self, limit: u8, start: bool) -> (Answered, Answer) {
        self.let_others_end().await;
        let body = json!({ "worker": "w", "limit": limit, "start": start });
        let answer = self.call(Method::POST, "/v1/tasks/claim", Some(body)).await;
        let ready = self.model.ready();
        let next = self.model.in_order().into_iter().map(|(id, _)| id).filter(|id| ready.contains(id));
        let expect: Vec<String> = next.take(usize::from(limit)).cloned().collect();
        let claims = answer.body.as_array().cloned().unwrap_or_default();
        let found = claims.iter().filter_map(|claim| claim["task"]["id"].as_str());
        if !found.eq(expect.iter().map(String::as_str)) {
            return (OTHERS, answer);
        }
        for (id, claim) in expect.iter().zip(&claims) {
            self.model.claim(id, claim["execution_id"].as_str().unwrap_or_default(), start);
        }
        (Ok(200), answer)
    }

    /// A change of the version that there is, or of the one before.
    async fn patch_if(&mut self, id: &str, priority: i16, is_late: bool) -> (Answered, Answer) {
        let path = format!("/v1/tasks/{id}");
        let version = self.call(Method::GET, &path, None).await.body["version"].as_i64().unwrap_or(1);
        let request =
            Request::builder().method(Method::PATCH).uri(&path).header("authorization", format!("Bearer {KEY}"));
        let request = request.header("if-match", format!("\"{}\"", version - i64::from(is_late)));
        let body = Body::from(json!({ "priority": priority }).to_string());
        let answer = answer(self.app, request.body(body).expect("a request")).await;
        let Some(known) = self.model.tasks.get_mut(id) else { return (Err((404, "not_found")), answer) };
        if is_late {
            return (Err((412, "stale_version")), answer);
        }
        known.priority = priority;
        (Ok(200), answer)
    }

    /// Asks for the same of several tasks; gives them, each once.
    async fn each(&self, path: &str, tasks: &[Pick]) -> (Vec<String>, Answer) {
        let all: Vec<String> = tasks.iter().map(|task| self.pick(*task)).collect();
        let answer = self.call(Method::POST, path, Some(json!({ "ids": all }))).await;
        let mut seen = BTreeSet::new();
        (all.into_iter().filter(|id| seen.insert(id.clone())).collect(), answer)
    }
}

/// Whether each was answered as the model says.
fn said(ids: &[String], expect: &[Answered], answer: &Answer) -> Answered {
    if ids.is_empty() {
        return Err((400, "invalid"));
    }
    let results = answer.body["results"].as_array().cloned().unwrap_or_default();
    let is_so = |((id, expect), result): ((&String, &Answered), &Value)| {
        let code = result["problem"]["code"].as_str();
        result["id"] == id.as_str() && expect.map_or_else(|(_, expect)| code == Some(expect), |_| code.is_none())
    };
    let is_each_so = results.len() == ids.len() && ids.iter().zip(expect).zip(&results).all(is_so);
    if is_each_so { Ok(200) } else { OTHERS }
}

fn ids_of(answer: &Answer) -> Vec<String> {
    answer.body.as_array().into_iter().flatten().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect()
}
