//! DNS: a query with one question, in a datagram or behind a length.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, Step, name};
use simple_dns::Packet;

/// Other ports carry any protocol, and whatever begins with two bytes would be waited for.
const PORT: u16 = 53;

const HEADER: usize = 12;
/// Header, the root's name, type, class.
const SHORTEST: usize = HEADER + 5;
/// Header, the longest name, type, class: the question never goes beyond.
const QUESTION_END: usize = HEADER + 255 + 4;

/// Over TCP.
pub(super) fn look(bytes: Bytes<'_>) -> Step {
    if bytes.port != PORT {
        return Step::No;
    }
    let Some((len, message)) = bytes.all.split_first_chunk::<2>() else {
        // A query longer than this is not one; the second byte cannot rule it out.
        let high = bytes.all.first().copied().unwrap_or_default();
        return if high > 0x3f || bytes.ended { Step::No } else { Step::More };
    };
    let len = usize::from(u16::from_be_bytes(*len));
    if len < SHORTEST || len > 0x3fff || !header_may_begin(message) {
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

/// The question alone, so that nothing behind it can spoil it.
fn read(message: &[u8]) -> Option<Finding> {
    let mut question = message[..message.len().min(QUESTION_END)].to_vec();
    question.get_mut(6..HEADER)?.fill(0);
    let packet = Packet::parse(&question).ok()?;
    let asked = packet.questions.first()?;
    let labels: Vec<&[u8]> = asked.qname.as_bytes().collect();
    Some(Finding { name: name::domain(&labels.join(&b'.')), ..Finding::of(AppProtocol::Dns) })
}
