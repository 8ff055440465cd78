//! The redirect context: what a provider's callout tells its own proxy about one connection.
//!
//! A fixed header, then the executable's path, then the provider's own bytes from its
//! configuration, each padded with zeroes to a multiple of eight.

use crate::addr::{Endpoint, Ip, Port, Protocol};
use crate::records::{Exe, Origin};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the layout.
pub const VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 112;
/// Longest executable path that is kept; a longer one keeps its end.
pub const MAX_PATH_BYTES: usize = 256;
/// Longest bytes that a provider may add.
pub const MAX_PROVIDER_BYTES: usize = 256;
/// Longest context.
pub const MAX_CONTEXT_BYTES: usize = HEADER_BYTES + MAX_PATH_BYTES + MAX_PROVIDER_BYTES;

const _: () = assert!(size_of::<ContextHeader>() == HEADER_BYTES);

/// The fixed part.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ContextHeader {
    /// [`VERSION`].
    pub version: u16,
    /// Bytes in all.
    pub length: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Number of this hop, from 1.
    pub hop: u8,
    /// As in [`crate::Hop::flags`].
    pub flags: u16,
    /// The provider's redirect handle.
    pub handle: u64,
    /// The original application's process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Device of its executable.
    pub exe_dev: u32,
    /// Its start, nanoseconds since boot.
    pub start_ns: u64,
    /// Inode of its executable.
    pub exe_ino: u64,
    /// Its cgroup id.
    pub cgroup: u64,
    /// What the redirected connect asked for: the address to dial.
    pub destination: Ip,
    /// Address of the socket whose connect was redirected.
    pub local: Ip,
    /// Port of `destination`.
    pub destination_port: Port,
    /// Port of `local`.
    pub local_port: Port,
    /// Bytes of the executable's path; 0 when it could not be read.
    pub path_bytes: u16,
    /// Bytes that the provider added.
    pub provider_bytes: u16,
    /// Name of the original application's main thread, NUL padded.
    pub name: [u8; 16],
}

/// A context, read.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The fixed part.
    pub header: ContextHeader,
    /// Path of the original application's executable; empty when it could not be read.
    pub path: &'a [u8],
    /// The provider's own bytes.
    pub provider: &'a [u8],
}

/// Rounds up to the padding.
#[inline(always)]
#[must_use]
pub const fn padded(bytes: usize) -> usize {
    (bytes + 7) & !7
}

impl<'a> Context<'a> {
    /// Reads a context.
    ///
    /// # Errors
    /// Nothing, when the bytes are not a context of this version.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = ContextHeader::read_from_prefix(bytes).ok()?;
        let path_bytes = usize::from(header.path_bytes);
        let provider_bytes = usize::from(header.provider_bytes);
        let fits = header.version == VERSION
            && usize::from(header.length) == bytes.len()
            && rest.len() == padded(path_bytes) + padded(provider_bytes);
        if !fits {
            return None;
        }
        let (path, provider) = rest.split_at(padded(path_bytes));
        Some(Self { header, path: &path[..path_bytes], provider: &provider[..provider_bytes] })
    }

    /// The address to dial.
    #[must_use]
    pub const fn destination(&self) -> Endpoint {
        Endpoint::new(self.header.destination, self.header.destination_port.number())
    }

    /// Address of the socket whose connect was redirected.
    #[must_use]
    pub const fn local(&self) -> Endpoint {
        Endpoint::new(self.header.local, self.header.local_port.number())
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.header.protocol)
    }

    /// The original application.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Origin {
            exe: Exe { dev: self.header.exe_dev, ino: self.header.exe_ino },
            uid: self.header.uid,
        }
    }
}
