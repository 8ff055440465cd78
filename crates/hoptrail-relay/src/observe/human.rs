//! Quantities for people, and text that cannot take over a terminal.

use std::fmt::Write;
use std::time::Duration;

/// `517 B`, `3.4 MB`: decimal, as network rates are.
pub(super) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1e3;
    let mut unit = 0;
    // 999.95 would be printed as 1000.0.
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// `85 µs`, `12 ms`, `1.50 s`, `4m05s`, `2h03m`, `3d04h`.
pub(super) fn duration(time: Duration) -> String {
    let (micros, seconds) = (time.as_micros(), time.as_secs());
    match seconds {
        0 if micros < 1000 => format!("{micros} µs"),
        0 => format!("{} ms", micros / 1000),
        1..60 => format!("{seconds}.{:02} s", time.subsec_millis() / 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Names come from clients and processes: what would move the cursor or turn the writing round is escaped.
pub(super) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let of = [0, 999, 1000, 999_949, 999_950, 3_400_000, u64::MAX].map(bytes);
        assert_eq!(of, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "3.4 MB", "18.4 EB"]);
        let of =
            [0, 85, 12_999, 1_500_000, 59_999_999, 245_000_000, 7_380_000_000, 273_600_000_000];
        let of = of.map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(of, ["0 µs", "85 µs", "12 ms", "1.50 s", "59.99 s", "4m05s", "2h03m", "3d04h"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn no_name_takes_over_a_terminal() {
        assert_eq!(safe("a\x1b[2J\r\n\u{9b}b\u{202e}"), "a\\u{1b}[2J\\r\\n\\u{9b}b\\u{202e}");
        assert_eq!(safe("bücher.example"), "bücher.example");
    }
}
