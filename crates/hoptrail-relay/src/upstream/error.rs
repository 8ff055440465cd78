//! What an upstream proxy answered instead of connecting us on.

use super::connect::MAX_HEAD;

/// Why a proxy did not connect us on. The application sees a reset.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte of a SOCKS5 answer was not 5.
    #[error("it does not talk SOCKS5 (its answer begins with byte {0:#04x}); is the port right?")]
    NotSocks5(u8),
    /// None of the offered ways to log in suits it.
    #[error("it wants a login; write it into the URL: socks5://USER:PASSWORD@HOST:PORT")]
    LoginWanted,
    /// The same, though user and password were offered.
    #[error("it accepts neither a user with password nor none; only these two are supported")]
    NoMethod,
    /// It chose a way to log in that was not offered.
    #[error("it chose the login method {0}, which was not offered")]
    Method(u8),
    /// User or password are wrong.
    #[error("it refuses the user or the password; correct them in the URL")]
    LoginRefused,
    /// The answer to user and password is none (RFC 1929).
    #[error("its answer to the login is malformed (version {0})")]
    LoginVersion(u8),
    /// It could not do what it was asked for.
    #[error("it answers: {}", reply(*.0))]
    Reply(u8),
    /// It gave an address of an unknown kind.
    #[error("its answer holds an address of the unknown type {0}")]
    AddressType(u8),
    /// It answered with something that is no HTTP.
    #[error("it does not answer in HTTP/1; is the port right?")]
    NotHttp,
    /// Its answer does not end.
    #[error("the head of its answer is longer than {MAX_HEAD} bytes or 100 fields")]
    TooLong,
    /// It refuses.
    #[error("it answers {code}{}{reason}{}", if .reason.is_empty() { "" } else { " " }, hint(*.code))]
    Status {
        /// The status code.
        code: u16,
        /// What it says to it.
        reason: Box<str>,
    },
    /// It closed the connection before it had answered.
    #[error("it closed the connection before it had answered")]
    Closed,
}

impl HandshakeError {
    /// The errno that comes closest, as if connecting itself had failed.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            Self::LoginWanted | Self::NoMethod | Self::LoginRefused => libc::EACCES,
            Self::Reply(code) => errno_of_reply(*code),
            Self::Status { code, .. } => errno_of_status(*code),
            Self::Closed => libc::ECONNRESET,
            Self::NotSocks5(_)
            | Self::Method(_)
            | Self::LoginVersion(_)
            | Self::AddressType(_)
            | Self::NotHttp
            | Self::TooLong => libc::EPROTO,
        }
    }
}

/// RFC 1928, section 6.
const fn reply(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "no answer in time (TTL expired)",
        7 => "command not supported; UDP needs a SOCKS5 server with UDP ASSOCIATE",
        8 => "address type not supported",
        _ => "a failure of an unknown kind",
    }
}

const fn errno_of_reply(code: u8) -> i32 {
    match code {
        2 => libc::EACCES,
        3 => libc::ENETUNREACH,
        4 => libc::EHOSTUNREACH,
        6 => libc::ETIMEDOUT,
        7 => libc::EOPNOTSUPP,
        8 => libc::EAFNOSUPPORT,
        _ => libc::ECONNREFUSED,
    }
}

const fn hint(code: u16) -> &'static str {
    match code {
        401 | 407 => "; write the login into the URL: http://USER:PASSWORD@HOST:PORT",
        403 => "; its rules forbid this destination",
        400 | 404 | 405 | 501 => "; does it allow CONNECT?",
        _ => "",
    }
}

const fn errno_of_status(code: u16) -> i32 {
    match code {
        401 | 403 | 407 => libc::EACCES,
        405 | 501 => libc::EOPNOTSUPP,
        404 | 503 => libc::EHOSTUNREACH,
        408 | 504 => libc::ETIMEDOUT,
        _ => libc::ECONNREFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_has_its_words_and_errno() {
        let known: Vec<_> = (1..=8).map(reply).collect();
        for (i, words) in known.iter().enumerate() {
            assert!(!known[..i].contains(words), "{words}");
            assert_ne!(*words, reply(9));
        }
        assert_eq!(HandshakeError::Reply(2).errno(), libc::EACCES);
        assert_eq!(HandshakeError::Reply(5).errno(), libc::ECONNREFUSED);
        assert_eq!(HandshakeError::Reply(200).errno(), libc::ECONNREFUSED);
    }

    #[test]
    fn a_status_is_told_with_what_to_do() {
        let status = |code, reason: &str| HandshakeError::Status { code, reason: reason.into() };
        assert_eq!(
            status(407, "Proxy Authentication Required").to_string(),
            "it answers 407 Proxy Authentication Required; write the login into the URL: \
             http://USER:PASSWORD@HOST:PORT"
        );
        assert_eq!(status(502, "").to_string(), "it answers 502");
        assert_eq!(status(504, "").errno(), libc::ETIMEDOUT);
    }
}
