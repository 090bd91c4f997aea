//! Attaching to a running command.

use wire::id::TaskId;

use super::Control;
use crate::Error;
use crate::socket::Socket;
use crate::worker::ATTACHED;

impl Control {
    /// What the task's command says from now on, and with `write` a way to type to it. See [`wire::attach`].
    pub async fn attach(&self, id: TaskId, write: bool) -> Result<Socket, Error> {
        let url = self.service.url(&format!("/v1/tasks/{id}/attach?write={write}"));
        let http = kit::http::client_of_upgrades(ATTACHED);
        Socket::open(&self.service, http.get(url).bearer_auth(&self.key)).await
    }
}
