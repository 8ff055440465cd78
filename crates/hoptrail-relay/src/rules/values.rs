//! The values of a rule that are written as text. What the engine's configuration knows too is written as there.

use super::Rate;
use crate::inspect::name::domain;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A value, or what is wrong with it.
pub(crate) type Parsed<T> = Result<T, String>;

/// An element of `name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    /// `example.com` for the name itself, `.example.com` for all below it, and nothing for every name: so each key that
    /// fits a name is a piece of it.
    pub(crate) key: Box<str>,
    pub(crate) excludes: bool,
}

/// An element of `remote`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    pub(crate) prefix: Prefix,
    pub(crate) excludes: bool,
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Prefix {
    /// With the other bits zero; IPv4-mapped addresses are IPv4.
    pub(crate) first: IpAddr,
    pub(crate) bits: u8,
}

impl Prefix {
    /// The prefix of `bits` bits in which the address is; nothing when it has not so many.
    pub(crate) fn of(address: IpAddr, bits: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32u32.checked_sub(bits.into())?).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128u32.checked_sub(bits.into())?).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        Some(Self { first, bits })
    }
}

/// One of the words in `choices`.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("\"{text}\" is not known; it is one of {}", words.join(", "))
    })
}

/// `example.com`, `*.example.com`, `*`, and the same after `!`.
pub(crate) fn name(text: &str) -> Parsed<Name> {
    let (excludes, pattern) = excluded(text);
    if pattern == "*" {
        return Ok(Name { key: "".into(), excludes });
    }
    if let Some(rest) = pattern.strip_prefix('.') {
        return Err(format!(
            "\"{text}\" begins with a dot; write \"{rest}\" for the name itself, \"*.{rest}\" for all below it"
        ));
    }
    let (below, plain) = match pattern.strip_prefix("*.") {
        Some(rest) => (".", rest),
        None => ("", pattern),
    };
    if !plain.is_ascii() {
        return Err(format!(
            "\"{text}\" is not ASCII; write the name as it is sent, as an A-label that begins with \"xn--\""
        ));
    }
    if plain.parse::<IpAddr>().is_ok() {
        return Err(format!("\"{text}\" is an address, not a name; addresses go into \"remote\""));
    }
    if plain.contains(':') {
        return Err(format!(
            "\"{text}\" is no name: ports go into \"ports\", and paths cannot be seen"
        ));
    }
    let Some(name) = domain(plain.as_bytes()) else {
        return Err(format!(
            "\"{text}\" is no name or pattern, such as \"example.com\", \"*.example.com\" or \"*\""
        ));
    };
    Ok(Name { key: format!("{below}{name}").into(), excludes })
}

/// `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`, and the same after `!`.
pub(crate) fn remote(text: &str) -> Parsed<Remote> {
    let (excludes, rest) = excluded(text);
    Ok(Remote { prefix: prefix(rest)?, excludes })
}

fn excluded(text: &str) -> (bool, &str) {
    text.strip_prefix('!').map_or((false, text), |rest| (true, rest))
}

fn prefix(text: &str) -> Parsed<Prefix> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| {
        format!(
            "\"{text}\" is no prefix, such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\""
        )
    })?;
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(width), |bits| bits.parse().ok());
    let whole = bits.and_then(|bits| Prefix::of(address, bits));
    let Some(whole) = whole else {
        return Err(format!("\"{text}\": the prefix length is a number from 0 to {width}"));
    };
    if whole.first != address {
        return Err(format!(
            "\"{text}\" has bits set beyond its length; the prefix is \"{}/{}\", the single address \"{address}\"",
            whole.first, whole.bits
        ));
    }
    // ::ffff:10.0.0.0/104 and 10.0.0.0/8 are one thing.
    let canonical = address.to_canonical();
    let mapped = canonical.is_ipv4() && width == 128 && whole.bits >= 96;
    Ok(if mapped { Prefix { first: canonical, bits: whole.bits - 96 } } else { whole })
}

/// `80` and `8000-8099`.
pub(crate) fn ports(text: &str) -> Parsed<RangeInclusive<u16>> {
    let wrong =
        || format!("\"{text}\" is no port or range of ports, such as \"80\" or \"8000-8099\"");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first > last {
        return Err(format!(
            "\"{text}\" is empty; the smaller port comes first: \"{last}-{first}\""
        ));
    }
    Ok(first..=last)
}

/// An absolute path, and the file to which its symbolic links lead, which is what the kernel names.
pub(crate) fn exe(text: &str) -> Parsed<Vec<PathBuf>> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err(format!(
            "\"{text}\" is no absolute path; an executable is named by its absolute path"
        ));
    }
    let target = path.canonicalize().ok().filter(|target| target != path);
    Ok(std::iter::once(path.to_path_buf()).chain(target).collect())
}

