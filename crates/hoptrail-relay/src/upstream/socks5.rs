//! The client's side of SOCKS5 (RFC 1928) with user and password (RFC 1929).

use super::Login;
use super::error::HandshakeError;
use super::handshake::Progress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;
pub(super) const IPV4: u8 = 1;
pub(super) const NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;

/// Waits for an answer of known length, then for the next.
#[derive(Debug)]
pub(super) struct Client {
    step: Step,
    /// Bytes of the answer that is under way: at most those of the longest name.
    answer: Vec<u8>,
    /// Said when a login is asked for.
    login: Option<Vec<u8>>,
    /// Said when there is nothing more to ask.
    request: Vec<u8>,
    bound: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Method,
    Login,
    Reply,
    Done,
}

/// A request to connect, by name where one is given that fits.
pub(super) fn connect(destination: SocketAddr, name: Option<&str>) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match name.map(|name| (name.as_bytes(), u8::try_from(name.len()))) {
        Some((name, Ok(length @ 1..))) => {
            request.extend([NAME, length]);
            request.extend(name);
            request.extend(destination.port().to_be_bytes());
        }
        _ => put_address(&mut request, destination),
    }
    request
}

/// A request for datagrams. The address from which they will be sent is not known yet: all zeroes, of
/// the family in which the server is reached.
pub(super) fn associate(server: SocketAddr) -> Vec<u8> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut request = vec![VERSION, UDP_ASSOCIATE, 0];
    put_address(&mut request, (any, 0).into());
    request
}

/// Type, address and port.
pub(super) fn put_address(to: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip().to_canonical() {
        IpAddr::V4(v4) => {
            to.push(IPV4);
            to.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            to.push(IPV6);
            to.extend(v6.octets());
        }
    }
    to.extend(addr.port().to_be_bytes());
}

/// Type, address and port again, and how many bytes they are; no address when it is a name.
pub(super) fn address(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), Malformed> {
    let kind = *bytes.first().ok_or(Malformed::Short)?;
    let ip_bytes = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => 1 + usize::from(*bytes.get(1).ok_or(Malformed::Short)?),
        other => return Err(Malformed::AddressType(other)),
    };
    let ip = bytes.get(1..=ip_bytes).ok_or(Malformed::Short)?;
    let port = bytes.get(1 + ip_bytes..3 + ip_bytes).ok_or(Malformed::Short)?;
    let port = port.iter().fold(0, |port, &byte| port << 8 | u16::from(byte));
    let ip = match kind {
        IPV4 => <[u8; 4]>::try_from(ip).ok().map(IpAddr::from),
        IPV6 => <[u8; 16]>::try_from(ip).ok().map(IpAddr::from),
        _ => None,
    };
    Ok((ip.map(|ip| (ip.to_canonical(), port).into()), 3 + ip_bytes))
}

/// Why bytes are no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Malformed {
    /// They end too early.
    Short,
    AddressType(u8),
}

impl Client {
    /// And what it says first.
    pub(super) fn new(login: Option<&Login>, request: Vec<u8>) -> (Self, Vec<u8>) {
        let greeting = match login {
            Some(_) => vec![VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
            None => vec![VERSION, 1, NO_LOGIN],
        };
        let login = login.map(spoken);
        let step = Step::Method;
        (Self { step, answer: Vec::new(), login, request, bound: None }, greeting)
    }

    pub(super) const fn bound(&self) -> Option<SocketAddr> {
        self.bound
    }

    /// Takes bytes up to the end of the conversation; gives what to say next.
    pub(super) fn input(&mut self, bytes: &[u8]) -> Result<(Progress, Vec<u8>), HandshakeError> {
        let (mut consumed, mut next) = (0, Vec::new());
        while self.step != Step::Done && consumed < bytes.len() {
            self.answer.push(bytes[consumed]);
            consumed += 1;
            if self.complete()? {
                next.extend(self.act()?);
                self.answer.clear();
            }
        }
        Ok((Progress { consumed, done: self.step == Step::Done }, next))
    }

    /// Whether the answer has all its bytes. What is wrong is said at its first byte: a server that
    /// refuses may send no more.
    fn complete(&self) -> Result<bool, HandshakeError> {
        match (self.step, &*self.answer) {
            (Step::Method | Step::Reply, [version, ..]) if *version != VERSION => {
                Err(HandshakeError::NotSocks5(*version))
            }
            (Step::Login, [version, ..]) if *version != LOGIN_VERSION => {
                Err(HandshakeError::LoginVersion(*version))
            }
            (Step::Reply, [_, code, ..]) if *code != 0 => Err(HandshakeError::Reply(*code)),
            (Step::Reply, [_, _, _, rest @ ..]) => match address(rest) {
                Ok(_) => Ok(true),
                Err(Malformed::Short) => Ok(false),
                Err(Malformed::AddressType(kind)) => Err(HandshakeError::AddressType(kind)),
            },
            (Step::Method | Step::Login, answer) => Ok(answer.len() == 2),
            (Step::Reply | Step::Done, _) => Ok(false),
        }
    }

    fn act(&mut self) -> Result<Vec<u8>, HandshakeError> {
        match (self.step, self.answer[1]) {
            (Step::Method, NO_LOGIN) => Ok(self.ask()),
            (Step::Method, USER_AND_PASSWORD) => {
                self.step = Step::Login;
                self.login.take().ok_or(HandshakeError::Method(USER_AND_PASSWORD))
            }
            (Step::Method, NO_METHOD) if self.login.is_none() => Err(HandshakeError::LoginWanted),
            (Step::Method, NO_METHOD) => Err(HandshakeError::NoMethod),
            (Step::Method, other) => Err(HandshakeError::Method(other)),
            (Step::Login, 0) => Ok(self.ask()),
            (Step::Login, _) => Err(HandshakeError::LoginRefused),
            (Step::Reply | Step::Done, _) => {
                self.step = Step::Done;
                self.bound = address(&self.answer[3..]).ok().and_then(|(bound, _)| bound);
                Ok(Vec::new())
            }
        }
    }

    fn ask(&mut self) -> Vec<u8> {
        self.step = Step::Reply;
        std::mem::take(&mut self.request)
    }
}

/// Lengths were checked with the URL.
fn spoken(login: &Login) -> Vec<u8> {
    let mut message = vec![LOGIN_VERSION];
    for part in [&login.user, &login.password] {
        message.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        message.extend(part.iter().take(usize::from(u8::MAX)));
    }
    message
}
