//! Protocols in which the server speaks first, by its greeting.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, Step};

/// RFC 5321, 4.5.3.1.5, and more than servers' names need.
const LONGEST_LINE: usize = 512;

/// POP3 (RFC 1939, 4) and IMAP (RFC 3501, 7.1). Redis answers `+OK` too, but never unasked.
pub(super) fn look(bytes: Bytes<'_>) -> Step {
    let greetings: [(&[u8], AppProtocol); 4] = [
        (b"+OK ", AppProtocol::Pop3),
        (b"+OK\r\n", AppProtocol::Pop3),
        (b"* OK ", AppProtocol::Imap),
        (b"* PREAUTH ", AppProtocol::Imap),
    ];
    let steps = greetings.map(|(text, of)| bytes.literal(text, || Finding::of(of)));
    let found = steps.iter().find(|step| matches!(step, Step::Is(_)));
    found.or(steps.iter().find(|step| **step != Step::No)).cloned().unwrap_or(Step::No)
}

/// SMTP and FTP both greet with 220, maybe over several lines, and then say in words what they are.
pub(super) fn ready(bytes: Bytes<'_>) -> Step {
    let mut rest = bytes.all;
    loop {
        if !rest.iter().zip(b"220").all(|(is, wanted)| is == wanted) {
            return Step::No;
        }
        if rest.get(3).is_some_and(|byte| !matches!(byte, b' ' | b'-')) {
            return Step::No;
        }
        let Some(end) = rest.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            let waiting = rest.len() < LONGEST_LINE && !bytes.ended;
            return if waiting { Step::More } else { said(rest).map_or(Step::No, Step::Is) };
        };
        let (line, next) = rest.split_at(end + 1);
        if let Some(finding) = said(line) {
            return Step::Is(finding);
        }
        if line.get(3) == Some(&b' ') {
            return Step::No;
        }
        rest = next;
        if rest.is_empty() {
            return if bytes.ended { Step::No } else { Step::More };
        }
    }
}

fn said(line: &[u8]) -> Option<Finding> {
    let has =
        |word: &[u8]| line.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    if has(b"smtp") {
        return Some(Finding::of(AppProtocol::Smtp));
    }
    has(b"ftp").then_some(Finding::of(AppProtocol::Ftp))
}

/// The first packet of a MySQL server: its length, number 0, protocol version 10, and the version as text up to a NUL.
pub(super) fn mysql(bytes: Bytes<'_>) -> Step {
    let is = |at: usize, good: fn(u8) -> bool| bytes.all.get(at).is_none_or(|byte| good(*byte));
    let good = is(0, |low| low >= 32) && is(1, |middle| middle <= 1) && is(2, |high| high == 0);
    if !(good && is(3, |number| number == 0) && is(4, |version| version == 10)) {
        return Step::No;
    }
    let version = bytes.all.get(5..).unwrap_or_default();
    let end = version.iter().position(|byte| *byte == 0);
    let text = &version[..end.unwrap_or(version.len())];
    let plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if text.len() > 64 || !text.iter().all(plain) || end == Some(0) {
        return Step::No;
    }
    match end {
        Some(_) => Step::Is(Finding::of(AppProtocol::Mysql)),
        None if bytes.ended => Step::No,
        None => Step::More,
    }
}
