//! DNS: a query with one question, in a datagram or behind a length.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, Step, name};

/// Other ports carry any protocol, and whatever begins with two bytes would be waited for.
const PORT: u16 = 53;

const HEADER: usize = 12;
/// Header, the root's name, type, class.
const SHORTEST: usize = HEADER + 5;
/// No query is longer, by far.
const LONGEST: usize = 0x3fff;
/// Header, the longest name, type, class: the question never goes beyond.
const QUESTION_END: usize = HEADER + 255 + 4;
const LONGEST_LABEL: u8 = 63;

/// Over TCP.
pub(super) fn look(bytes: Bytes<'_>) -> Step {
    if bytes.port != PORT {
        return Step::No;
    }
    let Some((len, message)) = bytes.all.split_first_chunk::<2>() else {
        let high = bytes.all.first().copied().unwrap_or_default();
        let too_long = usize::from(high) << 8 > LONGEST;
        return if too_long || bytes.ended { Step::No } else { Step::More };
    };
    let len = usize::from(u16::from_be_bytes(*len));
    if !(SHORTEST..=LONGEST).contains(&len) || !header_may_begin(message) {
        return Step::No;
    }
    if message.len() < len.min(QUESTION_END) && !bytes.ended {
        return Step::More;
    }
    if message.len() < HEADER {
        return Step::No;
    }
    Step::Is(read(&message[..len.min(message.len())]).unwrap_or(Finding::of(AppProtocol::Dns)))
}

/// Over UDP, to any port: a header and a question that fit leave no doubt.
pub(super) fn datagram(bytes: &[u8]) -> Option<Finding> {
    (bytes.len() >= SHORTEST && header_may_begin(bytes)).then(|| read(bytes))?
}

/// A query (RFC 1035, 4.1.1): response, operation, the reserved bit and the response code are 0, one question, no
/// answers. A zone transfer brings an authority record; EDNS and signatures are additional.
fn header_may_begin(message: &[u8]) -> bool {
    let is = |at: usize, good: fn(u8) -> bool| message.get(at).is_none_or(|byte| good(*byte));
    is(2, |flags| flags & 0xf8 == 0)
        && is(3, |flags| flags & 0x4f == 0)
        && (4..HEADER).step_by(2).all(|high| is(high, |byte| byte == 0))
        && is(5, |questions| questions == 1)
        && is(7, |answers| answers == 0)
        && is(9, |authorities| authorities <= 1)
        && is(11, |additional| additional <= 3)
}

/// The name of the first question, which nothing before it could compress; type and class follow it.
fn read(message: &[u8]) -> Option<Finding> {
    let mut rest = message.get(HEADER..message.len().min(QUESTION_END))?;
    let mut labels = Vec::new();
    while let Some((len, after)) = rest.split_first().filter(|(len, _)| **len != 0) {
        if *len > LONGEST_LABEL {
            return None;
        }
        let (label, next) = after.split_at_checked(usize::from(*len))?;
        // A dot inside of a label would make it two.
        if label.contains(&b'.') {
            return None;
        }
        labels.push(label);
        rest = next;
    }
    (rest.len() >= 5).then_some(())?;
    Some(Finding { name: name::domain(&labels.join(&b'.')), ..Finding::of(AppProtocol::Dns) })
}
