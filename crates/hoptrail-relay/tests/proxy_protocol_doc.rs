//! docs/proxy-protocol.md says what the code does: its tables are read and compared with the types.

use hoptrail::Provenance;
use hoptrail_relay::upstream::prelude::tlv::{self, Application, HopField};
use hoptrail_testkit::fields;
use hoptrail_testkit::layout::documented;

const DOCUMENT: &str = include_str!("../../../docs/proxy-protocol.md");

#[test]
fn application() {
    let heading = format!("Application ({:#04x})", tlv::APPLICATION);
    assert_eq!(
        documented(DOCUMENT, &heading, size_of::<Application>()),
        fields!(Application: version protocol hops reserved pid uid gid start start_ns cgroup exe_ino
            exe_dev local_port asked_port local asked name)
    );
}

#[test]
fn hop() {
    let heading = format!("Hop ({:#04x})", tlv::HOP);
    assert_eq!(
        documented(DOCUMENT, &heading, size_of::<HopField>()),
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
