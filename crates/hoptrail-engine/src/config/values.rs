//! The values that are written as strings: addresses, prefixes, ports, paths, users.

use hoptrail_core::Ip;
use hoptrail_core::compile::Prefix;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

/// A user as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// By name; a name that does not exist but is a number counts as the number.
    Name(String),
    /// By number.
    Id(u32),
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// An element of `remote`: a prefix, and whether it excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) prefix: Prefix,
    pub(super) excludes: bool,
}

pub(super) type Parsed<T> = Result<T, String>;

/// A listener: IPv4-mapped addresses count as IPv4.
pub(super) fn listener(text: &str) -> Parsed<SocketAddr> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!(
            "\"{text}\" is no address with a port, such as \"127.0.0.1:15871\" or \"[::1]:15871\""
        )
    })?;
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let ip = Ip::from(address.ip());
    if address.port() == 0 {
        return Err("port 0 is no port to which connections can be sent; name the one that the proxy listens on".into());
    }
    if ip.is_unspecified() {
        let loopback = if ip.is_v4() { "127.0.0.1" } else { "[::1]" };
        return Err(format!(
            "\"{text}\" names every address; name the one to which connections are sent, such as \"{loopback}:{}\"",
            address.port()
        ));
    }
    if ip.is_many() {
        return Err(format!(
            "\"{text}\" is a multicast or broadcast address; no proxy can listen there"
        ));
    }
    Ok(address)
}

/// `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`, and the same after `!`.
pub(super) fn remote(text: &str) -> Parsed<Remote> {
    let (excludes, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Ok(Remote { prefix: prefix(rest)?, excludes })
}

fn prefix(text: &str) -> Parsed<Prefix> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        format!(
            "\"{text}\" is no prefix, such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\""
        )
    })?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => width,
        Some(bits) => bits.parse().ok().filter(|bits: &u8| *bits <= width).ok_or_else(|| {
            format!(
                "\"/{bits}\" is no prefix length of an {} address: 0 to {width}",
                family(address)
            )
        })?,
    };
    let first = masked(address, bits);
    if first != address {
        return Err(format!(
            "\"{text}\" has bits set beyond its length; the prefix is \"{first}/{bits}\", the single address \"{address}\""
        ));
    }
    // ::ffff:10.0.0.0/104 and 10.0.0.0/8 are one thing.
    let mapped = width == 128 && bits >= 96 && Ip::from(address).is_v4();
    Ok(Prefix { ip: address.into(), bits: if mapped { bits - 96 } else { bits } })
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// `80` and `8000-8099`.
pub(super) fn ports(text: &str) -> Parsed<RangeInclusive<u16>> {
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

/// An executable: an absolute path.
pub(super) fn exe(text: &str) -> Parsed<PathBuf> {
    let path = Path::new(text);
    if text.contains('\0') {
        return Err("a path cannot contain a NUL character".into());
    }
    if !path.is_absolute() {
        return Err(format!(
            "\"{text}\" is a relative path; an executable is named by its absolute path"
        ));
    }
    Ok(path.to_path_buf())
}

/// A cgroup: its path from the root of the hierarchy, without a trailing slash.
pub(super) fn cgroup(text: &str) -> Parsed<String> {
    let path = Path::new(text);
    if text.contains('\0') {
        return Err("a path cannot contain a NUL character".into());
    }
    if !path.is_absolute() {
        return Err(format!(
            "\"{text}\" does not start at the root; a cgroup is named as in /proc/PID/cgroup: \"/{text}\""
        ));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("\"{text}\" contains \"..\"; name the cgroup itself"));
    }
    let clean: PathBuf = path.components().collect();
    Ok(clean.display().to_string())
}

/// A user's name.
pub(super) fn user(text: &str) -> Parsed<User> {
    if text.is_empty() || text.contains(['\0', ':', '\n']) {
        return Err(format!("{text:?} is no user name"));
    }
    Ok(User::Name(text.to_owned()))
}

