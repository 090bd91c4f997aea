//! What stands between a sender and the real store and lets requests go wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kit::Tasks;
use tokio::net::TcpListener;

/// How a write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The store does not get it, and the sender is told so.
    Before,
    /// The store has it, and the sender is told the opposite.
    After,
    /// The store does not get it, and the connection breaks in the middle of a good answer.
    CutBefore,
    /// The store has it, and the connection breaks in the middle of its answer.
    CutAfter,
}

/// Passes requests on to wherever the store is just now. Clones share that.
#[derive(Clone)]
pub(super) struct Gateway {
    http: reqwest::Client,
    state: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    base: Option<String>,
    faults: VecDeque<Fault>,
}

impl Gateway {
    /// Leads nowhere at first; also gives its own base URL.
    pub(super) async fn start(tasks: &Tasks) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let gateway = Self { http: kit::http::client(Duration::from_secs(30)), state: Arc::default() };
        let serving = axum::serve(listener, Router::new().fallback(pass).with_state(gateway.clone())).into_future();
        tasks.spawn_until_stopped("gateway", async move { serving.await.expect("serves") });
        (gateway, base)
    }

    pub(super) fn lead_to(&self, base: Option<String>) {
        self.state.lock().unwrap().base = base;
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    fn next(&self, method: &Method) -> (Option<String>, Option<Fault>) {
        let mut way = self.state.lock().unwrap();
        // A probe does not use a fault up.
        let fault = if method == Method::POST { way.faults.pop_front() } else { None };
        (way.base.clone(), fault)
    }
}

async fn pass(
    State(gateway): State<Gateway>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (base, fault) = gateway.next(&method);
    let Some(base) = base else { return StatusCode::BAD_GATEWAY.into_response() };
    match fault {
        Some(Fault::Before) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::CutBefore) => return broken(StatusCode::CREATED),
        Some(Fault::After | Fault::CutAfter) | None => (),
    }
    for own in ["host", "content-length"] {
        headers.remove(own);
    }
    let request = gateway.http.request(method, format!("{base}{uri}")).headers(headers).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    match (fault, answer.bytes().await) {
        (Some(Fault::After), _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (Some(_), _) => broken(status),
        (None, Ok(body)) => (status, body).into_response(),
        (None, Err(_)) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// An answer whose body ends before it is whole.
fn broken(status: StatusCode) -> Response {
    let begun = Ok(Bytes::from_static(b"{\"events\":["));
    let cut = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    (status, Body::from_stream(futures_util::stream::iter([begun, cut]))).into_response()
}
