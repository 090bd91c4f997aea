//! The worker protocol, from the worker's side. See [`wire::worker`].

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::checkpoint::SavedCheckpoint;
use wire::id::{AttachmentId, ExecutionId, WorkerId};
use wire::worker::{Completion, Heartbeat, HeartbeatReply, Instruction, Poll, Register, Registered, Start};

use crate::Error;
use crate::call::Service;
use crate::socket::Socket;

const DEADLINE: Duration = Duration::from_secs(10);
/// What a held poll may take beyond the time it asked for.
const POLL_GRACE: Duration = Duration::from_secs(10);

/// A registered worker's connection to the control plane.
#[derive(Clone)]
pub struct Worker {
    service: Service,
    id: WorkerId,
    token: String,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Worker {
    /// Registers with the machine's token. Repeating it with the same boot gives the same worker. The clock is
    /// corrected by this and every further answer that shows it to be wrong.
    pub async fn register(
        base: &str,
        machine_token: &str,
        register: &Register,
        clock: &kit::Clock,
    ) -> Result<(Self, Registered), Error> {
        let service = Service::new("the control plane", base, DEADLINE).correcting(clock);
        let request = service.http.post(service.url("/v1/workers/register")).bearer_auth(machine_token);
        let registered: Registered = service.json(request.json(register)).await?;
        Ok((Self { service, id: registered.worker_id, token: registered.token.clone() }, registered))
    }

    /// Its name.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Waits for something to do, at most as long as the poll says.
    pub async fn next(&self, poll: &Poll) -> Result<Instruction, Error> {
        let deadline = Duration::from_secs(poll.wait_seconds) + POLL_GRACE;
        self.call("next", poll, deadline).await
    }

    /// Comes to whoever attaches.
    pub async fn attach(&self, attachment: AttachmentId) -> Result<Socket, Error> {
        Socket::open(&self.service, &format!("/v1/workers/{}/attachments/{attachment}", self.id), &self.token).await
    }

    /// Renews the leases of what is running.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatReply, Error> {
        self.call("heartbeat", heartbeat, DEADLINE).await
    }

    /// Says that work on an execution has begun.
    pub async fn start(&self, execution: ExecutionId, fence: i64) -> Result<(), Error> {
        self.call(&format!("executions/{execution}/start"), &Start { fence }, DEADLINE).await
    }

    /// Says how an execution ended. Repeating it after a lost answer is safe.
    pub async fn complete(&self, execution: ExecutionId, completion: &Completion) -> Result<(), Error> {
        self.call(&format!("executions/{execution}/complete"), completion, DEADLINE).await
    }

    /// Tells of a checkpoint that was saved. Repeating it is safe.
    pub async fn saved(&self, checkpoint: &SavedCheckpoint) -> Result<(), Error> {
        let url = self.service.url(&format!("/v1/workers/{}/checkpoints/{}", self.id, checkpoint.id));
        let request = self.service.http.put(url).bearer_auth(&self.token).timeout(DEADLINE).json(checkpoint);
        self.service.send(request).await.map(drop)
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        what: &str,
        body: &B,
        deadline: Duration,
    ) -> Result<T, Error> {
        let url = self.service.url(&format!("/v1/workers/{}/{what}", self.id));
        let request = self.service.http.post(url).bearer_auth(&self.token).timeout(deadline).json(body);
        self.service.json(request).await
    }
}
