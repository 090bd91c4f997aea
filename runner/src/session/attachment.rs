//! One who attaches: the runner goes to where that one waits, shows what the command
//! says and takes what is typed.

use client::socket::{Said, Socket};
use client::worker::Worker;
use tokio::sync::broadcast::error::RecvError;
use wire::attach::{Closed, Word};
use wire::id::AttachmentId;

use crate::terminal::{Input, Seat};

/// Goes there, and stays until one of the three has gone.
pub(super) async fn run(worker: Worker, attachment: AttachmentId, seat: Option<Seat>, write: bool) {
    let mut socket = match worker.attach(attachment).await {
        Ok(socket) => socket,
        Err(error) => return tracing::info!("who attaches was not met: {error}"),
    };
    let why = match seat {
        Some(seat) => watch(&mut socket, seat, write).await,
        None => Some(Closed::NotRunning),
    };
    if let Some(why) = why {
        socket.say(Word::Closed { why }).await;
    }
    socket.close().await;
}

/// Why it ended, where the other side is still there to hear it.
async fn watch(socket: &mut Socket, mut seat: Seat, write: bool) -> Option<Closed> {
    let terminal = seat.typed.is_some();
    let typed = seat.typed.filter(|_| write);
    let is_there =
        socket.say(Word::Opened { terminal, write: typed.is_some() }).await && socket.send(&seat.recent).await;
    if !is_there {
        return None;
    }
    loop {
        tokio::select! {
            piece = seat.said.recv() => {
                let is_there = match piece {
                    Ok(piece) => socket.send(&piece).await,
                    Err(RecvError::Lagged(pieces)) => socket.say(Word::Skipped { pieces }).await,
                    Err(RecvError::Closed) => return Some(Closed::CommandEnded),
                };
                if !is_there {
                    return None;
                }
            }
            said = socket.next() => {
                let input = match said? {
                    Said::Bytes(keys) => Input::Typed(keys),
                    Said::Word(Word::Resize { rows, columns }) => Input::Resized { rows, columns },
                    Said::Word(_) => continue,
                };
                // A command that has just ended takes nothing.
                if let Some(typed) = &typed && typed.send(input).await.is_err() {
                    return Some(Closed::CommandEnded);
                }
            }
        }
    }
}
