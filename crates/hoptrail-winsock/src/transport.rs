//! What kind of socket a descriptor is, asked only when a call has failed.

use crate::system::{self, Descriptor};
use crate::{Error, Result};
use rustix::io::Errno;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    /// A raw socket or another protocol over IP.
    OtherInternet,
    /// Unix-domain, netlink and the like.
    Foreign,
}

const TCP_SYN_SENT: u8 = 2;

impl Transport {
    /// # Errors
    /// WSAENOTSOCK.
    pub(crate) fn of(fd: Descriptor) -> Result<Self> {
        let family: i32 = system::option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)?;
        if family != libc::AF_INET && family != libc::AF_INET6 {
            return Ok(Self::Foreign);
        }
        let protocol: i32 = system::option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
        let kind: i32 = system::option(fd, libc::SOL_SOCKET, libc::SO_TYPE)?;
        Ok(match (kind, protocol) {
            (libc::SOCK_STREAM, libc::IPPROTO_TCP) => Self::Tcp,
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP) => Self::Udp,
            _ => Self::OtherInternet,
        })
    }

    /// What it means that this socket knows none of Hoptrail's options.
    pub(crate) const fn without_options(self) -> Error {
        match self {
            Self::Tcp | Self::Udp => Error::NoEngine,
            Self::OtherInternet => Error::NO_SUCH_OPTION,
            Self::Foreign => Error::NOT_SUPPORTED,
        }
    }
}

/// The checks that come before those of the arguments: it is a socket, and one with redirects.
pub(crate) fn check(fd: Descriptor) -> Result<()> {
    let transport = Transport::of(fd)?;
    if matches!(transport, Transport::Tcp | Transport::Udp) {
        return Ok(());
    }
    Err(transport.without_options())
}

/// Whether nothing answers at Hoptrail's level. The kernel says one or the other.
pub(crate) fn is_unknown_option(errno: Errno) -> bool {
    errno == Errno::OPNOTSUPP || errno == Errno::NOPROTOOPT
}

/// Whether a TCP socket's connect is under way.
pub(crate) fn is_connecting(fd: Descriptor) -> bool {
    let state: std::result::Result<[u8; 1], _> =
        system::option(fd, libc::IPPROTO_TCP, libc::TCP_INFO);
    state == Ok([TCP_SYN_SENT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Transport::of(Descriptor::of(&tcp)), Ok(Transport::Tcp));
        assert_eq!(Transport::of(Descriptor::of(&udp)), Ok(Transport::Udp));
        assert_eq!(Transport::of(Descriptor::of(&unix)), Ok(Transport::Foreign));
        assert_eq!(Transport::of(Descriptor::of(&file)), Err(Error::NOT_A_SOCKET));
        assert_eq!(check(Descriptor::of(&unix)), Err(Error::NOT_SUPPORTED));
    }

    #[test]
    fn a_listener_is_not_connecting() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_connecting(Descriptor::of(&tcp)));
    }
}
