//! The PROXY protocol: what a destination that speaks it is told before the first byte of the
//! connection. docs/proxy-protocol.md has every byte.

pub mod tlv;

use hoptrail::Trail;
use proxy_header::{ProxiedAddress, ProxyHeader, Tlv};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// What there is to tell beyond addresses.
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// The trail.
    pub trail: &'a Trail,
    /// Path of the application's executable, from the context.
    pub exe: Option<&'a Path>,
}

/// Bytes of the type, length and value of the checksum, which is the last field.
const CHECKSUM_VALUE: usize = 4;

/// Version 1: `source` is the application's own address, `destination` what it asked for.
#[must_use]
pub fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(107);
    let header = ProxyHeader::with_address(addresses(source, destination));
    written(header.encode_v1(&mut bytes));
    bytes
}

/// Version 2, with the trail if there is one to tell of.
#[must_use]
pub fn v2(source: SocketAddr, destination: SocketAddr, story: Option<&Story<'_>>) -> Vec<u8> {
    let mut fields = story.map(tlv::fields).unwrap_or_default();
    fields.push(Tlv::Crc32c(0));
    let header = ProxyHeader::with_tlvs(Some(addresses(source, destination)), fields);
    let mut bytes = Vec::with_capacity(2048);
    written(header.encode_v2(&mut bytes));
    let checksum = crc32c::crc32c(&bytes).to_be_bytes();
    let at = bytes.len() - CHECKSUM_VALUE;
    bytes[at..].copy_from_slice(&checksum);
    bytes
}

/// Both of one family, as the protocol wants them: an IPv4 address beside an IPv6 one is mapped.
fn addresses(source: SocketAddr, destination: SocketAddr) -> ProxiedAddress {
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return ProxiedAddress::stream(source, destination);
    }
    ProxiedAddress::stream(mapped(source), mapped(destination))
}

fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), addr.port()).into(),
        IpAddr::V6(_) => addr,
    }
}

/// It fails for mixed families, datagrams and fields over 64 KiB, of which there are none here.
fn written(encoded: Result<(), proxy_header::Error>) {
    debug_assert!(encoded.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ParseConfig;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn version_1_is_a_line() {
        let line = |source, to| String::from_utf8(v1(at(source), at(to))).unwrap();
        assert_eq!(
            line("10.0.0.2:40000", "192.0.2.10:80"),
            "PROXY TCP4 10.0.0.2 192.0.2.10 40000 80\r\n"
        );
        assert_eq!(
            line("[2001:db8::2]:40000", "[2001:db8::10]:80"),
            "PROXY TCP6 2001:db8::2 2001:db8::10 40000 80\r\n"
        );
        assert_eq!(
            line("10.0.0.2:40000", "[2001:db8::10]:80"),
            "PROXY TCP6 ::ffff:10.0.0.2 2001:db8::10 40000 80\r\n"
        );
        assert_eq!(
            line("[::ffff:10.0.0.2]:1", "192.0.2.10:80"),
            "PROXY TCP4 10.0.0.2 192.0.2.10 1 80\r\n"
        );
    }

    #[test]
    fn version_2_has_its_checksum() {
        let mut bytes = v2(at("10.0.0.2:40000"), at("192.0.2.10:80"), None);
        assert_eq!(bytes.len(), 16 + 12 + 7);
        let (header, length) = ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();
        assert_eq!(length, bytes.len());
        let sum = header.crc32c().unwrap();
        let zeroes = bytes.len() - CHECKSUM_VALUE;
        bytes[zeroes..].fill(0);
        assert_eq!(crc32c::crc32c(&bytes), sum);
    }
}
