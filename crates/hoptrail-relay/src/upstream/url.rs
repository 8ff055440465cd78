//! An upstream as it is written in configuration and on the command line.

use super::{Login, Upstream, Via};
use percent_encoding::percent_decode_str;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// `direct`, or the URL of a proxy whose host may still be a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(Option<ProxyUrl>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct ProxyUrl {
    scheme: Scheme,
    login: Option<Login>,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Socks5,
    Socks5h,
    Http,
}

/// What is wrong with an upstream. No message repeats a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Neither `direct` nor an URL of a known kind.
    #[error(
        "an upstream is `direct`, socks5://HOST:PORT, socks5h://HOST:PORT or http://HOST:PORT, \
         with USER:PASSWORD@ before HOST where a login is needed; this one {0}"
    )]
    Scheme(&'static str),
    /// No port.
    #[error("upstream {0}: write the proxy's port behind its host, as in {0}:1080")]
    NoPort(String),
    /// Not a port.
    #[error("upstream: `{0}` is no port; write a number from 1 to 65535")]
    Port(String),
    /// Not a host.
    #[error("upstream: `{0}` is no host; write a name, an IPv4 address, or an IPv6 address in []")]
    Host(String),
    /// Something behind the port.
    #[error("upstream: there is `{0}` behind the port; an upstream ends there")]
    Path(String),
    /// User or password cannot be used.
    #[error("upstream: the {part} {what}")]
    Login {
        /// `user` or `password`.
        part: &'static str,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// The host has no address.
    #[error("upstream: cannot find an address of `{host}`: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
}

impl Url {
    /// Reads an upstream.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text == "direct" {
            return Ok(Self(None));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme("has no `://`"))?;
        let scheme = Scheme::of(scheme)?;
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(self::login(login, scheme)?), place),
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        if let Some(at) = place.find(['/', '?', '#']) {
            return Err(UrlError::Path(place[at..].into()));
        }
        let (host, port) = host_and_port(place)?;
        Ok(Self(Some(ProxyUrl { scheme, login, host, port })))
    }

    /// Looks up the host, if it is a name; of several addresses the first is taken.
    ///
    /// # Errors
    /// When it has no address.
    pub fn resolve(self) -> Result<Upstream, UrlError> {
        let Some(ProxyUrl { scheme, login, host, port }) = self.0 else {
            return Ok(Upstream::Direct);
        };
        let at = lookup(&host, port)?;
        let via = Via { at, login, by_name: scheme == Scheme::Socks5h };
        Ok(match scheme {
            Scheme::Socks5 | Scheme::Socks5h => Upstream::Socks5(via),
            Scheme::Http => Upstream::Http(via),
        })
    }
}

impl Scheme {
    fn of(text: &str) -> Result<Self, UrlError> {
        match text.to_ascii_lowercase().as_str() {
            "socks5" => Ok(Self::Socks5),
            "socks5h" => Ok(Self::Socks5h),
            "http" => Ok(Self::Http),
            "https" => Err(UrlError::Scheme("is https: TLS to the proxy is not supported")),
            "socks4" | "socks4a" => Err(UrlError::Scheme("is SOCKS4, which is not supported")),
            _ => Err(UrlError::Scheme("is of another kind")),
        }
    }
}

fn lookup(host: &str, port: u16) -> Result<SocketAddr, UrlError> {
    let error = |source| UrlError::Lookup { host: host.into(), source };
    let mut found = (host, port).to_socket_addrs().map_err(error)?;
    found.next().ok_or_else(|| error(io::ErrorKind::NotFound.into()))
}

fn login(text: &str, scheme: Scheme) -> Result<Login, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let login = Login { user: decoded("user", user)?, password: decoded("password", password)? };
    let wrong = |part, what| Err(UrlError::Login { part, what });
    if login.user.is_empty() {
        return wrong("user", "is empty; write USER:PASSWORD@ or leave out the `@`");
    }
    for (part, bytes) in [("user", &login.user), ("password", &login.password)] {
        match scheme {
            Scheme::Socks5 | Scheme::Socks5h if bytes.is_empty() => {
                return wrong(part, "is empty; SOCKS5 wants at least one byte");
            }
            Scheme::Socks5 | Scheme::Socks5h if bytes.len() > usize::from(u8::MAX) => {
                return wrong(part, "is longer than 255 bytes, which SOCKS5 cannot carry");
            }
            Scheme::Http if bytes.iter().any(u8::is_ascii_control) => {
                return wrong(part, "has control characters, which HTTP cannot carry");
            }
            Scheme::Http if part == "user" && bytes.contains(&b':') => {
                return wrong(part, "has a colon, which HTTP's Basic login cannot carry");
            }
            _ => {}
        }
    }
    Ok(login)
}

fn decoded(part: &'static str, text: &str) -> Result<Vec<u8>, UrlError> {
    let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if text.match_indices('%').any(|(at, _)| !hex(at + 1) || !hex(at + 2)) {
        let what = "has a `%` without two hexadecimal digits; write a `%` itself as %25";
        return Err(UrlError::Login { part, what });
    }
    Ok(percent_decode_str(text).collect())
}

