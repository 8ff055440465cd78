//! A line for people.

use super::Ended;
use super::writer::Users;
use crate::inspect::AppProtocol;
use crate::ledger::{Application, End, Ledger};
use crate::observe::human::{bytes, duration, safe};
use crate::observe::words;
use anstyle::{AnsiColor, Style};

const NAME: Style = AnsiColor::Cyan.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The line of a connection that has ended, with codes for colours and without a line end.
#[must_use]
pub fn line(ended: &Ended, users: &mut Users) -> String {
    let ledger = &ended.ledger;
    let time = humantime::format_rfc3339_millis(ended.time);
    let transport = words::TRANSPORTS[words::transport(ledger.transport)];
    let (up, down) = (bytes(ledger.from_client), bytes(ledger.from_upstream));
    let to = words::destination(ledger).map_or_else(|| "-".to_owned(), |to| to.to_string());
    let hops = if ledger.trail.is_some() { format!("hop {}", ledger.hops) } else { "-".to_owned() };
    format!(
        "{DIM}{time}{DIM:#} {transport} {} → {to:20} {:18} ↑ {up:>8} ↓ {down:>8} {:>8} {hops:5}  {}",
        who(ledger, users),
        what(ledger),
        duration(ended.lasted),
        end(ended),
    )
}

/// The line that says how many others are missing.
pub(super) fn lost(time: std::time::SystemTime, count: u64) -> String {
    let time = humantime::format_rfc3339_millis(time);
    format!(
        "{DIM}{time}{DIM:#} {BAD}{count} lines are missing here{BAD:#}: they came faster than they were read"
    )
}

/// Padding counts what is seen, not the codes.
fn who(ledger: &Ledger, users: &mut Users) -> String {
    let who = match ledger.application.as_deref() {
        Some(application) => {
            let user =
                users.name(application.uid).map_or(application.uid.to_string(), str::to_owned);
            format!("{}[{}] {}", program(application), application.pid, safe(&user))
        }
        None => ledger.peer.to_string(),
    };
    format!("{NAME}{who:22}{NAME:#}")
}

fn program(application: &Application) -> String {
    let file = application.exe.as_deref().and_then(|exe| exe.file_name());
    file.map_or_else(|| safe(&application.name), |file| safe(&file.to_string_lossy()))
}

fn what(ledger: &Ledger) -> String {
    let protocol = match words::protocol(ledger) {
        AppProtocol::Unknown => "-",
        known => known.name(),
    };
    match words::host(ledger) {
        Some(name) => format!("{protocol} {}", safe(name)),
        None => protocol.to_owned(),
    }
}

fn end(ended: &Ended) -> String {
    let end = ended.end;
    let word = words::ENDS[words::end(end)];
    let style = if end == End::Closed { Style::new() } else { BAD };
    let rule = match ended.ledger.rule {
        Some(rule) if end == End::Denied => format!(" by rule {}", rule.0),
        Some(rule) => format!(", rule {}", rule.0),
        None => String::new(),
    };
    let watched = ended.ledger.watched.map(|n| format!(", pattern {n} seen")).unwrap_or_default();
    format!("{style}{word}{style:#}{}{rule}{watched}", why(end))
}

/// ` (connect: Connection refused)`, where something failed.
fn why(end: End) -> String {
    let Some(cause) = words::cause(end) else { return String::new() };
    let step = words::STEPS[words::step(cause.step)];
    let error = words::error(cause.errno).map(|error| format!(": {error}")).unwrap_or_default();
    format!(" ({step}{error})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Cause, Step};
    use crate::observe::sample::{bare, ended, ledger};

    fn plain(ended: &Ended) -> String {
        let line = line(ended, &mut Users::new(|uid| (uid == 0).then(|| "root".into())));
        anstream::adapter::strip_str(&line).to_string()
    }

    #[test]
    fn a_line_says_who_where_what_and_how_it_ended() {
        assert_eq!(
            plain(&ended(ledger("example.org"), End::Closed)),
            "2026-01-01T00:00:00.000Z tcp curl[4100] root        → 192.0.2.10:443       tls example.org    \
             ↑    517 B ↓   3.4 MB   1.50 s hop 2  closed, rule 3"
        );
        let cause = Cause { step: Step::Connect, errno: 111 };
        assert_eq!(
            plain(&ended(bare(), End::Unreachable(cause))),
            "2026-01-01T00:00:00.000Z udp 127.0.0.1:40000        → 192.0.2.10:443       -                  \
             ↑    517 B ↓   3.4 MB   1.50 s -      unreachable (connect: Connection refused)"
        );
    }

    #[test]
    fn it_stays_one_line_without_codes_of_others() {
        let line = line(&ended(ledger("\x1b[2J\na\rb"), End::Denied), &mut Users::new(|_| None));
        let stripped = anstream::adapter::strip_str(&line).to_string();
        assert!(
            stripped.contains("\\u{1b}[2J\\na\\rb") && !stripped.contains(['\n', '\r', '\x1b'])
        );
        assert!(!line.contains("[2J\n"), "{line}");
        assert!(
            stripped.contains("curl[4100] 0 ") && stripped.contains("denied by rule 3"),
            "{stripped}"
        );
    }
}
