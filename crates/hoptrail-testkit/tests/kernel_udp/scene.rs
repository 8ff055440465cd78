//! What every UDP test needs: the three ways to an address, sockets of actors, and a proxy's view of a
//! flow.

use hoptrail::{Context, Records, Trail};
use hoptrail_core::abi;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Actor, Fd, Lab, listener};
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How an application gets to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// IPv4 socket, IPv4 address.
    V4,
    /// IPv6 socket, IPv6 address.
    V6,
    /// IPv6 socket, IPv4-mapped address.
    Mapped,
}

/// A datagram that has not come after this long does not come: everything is on one machine.
const SILENCE: Duration = Duration::from_millis(60);

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Mapped];

    /// Host `n` of the lab's network: 192.0.2.`n` or 2001:db8::`n`, as a proxy and the policy see it.
    pub(crate) fn host(self, n: u8) -> IpAddr {
        match self {
            Self::V4 | Self::Mapped => Ipv4Addr::new(192, 0, 2, n).into(),
            Self::V6 => {
                let n = n / 10 * 16 + n % 10; // 10 is ::10
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)).into()
            }
        }
    }

    /// A remote as the application writes it.
    pub(crate) fn to(self, n: u8, port: u16) -> SocketAddr {
        self.form((self.host(n), port).into())
    }

    /// An address as a socket of this way writes it.
    pub(crate) fn form(self, at: SocketAddr) -> SocketAddr {
        match (self, at.ip()) {
            (Self::Mapped, IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), at.port()).into(),
            _ => at,
        }
    }

    /// Where the provider's proxy gets what goes this way.
    pub(crate) fn listener(self, provider: &str) -> SocketAddr {
        listener(provider, self != Self::V6)
    }

    /// The loopback address.
    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Self::V4 | Self::Mapped => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// An address without its IPv4-mapped form.
pub(crate) fn canonical(at: SocketAddr) -> SocketAddr {
    (at.ip().to_canonical(), at.port()).into()
}

/// Whether a peer is a stand-in (docs/abi.md, UDP).
pub(crate) fn is_alias(peer: SocketAddr) -> bool {
    match peer.ip().to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 127 && v4.octets()[1] >= 128,
        IpAddr::V6(v6) => v6.segments()[..2] == [0xfd48, 0x5452],
    }
}

/// A UDP socket of an actor, closed when dropped.
pub(crate) struct Udp<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) fd: Fd,
}

/// What a proxy is told of a flow.
pub(crate) struct Flow {
    pub(crate) blob: Vec<u8>,
    pub(crate) context: Context,
}

impl Flow {
    pub(crate) fn trail(&self) -> Trail {
        Records::from_bytes(&self.blob).trail().unwrap()
    }
}

/// A socket that is not bound.
pub(crate) fn socket(actor: &Actor, way: Way) -> Udp<'_> {
    let fd = actor.socket(way.to(10, 0), Kind::Udp).unwrap();
    Udp { actor, fd }
}

/// A socket bound to `at`.
pub(crate) fn bound(actor: &Actor, at: SocketAddr) -> Udp<'_> {
    let fd = actor.socket(at, Kind::Udp).unwrap();
    actor.bind(fd, at).unwrap();
    Udp { actor, fd }
}

/// A socket bound to a port that none of the test had before, so that its own address is free to stand
/// for a flow.
pub(crate) fn unused(actor: &Actor, way: Way) -> Udp<'_> {
    let any = match way {
        Way::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Way::V6 | Way::Mapped => Ipv6Addr::UNSPECIFIED.into(),
    };
    bound(actor, SocketAddr::new(any, unused_port()))
}

/// A port that none of the test had before.
pub(crate) fn unused_port() -> u16 {
    static PORT: AtomicU16 = AtomicU16::new(7000);
    PORT.fetch_add(1, Ordering::Relaxed)
}

