//! Records as typed values: the application, what it asked for, and the hops made so far.

use crate::sys::boot_time;
use hoptrail_core::records::{BlobError, Exe, Provenance, TrailHeader};
use hoptrail_core::{Protocol, RedirectState};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// A provider's redirect handle: its identity in the kernel, stable over restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What one connection's legs have in common; unique on this machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrailId(pub [u64; 2]);

/// A connection's way so far.
#[derive(Clone)]
pub struct Trail {
    trail: Box<hoptrail_core::Trail>,
    boot: SystemTime,
}

/// The application at the start of a trail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Process id, as the machine's initial pid namespace counts.
    pub pid: u32,
    /// When it started.
    pub start: SystemTime,
    /// The same in nanoseconds since boot: with `pid` unique until the next boot.
    pub start_ns: u64,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Executable file, by device and inode; its path is in the [`Context`](crate::Context).
    pub exe: Exe,
    /// Cgroup (v2) id: the inode of its directory.
    pub cgroup: u64,
    /// Name of the main thread.
    pub name: String,
}

/// One applied redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The provider that redirected.
    pub provider: Handle,
    /// Number of its filter that matched, from 0.
    pub filter: u32,
    /// Address of the socket that connected.
    pub from: SocketAddr,
    /// Address that it asked for.
    pub asked: SocketAddr,
    /// Address of the provider's listener that it got.
    pub to: SocketAddr,
    /// When.
    pub time: SystemTime,
    /// The same in nanoseconds since boot: for differences, which a clock that is set does not change.
    pub time_ns: u64,
    /// How the connecting socket came to its trail.
    pub provenance: Provenance,
    /// Process that connected: the application, or the proxy of the hop before.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

impl Handle {
    /// The handle of the provider with this GUID, given as its bytes stand in memory: the first eight.
    #[must_use]
    pub const fn of_guid(guid: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = guid;
        Self(u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Trail {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        Ok(Self { trail: Box::new(hoptrail_core::Trail::parse(bytes)?), boot: boot_time() })
    }

    fn header(&self) -> &TrailHeader {
        &self.trail.header
    }

    /// What all legs of this connection share.
    #[must_use]
    pub fn id(&self) -> TrailId {
        TrailId(self.header().id)
    }

    /// TCP or UDP.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.header().protocol()
    }

    /// What the application asked for, before any hop.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.header().destination().into()
    }

    /// The application's own address.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.header().local().into()
    }

    /// The network interface to which the application had bound its socket.
    #[must_use]
    pub fn device(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.header().device)
    }

    /// Cookie of the network namespace in which `device` counts.
    #[must_use]
    pub fn netns(&self) -> u64 {
        self.header().netns
    }

    /// The application.
    #[must_use]
    pub fn application(&self) -> Process {
        let header = self.header();
        Process {
            pid: header.pid,
            start: after_boot(self.boot, header.start_ns),
            start_ns: header.start_ns,
            uid: header.uid,
            gid: header.gid,
            exe: header.origin().exe,
            cgroup: header.cgroup,
            name: header.name().to_owned(),
        }
    }

    /// The hops, oldest first.
    pub fn hops(&self) -> impl ExactSizeIterator<Item = Hop> + DoubleEndedIterator {
        self.trail.hops().iter().map(|hop| self.hop(hop))
    }

    /// How this trail stands towards a provider.
    #[must_use]
    pub fn state(&self, provider: Handle) -> RedirectState {
        RedirectState::of(self.trail.hops().iter().map(|hop| hop.handle), provider.0)
    }

    fn hop(&self, hop: &hoptrail_core::Hop) -> Hop {
        Hop {
            provider: Handle(hop.handle),
            filter: hop.filter,
            from: hop.from().into(),
            asked: hop.asked().into(),
            to: hop.to().into(),
            time: after_boot(self.boot, hop.time_ns),
            time_ns: hop.time_ns,
            provenance: hop.provenance(),
            pid: hop.pid,
            uid: hop.uid,
        }
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail")
            .field("id", &self.id())
            .field("application", &self.application())
            .field("destination", &self.destination())
            .field("hops", &self.hops().collect::<Vec<_>>())
            .finish()
    }
}

/// One line: `curl[4100] 10.0.0.2:40000 -> acme... -> 192.0.2.10:80`, with handles for providers.
impl std::fmt::Display for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}] {}", self.header().name(), self.header().pid, self.local())?;
        for hop in self.hops() {
            write!(f, " -> {}({})", hop.to, hop.provider)?;
        }
        write!(f, " -> {}", self.destination())
    }
}

