//! Control messages as bytes: WSACMSGHDR has the layout of Linux' `cmsghdr`.

use crate::codes::{
    IP_WFP_REDIRECT_CONTEXT, IP_WFP_REDIRECT_RECORDS, IPV6_WFP_REDIRECT_CONTEXT,
    IPV6_WFP_REDIRECT_RECORDS,
};
use crate::{Error, Result};

/// Bytes of a header: length, level, type.
pub(crate) const HEADER: usize = 16;
const ALIGNMENT: usize = 8;

/// One of the four messages, and the switch that asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    pub(crate) v6: bool,
    pub(crate) context: bool,
}

/// A sender's control messages, taken apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    /// Records for the datagram's flow.
    pub(crate) records: Option<Vec<u8>>,
    /// What the kernel is given.
    pub(crate) rest: Vec<u8>,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self { v6: false, context: false },
        Self { v6: false, context: true },
        Self { v6: true, context: false },
        Self { v6: true, context: true },
    ];

    /// # Errors
    /// Nothing for any other level and type.
    pub(crate) fn of(level: i32, number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| (kind.level(), kind.number()) == (level, number))
    }

    const fn level(self) -> i32 {
        if self.v6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP }
    }

    const fn number(self) -> i32 {
        match (self.v6, self.context) {
            (false, false) => IP_WFP_REDIRECT_RECORDS,
            (false, true) => IP_WFP_REDIRECT_CONTEXT,
            (true, false) => IPV6_WFP_REDIRECT_RECORDS,
            (true, true) => IPV6_WFP_REDIRECT_CONTEXT,
        }
    }

    /// A message with its padding.
    pub(crate) fn message(self, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(message_space(data.len()));
        bytes.extend((HEADER + data.len()).to_ne_bytes());
        bytes.extend(self.level().to_ne_bytes());
        bytes.extend(self.number().to_ne_bytes());
        bytes.extend(data);
        bytes.resize(message_space(data.len()), 0);
        bytes
    }
}

impl Control {
    /// Context messages are dropped: who forwards what it received may forward all of it.
    ///
    /// # Errors
    /// WSAEINVAL when a length leads out of the buffer.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut control = Self::default();
        while bytes.len() >= HEADER {
            let (message, rest) = split(bytes)?;
            let data = &message[HEADER..];
            match Kind::of(number(message, 8), number(message, 12)) {
                Some(Kind { context: false, .. }) => control.records = Some(data.to_vec()),
                Some(_) => {}
                None => {
                    control.rest.extend(message);
                    control.rest.resize(control.rest.len().next_multiple_of(ALIGNMENT), 0);
                }
            }
            bytes = rest;
        }
        Ok(control)
    }
}

/// Bytes that a message with so much data takes.
pub(crate) const fn message_space(data: usize) -> usize {
    (HEADER + data).next_multiple_of(ALIGNMENT)
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut length = [0; 8];
    length.copy_from_slice(&bytes[..8]);
    let length = usize::from_ne_bytes(length);
    if length < HEADER || length > bytes.len() {
        return Err(Error::Invalid(
            "a control message is longer than the buffer, or has no header",
        ));
    }
    let next = length.next_multiple_of(ALIGNMENT).min(bytes.len());
    Ok((&bytes[..length], &bytes[next..]))
}

fn number(message: &[u8], at: usize) -> i32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&message[at..at + 4]);
    i32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Kind = Kind { v6: false, context: false };

    #[test]
    fn the_layout_is_the_systems() {
        assert_eq!(HEADER, size_of::<libc::cmsghdr>());
        let message = V4.message(&[7; 5]);
        assert_eq!(message.len(), 24);
        assert_eq!(message[..8], 21usize.to_ne_bytes());
        assert_eq!((number(&message, 8), number(&message, 12)), (0, 60));
        let v6 = Kind { v6: true, context: true }.message(&[]);
        assert_eq!((number(&v6, 8), number(&v6, 12)), (41, 70));
    }

    #[test]
    fn statement_72_either_level_is_taken_and_context_and_others_are_told_apart() {
        let other = [24usize.to_ne_bytes(), [0; 8], [9; 8]].concat();
        for v6 in [false, true] {
            let records = Kind { v6, context: false }.message(b"records");
            let context = Kind { v6, context: true }.message(b"context");
            let control = Control::parse(&[context, other.clone(), records].concat()).unwrap();
            assert_eq!(control.records.as_deref(), Some(&b"records"[..]));
            assert_eq!(control.rest, other);
        }
    }

    #[test]
    fn a_length_that_leads_astray_is_refused() {
        let good = V4.message(&[1; 16]);
        for length in [0usize, 15, 33, usize::MAX, usize::MAX - 6] {
            let bytes = [&length.to_ne_bytes()[..], &good[8..]].concat();
            assert!(Control::parse(&bytes).is_err(), "{length}");
        }
        assert!(Control::parse(&good[..20]).is_err());
        assert_eq!(Control::parse(&[]), Ok(Control::default()));
    }
}
