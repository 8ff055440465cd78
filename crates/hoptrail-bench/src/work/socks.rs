//! SOCKS5 (RFC 1928) as a destination that speaks it itself: so redsocks, which knows no other way out, is
//! measured without a second relay behind it.

use std::io::{self, Read, Write};

pub(super) const VERSION: u8 = 5;
/// To whoever offers methods: none is needed.
pub(super) const NO_METHOD: [u8; 2] = [VERSION, 0];
/// Connected, from 0.0.0.0:0.
pub(super) const CONNECTED: [u8; 10] = [VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0];
/// A request to connect to an IPv4 address.
pub(super) const REQUEST: usize = 10;

/// Reads what a client sends first, after the handshake of a SOCKS client if it is one: none of ours
/// begins with that byte.
pub(super) fn read_first(stream: &mut (impl Read + Write), first: &mut [u8]) -> io::Result<()> {
    let (one, rest) = first.split_at_mut(1);
    stream.read_exact(one)?;
    if one[0] == VERSION {
        shake_hands_from(stream)?;
        stream.read_exact(one)?;
    }
    stream.read_exact(rest)
}

/// The whole handshake.
pub(super) fn shake_hands(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut version = [0];
    stream.read_exact(&mut version)?;
    shake_hands_from(stream)
}

/// After the version.
fn shake_hands_from(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut count = [0];
    stream.read_exact(&mut count)?;
    let mut methods = vec![0; usize::from(count[0])];
    stream.read_exact(&mut methods)?;
    stream.write_all(&NO_METHOD)?;
    let mut request = [0; REQUEST];
    stream.read_exact(&mut request)?;
    stream.write_all(&CONNECTED)
}