impl std::fmt::Display for Handle {
    /// Sixteen hexadecimal digits in the order of the provider's GUID.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_ne_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for TrailId {
    /// Thirty-two hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

impl std::fmt::Debug for TrailId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// `ns` nanoseconds after boot.
pub(crate) fn after_boot(boot: SystemTime, ns: u64) -> SystemTime {
    boot.checked_add(Duration::from_nanos(ns)).unwrap_or(boot)
}

/// Records of a connection with `hops` hops by the providers 1, 2, 3, ...
#[cfg(test)]
pub(crate) fn sample(hops: u8) -> hoptrail_core::records::Blob {
    use hoptrail_core::addr::Port;
    let endpoint = |text: &str| {
        let addr: SocketAddr = text.parse().unwrap();
        (addr.ip().into(), Port::new(addr.port()))
    };
    let mut trail = hoptrail_core::Trail::default();
    trail.header.hops = hops;
    trail.header.protocol = Protocol::Tcp as u8;
    trail.header.id = [1, 2];
    trail.header.pid = 4100;
    trail.header.uid = 1000;
    trail.header.start_ns = 5_000_000_000;
    trail.header.exe_dev = 0x0080_0001;
    trail.header.exe_ino = 77;
    trail.header.name[..4].copy_from_slice(b"curl");
    (trail.header.destination, trail.header.destination_port) = endpoint("192.0.2.10:80");
    (trail.header.local, trail.header.local_port) = endpoint("[2001:db8::2]:40000");
    for (i, hop) in trail.hops.iter_mut().take(hops.into()).enumerate() {
        hop.handle = i as u64 + 1;
        hop.time_ns = 6_000_000_000 + i as u64;
        hop.flags = (i.min(1)) as u16;
        hop.filter = 3;
        (hop.from, hop.from_port) = endpoint("10.0.0.2:40000");
        (hop.asked, hop.asked_port) = endpoint("192.0.2.10:80");
        (hop.to, hop.to_port) = endpoint("127.0.0.1:15871");
    }
    trail.seal([1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_reads_as_it_was_written() {
        let trail = Trail::parse(sample(2).as_bytes()).unwrap();
        assert_eq!(trail.protocol(), Some(Protocol::Tcp));
        assert_eq!(trail.destination(), "192.0.2.10:80".parse().unwrap());
        assert_eq!(trail.local(), "[2001:db8::2]:40000".parse().unwrap());
        let process = trail.application();
        assert_eq!((process.pid, process.uid, process.name.as_str()), (4100, 1000, "curl"));
        assert_eq!(process.exe, Exe { dev: 0x0080_0001, ino: 77 });
        let hops: Vec<_> = trail.hops().collect();
        assert_eq!(hops.len(), 2);
        assert_eq!(hops[0].provider, Handle(1));
        assert_eq!(hops[0].provenance, Provenance::Fresh);
        assert_eq!(hops[1].provenance, Provenance::Declared);
        assert_eq!(hops[1].to, "127.0.0.1:15871".parse().unwrap());
        assert_eq!(hops[1].time_ns - hops[0].time_ns, 1);
        assert_eq!(hops[0].time.duration_since(process.start).unwrap(), Duration::from_secs(1));
        assert!(trail.device().is_none());
    }

    #[test]
    fn a_handle_is_the_first_half_of_the_guid() {
        let handle = Handle::of_guid(*b"\x01\x23\x45\x67\x89\xab\xcd\xef12345678");
        assert_eq!(handle.to_string(), "0123456789abcdef");
    }

    #[test]
    fn states_are_asked_by_handle() {
        let trail = Trail::parse(sample(2).as_bytes()).unwrap();
        assert_eq!(trail.state(Handle(1)), RedirectState::PreviouslyRedirectedBySelf);
        assert_eq!(trail.state(Handle(2)), RedirectState::RedirectedBySelf);
        assert_eq!(trail.state(Handle(3)), RedirectState::RedirectedByOther);
        let none = Trail::parse(sample(0).as_bytes()).unwrap();
        assert_eq!(none.state(Handle(1)), RedirectState::NotRedirected);
    }

    #[test]
    fn one_line_names_every_stop() {
        let line = Trail::parse(sample(1).as_bytes()).unwrap().to_string();
        assert!(line.starts_with("curl[4100] [2001:db8::2]:40000 -> 127.0.0.1:15871("), "{line}");
        assert!(line.ends_with(" -> 192.0.2.10:80"), "{line}");
    }
}
