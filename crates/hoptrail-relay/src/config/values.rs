//! The values that are written as text: addresses, durations, numbers, words.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Each connection keeps as many bytes of each direction.
const LONGEST_PATTERN: usize = 256;

/// A value, or a sentence that says what is wrong with its text.
pub(super) type Parsed<T> = Result<T, String>;

/// Longer than any of this lasts; keeps sums of times from overflowing.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An address to listen at; port 0 lets the system choose.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    let address: SocketAddr = text.trim().parse().map_err(|_| no_address(text))?;
    let ip = address.ip().to_canonical();
    if ip.is_multicast() || ip.to_string() == "255.255.255.255" {
        return Err(format!("\"{text}\" is a multicast or broadcast address; name one host's"));
    }
    // ::ffff:127.0.0.1 and 127.0.0.1 are one thing; a scope stays where it is.
    Ok(if ip == address.ip() { address } else { SocketAddr::new(ip, address.port()) })
}

/// An address to connect to.
pub(super) fn destination(text: &str) -> Parsed<SocketAddr> {
    let to = address(text)?;
    if to.port() == 0 || to.ip().is_unspecified() {
        return Err(format!("\"{text}\" is nowhere to connect to; name one address and port"));
    }
    Ok(to)
}

/// Each address once.
pub(super) fn no_duplicates(list: &[SocketAddr]) -> Parsed<()> {
    let twice = |(i, address): (usize, &SocketAddr)| {
        (address.port() != 0 && list[..i].contains(address)).then_some(*address)
    };
    match list.iter().enumerate().find_map(twice) {
        Some(address) => Err(format!("{address} is named twice; once is enough")),
        None => Ok(()),
    }
}

/// A duration that is not zero.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err(format!("\"{text}\" is no time at all; the least is \"1ms\"")),
        time => Ok(time),
    }
}

/// `500ms`, `30s`, `1h 30m`.
pub(super) fn duration_or_zero(text: &str) -> Parsed<Duration> {
    let wrong =
        || format!("\"{text}\" is no duration, such as \"500ms\", \"30s\", \"5m\" or \"1h\"");
    let time = humantime::parse_duration(text.trim()).map_err(|_| wrong())?;
    if time > LONGEST {
        return Err(format!("\"{text}\" is longer than ten years"));
    }
    if !time.is_zero() && time < Duration::from_millis(1) {
        return Err(format!("\"{text}\" is too short; the least is \"1ms\""));
    }
    Ok(time)
}

/// Bytes to watch for: as text, or after `hex:` as digits.
pub(super) fn pattern(text: &str) -> Parsed<Vec<u8>> {
    let bytes = match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => hex(digits).ok_or_else(|| {
            format!("\"{text}\" has no hexadecimal digits in pairs behind \"hex:\"")
        })?,
    };
    match bytes.len() {
        0 => Err("an empty pattern would be everywhere".to_owned()),
        1..=LONGEST_PATTERN => Ok(bytes),
        n => Err(format!("a pattern of {n} bytes is too long; the most is {LONGEST_PATTERN}")),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A number from 1 to `most`.
pub(super) fn count(text: &str, most: usize) -> Parsed<NonZeroUsize> {
    let number = text.trim().parse().ok().filter(|n: &NonZeroUsize| n.get() <= most);
    number.ok_or_else(|| format!("\"{text}\" is no number from 1 to {most}"))
}

/// Nothing for `word`, else what `parse` makes of the text.
pub(super) fn one_or<T>(
    word: &str,
    text: &str,
    parse: impl Fn(&str) -> Parsed<T>,
) -> Parsed<Option<T>> {
    if text == word {
        return Ok(None);
    }
    parse(text).map(Some).map_err(|wrong| format!("{wrong}; or \"{word}\""))
}

/// One of the words in `choices`.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    Err(format!("it cannot be \"{text}\"; it is one of {}", names.join(", ")))
}

fn no_address(text: &str) -> String {
    let like = match text.trim().trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!("\"127.0.0.1:{port}\" or \"[::1]:{port}\""),
        Err(_) => "\"127.0.0.1:15871\" or \"[::1]:15871\"".to_owned(),
    };
    format!("\"{text}\" is no address with a port, such as {like}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("[::ffff:127.0.0.1]:80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(address("[fe80::1%3]:80").unwrap().to_string(), "[fe80::1%3]:80");
        assert!(address("127.0.0.1:0").is_ok() && destination("127.0.0.1:0").is_err());
        assert!(destination("0.0.0.0:80").is_err());
        for wrong in ["224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "", "a:1", "127.0.0.1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        let advice = address(":8080").unwrap_err();
        assert!(advice.ends_with("such as \"127.0.0.1:8080\" or \"[::1]:8080\""), "{advice}");
    }

    #[test]
    fn the_same_port_twice_is_a_slip_and_port_0_twice_is_not() {
        let list = |texts: [&str; 2]| texts.map(|text| address(text).unwrap());
        assert!(no_duplicates(&list(["127.0.0.1:5", "127.0.0.1:5"])).is_err());
        assert!(no_duplicates(&list(["127.0.0.1:0", "127.0.0.1:0"])).is_ok());
        assert!(no_duplicates(&list(["127.0.0.1:5", "[::1]:5"])).is_ok());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration_or_zero("0s").unwrap(), Duration::ZERO);
        for wrong in ["0s", "30", "-1s", "1x", "", "1ns", "999999999y", "18446744073709551615s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_are_text_or_digits() {
        assert_eq!(pattern("SECRET").unwrap(), b"SECRET");
        assert_eq!(pattern("hex:00ff7A").unwrap(), [0, 0xff, 0x7a]);
        for wrong in ["", "hex:", "hex:0", "hex:0g", &"a".repeat(257)] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_and_words() {
        assert_eq!(count("7", 8).unwrap().get(), 7);
        for wrong in ["0", "9", "-1", "x", "", "99999999999999999999"] {
            assert!(count(wrong, 8).is_err(), "{wrong}");
        }
        assert_eq!(one_or("auto", "auto", |text| count(text, 8)).unwrap(), None);
        let wrong = one_or("auto", "autos", |text| count(text, 8)).unwrap_err();
        assert_eq!(wrong, "\"autos\" is no number from 1 to 8; or \"auto\"");
        let wrong = choice("txt", &[("text", 1), ("json", 2)]).unwrap_err();
        assert_eq!(wrong, "it cannot be \"txt\"; it is one of \"text\", \"json\"");
    }
}
