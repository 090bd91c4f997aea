//! Attaching to a running command.

use wire::id::TaskId;

use super::Control;
use crate::Error;
use crate::socket::Socket;

impl Control {
    /// What the task's command says from now on, and with `write` a way to type to it. See [`wire::attach`].
    pub async fn attach(&self, id: TaskId, write: bool) -> Result<Socket, Error> {
        Socket::open(&self.service, &format!("/v1/tasks/{id}/attach?write={write}"), &self.key).await
    }
}
