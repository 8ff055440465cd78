//! docs/relay.md: its tables are written from the tables in the code and checked by tests.

use super::{Config, FIELDS, Field, File, Group, Source};
use std::fmt::Write;

/// Replaces the text between the marks of `name` in docs/relay.md by `content` when `HOPTRAIL_BLESS` is set; else
/// they must be equal.
pub(crate) fn check(name: &str, content: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/relay.md");
    // Several tests write the one file.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let written = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
    let from = written.find(&begin).expect("the document has the begin mark") + begin.len();
    let to = from + written[from..].find(end).expect("the document has the end mark");
    if std::env::var_os("HOPTRAIL_BLESS").is_some() {
        let wanted = format!("{}{content}{}", &written[..from], &written[to..]);
        std::fs::write(path, wanted).unwrap();
    } else {
        assert_eq!(&written[from..to], content, "run with HOPTRAIL_BLESS=1 to write it anew");
    }
}

fn settings() -> String {
    let mut out = String::new();
    let groups =
        [Group::Listening, Group::Inspection, Group::Upstream, Group::Time, Group::Telling];
    for group in groups {
        let title = group.title();
        writeln!(out, "\n| {title} | takes | when left out | meaning |\n|---|---|---|---|")
            .unwrap();
        for f in FIELDS.iter().filter(|f| f.group == group) {
            writeln!(out, "| `{}` | {} | {} | {} |", f.name, f.takes, f.default, f.doc).unwrap();
        }
    }
    out + "\n"
}

/// `HOPTRAIL_BLESS=1 cargo test -p hoptrail-relay reference` writes the tables anew.
#[test]
fn the_reference_has_every_setting() {
    check("settings", &settings());
    let shown = FIELDS.iter().filter(|f| settings().contains(&format!("| `{}` |", f.name)));
    assert_eq!(shown.count(), FIELDS.len(), "each belongs to a group that is shown");
}

#[test]
fn a_setting_takes_the_words_that_the_table_names() {
    let of = |name: &str| Field::named(name).unwrap().words();
    assert_eq!(of("inspect"), ["first", "all", "none"]);
    assert_eq!(of("protocol"), ["tcp", "udp"]);
    assert!(of("idle").is_empty() && of("upstream").is_empty());
    for field in FIELDS {
        for word in field.words() {
            assert_eq!(field.read(&mut Config::default(), &[word]), Ok(()), "{}", field.name);
        }
    }
}

#[test]
fn the_table_names_the_defaults_that_hold() {
    let mut values = 0;
    for field in FIELDS {
        let texts: Vec<&str> = field.default.split(", ").collect();
        // The others say in words what holds; they are nothing by default.
        if ["listen", "forward", "metrics", "watch"].contains(&field.name) {
            continue;
        }
        let mut config = Config::default();
        field.read(&mut config, &texts).unwrap();
        assert_eq!(config, Config::default(), "{}", field.name);
        values += 1;
    }
    assert_eq!(values, FIELDS.len() - 4);
}

#[test]
fn files_in_the_reference_are_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/relay.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for block in document.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap().to_owned();
        let file = File::parse(Source::new("relay.md".as_ref(), text)).unwrap();
        file.config().check().unwrap();
        count += 1;
    }
    assert!(count > 0, "docs/relay.md shows no file");
}

#[test]
fn the_readmes_example_is_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let text = readme.split("```toml relay\n").nth(1).unwrap().split("```").next().unwrap();
    let file = File::parse(Source::new(path.as_ref(), text.to_owned())).unwrap();
    file.config().check().unwrap();
    assert_eq!(file.rules().len(), 1);
}
