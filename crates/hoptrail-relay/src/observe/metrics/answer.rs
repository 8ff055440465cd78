//! HTTP requests to the metrics server, and what they are answered.

use super::Metrics;

/// The most bytes of a request's head.
pub(super) const LONGEST: usize = 8 * 1024;
const HEADERS: usize = 64;

/// What to do about the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for more.
    More,
    /// Send this and close.
    Answer(Vec<u8>),
}

/// The page at `/`.
const INDEX: &str = "hoptrail relay\n\n/metrics  for Prometheus\n/healthz  200 while it works, 503 once it was told to stop\n";
const PLAIN: &str = "text/plain; charset=utf-8";
/// What the format asks for.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Looks at a request's bytes.
pub(super) fn step(bytes: &[u8], metrics: &Metrics) -> Step {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST => Step::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => answer(
            Head { status: "431 Request Header Fields Too Large", ..Head::PLAIN },
            "too long\n",
        ),
        Err(_) => answer(Head { status: "400 Bad Request", ..Head::PLAIN }, "this is not HTTP/1\n"),
        Ok(httparse::Status::Complete(_)) => {
            respond(request.method.unwrap_or_default(), request.path.unwrap_or_default(), metrics)
        }
    }
}

fn respond(method: &str, target: &str, metrics: &Metrics) -> Step {
    let without_body = method == "HEAD";
    if method != "GET" && !without_body {
        let head =
            Head { status: "405 Method Not Allowed", more: "Allow: GET, HEAD\r\n", ..Head::PLAIN };
        return answer(head, "only GET and HEAD\n");
    }
    let ok = Head { without_body, ..Head::PLAIN };
    match path(target) {
        "/metrics" => answer(Head { content: EXPOSITION, ..ok }, &metrics.text()),
        "/healthz" if metrics.observation.is_draining() => {
            answer(Head { status: "503 Service Unavailable", ..ok }, "stopping\n")
        }
        "/healthz" => answer(ok, "ok\n"),
        "/" => answer(ok, INDEX),
        _ => answer(Head { status: "404 Not Found", ..ok }, "there are /metrics and /healthz\n"),
    }
}

/// Without query, and without host where a proxy's client wrote a whole URL.
fn path(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path,
    }
}

#[derive(Clone, Copy)]
struct Head {
    status: &'static str,
    content: &'static str,
    more: &'static str,
    without_body: bool,
}

impl Head {
    const PLAIN: Self = Self { status: "200 OK", content: PLAIN, more: "", without_body: false };
}

fn answer(head: Head, body: &str) -> Step {
    let mut text = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{}Connection: close\r\n\r\n",
        head.status,
        head.content,
        body.len(),
        head.more
    );
    if !head.without_body {
        text.push_str(body);
    }
    Step::Answer(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observation;
    use std::sync::Arc;

    fn metrics() -> Metrics {
        Metrics::new(Arc::new(Observation::new(None)), &[])
    }

    fn status(request: &str) -> String {
        match step(request.as_bytes(), &metrics()) {
            Step::More => "more".to_owned(),
            Step::Answer(bytes) => String::from_utf8(bytes).unwrap().lines().next().unwrap().into(),
        }
    }

    #[test]
    fn requests_and_their_answers() {
        for (request, wanted) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET http://a:1/healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET / HTTP/1.1\n\n", "HTTP/1.1 200 OK"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            (
                "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "HTTP/1.1 405 Method Not Allowed",
            ),
            ("", "more"),
            ("GET /metr", "more"),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n", "more"),
            ("GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("\x16\x03\x01\x02\0\x01\0", "HTTP/1.1 400 Bad Request"),
        ] {
            assert_eq!(status(request), wanted, "{request:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(LONGEST));
        assert_eq!(status(&long), "HTTP/1.1 431 Request Header Fields Too Large");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS + 1));
        assert_eq!(status(&many), "HTTP/1.1 431 Request Header Fields Too Large");
    }

    #[test]
    fn a_head_has_no_body_and_health_ends_with_the_drain() {
        let metrics = metrics();
        let text = |request: &str| match step(request.as_bytes(), &metrics) {
            Step::Answer(bytes) => String::from_utf8(bytes).unwrap(),
            Step::More => String::new(),
        };
        let head = text("HEAD /healthz HTTP/1.1\r\n\r\n");
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        metrics.observation.drain();
        assert!(text("GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
        assert!(text("GET /metrics HTTP/1.1\r\n\r\n").contains("hoptrail_relay_draining 1\n"));
    }
}
