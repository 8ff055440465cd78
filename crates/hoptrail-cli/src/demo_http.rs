//! As much HTTP as the demo's parts speak: one request and one answer per connection.

use std::io::{self, Read, Write};

/// Longest head that is read.
const LONGEST: usize = 64 * 1024;
const END: &[u8] = b"\r\n\r\n";
const VIA: &str = "Via: 1.1 ";

/// Reads up to the empty line, and gives what came after it separately.
pub(crate) fn read_head(from: &mut impl Read) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(END.len()).position(|window| window == END) {
            let rest = bytes.split_off(at + END.len());
            return Ok((bytes, rest));
        }
        let n = from.read(&mut buffer)?;
        if n == 0 || bytes.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an HTTP request"));
        }
        bytes.extend_from_slice(&buffer[..n]);
    }
}

/// The head with the name of another intermediary at its end (RFC 9110, 7.6.3).
pub(crate) fn add_via(mut head: Vec<u8>, name: &str) -> Vec<u8> {
    head.truncate(head.len() - 2);
    head.extend_from_slice(format!("{VIA}{name}\r\n\r\n").as_bytes());
    head
}

/// The intermediaries, first to last.
pub(crate) fn vias(head: &[u8]) -> Vec<String> {
    let head = String::from_utf8_lossy(head);
    head.lines().filter_map(|line| line.strip_prefix(VIA)).map(str::to_owned).collect()
}

/// The request line.
pub(crate) fn request_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head)
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned()
}

/// Sends a whole answer.
pub(crate) fn answer(to: &mut impl Write, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        to,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intermediaries_are_added_in_order_and_what_follows_the_head_is_kept() {
        let mut request = &b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"[..];
        let (head, rest) = read_head(&mut request).unwrap();
        assert_eq!(rest, b"body");
        let head = add_via(add_via(head, "acme"), "beta");
        assert_eq!(vias(&head), ["acme", "beta"]);
        assert!(head.ends_with(b"Via: 1.1 beta\r\n\r\n"));
        assert_eq!(request_line(&head), "GET /");
    }

    #[test]
    fn an_end_in_the_middle_of_a_head_is_an_error() {
        assert!(read_head(&mut &b"GET / HTTP/1.1\r\n"[..]).is_err());
    }
}