/// A user's number, by name or number.
pub(crate) fn user(text: &str) -> Parsed<u32> {
    let known = nix::unistd::User::from_name(text).map_err(|error| {
        format!("the user \"{text}\" cannot be looked up: {error}; write the number instead")
    })?;
    if let Some(user) = known {
        return Ok(user.uid.as_raw());
    }
    // 4294967295 is -1, which system calls take for "leave it as it is".
    let number = text.parse().ok().filter(|id| *id != u32::MAX);
    number
        .ok_or_else(|| format!("this machine has no user \"{text}\"; create it, or write a number"))
}

const UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kbit", 125),
    ("Mbit", 125_000),
    ("Gbit", 125_000_000),
];

/// `10 MB/s`, `1.5 MiB/s`, `8 Mbit/s`.
pub(crate) fn rate(text: &str) -> Parsed<Rate> {
    let wrong =
        || format!("\"{text}\" is no rate, such as \"10 MB/s\", \"512 KiB/s\" or \"8 Mbit/s\"");
    let (number, unit) = text
        .strip_suffix("/s")
        .ok_or_else(wrong)?
        .split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
    let bytes = thousandths(number).and_then(|n| n.checked_mul(*factor)).ok_or_else(wrong)? / 1000;
    let too_slow = || format!("\"{text}\" lets nothing pass; write action = \"deny\" instead");
    NonZeroU64::new(bytes).map(Rate).ok_or_else(too_slow)
}

/// A decimal number with up to three digits behind the point.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty() || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let key = |text: &str| name(text).map(|name| (name.excludes, name.key.to_string()));
        assert_eq!(key("Example.COM."), Ok((false, "example.com".into())));
        assert_eq!(key("*.example.com"), Ok((false, ".example.com".into())));
        assert_eq!(key("!*.example.com"), Ok((true, ".example.com".into())));
        assert_eq!(key("*"), Ok((false, String::new())));
        for (text, said) in [
            (".example.com", "write \"example.com\" for the name itself, \"*.example.com\""),
            ("bücher.example", "xn--"),
            ("192.0.2.1", "\"remote\""),
            ("::1", "\"remote\""),
            ("example.com:443", "\"ports\""),
            ("https://example.com/x", "paths"),
            ("a*.example.com", "no name or pattern"),
            ("*.*.example.com", "no name or pattern"),
            ("", "no name or pattern"),
            ("!", "no name or pattern"),
            ("!!a.example", "no name or pattern"),
            ("a b.example", "no name or pattern"),
        ] {
            assert!(name(text).unwrap_err().contains(said), "{text}: {:?}", name(text));
        }
    }

    #[test]
    fn remotes() {
        assert_eq!(
            remote("!10.0.0.0/8").unwrap().prefix,
            remote("::ffff:10.0.0.0/104").unwrap().prefix
        );
        assert_eq!(remote("192.0.2.1").unwrap().prefix.bits, 32);
        assert_eq!(remote("::/0").unwrap().prefix.bits, 0);
        assert!(remote("10.0.0.1/8").unwrap_err().contains("\"10.0.0.0/8\""));
        assert!(remote("10.0.0.0/33").unwrap_err().contains("0 to 32"));
        for bad in ["", "!", "!!10.0.0.0/8", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "example.com"]
        {
            assert!(remote(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates() {
        let bytes = |text: &str| rate(text).map(|rate| rate.0.get());
        assert_eq!(bytes("10 MB/s"), Ok(10_000_000));
        assert_eq!(bytes("1.5MiB/s"), Ok(1_572_864));
        assert_eq!(bytes("8 Mbit/s"), Ok(1_000_000));
        assert_eq!(bytes("1 B/s"), Ok(1));
        for bad in [
            "",
            "/s",
            "10",
            "10 MB",
            "MB/s",
            "-1 MB/s",
            "1.2345 MB/s",
            "1. MB/s",
            "10 mb/s",
            "99999999999 GB/s",
        ] {
            assert!(rate(bad).unwrap_err().contains("no rate"), "{bad}");
        }
        assert!(rate("0 MB/s").unwrap_err().contains("deny"));
        assert!(rate("0.5 B/s").unwrap_err().contains("deny"));
    }

    #[test]
    fn ports_users_and_executables() {
        assert_eq!(ports("8000-8099"), Ok(8000..=8099));
        assert!(ports("2-1").unwrap_err().contains("\"1-2\""));
        assert!(ports("http").is_err());
        assert_eq!(user("root"), Ok(0));
        assert_eq!(user("4242424"), Ok(4_242_424));
        assert!(user("4294967295").is_err());
        assert!(user("no-such-user-here").unwrap_err().contains("no user"));
        assert!(exe("bin/curl").is_err());
        let dir = std::env::temp_dir().canonicalize().unwrap();
        let link = dir.join(format!("hoptrail-rules-{}", std::process::id()));
        std::os::unix::fs::symlink("/proc/self/../version", &link).unwrap();
        let both = exe(link.to_str().unwrap());
        std::fs::remove_file(&link).unwrap();
        assert_eq!(both, Ok(vec![link, "/proc/version".into()]));
    }
}
