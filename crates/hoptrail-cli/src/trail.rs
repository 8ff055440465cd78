//! Trails as people and machines read them. The JSON is described in docs/trail-json.md.

use crate::output::{ACTED, BAD, DIM, GOOD, NAME, paint};
use crate::rundir::State;
use hoptrail_core::records::Provenance;
use hoptrail_engine::config::Config;
use hoptrail_engine::host::users;
use hoptrail_engine::trails::{End, Leg, TrailBook, TrailRecord};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// Version of the JSON.
const VERSION: u32 = 1;

/// How `--trail` prints.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrailFormat {
    /// A line per leg
    Text,
    /// As docs/trail-json.md says
    Json,
    /// Nothing
    None,
}

/// Providers by redirect handle. Names stay when a reload drops a provider: its trails live on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashMap<u64, String>);

impl Names {
    /// Adds the providers of a configuration.
    pub(crate) fn add(&mut self, config: &Config) {
        for provider in &config.providers {
            let handle = hoptrail_core::compile::handle_of(provider.guid.into_bytes());
            self.0.insert(handle, provider.name.clone());
        }
    }

    /// Adds the providers that a daemon has loaded.
    pub(crate) fn add_state(&mut self, state: &State) {
        for provider in &state.providers {
            if let Ok(handle) = u64::from_str_radix(&provider.handle, 16) {
                self.0.insert(handle, provider.name.clone());
            }
        }
    }

    /// The provider's name, or its handle when nobody told its name.
    pub(crate) fn of(&self, handle: u64) -> String {
        self.0.get(&handle).cloned().unwrap_or_else(|| format!("{handle:016x}"))
    }
}

/// All trails as lines.
pub(crate) fn text(book: &TrailBook, names: &Names) -> String {
    let mut out = String::new();
    for trail in book.trails() {
        out.push_str(&one(trail, names));
    }
    if book.forgotten() > 0 {
        let _ = writeln!(
            out,
            "{}",
            paint(DIM, format!("{} older trails are not shown", book.forgotten()))
        );
    }
    out
}

/// All trails as one JSON document; `lost` is the number of events that nobody read in time.
pub(crate) fn document(book: &TrailBook, names: &Names, lost: u64) -> Value {
    json!({
        "version": VERSION,
        "trails": book.trails().map(|trail| value(trail, names)).collect::<Vec<_>>(),
        "forgotten": book.forgotten(),
        "events_lost": lost,
    })
}

/// One trail as lines.
pub(crate) fn one(trail: &TrailRecord, names: &Names) -> String {
    let rows: Vec<Row> = trail.legs.iter().map(|leg| Row::of(leg, trail, names)).collect();
    let widths = Widths::of(&rows);
    let mut out = heading(trail);
    for row in &rows {
        out.push_str(&row.line(&widths));
    }
    out
}

/// A user as people write it.
pub(crate) fn user(uid: u32) -> String {
    users::name(uid).unwrap_or_else(|| uid.to_string())
}

fn heading(trail: &TrailRecord) -> String {
    let who = &trail.application;
    let exe = who.exe.as_ref().map(|exe| format!(", {exe}")).unwrap_or_default();
    let udp = if trail.protocol == hoptrail_core::Protocol::Udp { " (udp)" } else { "" };
    format!(
        "{}{} {} → {}{udp}\n",
        paint(NAME, &who.name),
        paint(DIM, format!("[{}]", who.pid)),
        paint(DIM, format!("({}{exe})", user(who.uid))),
        paint(NAME, trail.destination),
    )
}

/// One leg's columns.
enum Row {
    Hop {
        depth: String,
        provider: String,
        filter: String,
        from: String,
        to: String,
        after: String,
        provenance: &'static str,
    },
    End {
        good: bool,
        text: String,
        after: String,
        provenance: &'static str,
    },
}

/// Widest cell of each column of hops.
struct Widths {
    provider: usize,
    filter: usize,
    from: usize,
    to: usize,
}

impl Row {
    fn of(leg: &Leg, trail: &TrailRecord, names: &Names) -> Self {
        let after = leg.after.map(milliseconds).unwrap_or_default();
        let provenance =
            if leg.provenance == Provenance::Fresh { "" } else { leg.provenance.name() };
        match leg.end {
            End::Redirected { handle, filter, .. } => Self::Hop {
                depth: leg.depth.to_string(),
                provider: names.of(handle),
                filter: format!("filter {}", filter + 1),
                from: leg.from.map_or_else(|| "?".to_owned(), |from| from.to_string()),
                to: leg.to.to_string(),
                after,
                provenance,
            },
            End::Reached => {
                let text = format!("{} reached from {}", leg.to, maker(leg, trail, names));
                Self::End { good: true, text, after, provenance }
            }
            End::Refused { reason, handle, filter } => {
                let by = match handle {
                    0 => String::new(),
                    handle => format!(" ({}, filter {})", names.of(handle), filter + 1),
                };
                let maker = maker(leg, trail, names);
                let text = format!("{} refused to {maker}: {}{by}", leg.to, reason.text());
                Self::End { good: false, text, after, provenance }
            }
        }
    }

