//! The client's side of HTTP's CONNECT (RFC 9110, 9.3.6).

use super::Login;
use super::error::HandshakeError;
use super::handshake::Progress;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::{IpAddr, SocketAddr};

/// Bytes that all heads of an answer may have together.
pub(super) const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// Characters of a reason that are kept for the log.
const MAX_REASON: usize = 80;

/// Reads the head of the answer.
#[derive(Default, Debug)]
pub(super) struct Client {
    head: Vec<u8>,
    /// Bytes of heads that only said "wait" (1xx).
    interim: usize,
    done: bool,
}

/// The request, with the destination as an authority.
pub(super) fn request(destination: SocketAddr, login: Option<&Login>) -> Vec<u8> {
    let authority = authority(destination);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(Login { user, password }) = login {
        let login = BASE64_STANDARD.encode([user, &b":"[..], password].concat());
        request += &format!("Proxy-Authorization: Basic {login}\r\n");
    }
    (request + "\r\n").into_bytes()
}

/// A scope counts on this machine alone and is left out.
fn authority(destination: SocketAddr) -> String {
    match (destination.ip().to_canonical(), destination.port()) {
        (IpAddr::V4(v4), port) => format!("{v4}:{port}"),
        (IpAddr::V6(v6), port) => format!("[{v6}]:{port}"),
    }
}

impl Client {
    /// Takes bytes up to the empty line; what follows a 2xx is the destination's, whatever length the
    /// head announces.
    pub(super) fn input(&mut self, bytes: &[u8]) -> Result<Progress, HandshakeError> {
        let mut consumed = 0;
        while !self.done && consumed < bytes.len() {
            let rest = &bytes[consumed..];
            // A head ends with a line, so only ends of lines are worth a look.
            let line = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
            if self.interim + self.head.len() + line > MAX_HEAD {
                return Err(HandshakeError::TooLong);
            }
            self.head.extend(&rest[..line]);
            consumed += line;
            self.look()?;
        }
        Ok(Progress { consumed, done: self.done })
    }

    fn look(&mut self) -> Result<(), HandshakeError> {
        let line = self.head.split(|&b| b == b'\n').next().unwrap_or_default();
        let begin = line.len().min(5);
        if line[..begin] != b"HTTP/"[..begin] {
            return Err(HandshakeError::NotHttp);
        }
        if !self.head.ends_with(b"\n\n") && !self.head.ends_with(b"\n\r\n") {
            return Ok(());
        }
        match status(&self.head)? {
            (100 | 102..=199, _) => {
                self.interim += self.head.len();
                self.head.clear();
            }
            (200..=299, _) => {
                self.done = true;
                self.head = Vec::new();
            }
            (code, reason) => return Err(HandshakeError::Status { code, reason }),
        }
        Ok(())
    }
}

fn status(head: &[u8]) -> Result<(u16, Box<str>), HandshakeError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooLong),
        Ok(httparse::Status::Partial) | Err(_) => return Err(HandshakeError::NotHttp),
    }
    let reason = response.reason.unwrap_or_default().chars().filter(|c| !c.is_control());
    let code = response.code.ok_or(HandshakeError::NotHttp)?;
    Ok((code, reason.take(MAX_REASON).collect::<String>().into()))
}
