//! docs/abi.md says what the code does: its tables are read and compared with the types.
#![cfg(target_os = "linux")]

use hoptrail_core::abi;
use hoptrail_core::context::{self, ContextHeader};
use hoptrail_core::records::{self, Hop, Provenance, TrailHeader};
use hoptrail_testkit::fields;
use hoptrail_testkit::layout::{self, Field};

const DOCUMENT: &str = include_str!("../../../docs/abi.md");

fn table(heading: &str) -> Vec<Vec<&'static str>> {
    layout::table(DOCUMENT, heading)
}

fn documented(heading: &str, bytes: usize) -> Vec<Field> {
    layout::documented(DOCUMENT, heading, bytes)
}

#[test]
fn blob_header() {
    assert_eq!(
        documented("Blob header", records::HEADER_BYTES),
        fields!(TrailHeader: magic version length tag id hops protocol reserved uid pid gid
            start_ns exe_ino exe_dev device cgroup netns destination local destination_port
            local_port adopted name)
    );
}

#[test]
fn hop() {
    assert_eq!(
        documented("Hop", records::HOP_BYTES),
        fields!(Hop: handle time_ns from asked to from_port asked_port to_port flags filter
            context pid uid)
    );
}

#[test]
fn context_header() {
    assert_eq!(
        documented("Context header", context::HEADER_BYTES),
        fields!(ContextHeader: version length protocol hop flags handle pid uid gid exe_dev
            start_ns exe_ino cgroup destination local destination_port local_port path_bytes
            provider_bytes name)
    );
}

#[test]
fn version() {
    assert_eq!(documented("Version", 16)[0], (0, 2, "abi".into()));
    assert_eq!(table("Version")[0][3], abi::ABI_VERSION.to_string());
    assert!(
        DOCUMENT
            .starts_with(&format!("# The socket-option interface, version {}\n", abi::ABI_VERSION))
    );
}

#[test]
fn option_numbers() {
    let rows: Vec<_> = table("Options").iter().map(|row| (row[0], row[1])).collect();
    let options = [
        (abi::REDIRECT_RECORDS, "REDIRECT_RECORDS"),
        (abi::REDIRECT_CONTEXT, "REDIRECT_CONTEXT"),
        (abi::REDIRECT_RECORDS_SIZE, "REDIRECT_RECORDS_SIZE"),
        (abi::REDIRECT_CONTEXT_SIZE, "REDIRECT_CONTEXT_SIZE"),
        (abi::REDIRECT_PEER, "REDIRECT_PEER"),
        (abi::REDIRECT_VERSION, "REDIRECT_VERSION"),
    ];
    let expected = options.map(|(number, name)| (number.to_string(), name));
    assert_eq!(rows, expected.each_ref().map(|(number, name)| (number.as_str(), *name)));
    let original = table("Original destination for unmodified proxies");
    for (row, level) in original.iter().zip([libc::IPPROTO_IP, libc::IPPROTO_IPV6]) {
        assert_eq!(row[0], level.to_string());
        assert_eq!(row[1], abi::SO_ORIGINAL_DST.to_string());
    }
}

/// Numbers that the text mentions, each from the code.
#[test]
fn limits() {
    for sentence in [
        format!("`level` is **{:#x}** ({}", abi::SOL_HOPTRAIL, abi::SOL_HOPTRAIL),
        format!("record blob, {} to {} bytes", records::blob_bytes(1), records::MAX_BLOB_BYTES),
        format!("context, {} to {} bytes", context::HEADER_BYTES, context::MAX_CONTEXT_BYTES),
        format!(
            "A header of {} bytes, then one hop of {} bytes",
            records::HEADER_BYTES,
            records::HOP_BYTES
        ),
        format!("at most {} hops, {} bytes", records::MAX_HOPS, records::MAX_BLOB_BYTES),
        format!("bytes of the path, at most {}", context::MAX_PATH_BYTES),
        format!("bytes of the provider, at most {}", context::MAX_PROVIDER_BYTES),
        format!("the trail already has {} hops", records::MAX_HOPS),
        format!("the bytes `{}`", std::str::from_utf8(&records::MAGIC.to_le_bytes()).unwrap()),
    ] {
        assert!(DOCUMENT.contains(&sentence), "missing or different: {sentence}");
    }
    let names =
        [Provenance::Fresh, Provenance::Declared, Provenance::Inferred, Provenance::Unrecorded];
    for provenance in names {
        let sentence = format!("{} *{}*", provenance as u16, provenance.name());
        assert!(DOCUMENT.contains(&sentence), "missing or different: {sentence}");
        assert_eq!(Provenance::of_flags(provenance as u16), provenance);
    }
}
