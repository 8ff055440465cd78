//! What the live line says, in as many columns as there are.

use super::meter::Now;
use crate::observe::human::{bytes, count};
use anstyle::{AnsiColor, Style};

const NAME: Style = AnsiColor::Cyan.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();

/// The line in at most `columns` columns, with codes for colours: what has no room is left out, the least wanted
/// first.
pub(super) fn draw(now: &Now, columns: usize) -> String {
    let mut parts = parts(now);
    // The first is the last to go.
    while parts.len() > 1 && width(&parts) > columns {
        parts.pop();
    }
    let mut line = String::new();
    for (i, (style, text)) in parts.iter().enumerate() {
        let room = columns.saturating_sub(if i == 0 { 0 } else { width(&parts[..i]) + 2 });
        let text: String = text.chars().take(room).collect();
        let gap = if i == 0 { "" } else { "  " };
        line += &format!("{gap}{style}{text}{style:#}");
    }
    line
}

/// In the order in which they are wanted.
fn parts(now: &Now) -> Vec<(Style, String)> {
    let counts = &now.counts;
    let mut parts = Vec::new();
    if counts.draining {
        parts.push((BAD, "stopping".to_owned()));
    }
    if counts.paused {
        parts.push((BAD, "accepting paused".to_owned()));
    }
    parts.push((NAME, format!("{} open", count(counts.open))));
    parts.push((STRONG, format!("{}/s new", count(now.new.round() as u64))));
    parts.push((PLAIN, format!("↑ {:>8}/s", bytes(now.up as u64))));
    parts.push((PLAIN, format!("↓ {:>8}/s", bytes(now.down as u64))));
    if counts.failed > 0 {
        parts.push((BAD, format!("{} failed", count(counts.failed))));
    }
    parts.push((PLAIN, format!("{} denied", count(counts.denied))));
    parts.push((PLAIN, format!("{} hops", count(counts.hops))));
    parts.push((DIM, format!("{} in all", count(counts.accepted))));
    if counts.lost > 0 {
        parts.push((BAD, format!("{} lines lost", count(counts.lost))));
    }
    parts
}

/// Columns with the gaps; every character of ours takes one.
fn width(parts: &[(Style, String)]) -> usize {
    let gaps = 2 * parts.len().saturating_sub(1);
    parts.iter().map(|(_, text)| text.chars().count()).sum::<usize>() + gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::live::meter::{Sample, sample};
    use std::time::Instant;

    fn now(paused: bool) -> Now {
        let counts = Sample {
            open: 1234,
            accepted: 98_765,
            hops: 200_000,
            denied: 3,
            failed: 2,
            lost: 17,
            paused,
            ..sample(Instant::now())
        };
        Now { counts, new: 567.4, up: 1.2e6, down: 34.5e6 }
    }

    fn plain(now: &Now, columns: usize) -> String {
        anstream::adapter::strip_str(&draw(now, columns)).to_string()
    }

    #[test]
    fn everything_in_its_order() {
        assert_eq!(
            plain(&now(false), 200),
            "1,234 open  567/s new  ↑   1.2 MB/s  ↓  34.5 MB/s  2 failed  3 denied  200,000 hops  98,765 in all  \
             17 lines lost"
        );
    }

    #[test]
    fn it_fits_whatever_the_width() {
        for columns in 0..130 {
            for paused in [false, true] {
                let line = plain(&now(paused), columns);
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        assert_eq!(plain(&now(true), 30), "accepting paused  1,234 open");
        assert_eq!(plain(&now(false), 7), "1,234 o");
    }
}
