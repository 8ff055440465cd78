//! TLS: the records that carry the ClientHello.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, LIMIT, Step, hello};
use std::borrow::Cow;

const HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
/// RFC 8446, 5.1.
const MOST_IN_RECORD: usize = 1 << 14;

pub(super) fn look(bytes: Bytes<'_>) -> Step {
    let stream = handshake(bytes.all);
    if stream.wrong && stream.message.is_empty() || !hello::may_begin(&stream.message) {
        return Step::No;
    }
    match hello::whole_len(&stream.message) {
        Some(whole) if whole <= stream.message.len() => {
            Step::Is(hello::read(AppProtocol::Tls, &stream.message[..whole]))
        }
        // It would not fit either when all of it had come.
        Some(whole) if HEADER + whole > LIMIT => Step::Is(Finding::of(AppProtocol::Tls)),
        _ if stream.message.is_empty() && !bytes.ended => Step::More,
        _ if stream.message.is_empty() => Step::No,
        _ if stream.wrong || bytes.ended => Step::Is(Finding::of(AppProtocol::Tls)),
        _ => Step::More,
    }
}

/// What the records carry so far.
struct Stream<'a> {
    message: Cow<'a, [u8]>,
    /// What follows is no handshake record.
    wrong: bool,
}

/// A ClientHello may be cut into records anywhere; mostly it is one, and nothing is copied.
fn handshake(mut rest: &[u8]) -> Stream<'_> {
    let mut message = Cow::Borrowed(&rest[..0]);
    while !rest.is_empty() {
        if !may_begin(rest) {
            return Stream { message, wrong: true };
        }
        let Some((header, after)) = rest.split_first_chunk::<HEADER>() else { break };
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let (content, next) = after.split_at(len.min(after.len()));
        if message.is_empty() {
            message = Cow::Borrowed(content);
        } else if !content.is_empty() {
            message.to_mut().extend_from_slice(content);
        }
        if hello::whole_len(&message).is_some_and(|whole| whole <= message.len()) {
            break;
        }
        rest = next;
    }
    Stream { message, wrong: false }
}

fn may_begin(record: &[u8]) -> bool {
    let is = |at: usize, good: fn(u8) -> bool| record.get(at).is_none_or(|byte| good(*byte));
    let len = record.get(3..HEADER).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
    is(0, |kind| kind == HANDSHAKE)
        && is(1, |major| major == 3)
        && is(2, |minor| minor <= 4)
        && is(3, |len| usize::from(len) << 8 <= MOST_IN_RECORD)
        && len.is_none_or(|len| (1..=MOST_IN_RECORD).contains(&len))
}
