//! Seeing every byte of a connection, not only the first ones.

/// Who sees every byte of one direction, in order, before the target does.
pub trait Tap: Send {
    /// The next bytes. Called once for each byte, with pieces of any size.
    fn see(&mut self, bytes: &[u8]) -> Ruling;
}

/// What a tap says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Go on.
    Pass,
    /// Neither these bytes nor any more: the connection is reset.
    Deny,
}
