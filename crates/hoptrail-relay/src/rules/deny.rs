//! The bytes with which a denied connection is told so in its own protocol.

use crate::inspect::Finding;

/// What is sent to the client before the connection is closed; nothing where only a reset fits.
///
/// To be sent whole, then `shutdown` for writing, and the client's bytes read to their end: closing with unread bytes
/// makes the kernel reset the connection, and the client may never see the answer.
#[must_use]
pub fn answer(finding: &Finding) -> Option<&'static [u8]> {
    let _ = finding;
    None
}
