//! Redirect records: the trail of hops a connection has made, in the one form that the kernel keeps
//! and, cut to its hops, the blob that proxies query and set (docs/abi.md).
//!
//! All integers are in the machine's byte order, since a blob never leaves the machine that made it;
//! addresses and ports are in network byte order.

use crate::addr::{Endpoint, Ip, Port, Protocol};
use crate::siphash::{Key, SipHash};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// "HTR1" as bytes in memory on a little-endian machine.
pub const MAGIC: u32 = u32::from_le_bytes(*b"HTR1");
/// Version of the blob's layout.
pub const VERSION: u16 = 1;
/// Most hops of one trail; a redirect beyond it is refused (DESIGN.md section 2, point 3).
pub const MAX_HOPS: usize = 16;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 152;
/// Bytes of one hop.
pub const HOP_BYTES: usize = 88;
/// Bytes of a full trail, the longest blob.
pub const MAX_BLOB_BYTES: usize = HEADER_BYTES + MAX_HOPS * HOP_BYTES;
/// Bytes before the part that the tag covers: magic, version, length, tag.
pub const TAGGED_FROM: usize = 24;

const _: () = assert!(size_of::<TrailHeader>() == HEADER_BYTES);
const _: () = assert!(size_of::<Hop>() == HOP_BYTES);
const _: () = assert!(size_of::<Trail>() == MAX_BLOB_BYTES);
const _: () = assert!(HEADER_BYTES.is_multiple_of(8) && HOP_BYTES.is_multiple_of(8));

/// An executable file: device and inode as the kernel knows them (`s_dev`, `i_ino`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Exe {
    /// Device number, `major << 20 | minor`.
    pub dev: u32,
    /// Inode number; zero when the process has no executable (a kernel thread).
    pub ino: u64,
}

/// The process that first made a connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Origin {
    /// Its executable.
    pub exe: Exe,
    /// Its user.
    pub uid: u32,
}

/// How the socket that made a leg came to its trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Provenance {
    /// It had none: the application's own connection.
    Fresh = 0,
    /// The proxy set the records.
    Declared = 1,
    /// The kernel adopted them from the accepted connection it most plausibly continues.
    Inferred = 2,
    /// It had none though a provider's proxy made it, and none could be adopted: the trail begins here
    /// and what came before is lost. On a trail whose first hop says this, the rank strictly falls
    /// ([`crate::decide::Past::of_trail`]).
    Unrecorded = 3,
}

impl Provenance {
    const MASK: u16 = 3;

    /// From [`Hop::flags`].
    #[must_use]
    pub const fn of_flags(flags: u16) -> Self {
        match flags & Self::MASK {
            1 => Self::Declared,
            2 => Self::Inferred,
            3 => Self::Unrecorded,
            _ => Self::Fresh,
        }
    }

    /// `fresh`, `declared`, `inferred` or `unrecorded`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Declared => "declared",
            Self::Inferred => "inferred",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// What precedes the hops: identity of the trail, of the application, and what it asked for.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TrailHeader {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u16,
    /// Bytes of the blob: header and hops.
    pub length: u16,
    /// SipHash-2-4-128 of everything after it, keyed by the kernel side.
    pub tag: [u64; 2],
    /// Unique per trail: nanoseconds since boot, then random.
    pub id: [u64; 2],
    /// Number of hops.
    pub hops: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: u16,
    /// The application's user.
    pub uid: u32,
    /// The application's process (thread group) in the initial pid namespace.
    pub pid: u32,
    /// The application's group.
    pub gid: u32,
    /// The application's start, nanoseconds since boot: with `pid` unique for this boot.
    pub start_ns: u64,
    /// Inode of the application's executable.
    pub exe_ino: u64,
    /// Device of the application's executable.
    pub exe_dev: u32,
    /// Interface index the application's socket was bound to; 0 for none.
    pub device: u32,
    /// The application's cgroup (v2) id.
    pub cgroup: u64,
    /// Cookie of the network namespace.
    pub netns: u64,
    /// What the application asked for.
    pub destination: Ip,
    /// The application's own address.
    pub local: Ip,
    /// Port of `destination`.
    pub destination_port: Port,
    /// Port of `local`.
    pub local_port: Port,
    /// Not zero once a socket has adopted this trail. The kernel side's own; zero in a blob.
    pub adopted: u32,
    /// Name of the application's main thread (`comm`), NUL padded.
    pub name: [u8; 16],
}

