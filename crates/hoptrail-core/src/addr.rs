//! Addresses in one form: IPv4 is kept as IPv4-mapped IPv6, so that a dual-stack socket and an
//! IPv4 socket that ask for the same host are the same to every filter.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IP address: 16 bytes in network byte order, IPv4 as `::ffff:a.b.c.d`.
///
/// Held as four 32-bit words because that is how the kernel's socket-address contexts give it;
/// the bytes in memory are the bytes on the wire.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Ip([u32; 4]);

impl Ip {
    /// From the kernel's four words (network byte order in memory).
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// From the kernel's IPv4 word (network byte order in memory).
    #[inline(always)]
    #[must_use]
    pub const fn from_v4_word(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// The four words, network byte order in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// The last word: the IPv4 address when [`Self::is_v4`].
    #[inline(always)]
    #[must_use]
    pub const fn v4_word(&self) -> u32 {
        self.0[3]
    }

    /// Whether this is an IPv4 address (in its mapped form).
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0xffff_u32.to_be()
    }

    /// The IPv4 address as a number in host order; meaningful when [`Self::is_v4`].
    #[inline(always)]
    #[must_use]
    pub const fn v4_number(&self) -> u32 {
        u32::from_be(self.0[3])
    }

    /// The upper 64 bits as a number.
    #[inline(always)]
    #[must_use]
    pub const fn high(&self) -> u64 {
        ((u32::from_be(self.0[0]) as u64) << 32) | u32::from_be(self.0[1]) as u64
    }

    /// The lower 64 bits as a number.
    #[inline(always)]
    #[must_use]
    pub const fn low(&self) -> u64 {
        ((u32::from_be(self.0[2]) as u64) << 32) | u32::from_be(self.0[3]) as u64
    }

    /// `0.0.0.0`, `::` or `::ffff:0.0.0.0`.
    #[inline(always)]
    #[must_use]
    pub const fn is_unspecified(&self) -> bool {
        self.0[0] == 0
            && self.0[1] == 0
            && self.0[3] == 0
            && (self.0[2] == 0 || self.0[2] == 0xffff_u32.to_be())
    }

    /// Whether a connect to this address stays on the machine by definition: 127.0.0.0/8, `::1`, and
    /// the unspecified addresses, to which Linux connects as if they were loopback.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        if self.is_unspecified() {
            return true;
        }
        if self.is_v4() {
            return self.v4_number() >> 24 == 127;
        }
        self.high() == 0 && self.low() == 1
    }

    /// The address to which Linux connects when this one is asked for: loopback for the unspecified
    /// ones, so that `0.0.0.0` cannot get past a condition on `127.0.0.1`.
    #[inline(always)]
    #[must_use]
    pub const fn reached(self) -> Self {
        if !self.is_unspecified() {
            return self;
        }
        if self.is_v4() {
            return Self::from_v4_word(0x7f00_0001_u32.to_be());
        }
        Self([0, 0, 0, 1_u32.to_be()])
    }

    /// Multicast or the limited broadcast: one datagram, many receivers, so no proxy can stand in.
    #[inline(always)]
    #[must_use]
    pub const fn is_many(&self) -> bool {
        if self.is_v4() {
            return self.v4_number() >> 28 == 0xe || self.v4_number() == u32::MAX;
        }
        self.high() >> 56 == 0xff
    }
}

impl From<Ipv4Addr> for Ip {
    fn from(ip: Ipv4Addr) -> Self {
        Self::from_v4_word(u32::from_ne_bytes(ip.octets()))
    }
}

impl From<Ipv6Addr> for Ip {
    fn from(ip: Ipv6Addr) -> Self {
        let mut out = Self::default();
        out.as_mut_bytes().copy_from_slice(&ip.octets());
        out
    }
}

impl From<IpAddr> for Ip {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Ip> for IpAddr {
    /// IPv4-mapped addresses come out as IPv4.
    fn from(ip: Ip) -> Self {
        let mut octets = [0u8; 16];
        octets.copy_from_slice(ip.as_bytes());
        Ipv6Addr::from(octets).to_canonical()
    }
}

impl core::fmt::Display for Ip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl core::fmt::Debug for Ip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// A TCP or UDP port, two bytes in network byte order.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Port([u8; 2]);

impl Port {
    /// From a number in host order.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be_bytes())
    }

    /// The number in host order.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

impl core::fmt::Debug for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.number().fmt(f)
    }
}

/// One end of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Endpoint {
    /// Address.
    pub ip: Ip,
    /// Port in host order.
    pub port: u16,
}

impl Endpoint {
    /// From address and port (host order).
    #[inline(always)]
    #[must_use]
    pub const fn new(ip: Ip, port: u16) -> Self {
        Self { ip, port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip().into(), addr.port())
    }
}

impl From<Endpoint> for SocketAddr {
    /// IPv4-mapped addresses come out as IPv4.
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip.into(), endpoint.port)
    }
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// Transport protocol, by its IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// 6
    Tcp = 6,
    /// 17
    Udp = 17,
}

impl Protocol {
    /// From the IP protocol number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// `tcp` or `udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv4_and_its_mapped_form_are_one() {
        assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
        assert_eq!(ip("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(ip("2001:db8::1").to_string(), "2001:db8::1");
        assert_eq!(ip("192.0.2.1").v4_number(), 0xc000_0201);
    }

    #[test]
    fn kinds() {
        for text in ["127.0.0.1", "127.255.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert!(ip(text).is_loopback(), "{text}");
        }
        for text in ["128.0.0.1", "::2", "192.0.2.1", "fe80::1"] {
            assert!(!ip(text).is_loopback(), "{text}");
        }
        for text in ["224.0.0.251", "239.255.255.250", "255.255.255.255", "ff02::fb"] {
            assert!(ip(text).is_many(), "{text}");
        }
        assert!(!ip("192.0.2.255").is_many());
    }

    #[test]
    fn unspecified_addresses_reach_loopback() {
        assert_eq!(ip("0.0.0.0").reached(), ip("127.0.0.1"));
        assert_eq!(ip("::").reached(), ip("::1"));
        for text in ["127.0.0.2", "192.0.2.1", "::1", "2001:db8::"] {
            assert_eq!(ip(text).reached(), ip(text));
        }
    }

    #[test]
    fn halves_are_numbers() {
        assert_eq!(ip("2001:db8::5").high(), 0x2001_0db8_0000_0000);
        assert_eq!(ip("2001:db8::5").low(), 5);
    }
}
