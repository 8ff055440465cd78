//! Domain names as clients write them.

/// The name in lower case and without its last dot; nothing when it is none: an address, an empty or too long label, or
/// a byte that no name on the wire has.
///
/// Underscores are let through, since names with them are asked for and served; non-ASCII names are not, since on the
/// wire they are A-labels.
pub(crate) fn domain(bytes: &[u8]) -> Option<Box<str>> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    if bytes.len() > 253 || !bytes.split(|byte| *byte == b'.').all(is_label) {
        return None;
    }
    // A last label of digits alone makes it an IPv4 address, however short.
    let last = bytes.rsplit(|byte| *byte == b'.').next()?;
    if last.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(bytes).ok()?.to_ascii_lowercase().into())
}

/// The name in `name:port` or `name`, as in `Host` and in a URI.
pub(super) fn host(bytes: &[u8]) -> Option<Box<str>> {
    let end = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    let (name, port) = bytes.split_at(end);
    port.iter().skip(1).all(u8::is_ascii_digit).then(|| domain(name))?
}

fn is_label(label: &[u8]) -> bool {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = format!("{}.example", "a".repeat(63));
        for (text, name) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("localhost", "localhost"),
            ("_dns.resolver.arpa", "_dns.resolver.arpa"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            (long.as_str(), long.as_str()),
        ] {
            assert_eq!(domain(text.as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_name() {
        let label = format!("{}.example", "a".repeat(64));
        let whole = format!("{}example", "a.".repeat(124));
        for text in [
            "",
            ".",
            "..",
            ".example.com",
            "a..b",
            "example.com..",
            "192.0.2.1",
            "1",
            "[::1]",
            "::1",
            "a b.example",
            "a\0.example",
            "a\n.example",
            "bücher.example",
            "*.example.com",
            "a/b",
            "a@b",
            label.as_str(),
            whole.as_str(),
        ] {
            assert_eq!(domain(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn hosts() {
        for text in ["Example.com", "example.com:80", "example.com.:8080", "example.com:"] {
            assert_eq!(host(text.as_bytes()).as_deref(), Some("example.com"), "{text}");
        }
        for text in ["", ":80", "192.0.2.1:80", "[::1]:80", "example.com:http", "example.com:80:80"]
        {
            assert_eq!(host(text.as_bytes()), None, "{text}");
        }
    }
}
