//! A denied client: it is given its answer, and the rest of what it says is thrown away.

use super::{Desk, Next, Session, Stage};
use crate::ledger::End;
use crate::sockets::reset_on_close;
use crate::way::Ends;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use std::os::fd::AsFd;

impl Session {
    /// Denies the connection. Without an answer both sides are reset; with one the upstream, which
    /// has seen no byte, is reset at once.
    pub(super) fn deny(&mut self, desk: &Desk<'_>, answer: Option<&[u8]>) -> Result<(), End> {
        // What the upstream said already would stand before the answer, and spoil it.
        let Some(answer) =
            answer.filter(|_| self.entry.from_upstream == 0 && self.down.held().is_empty())
        else {
            return Err(End::Denied);
        };
        if let Some(upstream) = self.upstream.take() {
            reset_on_close(&upstream);
        }
        self.down.put_first(answer);
        self.down.readable = false;
        self.stage = Stage::Refusing;
        self.touched = desk.now;
        Ok(())
    }

    /// Closing with unread bytes would be a reset, and the client would lose the answer. So they are
    /// read until the client closes too, for at most [`LINGER_NS`](super::LINGER_NS).
    pub(super) fn refusing(&mut self, desk: &mut Desk<'_>) -> Result<Next, End> {
        let client = self.client.as_fd();
        let mut ends = Ends {
            source: client,
            target: client,
            tap: None,
            allowance: 0,
            given: &mut self.entry.from_upstream,
            last: false,
            failed: None,
        };
        let Ok(_) = self.down.pump(desk.tools, &mut ends) else { return Err(End::Denied) };
        if self.down.is_empty() && !self.down.shut {
            self.down.shut = true;
            shutdown(client, Shutdown::Write).map_err(|_| End::Denied)?;
        }
        loop {
            match recv(client, &mut *desk.tools.buffer, RecvFlags::empty()) {
                Ok((1.., _)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Next::Wait),
                Ok((0, _)) if !self.down.shut => return Ok(Next::Wait),
                Ok((0, _)) | Err(_) => return Err(End::Denied),
            }
        }
    }
}
