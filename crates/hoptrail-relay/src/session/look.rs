//! A look at the first bytes, and what the rules say to them.
//!
//! Where a rule may deny the connection by what it speaks, nothing passes before that is known: the
//! client's first bytes, or the upstream's greeting, or that neither came in time. Otherwise bytes pass
//! as they come, and a copy is looked at for the log.

use super::{Desk, Next, Session, Side, Stage};
use crate::inspect::{self, AppProtocol, Finding, Look};
use crate::ledger::End;
use crate::rules::{Decision, Verdict, With, deny};
use crate::way::Broken;
use std::os::fd::AsFd;

/// What is still to be found out about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curiosity {
    /// Nothing.
    None,
    /// The protocol, for the log.
    Log,
    /// The protocol, for a rule; until then nothing passes.
    Rule,
}

impl Session {
    /// Reads the client's first bytes until they say what they are.
    pub(super) fn look(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        while self.look_once(desk)? {}
        Ok(())
    }

    /// Whether to look again at once. Bytes that pass are looked at read by read.
    fn look_once(&mut self, desk: &mut Desk<'_>) -> Result<bool, End> {
        if matches!(self.curiosity, Curiosity::None) {
            return Ok(false);
        }
        let before = self.up.held().len();
        let gathered = self.up.gather(self.client.as_fd(), desk.tools, inspect::LIMIT);
        self.note_broken(Side::Client, gathered);
        let port = self.entry.destination().port();
        let held = self.up.held();
        let bytes = match self.extras.passed() {
            Some(passed) => {
                passed.extend_from_slice(&held[before..]);
                passed
            }
            None => held,
        };
        let over = self.up.ended || bytes.len() >= inspect::LIMIT;
        let found = match inspect::client(bytes, port) {
            Look::Found(finding) => finding,
            Look::More if over => inspect::last(bytes, port),
            Look::More => {
                let more = self.up.readable && self.up.held().len() > before;
                self.remember(before);
                return Ok(more && matches!(self.curiosity, Curiosity::Rule));
            }
        };
        self.found(found, desk)?;
        Ok(false)
    }

    /// What passes before it is clear is kept as a copy.
    fn remember(&mut self, before: usize) {
        let held = self.up.held();
        let passes = matches!(self.curiosity, Curiosity::Log) && !held.is_empty();
        if passes && before == 0 && self.extras.passed().is_none() {
            self.extras.remember_passed(held);
        }
    }

    /// What the upstream says before the client does.
    pub(super) fn greet(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        let Stage::Open { greeted: greeted @ false } = &mut self.stage else { return Ok(()) };
        if matches!(self.curiosity, Curiosity::None) {
            *greeted = true;
            return Ok(());
        }
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let gathered = self.down.gather(upstream.as_fd(), desk.tools, inspect::LIMIT);
        self.note_broken(Side::Upstream, gathered);
        let over = self.down.ended || self.down.held().len() >= inspect::LIMIT;
        let decides = matches!(self.curiosity, Curiosity::Rule);
        match inspect::server(self.down.held()) {
            Look::Found(finding) if decides => self.found(finding, desk)?,
            Look::Found(finding) => self.keep(finding),
            Look::More if over && decides => {
                let finding = inspect::server_last(self.down.held());
                self.found(finding, desk)?;
            }
            Look::More if decides || self.down.held().is_empty() => return Ok(()),
            Look::More => {}
        }
        // What was found may have denied the connection, which is no longer open then.
        if let Stage::Open { greeted } = &mut self.stage {
            *greeted = true;
        }
        Ok(())
    }

    /// A source that has failed has also ended; what it has sent before is still of use.
    fn note_broken(&mut self, side: Side, gathered: Result<(), Broken>) {
        if let Err(broken) = gathered {
            self.broken.get_or_insert((side, broken.errno));
            self.way(side).ended = true;
        }
    }

    /// Decides when what a rule needs to know did not come in time: a client that waits for the other
    /// side after its first words would wait for ever.
    pub(super) fn lose_patience(&mut self, desk: &mut Desk<'_>) -> Result<Next, End> {
        if let Some(until) = self.patience_until(desk) {
            return Ok(Next::At(until));
        }
        if !matches!((&self.curiosity, &self.stage), (Curiosity::Rule, Stage::Open { .. })) {
            return Ok(Next::Wait);
        }
        let finding = inspect::last(self.up.held(), self.entry.destination().port());
        self.found(finding, desk)?;
        Ok(Next::Again)
    }

    /// Until when the first bytes are waited for; nothing when nobody waits for them, or no longer.
    pub(super) fn patience_until(&self, desk: &Desk<'_>) -> Option<u64> {
        let waits = match (&self.curiosity, &self.stage) {
            (Curiosity::None, _) => false,
            (Curiosity::Rule, Stage::Open { .. }) => true,
            (_, Stage::Dialling) => self.up.writable && desk.shared.upstream.wants_name(),
            _ => false,
        };
        let patience = u64::try_from(desk.shared.config.patience.as_nanos()).unwrap_or(u64::MAX);
        let until = self.touched.max(self.entry.opened_ns).saturating_add(patience);
        (waits && desk.now < until).then_some(until)
    }

    fn found(&mut self, finding: Finding, desk: &mut Desk<'_>) -> Result<(), End> {
        let decides = matches!(self.curiosity, Curiosity::Rule);
        self.curiosity = Curiosity::None;
        self.extras.forget_passed();
        if !decides {
            self.keep(finding);
            return Ok(());
        }
        let decision = desk.rules.decide(&self.entry.question(), &finding);
        let answer = match decision.verdict {
            Verdict::Deny(With::Answer) => deny::answer(&finding),
            _ => None,
        };
        self.keep(finding);
        self.apply(decision, desk.now);
        match decision.verdict {
            Verdict::Deny(_) => self.deny(desk, answer),
            Verdict::Allow | Verdict::Throttle(_) => Ok(()),
        }
    }

    /// Takes a decision over into the ledger, and its pace.
    pub(crate) fn apply(&mut self, decision: Decision, now: u64) {
        self.entry.rule = decision.rule;
        if let Verdict::Throttle(rate) = decision.verdict {
            self.entry.throttled = true;
            self.extras.throttle(rate, now);
        }
    }

    /// An unknown protocol is not worth its memory, and does not replace what a greeting has told.
    fn keep(&mut self, finding: Finding) {
        if finding.protocol != AppProtocol::Unknown {
            self.entry.finding = Some(Box::new(finding));
        }
    }
}

impl Side {
    /// Its place in pairs: what comes from the client first.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Upstream => 1,
        }
    }
}
