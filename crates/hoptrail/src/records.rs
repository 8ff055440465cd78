//! The record blob: opaque bytes that a proxy carries from the socket it accepted to the one it dials.

use crate::dial::Device;
use crate::trail::Trail;
use hoptrail_core::records::{BlobError, MAGIC, TrailHeader, VERSION};
use std::num::NonZeroU32;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Redirect records, exactly as the kernel gave them.
///
/// Bytes of a version that this library does not know are kept and carried on like any others; only
/// [`Records::trail`] needs to understand them. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Records(Arc<[u8]>);

impl Records {
    /// From bytes that were read from a socket, perhaps by another process. The kernel, not this
    /// library, judges whether they are genuine, when they are set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`BlobError::Version`] when another version made them (they can still be set), another
    /// [`BlobError`] when they are no records at all.
    pub fn trail(&self) -> Result<Trail, BlobError> {
        Trail::parse(&self.0)
    }

    /// The interface to which the application had bound its socket, from the header alone: every
    /// connection asks for it.
    pub(crate) fn device(&self) -> Option<Device> {
        let (header, _) = TrailHeader::read_from_prefix(&self.0).ok()?;
        let known = header.magic == MAGIC && header.version == VERSION;
        let index = NonZeroU32::new(header.device).filter(|_| known)?;
        Some(Device { index, netns: header.netns })
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.trail() {
            Ok(trail) => f.debug_tuple("Records").field(&trail).finish(),
            Err(error) => write!(f, "Records({} bytes; {error})", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_versions_are_kept_byte_for_byte() {
        let mut bytes = crate::trail::sample(2).as_bytes().to_vec();
        bytes[4..6].copy_from_slice(&9u16.to_ne_bytes());
        bytes.extend([7; 13]);
        let records = Records::from_bytes(&bytes);
        assert_eq!(records.as_bytes(), bytes);
        assert_eq!(records.trail().err(), Some(BlobError::Version(9)));
        assert!(format!("{records:?}").contains("version 9"));
    }

    #[test]
    fn any_prefix_of_a_blob_is_refused_without_a_panic() {
        let bytes = crate::trail::sample(3).as_bytes().to_vec();
        assert_eq!(Records::from_bytes(&bytes).trail().unwrap().hops().len(), 3);
        for length in 0..bytes.len() {
            assert!(Records::from_bytes(&bytes[..length]).trail().is_err(), "{length}");
        }
    }
}