    fn line(&self, widths: &Widths) -> String {
        match self {
            Self::Hop { depth, provider, filter, from, to, after, provenance } => {
                // Colour codes have a width too: pad first, paint then.
                let provider = paint(ACTED, format!("{provider:<0$}", widths.provider));
                let provenance = dim(provenance);
                let Widths { filter: f, from: w, to: t, .. } = *widths;
                let line = format!(
                    "  {depth:>2}  {provider}  {filter:<f$}  {from:>w$} → {to:<t$}  {after:>9}   {provenance}"
                );
                line.trim_end().to_owned() + "\n"
            }
            Self::End { good, text, after, provenance } => {
                let (mark, style) = if *good { ('✓', GOOD) } else { ('✗', BAD) };
                let line =
                    format!("   {}  {text}  {after}  {}", paint(style, mark), dim(provenance));
                line.trim_end().to_owned() + "\n"
            }
        }
    }
}

impl Widths {
    fn of(rows: &[Row]) -> Self {
        let mut widths = Self { provider: 0, filter: 0, from: 0, to: 0 };
        for row in rows {
            if let Row::Hop { provider, filter, from, to, .. } = row {
                widths.provider = widths.provider.max(provider.chars().count());
                widths.filter = widths.filter.max(filter.len());
                widths.from = widths.from.max(from.len());
                widths.to = widths.to.max(to.len());
            }
        }
        widths
    }
}

/// Colour codes around nothing would keep the blanks before them from being cut off.
fn dim(text: &str) -> String {
    if text.is_empty() { String::new() } else { paint(DIM, text) }
}

/// Who made a leg: `beta's python3[5012]`, or the application itself.
fn maker(leg: &Leg, trail: &TrailRecord, names: &Names) -> String {
    let (pid, name) = &leg.by;
    let before = trail.hops().filter(|(hop, _)| hop.depth + 1 == leg.depth).last();
    let name = name.as_deref().unwrap_or("proxy");
    match before {
        Some((_, handle)) => format!("{}'s {name}[{pid}]", names.of(handle)),
        None => format!("{name}[{pid}]"),
    }
}

fn milliseconds(after: Duration) -> String {
    format!("+{:.1} ms", after.as_secs_f64() * 1e3)
}

fn value(trail: &TrailRecord, names: &Names) -> Value {
    let who = &trail.application;
    let outcome = match trail.outcome().map(|leg| leg.end) {
        Some(End::Reached) => "reached",
        Some(End::Refused { .. }) => "refused",
        Some(End::Redirected { .. }) | None => "open",
    };
    json!({
        "id": format!("{:016x}{:016x}", trail.id[0], trail.id[1]),
        "protocol": trail.protocol.name(),
        "application": {
            "pid": who.pid, "uid": who.uid, "user": users::name(who.uid), "name": who.name, "exe": who.exe,
        },
        "destination": trail.destination.to_string(),
        "began_unix_us": trail.began.and_then(unix_us),
        "outcome": outcome,
        "legs": trail.legs.iter().map(|leg| leg_value(leg, names)).collect::<Vec<_>>(),
    })
}

fn leg_value(leg: &Leg, names: &Names) -> Value {
    let mut value = json!({
        "depth": leg.depth,
        "to": leg.to.to_string(),
        "from": leg.from.map(|from| from.to_string()),
        "by": { "pid": leg.by.0, "name": leg.by.1 },
        "provenance": leg.provenance.name(),
        "after_us": leg.after.map(|after| after.as_micros() as u64),
    });
    let special = match leg.end {
        End::Redirected { handle, filter, .. } => {
            json!({ "kind": "hop", "provider": named(handle, names), "filter": filter + 1 })
        }
        End::Reached => json!({ "kind": "reached" }),
        End::Refused { reason, handle, filter } => json!({
            "kind": "refused",
            "reason": reason.id(),
            "message": reason.text(),
            "provider": (handle != 0).then(|| named(handle, names)),
            "filter": (handle != 0).then_some(filter + 1),
        }),
    };
    if let (Some(all), Value::Object(special)) = (value.as_object_mut(), special) {
        all.extend(special);
    }
    value
}

fn named(handle: u64, names: &Names) -> Value {
    json!({ "name": names.0.get(&handle), "handle": format!("{handle:016x}") })
}

fn unix_us(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests;
