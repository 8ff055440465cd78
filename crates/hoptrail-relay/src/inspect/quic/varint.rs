//! Variable-length integers and what is measured by them (RFC 9000, 16).

/// The number at the beginning, and what follows it.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(len)?;
    let first = u64::from(number[0] & 0x3f);
    Some((number[1..].iter().fold(first, |sum, byte| sum << 8 | u64::from(*byte)), rest))
}

/// As many bytes as the number at the beginning says, and what follows them.
pub(super) fn measured(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = number(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9000, A.1.
    #[test]
    fn numbers() {
        let long = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(number(&long), Some((151_288_809_941_952_652, &[][..])));
        assert_eq!(number(&[0x9d, 0x7f, 0x3e, 0x7d, 1]), Some((494_878_333, &[1][..])));
        assert_eq!(number(&[0x7b, 0xbd]), Some((15_293, &[][..])));
        assert_eq!(number(&[0x25]), Some((37, &[][..])));
        assert_eq!(number(&[0x40]), None);
        assert_eq!(number(&[]), None);
        assert_eq!(measured(&[2, 7, 8, 9]), Some((&[7, 8][..], &[9][..])));
        assert_eq!(measured(&[3, 7, 8]), None);
    }
}
