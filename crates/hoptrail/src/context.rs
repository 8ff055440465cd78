//! The redirect context: what the provider's side of the kernel tells this proxy about one connection.

use crate::sys::{self, boot_time};
use crate::trail::{Handle, Process, after_boot};
use hoptrail_core::Protocol;
use hoptrail_core::context::{Context as Layout, ContextHeader};
use hoptrail_core::records::Provenance;
use std::net::SocketAddr;
use std::path::Path;

/// The context of the hop that delivered a connection.
#[derive(Clone, Debug)]
pub struct Context {
    header: ContextHeader,
    /// Path, then the provider's bytes, without padding: one allocation.
    path_and_provider: Box<[u8]>,
}

impl Context {
    /// Reads a context's bytes; nothing when they have another version's layout, or none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Layout { header, path, provider } = Layout::parse(bytes)?;
        Some(Self { header, path_and_provider: [path, provider].concat().into() })
    }

    /// What the redirected connect asked for: the address to dial.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.layout().destination().into()
    }

    /// Address of the socket whose connect was redirected.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.layout().local().into()
    }

    /// TCP or UDP.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.layout().protocol()
    }

    /// The provider that redirected: whose proxy this is.
    #[must_use]
    pub const fn provider(&self) -> Handle {
        Handle(self.header.handle)
    }

    /// Number of this hop, from 1.
    #[must_use]
    pub const fn hop(&self) -> u8 {
        self.header.hop
    }

    /// How the connecting socket came to its trail.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        Provenance::of_flags(self.header.flags)
    }

    /// The application at the start of the trail.
    #[must_use]
    pub fn application(&self) -> Process {
        let header = &self.header;
        let end = header.name.iter().position(|&b| b == 0).unwrap_or(header.name.len());
        Process {
            pid: header.pid,
            start: after_boot(boot_time(), header.start_ns),
            start_ns: header.start_ns,
            uid: header.uid,
            gid: header.gid,
            exe: self.layout().origin().exe,
            cgroup: header.cgroup,
            name: String::from_utf8_lossy(&header.name[..end]).into_owned(),
        }
    }

    /// Path of the application's executable when it connected; nothing when the kernel could not
    /// tell. A path over 256 bytes has lost its beginning and does not start with `/`.
    #[must_use]
    pub fn exe_path(&self) -> Option<&Path> {
        sys::path(self.layout().path)
    }

    /// The bytes that the provider's configuration adds.
    #[must_use]
    pub fn provider_bytes(&self) -> &[u8] {
        self.layout().provider
    }

    fn layout(&self) -> Layout<'_> {
        let (path, provider) = self.path_and_provider.split_at(self.header.path_bytes.into());
        Layout { header: self.header, path, provider }
    }
}

/// Bytes of a context for `192.0.2.10:80` with this path and these provider bytes.
#[cfg(test)]
pub(crate) fn sample(path: &[u8], provider: &[u8]) -> Vec<u8> {
    use hoptrail_core::addr::Port;
    use hoptrail_core::context::{HEADER_BYTES, VERSION, padded};
    use zerocopy::{FromZeros, IntoBytes};
    let mut header = ContextHeader::new_zeroed();
    header.version = VERSION;
    let length = HEADER_BYTES + padded(path.len()) + padded(provider.len());
    header.length = length as u16;
    header.protocol = 6;
    header.hop = 1;
    header.flags = 1;
    header.handle = 7;
    header.pid = 4100;
    header.destination = std::net::Ipv4Addr::new(192, 0, 2, 10).into();
    header.destination_port = Port::new(80);
    header.path_bytes = path.len() as u16;
    header.provider_bytes = provider.len() as u16;
    header.name[..4].copy_from_slice(b"curl");
    let mut bytes = header.as_bytes().to_vec();
    for part in [path, provider] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_22_any_bytes_come_through() {
        let bytes = sample(b"/usr/bin/curl", b"\0\xffacme\0");
        let context = Context::parse(&bytes).unwrap();
        assert_eq!(context.exe_path(), Some(Path::new("/usr/bin/curl")));
        assert_eq!(context.provider_bytes(), b"\0\xffacme\0");
        assert_eq!(context.destination(), "192.0.2.10:80".parse().unwrap());
        assert_eq!((context.hop(), context.provider()), (1, Handle(7)));
        assert_eq!(context.provenance(), Provenance::Declared);
        assert_eq!(context.application().name, "curl");
    }

    #[test]
    fn nothing_of_its_own_is_nothing() {
        let context = Context::parse(&sample(b"", b"")).unwrap();
        assert_eq!(context.exe_path(), None);
        assert_eq!(context.provider_bytes(), b"");
    }

    #[test]
    fn cut_long_or_foreign_bytes_are_refused() {
        let bytes = sample(b"/bin/true", b"acme/v1");
        for length in 0..bytes.len() {
            assert!(Context::parse(&bytes[..length]).is_none(), "{length}");
        }
        let mut other = bytes.clone();
        other[0] ^= 2;
        assert!(Context::parse(&other).is_none());
        assert!(Context::parse(&[bytes, vec![0; 8]].concat()).is_none());
    }
}
