//! From the connect to the open stage, with an upstream proxy in between or not.

use super::{Desk, Session, Side, Stage};
use crate::ledger::{Cause, End, Step};
use crate::upstream::Handshake;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::os::fd::AsFd;

impl Session {
    /// From the connect to the open stage.
    pub(super) fn dialling(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        if matches!(self.stage, Stage::Dialling) {
            if let Some((Side::Upstream, errno)) = self.broken
                && !was_connected(errno)
            {
                return Err(End::Unreachable(Cause::of(Step::Connect, errno)));
            }
            if !self.up.writable || self.waits_for_name(desk) {
                return Ok(());
            }
            self.connected(desk);
        }
        if matches!(self.stage, Stage::Handshake) {
            self.handshake(desk)?;
        }
        Ok(())
    }

    fn connected(&mut self, desk: &mut Desk<'_>) {
        self.touched = desk.now;
        let name = self.entry.finding.as_deref().and_then(|finding| finding.name.as_deref());
        match Handshake::named(&desk.shared.upstream, self.entry.destination(), name) {
            Some(handshake) => {
                self.stage = Stage::Handshake;
                self.extras.begin_handshake(handshake);
            }
            None => self.open(),
        }
    }

    fn open(&mut self) {
        self.stage = Stage::Open { greeted: false };
        self.extras.end_handshake();
        if let Some(prelude) = self.extras.take_prelude() {
            self.up.put_first(&prelude);
        }
    }

    /// A proxy that is asked by name is asked when the name is known, or did not come in time.
    fn waits_for_name(&self, desk: &Desk<'_>) -> bool {
        desk.shared.upstream.wants_name() && self.patience_until(desk).is_some()
    }

    /// Talks to the upstream proxy until it has made its way; what it sends behind that is the
    /// destination's.
    fn handshake(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        let failed = |errno| End::Unreachable(Cause::of(Step::Handshake, errno));
        loop {
            let (Some(handshake), Some(upstream)) = (self.extras.handshake(), &self.upstream)
            else {
                return Ok(());
            };
            while self.up.writable && !handshake.output().is_empty() {
                match send(upstream, handshake.output(), SendFlags::NOSIGNAL) {
                    Ok(n) => handshake.sent(n),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => self.up.writable = false,
                    Err(errno) => return Err(failed(errno)),
                }
            }
            if self.down.held().is_empty() {
                let gathered = self.down.gather(upstream.as_fd(), desk.tools, usize::MAX);
                gathered.map_err(|broken| failed(broken.errno))?;
            }
            if self.down.held().is_empty() {
                let gone = self.down.ended || self.broken.is_some();
                return if gone { Err(failed(Errno::CONNRESET)) } else { Ok(()) };
            }
            let progress = handshake
                .input(self.down.held())
                .map_err(|error| failed(Errno::from_raw_os_error(error.errno())))?;
            self.down.consume(progress.consumed);
            if progress.done {
                self.touched = desk.now;
                self.open();
            }
        }
    }
}

/// Whether a socket that has failed was connected before: a reset of an attempt is `ECONNREFUSED`.
fn was_connected(failure: Errno) -> bool {
    matches!(failure, Errno::CONNRESET | Errno::PIPE)
}