/// A user's number.
pub(super) fn uid(number: i64) -> Parsed<User> {
    match u32::try_from(number) {
        // 4294967295 is -1, which system calls take for "leave it as it is".
        Ok(id) if id != u32::MAX => Ok(User::Id(id)),
        _ => Err(format!("{number} is no user number: 0 to 4294967294")),
    }
}

/// The first word of `command`.
pub(super) fn program(text: &str) -> Parsed<()> {
    if text.is_empty() {
        return Err("the first word of a command is the program; it cannot be empty".into());
    }
    if text.contains('/') && !text.starts_with('/') {
        return Err(format!(
            "\"{text}\" is a relative path; name the program by its absolute path, or by its bare name to find it in PATH"
        ));
    }
    Ok(())
}

/// A provider's name: it is also a cgroup's name and a word on the command line.
pub(super) fn provider_name(text: &str) -> Parsed<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && text.len() <= 63 && text.chars().all(good) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no provider name: up to 63 letters, digits, \"-\", \"_\" and \".\", a letter or digit first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn listeners() {
        assert_eq!(listener("127.0.0.1:15871"), Ok(at("127.0.0.1:15871")));
        assert_eq!(listener("[::ffff:127.0.0.1]:80"), Ok(at("127.0.0.1:80")));
        assert!(listener("127.0.0.1").unwrap_err().contains("no address with a port"));
        assert!(listener("127.0.0.1:0").unwrap_err().contains("port 0"));
        assert!(listener("0.0.0.0:80").unwrap_err().contains("\"127.0.0.1:80\""));
        assert!(listener("[::]:80").unwrap_err().contains("\"[::1]:80\""));
        assert!(listener("224.0.0.1:80").unwrap_err().contains("multicast"));
    }

    #[test]
    fn remotes() {
        let parsed = remote("!10.0.0.0/8").unwrap();
        assert!(parsed.excludes);
        assert_eq!(parsed.prefix, remote("::ffff:10.0.0.0/104").unwrap().prefix);
        assert_eq!(remote("192.0.2.1").unwrap().prefix.bits, 32);
        assert_eq!(remote("2001:db8::1").unwrap().prefix.bits, 128);
        assert_eq!(remote("0.0.0.0/0").unwrap().prefix.bits, 0);
        assert_eq!(remote("::/0").unwrap().prefix.bits, 0);
        assert!(remote("10.0.0.0/33").unwrap_err().contains("0 to 32"));
        assert!(remote("10.0.0.1/8").unwrap_err().contains("\"10.0.0.0/8\""));
        assert!(remote("2001:db8::1/64").unwrap_err().contains("\"2001:db8::/64\""));
        for bad in ["", "!", "!!10.0.0.0/8", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(remote(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(ports("80"), Ok(80..=80));
        assert_eq!(ports("8000-8099"), Ok(8000..=8099));
        assert!(ports("8099-8000").unwrap_err().contains("\"8000-8099\""));
        for bad in ["", "-", "80-", "65536", "http", "1-2-3"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        assert!(exe("bin/curl").unwrap_err().contains("relative path"));
        assert_eq!(cgroup("/user.slice/"), Ok("/user.slice".into()));
        assert_eq!(cgroup("/"), Ok("/".into()));
        assert!(cgroup("user.slice").unwrap_err().contains("\"/user.slice\""));
        assert!(cgroup("/a/../b").unwrap_err().contains("\"..\""));
        assert!(program("./x").unwrap_err().contains("relative path"));
        assert_eq!(program("python3"), Ok(()));
        assert_eq!(program("/usr/bin/python3"), Ok(()));
    }

    #[test]
    fn users_and_names() {
        assert_eq!(uid(0), Ok(User::Id(0)));
        assert!(uid(-1).is_err());
        assert!(uid(0xffff_ffff).is_err());
        assert!(user("a:b").is_err());
        assert_eq!(provider_name("acme-2.x_y"), Ok(()));
        for bad in ["", ".x", "-x", "a/b", "a b", &"x".repeat(64)] {
            assert!(provider_name(bad).is_err(), "{bad}");
        }
    }
}
