//! A remote over HTTP that speaks git's smart protocol, by git's own `http-backend`, until it is told to fail. It fails
//! as a network or a hostile host does: what goes over the wire is cut, held or changed; git itself knows nothing of it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kit::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// So many bytes of a pack are sent, and no more until [`FaultyRemote::mend`].
    Holds {
        after: usize,
    },
    /// So many bytes of a pack are sent, and the connection is reset.
    Resets {
        after: usize,
    },
    /// So many bytes of a pack are sent, and then nothing, as if that were all.
    Closes {
        after: usize,
    },
    /// In everything that is sent the second text stands in place of the first, and likewise in what is asked. Both are
    /// of one length, so that the lengths on the wire stay true.
    Lies {
        says: [String; 2],
        hears: Option<[String; 2]>,
    },
}

/// A remote that fails.
#[derive(Debug)]
pub(crate) struct FaultyRemote {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: Tasks,
}

#[derive(Debug)]
struct Shared {
    repository: PathBuf,
    /// What a request must carry to be answered.
    authorization: Option<String>,
    fault: Mutex<Fault>,
    mended: Notify,
    hits: AtomicUsize,
}

#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl FaultyRemote {
    /// Serves the repository in this directory; where an `authorization` is given, only to who sends it.
    pub(crate) async fn start(repository: PathBuf, authorization: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("has one");
        let shared = Arc::new(Shared {
            repository,
            authorization: authorization.map(str::to_owned),
            fault: Mutex::new(Fault::Nothing),
            mended: Notify::new(),
            hits: AtomicUsize::new(0),
        });
        let tasks = Tasks::new();
        let (serving, serve) = (tasks.clone(), shared.clone());
        tasks.spawn("faulty remote", async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asked may be gone already.
                let serve = serve.clone();
                serving.spawn("request", async move { drop(serve.serve(stream).await) });
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/r", self.address)
    }

    /// From now on this goes wrong.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// From now on nothing goes wrong; what was held goes on.
    pub(crate) fn mend(&self) {
        self.fail(Fault::Nothing);
        self.shared.mended.notify_waiters();
    }

    /// How often something went wrong.
    pub(crate) fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(mut request) = Request::read(&mut stream).await? else { return Ok(()) };
        if self.authorization.as_ref().is_some_and(|wanted| request.header("authorization") != wanted) {
            let refusal = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\
                           Connection: close\r\n\r\n";
            return stream.write_all(refusal.as_bytes()).await;
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Fault::Lies { hears: Some(hears), .. } = &fault {
            self.change(&mut request.body, hears);
        }
        let (head, mut body) = self.ask_git(&request).await?;
        if let Fault::Lies { says, .. } = &fault {
            self.change(&mut body, says);
        }
        let head = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        // A push is answered when all of it is there.
        let is_push = request.path.ends_with("/git-receive-pack");
        let pack = if is_push { Some(0) } else { body.windows(4).position(|four| four == b"PACK") };
        let (Some(pack), Some(after)) = (pack, fault.after()) else { return stream.write_all(&body).await };
        let cut = (pack + after).min(body.len());
        stream.write_all(&body[..cut]).await?;
        stream.flush().await?;
        let mended = self.mended.notified();
        self.hits.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::Holds { .. } => {
                mended.await;
                stream.write_all(&body[cut..]).await
            }
            Fault::Resets { .. } => stream.set_zero_linger(),
            Fault::Closes { .. } | Fault::Lies { .. } | Fault::Nothing => Ok(()),
        }
    }

    fn change(&self, bytes: &mut [u8], [from, to]: &[String; 2]) {
        assert_eq!(from.len(), to.len(), "the lengths on the wire stay true");
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            self.hits.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The status line with git's own headers, and the body.
    async fn ask_git(&self, request: &Request) -> io::Result<(String, Vec<u8>)> {
        let mut command = kit::process::command("git");
        command.arg("http-backend").env_clear().envs([
            ("PATH", kit::Vars::from_process().text("PATH").unwrap_or_default()),
            ("GIT_PROJECT_ROOT", &self.repository.to_string_lossy()),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("GIT_CONFIG_COUNT", "2"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
            ("GIT_CONFIG_KEY_1", "http.receivepack"),
            ("GIT_CONFIG_VALUE_1", "true"),
            ("REMOTE_USER", "somebody"),
            ("PATH_INFO", request.path.strip_prefix("/r").unwrap_or(&request.path)),
            ("QUERY_STRING", &request.query),
            ("REQUEST_METHOD", &request.method),
            ("CONTENT_TYPE", request.header("content-type")),
            ("HTTP_CONTENT_ENCODING", request.header("content-encoding")),
            ("GIT_PROTOCOL", request.header("git-protocol")),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("piped");
        let feed = async {
            drop(stdin.write_all(&request.body).await);
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let said = output?.stdout;
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(said.len());
        let headers = String::from_utf8_lossy(&said[..end]).into_owned();
        let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        Ok((format!("HTTP/1.1 {status}\r\n{headers}\r\n"), said.get(end + 4..).unwrap_or_default().to_vec()))
    }
}

impl Fault {
    fn after(&self) -> Option<usize> {
        match self {
            Self::Holds { after } | Self::Resets { after } | Self::Closes { after } => Some(*after),
            Self::Nothing | Self::Lies { .. } => None,
        }
    }
}

impl Request {
    /// Nothing where nobody asks anything.
    async fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        };
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let method = first.next().unwrap_or_default().to_owned();
        let (path, query) = first.next().map(|at| at.split_once('?').unwrap_or((at, ""))).unwrap_or_default();
        let (path, query) = (path.to_owned(), query.to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut request = Self { method, path, query, headers, body };
        let length: usize = request.header("content-length").parse().unwrap_or_default();
        while request.body.len() < length && stream.read_buf(&mut request.body).await? > 0 {}
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}
