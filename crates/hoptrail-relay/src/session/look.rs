//! A look at the first bytes, and what the rules say to them.

use super::{Desk, Session, Side, Stage};
use crate::inspect::{self, AppProtocol, Finding, Look};
use crate::ledger::End;
use crate::rules::{Decision, Question, Verdict, With, deny, throttle::Bucket};
use crate::way::Broken;
use std::os::fd::AsFd;

impl Session {
    /// Gathers the client's first bytes until they say what they are, and decides.
    pub(super) fn look(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        if self.looked {
            return Ok(());
        }
        while self.up.readable && !self.up.ended && self.up.held().len() < inspect::LIMIT {
            let before = self.up.held().len();
            let gathered = self.up.gather(self.client.as_fd(), desk.tools, inspect::LIMIT);
            if let Err(Broken { .. }) = gathered {
                return Err(End::ClientReset);
            }
            if self.up.held().len() == before {
                break;
            }
        }
        let port = self.ledger.destination.port();
        let bytes = self.up.held();
        match inspect::client(bytes, port) {
            Look::Found(finding) => self.found(finding, desk),
            Look::More if self.up.ended || bytes.len() >= inspect::LIMIT => {
                let finding = inspect::last(bytes, port);
                self.found(finding, desk)
            }
            Look::More => Ok(()),
        }
    }

    fn found(&mut self, finding: Finding, desk: &mut Desk<'_>) -> Result<(), End> {
        self.looked = true;
        let question = Question {
            transport: self.ledger.transport,
            destination: self.ledger.destination,
            application: self.ledger.application.as_deref(),
        };
        let decision = desk.rules.decide(&question, &finding);
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
        self.ledger.rule = decision.rule;
        if let Verdict::Throttle(rate) = decision.verdict {
            self.pace = Some(Box::new([Bucket::new(rate, now), Bucket::new(rate, now)]));
        }
    }

    /// What the upstream says before the client does.
    pub(super) fn greet(&mut self, desk: &mut Desk<'_>) -> Result<(), End> {
        if self.greeted || !matches!(self.stage, Stage::Open) {
            return Ok(());
        }
        if self.looked {
            self.greeted = true;
            return Ok(());
        }
        let Some(upstream) = &self.upstream else { return Ok(()) };
        if self.down.held().is_empty() {
            let gathered = self.down.gather(upstream.as_fd(), desk.tools, inspect::LIMIT);
            gathered.map_err(|_| End::UpstreamReset)?;
        }
        if !self.down.held().is_empty() {
            self.greeted = true;
            if let Look::Found(finding) = inspect::server(self.down.held()) {
                self.keep(finding);
            }
        }
        Ok(())
    }

    /// An unknown protocol is not worth its memory, and does not replace what a greeting has told.
    fn keep(&mut self, finding: Finding) {
        if finding.protocol != AppProtocol::Unknown {
            self.ledger.finding = Some(Box::new(finding));
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
