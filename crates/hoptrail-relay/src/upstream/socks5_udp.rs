//! The header before each datagram that goes through a SOCKS5 server (RFC 1928, section 7).

use super::socks5::{Malformed, address, put_address};
use std::net::SocketAddr;

/// Bytes of the longest header that is sent.
pub const MAX_HEADER: usize = 22;

/// Why a datagram from the server is not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It has no header, or an address of an unknown kind.
    Malformed,
    /// It is a fragment. Whoever does not put them together must drop them.
    Fragment,
}

/// The header of datagrams to a destination.
#[must_use]
pub fn header(destination: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(MAX_HEADER);
    header.extend([0, 0, 0]);
    put_address(&mut header, destination);
    header
}

/// From whom a datagram is (nothing if the server gave a name), and where its payload begins.
///
/// # Errors
/// When it cannot be passed on.
pub fn parse(datagram: &[u8]) -> Result<(Option<SocketAddr>, usize), Refused> {
    match datagram {
        [_, _, 0, rest @ ..] => match address(rest) {
            Ok((from, bytes)) => Ok((from, 3 + bytes)),
            Err(Malformed::Short | Malformed::AddressType(_)) => Err(Refused::Malformed),
        },
        [_, _, _, ..] => Err(Refused::Fragment),
        _ => Err(Refused::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:65535"] {
            let addr = text.parse().unwrap();
            let header = header(addr);
            assert!(header.len() <= MAX_HEADER);
            let datagram = [&header[..], b"payload"].concat();
            assert_eq!(parse(&datagram), Ok((Some(addr), header.len())));
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Err(Refused::Malformed), "{length}");
            }
        }
    }

    #[test]
    fn fragments_are_refused_and_names_are_nobody() {
        let mut fragment = header("192.0.2.1:53".parse().unwrap());
        fragment[2] = 1;
        assert_eq!(parse(&fragment), Err(Refused::Fragment));
        assert_eq!(parse(b"\0\0\0\x03\x02ab\0\x35payload"), Ok((None, 9)));
        assert_eq!(parse(b"\0\0\0\x02ab\0\x35payload"), Err(Refused::Malformed));
    }
}