impl TrailHeader {
    /// The application.
    #[inline(always)]
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Origin { exe: Exe { dev: self.exe_dev, ino: self.exe_ino }, uid: self.uid }
    }

    /// What the application asked for.
    #[must_use]
    pub const fn destination(&self) -> Endpoint {
        Endpoint::new(self.destination, self.destination_port.number())
    }

    /// The application's own address.
    #[must_use]
    pub const fn local(&self) -> Endpoint {
        Endpoint::new(self.local, self.local_port.number())
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.protocol)
    }

    /// Name of the application's main thread.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&b| b == 0).unwrap_or(self.name.len());
        core::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }
}

/// One applied redirect.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hop {
    /// The provider's redirect handle.
    pub handle: u64,
    /// When it was applied, nanoseconds since boot.
    pub time_ns: u64,
    /// Address of the socket that connected.
    pub from: Ip,
    /// Address that it asked for.
    pub asked: Ip,
    /// Address of the provider's listener that it got.
    pub to: Ip,
    /// Port of `from`.
    pub from_port: Port,
    /// Port of `asked`.
    pub asked_port: Port,
    /// Port of `to`.
    pub to_port: Port,
    /// Bits 0 and 1: [`Provenance`].
    pub flags: u16,
    /// Number of the filter within the provider, from 0.
    pub filter: u32,
    /// The provider's context bytes at this moment, by their number in the kernel; 0 for none.
    pub context: u32,
    /// Process that connected: the application, or the proxy of the hop before.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

impl Hop {
    /// How the connecting socket came to its trail.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        Provenance::of_flags(self.flags)
    }

    /// Address and port of the socket that connected.
    #[must_use]
    pub const fn from(&self) -> Endpoint {
        Endpoint::new(self.from, self.from_port.number())
    }

    /// Address and port that it asked for.
    #[must_use]
    pub const fn asked(&self) -> Endpoint {
        Endpoint::new(self.asked, self.asked_port.number())
    }

    /// Address and port that it got.
    #[must_use]
    pub const fn to(&self) -> Endpoint {
        Endpoint::new(self.to, self.to_port.number())
    }
}

/// A whole trail at its full size, as the kernel keeps it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Trail {
    /// Identity and origin.
    pub header: TrailHeader,
    /// The first `header.hops` are meaningful, oldest first.
    pub hops: [Hop; MAX_HOPS],
}

impl Default for Trail {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Bytes of a blob with that many hops.
#[inline(always)]
#[must_use]
pub const fn blob_bytes(hops: u8) -> usize {
    HEADER_BYTES + hops as usize * HOP_BYTES
}

/// Why bytes are no record blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlobError {
    /// Shorter than a header, or not exactly as long as it says.
    Length,
    /// Wrong magic.
    Magic,
    /// Made by another version; carry it on unchanged, but do not read it.
    Version(u16),
    /// The tag does not match (only checked with a key).
    Tag,
}

impl core::fmt::Display for BlobError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length => f.write_str("not a record blob: its length does not fit its content"),
            Self::Magic => f.write_str("not a record blob: it does not start with HTR1"),
            Self::Version(v) => {
                write!(f, "record blob of version {v}; this program reads version {VERSION}")
            }
            Self::Tag => f.write_str("record blob was altered, or made before this engine started"),
        }
    }
}

impl core::error::Error for BlobError {}

