//! Who listens where, read from /proc: a proxy is never probed by connecting to it.

use hoptrail_core::{Endpoint, Ip, Protocol};
use std::io;
use std::path::Path;

/// The sockets of the calling thread's network namespace. (`/proc/net` is that of the main thread.)
pub const HERE: &str = "/proc/thread-self/net";

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// Every address at which something waits for connections or datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    bound: Vec<(Protocol, Endpoint)>,
}

impl Listeners {
    /// Reads the tables below `net` ([`HERE`] or `/proc/PID/net`).
    ///
    /// # Errors
    /// When the IPv4 tables cannot be read; a kernel without IPv6 has no IPv6 ones.
    pub fn read(net: &Path) -> io::Result<Self> {
        let mut bound = Vec::new();
        for (name, protocol) in [
            ("tcp", Protocol::Tcp),
            ("udp", Protocol::Udp),
            ("tcp6", Protocol::Tcp),
            ("udp6", Protocol::Udp),
        ] {
            match std::fs::read_to_string(net.join(name)) {
                Ok(table) => bound.extend(parse(&table, protocol)),
                Err(e) if name.ends_with('6') && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Self { bound })
    }

    /// Whether something waits at `at`: bound to that address or to all. An IPv6 socket bound to `::`
    /// counts for IPv4 too; the tables do not say whether it has `IPV6_V6ONLY`.
    #[must_use]
    pub fn has(&self, protocol: Protocol, at: Endpoint) -> bool {
        self.bound.iter().any(|(p, bound)| {
            *p == protocol
                && bound.port == at.port
                && (bound.ip == at.ip
                    || (bound.ip.is_unspecified() && (!bound.ip.is_v4() || at.ip.is_v4())))
        })
    }
}

fn parse(table: &str, protocol: Protocol) -> impl Iterator<Item = (Protocol, Endpoint)> {
    let waiting = match protocol {
        Protocol::Tcp => TCP_LISTEN,
        Protocol::Udp => UDP_UNCONNECTED,
    };
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == waiting).then(|| endpoint(local).map(|at| (protocol, at)))?
    })
}

/// `0100007F:3E0F`: words as they stand in memory, printed as numbers; the port in host order.
fn endpoint(field: &str) -> Option<Endpoint> {
    let (ip, port) = field.split_once(':')?;
    let word = |i: usize| u32::from_str_radix(ip.get(i * 8..i * 8 + 8)?, 16).ok();
    let ip = match ip.len() {
        8 => Ip::from_v4_word(word(0)?),
        32 => Ip::from_words([word(0)?, word(1)?, word(2)?, word(3)?]),
        _ => return None,
    };
    Some(Endpoint::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, UdpSocket};

    fn at(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn sockets_of_this_process_are_seen_with_their_protocol() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let (t, u): (Endpoint, Endpoint) =
            (tcp.local_addr().unwrap().into(), udp.local_addr().unwrap().into());
        let all = Listeners::read(Path::new(HERE)).unwrap();
        assert!(all.has(Protocol::Tcp, t));
        assert!(all.has(Protocol::Udp, u));
        assert!(!all.has(Protocol::Tcp, u), "{u} is of UDP only");
    }

    #[test]
    fn a_socket_bound_to_all_addresses_counts() {
        let table = "sl local rem st\n 0: 00000000:3DFF 00000000:0000 0A 0\n 1: 0100007F:0050 0100007F:1234 01 0\n";
        let v4 = Listeners { bound: parse(table, Protocol::Tcp).collect() };
        assert!(v4.has(Protocol::Tcp, at("127.0.0.1:15871")));
        assert!(!v4.has(Protocol::Tcp, at("[::1]:15871")), "an IPv4 socket hears no IPv6");
        assert!(!v4.has(Protocol::Tcp, at("127.0.0.1:80")), "connected, not listening");
        let table = "h\n 0: 00000000000000000000000000000000:3DFF 00000000000000000000000000000000:0000 0A 0\n";
        let v6 = Listeners { bound: parse(table, Protocol::Tcp).collect() };
        assert!(v6.has(Protocol::Tcp, at("127.0.0.1:15871")));
        assert!(v6.has(Protocol::Tcp, at("[::1]:15871")));
        let table = "h\n 0: 00000000000000000000000001000000:3DFF 0:0 0A 0\n";
        let one = Listeners { bound: parse(table, Protocol::Tcp).collect() };
        assert!(one.has(Protocol::Tcp, at("[::1]:15871")));
        assert!(!one.has(Protocol::Tcp, at("[::2]:15871")));
    }
}
