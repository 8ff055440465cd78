//! The lab's addresses, all of the ranges for documentation; those without a neighbour are on its `lo`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The origin's IPv4 address.
pub const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Another IPv4 address of the same machine.
pub const V4_OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// The origin's IPv6 address.
pub const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// A neighbour's IPv4 address ([`super::Lab::neighbour`]).
pub const BEYOND_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// A neighbour's IPv6 address.
pub const BEYOND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// A port for origins.
pub const PORT: u16 = 80;

/// All of them.
pub(super) const ALL: [IpAddr; 3] = [IpAddr::V4(V4), IpAddr::V4(V4_OTHER), IpAddr::V6(V6)];

/// The lab's ends of the ways to its neighbours, and theirs.
pub(super) const WAYS: [[IpAddr; 2]; 2] = [
    [
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
    ],
    [IpAddr::V4(BEYOND_V4), IpAddr::V6(BEYOND_V6)],
];

/// An address in text, `192.0.2.10:80` or `[2001:db8::10]:80`.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}