fn host_and_port(place: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| UrlError::Host(place.into()))?;
            let address: Ipv6Addr = host.parse().map_err(|_| UrlError::Host(host.into()))?;
            let port = rest.strip_prefix(':').filter(|port| !port.is_empty());
            (address.to_string(), port.ok_or_else(|| UrlError::NoPort(format!("[{host}]")))?)
        }
        None if place.parse::<Ipv6Addr>().is_ok() => return Err(UrlError::Host(place.into())),
        None => match place.split_once(':') {
            Some((host, port)) if !port.is_empty() => (name(host)?, port),
            _ => return Err(UrlError::NoPort(place.trim_end_matches(':').into())),
        },
    };
    let number = port.parse().ok().filter(|&number: &u16| number != 0);
    Ok((host, number.ok_or_else(|| UrlError::Port(port.into()))?))
}

fn name(host: &str) -> Result<String, UrlError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let numbers = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let known = !host.is_empty() && host.len() <= 253 && host.bytes().all(plain);
    // `127.1` and `1` would be looked up as what inet_aton(3) makes of them.
    if !known || numbers && host.parse::<IpAddr>().is_err() {
        return Err(UrlError::Host(host.into()));
    }
    Ok(host.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Upstream::of(text).expect_err(text).to_string()
    }

    #[test]
    fn every_kind_is_read() {
        assert_eq!(Upstream::of("direct").unwrap(), Upstream::Direct);
        let via = |at: &str, login: Option<(&str, &str)>, by_name| Via {
            at: at.parse().unwrap(),
            login: login
                .map(|(user, password)| Login { user: user.into(), password: password.into() }),
            by_name,
        };
        for (text, upstream) in [
            ("socks5://192.0.2.1:1080", Upstream::Socks5(via("192.0.2.1:1080", None, false))),
            ("SOCKS5H://[2001:db8::1]:9/", Upstream::Socks5(via("[2001:db8::1]:9", None, true))),
            (
                "http://a%3Ab@c:p%40s%25@192.0.2.1:3128",
                Upstream::Http(via("192.0.2.1:3128", Some(("a:b@c", "p@s%")), false)),
            ),
            (
                "socks5://a%3Ab@c:p%40s%25@192.0.2.1:3128",
                Upstream::Socks5(via("192.0.2.1:3128", Some(("a:b@c", "p@s%")), false)),
            ),
        ] {
            match Upstream::of(text) {
                Ok(found) => assert_eq!(found, upstream, "{text}"),
                Err(e) => assert!(e.to_string().contains("has a colon"), "{text}: {e}"),
            }
        }
        assert!(matches!(Upstream::of("http://localhost:1").unwrap(), Upstream::Http(_)));
    }

    #[test]
    fn what_is_wrong_is_said_in_plain_words() {
        for (text, words) in [
            ("", "has no `://`"),
            ("192.0.2.1:1080", "has no `://`"),
            ("ftp://h:1", "is of another kind"),
            ("https://h:1", "TLS to the proxy"),
            ("socks4://h:1", "SOCKS4"),
            ("socks5://h", "h:1080"),
            ("socks5://h:", "h:1080"),
            ("socks5://[::1]", "[::1]:1080"),
            ("socks5://::1", "in []"),
            ("socks5://[::1:1080", "in []"),
            ("socks5://:1080", "is no host"),
            ("socks5://h o:1", "is no host"),
            ("socks5://127.1:1", "is no host"),
            ("socks5://h:0", "from 1 to 65535"),
            ("socks5://h:65536", "from 1 to 65535"),
            ("socks5://h:1/x", "`/x` behind the port"),
            ("http://h:1?x", "`?x` behind the port"),
            ("socks5://user@h:1", "password is empty"),
            ("socks5://:secret@h:1", "user is empty"),
            ("socks5://u:%zz@h:1", "%25"),
            ("socks5://u:100%@h:1", "%25"),
            ("http://a%3ab:c@h:1", "has a colon"),
            ("http://a:b%0d%0aX: y@h:1", "control characters"),
        ] {
            assert!(error(text).contains(words), "{text}: {}", error(text));
        }
        let long = format!("socks5://u:{}@h:1", "x".repeat(256));
        assert!(error(&long).contains("longer than 255"));
        assert!(error("http://no-such-host.invalid:1").contains("no-such-host.invalid"));
    }

    #[test]
    fn nothing_shows_the_password() {
        let text = "socks5://user:secret@192.0.2.1:1080";
        let upstream = Upstream::of(text).unwrap();
        assert_eq!(upstream.to_string(), "socks5://192.0.2.1:1080");
        let shown = format!("{upstream:?} {:?}", Url::parse(text).unwrap());
        assert!(shown.contains("user") && !shown.contains("secret"), "{shown}");
        for text in ["socks5://u:secret@h", "socks5://u:secret@h:x", "socks5://u:secret%@h:1"] {
            assert!(!error(text).contains("secret"), "{text}: {}", error(text));
        }
    }
}
