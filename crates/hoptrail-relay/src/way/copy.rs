//! Small messages, and urgent bytes: a read into the worker's buffer and a write out of it.

use super::{BUFFER, BULK_AFTER, Broken, Ends, Go, Tools, Way, show, write};
use crate::mark::is_at_mark;
use rustix::net::{RecvFlags, SendFlags};

impl Way {
    /// One read and one write.
    pub(super) fn copy(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        let room = usize::try_from(ends.allowance).unwrap_or(usize::MAX).min(BUFFER);
        let buffer = &mut tools.buffer[..room];
        let Some(n) = self.read(ends.source, buffer, RecvFlags::empty())? else {
            return Ok(Go::On);
        };
        ends.allowance -= n as u64;
        let seen = n.min(self.seen as usize);
        self.seen -= seen as u32;
        if show(&buffer[seen..n], ends) == Go::Deny {
            return Ok(Go::Deny);
        }
        let written = write(ends.target, &buffer[..n], SendFlags::empty())?.unwrap_or(0);
        *ends.given += written as u64;
        if written < n {
            self.writable = false;
            self.held.keep(&buffer[written..n], &mut tools.spare);
        }
        self.note_read(n == BUFFER && written == n);
        Ok(Go::On)
    }

    /// Up to the urgent byte, and then that byte: it is held alone, for the next flush.
    pub(super) fn urgent(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        if !is_at_mark(ends.source) {
            return self.copy(tools, ends);
        }
        let Some(_) = self.read(ends.source, &mut tools.buffer[..1], RecvFlags::empty())? else {
            return Ok(Go::On);
        };
        ends.allowance -= 1;
        self.urgent = false;
        self.held.keep_urgent(tools.buffer[0], self.seen > 0, &mut tools.spare);
        self.seen = self.seen.saturating_sub(1);
        Ok(self.show_held(ends))
    }

    fn note_read(&mut self, full: bool) {
        self.streak = if full { self.streak + 1 } else { 0 };
        if self.streak >= BULK_AFTER {
            (self.bulk, self.streak, self.moved) = (true, 0, 0);
        }
    }
}
