//! One connection to the proxy, from its head to its last byte.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kit::Tasks;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use wire::egress::{Pass, Reach, reach};
use wire::event::{EgressPayload, EgressVerdict};
use wire::grant::Grant;

use crate::Config;
use crate::credential::{Caller, caller};
use crate::head::{self, HEAD_WITHIN, Request};
use crate::record::Record;
use crate::relay::{Carried, carry};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// The proxy, as each connection sees it.
#[derive(Debug)]
pub(crate) struct Proxy {
    config: Config,
    record: Record,
    tasks: Tasks,
}

/// Why a request is not carried out.
#[derive(Debug)]
struct Refusal {
    verdict: EgressVerdict,
    status: &'static str,
    /// For whoever reads the output of a command.
    text: String,
}

impl Proxy {
    pub(crate) fn new(config: Config, record: Record, tasks: Tasks) -> Self {
        Self { config, record, tasks }
    }

    pub(crate) async fn serve(&self, mut client: TcpStream, peer: SocketAddr) {
        let read = tokio::select! {
            read = timeout(HEAD_WITHIN, head::read(&mut client)) => read,
            () = self.tasks.stopping() => return,
        };
        let bytes = match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "no request came");
                return say(&mut client, "400 Bad Request", "", "no request of a proxy's came").await;
            }
        };
        if head::asks_for_health(&bytes) {
            return say(&mut client, "200 OK", "", "the proxy is up").await;
        }
        let Some(request) = head::parse(&bytes) else {
            let text = "this is a proxy: it takes CONNECT HOST:PORT, and whole URLs with http:";
            return say(&mut client, "400 Bad Request", "", text).await;
        };
        let pass = match caller(request.credential.as_deref(), &self.config.grants) {
            Caller::Execution(pass) => Some(pass),
            Caller::Nobody if self.config.is_open => None,
            Caller::Nobody | Caller::Unknown => {
                let ask = "Proxy-Authenticate: Basic realm=\"bifrost\"\r\n";
                let text = "the proxy's password is the grant of an execution; the runner sets it in HTTPS_PROXY";
                return say(&mut client, "407 Proxy Authentication Required", ask, text).await;
            }
        };
        self.carry_out(client, request, pass.as_ref()).await;
    }

    async fn carry_out(&self, mut client: TcpStream, request: Request, pass: Option<&Pass>) {
        let began = Instant::now();
        let carried = Carried::default();
        let grant = pass.map(|pass| pass.grant);
        let (mut verdict, mut rule) = (EgressVerdict::Allowed, None);
        match self.open(&request, pass, &mut rule).await {
            Ok(host) => {
                let so_far = || payload(&request, verdict, rule.clone(), &carried, began);
                let conversing = self.converse(client, host, &request, &carried);
                // While the record cannot be written, what is under way goes on.
                let telling = async {
                    sleep(self.config.open_told_after).await;
                    self.tell(grant, EgressPayload { is_open: true, ..so_far() }).await;
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    biased;
                    () = conversing => (),
                    () = telling => (),
                }
            }
            Err(refusal) => {
                verdict = refusal.verdict;
                let text = format!("{}:{} {}", request.host, request.port, refusal.text);
                say(&mut client, refusal.status, "", &text).await;
            }
        }
        self.tell(grant, payload(&request, verdict, rule, &carried, began)).await;
    }

    async fn tell(&self, grant: Option<Grant>, payload: EgressPayload) {
        tracing::info!(
            task.id = grant.map(|grant| grant.task.to_string()),
            method = payload.method,
            host = payload.host,
            port = payload.port,
            verdict = payload.verdict.as_str(),
            sent = payload.bytes_sent,
            received = payload.bytes_received,
            open = payload.is_open,
            "egress"
        );
        self.record.tell(grant, payload).await;
    }

    async fn converse(&self, mut client: TcpStream, host: TcpStream, request: &Request, carried: &Carried) {
        if request.is_tunnel && client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
            return;
        }
        carry(client, host, &request.first, &self.tasks, carried).await;
    }

    /// Connects to the host, if a rule allows it and its address is one that the rule may lead to. The
    /// name is looked up once: what was checked is what is connected to.
    async fn open(
        &self,
        request: &Request,
        pass: Option<&Pass>,
        rule: &mut Option<String>,
    ) -> Result<TcpStream, Refusal> {
        let (host, port) = (request.host.as_str(), request.port);
        let may_be_private = {
            let rules = self.config.rules.borrow();
            let allowed = rules.allowing(host, port, pass).ok_or_else(Refusal::not_listed)?;
            *rule = Some(allowed.rule.to_owned());
            allowed.may_be_private
        };
        let found = timeout(CONNECT_WITHIN, tokio::net::lookup_host((host, port))).await;
        let found: Vec<SocketAddr> = match found {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if found.is_empty() {
            return Err(Refusal::unresolved());
        }
        let is_fit = |address: &SocketAddr| match reach(address.ip()) {
            Reach::Public => true,
            Reach::Private => may_be_private,
            Reach::Never => false,
        };
        let fit: Vec<SocketAddr> = found.into_iter().filter(is_fit).take(ADDRESSES).collect();
        if fit.is_empty() {
            return Err(Refusal::private_address());
        }
        for address in fit {
            match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    drop(stream.set_nodelay(true));
                    return Ok(stream);
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "a host cannot be reached"),
                Err(_) => tracing::debug!(%address, "a host does not answer"),
            }
        }
        Err(Refusal::unreachable())
    }
}

fn payload(
    request: &Request,
    verdict: EgressVerdict,
    rule: Option<String>,
    carried: &Carried,
    began: Instant,
) -> EgressPayload {
    EgressPayload {
        method: request.method.clone(),
        host: request.host.clone(),
        port: request.port,
        verdict,
        rule,
        bytes_sent: carried.sent(),
        bytes_received: carried.received(),
        micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        is_open: false,
        omitted: 0,
    }
}

impl Refusal {
    fn not_listed() -> Self {
        let text =
            "is not on the allow-list of the egress proxy: name it with the task (--egress), or ask its operator";
        Self { verdict: EgressVerdict::NotListed, status: "403 Forbidden", text: text.to_owned() }
    }

    fn private_address() -> Self {
        let text = "has a private address, which the egress proxy's rules do not allow";
        Self { verdict: EgressVerdict::PrivateAddress, status: "403 Forbidden", text: text.to_owned() }
    }

    fn unresolved() -> Self {
        let text = "is no name that the egress proxy can look up";
        Self { verdict: EgressVerdict::Unresolved, status: "502 Bad Gateway", text: text.to_owned() }
    }

    fn unreachable() -> Self {
        let text = "cannot be reached from the egress proxy";
        Self { verdict: EgressVerdict::Unreachable, status: "504 Gateway Timeout", text: text.to_owned() }
    }
}

/// Answers with a refusal; a client that does not read it has gone.
async fn say(client: &mut TcpStream, status: &str, header: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n\
         bifrost egress: {text}\n",
        "bifrost egress: \n".len() + text.len()
    );
    drop(timeout(ANSWER_WITHIN, client.write_all(answer.as_bytes())).await);
    drop(timeout(ANSWER_WITHIN, client.shutdown()).await);
}

/// For whom there is no room.
pub(crate) async fn turn_away(mut client: TcpStream) {
    say(&mut client, "503 Service Unavailable", "Retry-After: 5\r\n", "too many connections; try again").await;
}
