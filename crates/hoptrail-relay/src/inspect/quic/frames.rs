//! The frames that may stand in an Initial packet: RFC 9000, 12.4 and 19.

use super::varint::{measured, number};

const PADDING: u64 = 0;
const PING: u64 = 1;
const ACK: u64 = 2;
const ACK_ECN: u64 = 3;
const CRYPTO: u64 = 6;

/// Offsets and bytes of the CRYPTO frames, up to the first frame that does not belong into an Initial.
pub(super) fn crypto(payload: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        loop {
            let (kind, body) = number(rest)?;
            match kind {
                PADDING | PING => rest = body,
                ACK | ACK_ECN => rest = after_ack(body, kind == ACK_ECN)?,
                CRYPTO => {
                    let (offset, body) = number(body)?;
                    let (bytes, next) = measured(body)?;
                    rest = next;
                    return Some((offset, bytes));
                }
                _ => return None,
            }
        }
    })
}

/// Largest, delay, count of ranges, first range; two numbers for each range; three counts of marks.
fn after_ack(body: &[u8], marks: bool) -> Option<&[u8]> {
    let (_largest, rest) = number(body)?;
    let (_delay, rest) = number(rest)?;
    let (ranges, mut rest) = number(rest)?;
    let numbers = ranges.checked_mul(2)?.checked_add(if marks { 4 } else { 1 })?;
    for _ in 0..numbers {
        rest = number(rest)?.1;
    }
    Some(rest)
}