/// The proxy's socket of a provider, at its listener.
pub(crate) fn proxy<'a>(actor: &'a Actor, provider: &str, way: Way) -> Udp<'a> {
    bound(actor, way.listener(provider))
}

/// Acme alone.
pub(crate) fn one(lab: &Lab) -> Vec<hoptrail_core::compile::Provider> {
    vec![lab.provider("acme", 200)]
}

impl Udp<'_> {
    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.actor.send_to(self.fd, bytes, to)
    }

    /// A datagram in text, and whence it came.
    pub(crate) fn recv_from(&self) -> (String, SocketAddr) {
        let (bytes, from) = self.actor.recv_from(self.fd).expect("a datagram");
        (String::from_utf8(bytes).unwrap(), from)
    }

    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<()> {
        self.actor.connect(self.fd, to)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.actor.send(self.fd, bytes)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.actor.local(self.fd).unwrap()
    }

    /// That nothing waits, and nothing comes.
    pub(crate) fn assert_silent(&self, why: &str) {
        let got = self.actor.run((self.fd.0, SILENCE), |(fd, silence)| {
            let socket = held(fd)?;
            let socket = SockRef::from(&socket);
            let limit = socket.read_timeout()?;
            socket.set_read_timeout(Some(silence))?;
            let mut bytes = Vec::with_capacity(4096);
            let got = socket.recv_from(bytes.spare_capacity_mut());
            socket.set_read_timeout(limit)?;
            got.map(|(n, from)| (n, from.as_socket()))
        });
        assert_eq!(errno(&got), libc::EAGAIN, "{why}: {got:?}");
    }

    /// Selects the peer that this thread's next options mean.
    pub(crate) fn select(&self, peer: SocketAddr) -> io::Result<()> {
        self.actor.set(self.fd, abi::REDIRECT_PEER, &sockaddr(peer))
    }

    pub(crate) fn deselect(&self) -> io::Result<()> {
        self.actor.set(self.fd, abi::REDIRECT_PEER, &[])
    }

    pub(crate) fn records(&self) -> io::Result<Vec<u8>> {
        self.actor.records(self.fd)
    }

    pub(crate) fn set_records(&self, blob: &[u8]) -> io::Result<()> {
        self.actor.set_records(self.fd, blob)
    }

    /// Records and context of the flow of `peer`.
    pub(crate) fn flow(&self, peer: SocketAddr) -> io::Result<Flow> {
        self.select(peer)?;
        let blob = self.records();
        let context = self.actor.context(self.fd);
        self.deselect()?;
        Ok(Flow { blob: blob?, context: Context::parse(&context?).expect("a context") })
    }

    /// The next datagram in text, its peer, and the peer's flow.
    pub(crate) fn serve(&self) -> (String, SocketAddr, Flow) {
        let (text, peer) = self.recv_from();
        let flow = self.flow(peer).unwrap_or_else(|e| panic!("{text} from {peer}: {e}"));
        (text, peer, flow)
    }
}

impl Drop for Udp<'_> {
    fn drop(&mut self) {
        // A test that has failed ends its actors, and may be failing because one is dead.
        if !std::thread::panicking() {
            self.actor.close(self.fd);
        }
    }
}

/// `struct sockaddr_in` or `sockaddr_in6`.
pub(crate) fn sockaddr(at: SocketAddr) -> Vec<u8> {
    let family = if at.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = (family as u16).to_ne_bytes().to_vec();
    bytes.extend(at.port().to_be_bytes());
    match at.ip() {
        IpAddr::V4(v4) => {
            bytes.extend(v4.octets());
            bytes.resize(16, 0);
        }
        IpAddr::V6(v6) => {
            bytes.extend([0; 4]);
            bytes.extend(v6.octets());
            bytes.resize(28, 0);
        }
    }
    bytes
}

/// The errno of a call that failed; 0 for one that did not.
pub(crate) fn errno<T>(result: &io::Result<T>) -> i32 {
    result.as_ref().err().map_or(0, |e| e.raw_os_error().unwrap_or(-1))
}
