//! Seeing every byte of a connection, not only the first ones.

use crate::ledger::Ledger;

/// Who sees every byte of one direction, in order, before the target does.
pub trait Tap: Send {
    /// The next bytes. Called once for each byte, with pieces of any size.
    fn see(&mut self, bytes: &[u8]) -> Ruling;

    /// Number of what was seen, for the ledger; nothing as long as there was nothing.
    fn seen(&self) -> Option<u16>;
}

/// Who decides which connections are tapped.
pub trait Taps: Send + Sync {
    /// One tap for what the client sends and one for what the upstream sends; nothing for neither.
    fn of(&self, ledger: &Ledger) -> Option<[Box<dyn Tap>; 2]>;
}

/// What a tap says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Go on.
    Pass,
    /// Neither these bytes nor any more: the connection is reset.
    Deny,
}