impl Trail {
    /// The hops that were made, oldest first.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops[..usize::from(self.header.hops).min(MAX_HOPS)]
    }

    /// Reads a blob without judging its tag, which only the kernel can.
    ///
    /// # Errors
    /// [`BlobError`] when the bytes are not a blob of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let (header, rest) = TrailHeader::read_from_prefix(bytes).map_err(|_| BlobError::Length)?;
        if header.magic != MAGIC {
            return Err(BlobError::Magic);
        }
        if header.version != VERSION {
            return Err(BlobError::Version(header.version));
        }
        let fits = usize::from(header.hops) <= MAX_HOPS
            && bytes.len() == blob_bytes(header.hops)
            && usize::from(header.length) == bytes.len();
        if !fits {
            return Err(BlobError::Length);
        }
        let mut trail = Self { header, ..Self::default() };
        trail.hops.as_mut_bytes()[..rest.len()].copy_from_slice(rest);
        Ok(trail)
    }

    /// The blob: header and hops, with the tag under `key`. The kernel side does the same in place.
    #[must_use]
    pub fn seal(mut self, key: Key) -> Blob {
        self.header.magic = MAGIC;
        self.header.version = VERSION;
        self.header.length = blob_bytes(self.header.hops) as u16;
        let tag = tag(&self.as_bytes()[..blob_bytes(self.header.hops)], key);
        self.header.tag = tag;
        Blob { trail: self }
    }

    /// [`Self::parse`], and the tag must match.
    ///
    /// # Errors
    /// [`BlobError`] when the bytes are not a blob sealed with `key`.
    pub fn open(bytes: &[u8], key: Key) -> Result<Self, BlobError> {
        let trail = Self::parse(bytes)?;
        if tag(bytes, key) == trail.header.tag { Ok(trail) } else { Err(BlobError::Tag) }
    }
}

/// A sealed trail; its bytes are what `REDIRECT_RECORDS` gives.
#[derive(Clone, Copy)]
pub struct Blob {
    trail: Trail,
}

impl Blob {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.trail.as_bytes()[..blob_bytes(self.trail.header.hops)]
    }
}

fn tag(blob: &[u8], key: Key) -> [u64; 2] {
    let mut hash = SipHash::new(key);
    for word in blob[TAGGED_FROM..].chunks_exact(8) {
        hash.word(u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [1, 2];

    fn trail(hops: u8) -> Trail {
        let mut trail = Trail::default();
        trail.header.hops = hops;
        trail.header.pid = 4100;
        for (i, hop) in trail.hops.iter_mut().take(hops.into()).enumerate() {
            hop.handle = i as u64 + 1;
        }
        trail
    }

    #[test]
    fn seal_and_open_for_every_number_of_hops() {
        for hops in 0..=MAX_HOPS as u8 {
            let blob = trail(hops).seal(KEY);
            let opened = Trail::open(blob.as_bytes(), KEY).unwrap();
            assert_eq!(opened.hops().len(), usize::from(hops));
            assert_eq!(opened.header.pid, 4100);
        }
    }

    #[test]
    fn statement_32_any_flipped_bit_is_refused() {
        let blob = trail(2).seal(KEY);
        let mut bytes = [0u8; MAX_BLOB_BYTES];
        let n = blob.as_bytes().len();
        bytes[..n].copy_from_slice(blob.as_bytes());
        for i in 0..n * 8 {
            bytes[i / 8] ^= 1 << (i % 8);
            assert!(Trail::open(&bytes[..n], KEY).is_err(), "bit {i}");
            bytes[i / 8] ^= 1 << (i % 8);
        }
        assert!(Trail::open(&bytes[..n], KEY).is_ok());
        for len in 0..n {
            assert!(Trail::open(&bytes[..len], KEY).is_err(), "cut to {len}");
        }
        assert_eq!(Trail::open(&bytes[..n + 8], KEY).err(), Some(BlobError::Length));
        assert_eq!(Trail::open(&bytes[..n], [1, 3]).err(), Some(BlobError::Tag));
    }

    #[test]
    fn another_version_is_told_apart() {
        let mut trail = trail(1);
        trail.header.magic = MAGIC;
        trail.header.version = 9;
        let bytes = &trail.as_bytes()[..blob_bytes(1)];
        assert_eq!(Trail::parse(bytes).err(), Some(BlobError::Version(9)));
    }
}
