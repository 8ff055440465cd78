//! `sockaddr_in` and `sockaddr_in6` as bytes, as socket options carry them.

use crate::sys::{AF_INET, AF_INET6};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the longer of the two.
#[cfg(any(target_os = "linux", test))]
pub(crate) const MAX_BYTES: usize = 28;

/// The bytes of an address.
#[cfg(any(target_os = "linux", test))]
pub(crate) fn encode(addr: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    match addr {
        SocketAddr::V4(v4) => {
            bytes.extend(AF_INET.to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(AF_INET6.to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_ne_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// The address that bytes hold; nothing for another family or fewer bytes than it has.
pub(crate) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(field(bytes, 0)?);
    let port = u16::from_be_bytes(field(bytes, 2)?);
    match family {
        AF_INET => {
            let ip = Ipv4Addr::from(field::<4>(bytes, 4)?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        AF_INET6 => {
            let flowinfo = u32::from_ne_bytes(field(bytes, 4)?);
            let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
            let scope = u32::from_ne_bytes(field(bytes, 24)?);
            Some(SocketAddrV6::new(ip, port, flowinfo, scope).into())
        }
        _ => None,
    }
}

/// An IPv4-mapped IPv6 address as the IPv4 address that it is.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        std::net::IpAddr::V4(v4) => SocketAddr::new(v4.into(), addr.port()),
        std::net::IpAddr::V6(_) => addr,
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_survives() {
        for text in ["192.0.2.1:80", "0.0.0.0:0", "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:443"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(decode(&encode(addr)), Some(addr), "{text}");
        }
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 0x1234_5678, 3).into();
        assert_eq!(decode(&encode(scoped)), Some(scoped));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn layout_is_that_of_the_system() {
        use std::mem::offset_of;
        let v4 = encode("192.0.2.1:80".parse().unwrap());
        assert_eq!(v4.len(), size_of::<libc::sockaddr_in>());
        assert_eq!(v4[offset_of!(libc::sockaddr_in, sin_port)..][..2], [0, 80]);
        assert_eq!(v4[offset_of!(libc::sockaddr_in, sin_addr)..][..4], [192, 0, 2, 1]);
        let v6 = encode(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 258, 0, 3).into());
        assert_eq!(v6.len(), size_of::<libc::sockaddr_in6>());
        assert_eq!(v6[offset_of!(libc::sockaddr_in6, sin6_port)..][..2], [1, 2]);
        assert_eq!(v6[offset_of!(libc::sockaddr_in6, sin6_addr)..][15], 1);
        assert_eq!(v6[offset_of!(libc::sockaddr_in6, sin6_scope_id)..][..4], 3u32.to_ne_bytes());
    }

    #[test]
    fn cut_or_foreign_bytes_are_no_address() {
        for addr in ["192.0.2.1:80", "[2001:db8::1]:1"] {
            let bytes = encode(addr.parse().unwrap());
            assert_eq!(decode(&bytes[..7]), None);
        }
        assert_eq!(decode(&[0; 28]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:443".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:443".parse().unwrap());
        let plain: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }
}
