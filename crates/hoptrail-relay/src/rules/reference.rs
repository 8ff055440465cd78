//! docs/relay-rules.md: its table of keys is written from [`FIELDS`] and checked here.

use super::fields::FIELDS;
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/relay-rules.md");

/// `HOPTRAIL_BLESS=1 cargo test -p hoptrail-relay reference` writes the table anew.
#[test]
fn the_reference_has_every_key_of_a_rule() {
    let mut table = String::from("| key | takes | when left out | meaning |\n|---|---|---|---|\n");
    for field in FIELDS {
        let (name, takes, absent, doc) = (field.name, field.takes, field.absent, field.doc);
        writeln!(table, "| `{name}` | {takes} | {absent} | {doc} |").unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap();
    let (begin, end) = ("<!-- keys: rule -->\n", "<!-- end -->");
    let from = written.find(begin).expect("the document has the begin mark") + begin.len();
    let to = from + written[from..].find(end).expect("the document has the end mark");
    if std::env::var_os("HOPTRAIL_BLESS").is_some() {
        std::fs::write(PATH, format!("{}{table}{}", &written[..from], &written[to..])).unwrap();
    } else {
        assert_eq!(&written[from..to], table, "run with HOPTRAIL_BLESS=1 to write it anew");
    }
}

/// The example that the document begins with is a file that can be read.
#[test]
fn the_example_is_right() {
    let written = std::fs::read_to_string(PATH).unwrap();
    let example = written.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let rules = super::tests::rules(&example.replace("www-data", "root")).unwrap();
    assert!(rules.len() >= 5, "{}", rules.len());
}
