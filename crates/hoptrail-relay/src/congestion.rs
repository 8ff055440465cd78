//! Congestion control on loopback, where there is no network to be careful with.
//!
//! BBR spaces its packets in time, for the sake of queues in a network. On loopback there are none, and
//! the timers that it needs cost more than copying the bytes. A relay talks to its clients over
//! loopback, so it does without there; connections to other hosts keep what the system has chosen.

use crate::config::Congestion;
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// Is built into every kernel, is allowed to everybody, and sends what the window allows.
const UNPACED: &str = "reno";

/// What the relay's sockets on loopback are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OnLoopback(Option<&'static str>);

impl OnLoopback {
    pub(crate) fn of(setting: Congestion) -> Self {
        match setting {
            Congestion::Auto => Self::instead_of(system().as_deref()),
            Congestion::System => Self(None),
        }
    }

    /// Sets it before a socket connects to `peer`, or listens there. It cannot be taken back later: a
    /// socket that was paced once stays so.
    pub(crate) fn apply(self, socket: impl AsFd, peer: SocketAddr) {
        if let Some(name) = self.0.filter(|_| is_loopback(peer.ip())) {
            // Without it the connection is slower, and right.
            let _ = sockopt::set_tcp_congestion(socket, name);
        }
    }

    /// All of its kind pace: bbr, and what is built upon it.
    pub(crate) fn instead_of(system: Option<&str>) -> Self {
        Self(system.is_some_and(|name| name.starts_with("bbr")).then_some(UNPACED))
    }
}

/// What a new socket is given.
pub(crate) fn system() -> Option<String> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    sockopt::tcp_congestion(&socket).ok()
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What a connection accepted at `at` has.
    fn accepted(on_loopback: OnLoopback, at: &str) -> String {
        let listener = TcpListener::bind(at).unwrap();
        let at = listener.local_addr().unwrap();
        on_loopback.apply(&listener, at);
        let _client = std::net::TcpStream::connect(("127.0.0.1", at.port())).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        sockopt::tcp_congestion(&accepted).unwrap()
    }

    #[test]
    fn loopback_alone_is_given_another_one() {
        let instead = OnLoopback::instead_of(Some("bbr2"));
        assert_eq!(accepted(instead, "127.0.0.1:0"), UNPACED);
        let system = system().unwrap();
        assert_eq!(accepted(instead, "0.0.0.0:0"), system);
        assert_eq!(accepted(OnLoopback::of(Congestion::System), "127.0.0.1:0"), system);
    }

    #[test]
    fn what_does_not_pace_stays() {
        for system in [Some("cubic"), Some("reno"), None] {
            assert_eq!(OnLoopback::instead_of(system), OnLoopback(None), "{system:?}");
        }
    }

    #[test]
    fn loopback_has_three_forms() {
        let is = |text: &str| is_loopback(text.parse().unwrap());
        assert!(is("127.8.9.1") && is("::1") && is("::ffff:127.0.0.1"));
        assert!(!is("0.0.0.0") && !is("192.0.2.1") && !is("::") && !is("fe80::1"));
    }
}
