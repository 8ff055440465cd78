//! Control messages as bytes: `WSACMSGHDR` and data, one after another.

use windows_sys::Win32::Networking::WinSock::{
    CMSGHDR, IP_WFP_REDIRECT_CONTEXT, IP_WFP_REDIRECT_RECORDS, IPPROTO_IP, IPPROTO_IPV6,
};

/// Messages and their data begin at multiples of this.
const ALIGNMENT: usize = align_of::<usize>();
const HEADER_BYTES: usize = size_of::<CMSGHDR>().next_multiple_of(ALIGNMENT);

/// What came with a flow's first datagram.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Came<'b> {
    pub(super) records: Option<&'b [u8]>,
    pub(super) context: Option<&'b [u8]>,
}

/// Reads records and context, at either family's level: a dual-stack socket may get either.
pub(super) fn read(mut messages: &[u8]) -> Came<'_> {
    let mut came = Came::default();
    while let Some((level, kind, data, rest)) = first(messages) {
        let ours = level == IPPROTO_IP || level == IPPROTO_IPV6;
        match kind {
            IP_WFP_REDIRECT_RECORDS if ours => came.records = Some(data),
            IP_WFP_REDIRECT_CONTEXT if ours => came.context = Some(data),
            _ => {}
        }
        messages = rest;
    }
    came
}

/// One message with records.
pub(super) fn records(records: &[u8], v4: bool) -> Vec<u8> {
    let level = if v4 { IPPROTO_IP } else { IPPROTO_IPV6 };
    let mut bytes = (HEADER_BYTES + records.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(IP_WFP_REDIRECT_RECORDS.to_ne_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(records);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// Level, type and data of the first message, and the others.
fn first(messages: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let at = size_of::<usize>();
    let length = usize::from_ne_bytes(messages.get(..at)?.try_into().ok()?);
    let level = i32::from_ne_bytes(messages.get(at..at + 4)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(messages.get(at + 4..at + 8)?.try_into().ok()?);
    let data = messages.get(HEADER_BYTES..length)?;
    let rest = messages.get(length.checked_next_multiple_of(ALIGNMENT)?..).unwrap_or_default();
    Some((level, kind, data, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layout_is_that_of_the_system() {
        assert_eq!(offset_of!(CMSGHDR, cmsg_len), 0);
        assert_eq!(offset_of!(CMSGHDR, cmsg_level), size_of::<usize>());
        assert_eq!(offset_of!(CMSGHDR, cmsg_type), size_of::<usize>() + 4);
        assert_eq!((IP_WFP_REDIRECT_RECORDS, IP_WFP_REDIRECT_CONTEXT), (60, 70));
    }

    #[test]
    fn what_is_written_is_read() {
        for length in 0..20 {
            let data: Vec<u8> = (0..length).collect();
            for v4 in [true, false] {
                let bytes = records(&data, v4);
                assert_eq!(read(&bytes), Came { records: Some(&data), context: None });
            }
        }
    }

    #[test]
    fn several_messages_are_told_apart() {
        let mut context = records(b"asked for", true);
        context[size_of::<usize>() + 4..][..4].copy_from_slice(&70_i32.to_ne_bytes());
        let mut foreign = records(b"else", true);
        foreign[size_of::<usize>()..][..4].copy_from_slice(&1_i32.to_ne_bytes());
        let all = [foreign, context, records(b"trail", false)].concat();
        assert_eq!(read(&all), Came { records: Some(b"trail"), context: Some(b"asked for") });
    }

    #[test]
    fn cut_or_senseless_bytes_give_nothing_and_no_panic() {
        let bytes = records(b"0123456789", true);
        for length in 0..HEADER_BYTES + 10 {
            assert_eq!(read(&bytes[..length]), Came::default(), "{length}");
        }
        for length in [0_usize, 1, HEADER_BYTES - 1, usize::MAX, usize::MAX - 7] {
            let mut bytes = bytes.clone();
            bytes[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read(&bytes), Came::default(), "{length}");
        }
    }
}
