//! Initial packets, still protected: RFC 9000, 17.2.2.

use super::varint::{measured, number};

/// A version whose Initial packets can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369: other numbers for the packet types, other salt and labels.
    Two,
}

/// A client's Initial packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    /// Destination connection id.
    pub(super) id: &'a [u8],
    /// The whole packet.
    pub(super) packet: &'a [u8],
    /// Where its packet number begins.
    pub(super) number_at: usize,
}

impl<'a> Initial<'a> {
    /// The Initial at the beginning, and the packets behind it in the same datagram.
    pub(super) fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (first, rest) = datagram.split_first()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let version = Version::of(u32::from_be_bytes(*version))?;
        if first & 0xf0 != version.initial() {
            return None;
        }
        let (id, rest) = connection_id(rest)?;
        let (_source, rest) = connection_id(rest)?;
        let (_token, rest) = measured(rest)?;
        let (len, rest) = number(rest)?;
        let (_, next) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        let number_at = datagram.len() - rest.len();
        let packet = &datagram[..datagram.len() - next.len()];
        Some((Self { version, id, packet, number_at }, next))
    }
}

impl Version {
    fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            0x6b33_43cf => Some(Self::Two),
            _ => None,
        }
    }

    /// The upper half of an Initial's first byte: long header, fixed bit, type.
    fn initial(self) -> u8 {
        match self {
            Self::One => 0xc0,
            Self::Two => 0xd0,
        }
    }
}

fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    if *len > 20 {
        return None;
    }
    rest.split_at_checked(usize::from(*len))
}
