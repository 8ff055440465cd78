//! docs/proxy-protocol.md says what the code does: its tables are read and compared with the types.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail::Provenance;
use hoptrail_relay::upstream::prelude::tlv::{self, Application, HopField};
use std::mem::offset_of;

const DOCUMENT: &str = include_str!("../../../docs/proxy-protocol.md");

/// Offset, size and name of a field.
type Field = (usize, usize, String);

fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! fields {
    ($type:ident: $($name:ident)*) => {{
        // Exhaustive: a new field cannot stay out of the table.
        let _ = |$type { $($name: _),* }: $type| ();
        vec![$((
            offset_of!($type, $name),
            size_of_field(|value: &$type| &value.$name),
            stringify!($name).to_owned(),
        )),*]
    }};
}

/// The rows of the table below a heading.
fn documented(heading: &str) -> Vec<Field> {
    let start = DOCUMENT.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    DOCUMENT[start..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].parse().unwrap(), cells[1].parse().unwrap(), cells[2].to_owned())
        })
        .collect()
}

/// The table has every byte exactly once.
fn complete(fields: &[Field], bytes: usize) {
    let end = fields.iter().fold(0, |at, (offset, size, name)| {
        assert_eq!(at, *offset, "{name}");
        offset + size
    });
    assert_eq!(end, bytes);
}

#[test]
fn application() {
    let fields = documented(&format!("Application ({:#04x})", tlv::APPLICATION));
    complete(&fields, size_of::<Application>());
    assert_eq!(
        fields,
        fields!(Application: version protocol hops reserved pid uid gid start start_ns cgroup exe_ino
            exe_dev local_port asked_port local asked name)
    );
}

#[test]
fn hop() {
    let fields = documented(&format!("Hop ({:#04x})", tlv::HOP));
    complete(&fields, size_of::<HopField>());
    assert_eq!(
        fields,
        fields!(HopField: version number provenance reserved filter provider time pid uid from asked
            to from_port asked_port to_port)
    );
}

#[test]
fn numbers_in_the_text() {
    assert_eq!(DOCUMENT.matches(&format!("| version | {} |", tlv::VERSION)).count(), 2);
    let names =
        [Provenance::Fresh, Provenance::Declared, Provenance::Inferred, Provenance::Unrecorded];
    let listed = names.map(|p| format!("{} {}", p as u8, p.name())).join(", ");
    assert!(DOCUMENT.contains(&listed), "missing or different: {listed}");
}
