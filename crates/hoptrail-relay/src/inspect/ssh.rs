//! SSH, by the identification line of RFC 4253, 4.2, which both sides send.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, Step};

/// `1.99` too is a version that is spoken.
const VERSIONS: [&[u8]; 2] = [b"SSH-2.0-", b"SSH-1."];

pub(super) fn look(bytes: Bytes<'_>) -> Step {
    let steps = VERSIONS.map(|version| bytes.literal(version, || Finding::of(AppProtocol::Ssh)));
    steps.into_iter().find(|step| *step != Step::No).unwrap_or(Step::No)
}
