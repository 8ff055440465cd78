//! docs/abi.md says what the code does: its tables are read and compared with the types.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail_core::abi;
use hoptrail_core::context::{self, ContextHeader};
use hoptrail_core::records::{self, Hop, Provenance, TrailHeader};
use std::mem::offset_of;

const DOCUMENT: &str = include_str!("../../../docs/abi.md");

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

/// Cells of the rows of the first table below a heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let start = DOCUMENT.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    DOCUMENT[start..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn documented(heading: &str) -> Vec<Field> {
    table(heading)
        .iter()
        .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2].to_owned()))
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
fn blob_header() {
    let fields = documented("Blob header");
    complete(&fields, records::HEADER_BYTES);
    assert_eq!(
        fields,
        fields!(TrailHeader: magic version length tag id hops protocol reserved uid pid gid
            start_ns exe_ino exe_dev device cgroup netns destination local destination_port
            local_port adopted name)
    );
}

#[test]
fn hop() {
    let fields = documented("Hop");
    complete(&fields, records::HOP_BYTES);
    assert_eq!(
        fields,
        fields!(Hop: handle time_ns from asked to from_port asked_port to_port flags filter
            context pid uid)
    );
}

#[test]
fn context_header() {
    let fields = documented("Context header");
    complete(&fields, context::HEADER_BYTES);
    assert_eq!(
        fields,
        fields!(ContextHeader: version length protocol hop flags handle pid uid gid exe_dev
            start_ns exe_ino cgroup destination local destination_port local_port path_bytes
            provider_bytes name)
    );
}

#[test]
fn version() {
    complete(&documented("Version"), 16);
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
