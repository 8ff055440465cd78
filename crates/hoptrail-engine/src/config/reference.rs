//! docs/configuration.md: its tables of keys are written from [`super::fields`] and checked by a test.

use super::fields::{FILTER, MEMBERS, Need, PROVIDER, Section};
use std::fmt::Write;

fn table<T>(section: &Section<T>) -> String {
    let mut out = String::from("| key | takes | when left out | meaning |\n|---|---|---|---|\n");
    for field in section.fields {
        let absent = match field.need {
            Need::Required => "required",
            Need::Optional(meaning) => meaning,
        };
        writeln!(out, "| `{}` | {} | {absent} | {} |", field.name, field.kind, field.doc).unwrap();
    }
    out
}

/// The document with the text between the marks of `name` replaced by `content`.
fn replaced(document: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
    let from = document.find(&begin).expect("the document has the begin mark") + begin.len();
    let to = from + document[from..].find(end).expect("the document has the end mark");
    format!("{}{content}{}", &document[..from], &document[to..])
}

/// `HOPTRAIL_BLESS=1 cargo test -p hoptrail-engine reference` writes the tables anew.
#[test]
fn the_reference_has_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    let mut wanted = replaced(&written, "provider", &table(&PROVIDER));
    wanted = replaced(&wanted, "members", &table(&MEMBERS));
    wanted = replaced(&wanted, "filter", &table(&FILTER));
    if std::env::var_os("HOPTRAIL_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    } else {
        assert_eq!(written, wanted, "run the test with HOPTRAIL_BLESS=1 to write the tables anew");
    }
}
