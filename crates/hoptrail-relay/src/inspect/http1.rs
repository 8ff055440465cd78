//! HTTP/1: the request line, and the name in it or in `Host`.

use super::finding::{AppProtocol, Finding, Method};
use super::{Bytes, Step, name};
use httparse::{EMPTY_HEADER, Header, Request, Status};

/// More than any client sends; a `Host` behind them is not seen.
const MOST_HEADERS: usize = 128;
/// Longer than any registered method.
const LONGEST_METHOD: usize = 24;

pub(super) fn look(bytes: Bytes<'_>) -> Step {
    let head = after_empty_lines(bytes.all);
    if !method_may_begin(head) {
        return Step::No;
    }
    match first_line(head) {
        Line::Wrong => Step::No,
        Line::Incomplete if bytes.ended => Step::No,
        Line::Incomplete => Step::More,
        Line::Whole if bytes.ended || is_whole(head) => Step::Is(read(head)),
        Line::Whole => Step::More,
    }
}

enum Line {
    Wrong,
    Incomplete,
    Whole,
}

/// Any token is a method by the standard, but servers take no lower-case ones, and a text that merely begins with a
/// letter shall not be waited for.
fn method_may_begin(head: &[u8]) -> bool {
    let end = head.iter().position(|byte| *byte == b' ').unwrap_or(head.len());
    let good = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    end <= LONGEST_METHOD && head[..end].iter().all(good)
}

/// Parsed by itself, so that what is wrong in a header is not taken for a wrong line.
fn first_line(head: &[u8]) -> Line {
    let end = head.iter().position(|byte| *byte == b'\n');
    let line = &head[..end.map_or(head.len(), |end| end + 1)];
    let mut request = Request::new(&mut []);
    match (request.parse(line), end) {
        (Ok(Status::Partial), Some(_)) if request.version.is_some() => Line::Whole,
        (Ok(Status::Partial), None) => Line::Incomplete,
        _ => Line::Wrong,
    }
}

/// RFC 9112, 2.2: servers pass over empty lines before the request.
fn after_empty_lines(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// Whether the empty line that ends the head is there. Cheap, since a slow client makes us look at every byte again.
fn is_whole(head: &[u8]) -> bool {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    lines.any(|line| matches!(line, b"\n" | b"\r\n"))
}

fn read(head: &[u8]) -> Finding {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = Request::new(&mut headers);
    // Whatever is wrong or missing further on, what was read up to there stays in `request`.
    let _ = request.parse(head);
    let method = Method::of(request.method.unwrap_or_default());
    let target = request.path.unwrap_or_default();
    let name = match authority(method, target) {
        Some(authority) => name::host(authority.as_bytes()),
        None => host(request.headers),
    };
    Finding { name, method: Some(method), ..Finding::of(AppProtocol::Http1) }
}

/// The authority that stands in the target itself; then `Host` does not count (RFC 9112, 3.2.2).
fn authority(method: Method, target: &str) -> Option<&str> {
    if method == Method::Connect {
        return Some(target);
    }
    if target.starts_with('/') {
        return None;
    }
    let (_, rest) = target.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

/// The one `Host`: of several we cannot tell which one the server goes by.
fn host(headers: &[Header<'_>]) -> Option<Box<str>> {
    let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => name::host(host.value),
        _ => None,
    }
}
