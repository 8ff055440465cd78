//! The trail as fields of a PROXY protocol header (version 2). Everything is in network byte order, so
//! that it can be read on another machine.

use super::Story;
use hoptrail::{Hop, Trail};
use proxy_header::Tlv;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::network_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// Type of the field with the application: one.
pub const APPLICATION: u8 = 0xe0;
/// Type of the field with a hop: one for each, oldest first.
pub const HOP: u8 = 0xe1;
/// Version of both layouts.
pub const VERSION: u8 = 1;

/// The application at the start of the trail. The path of its executable follows, if it is known.
#[derive(Clone, Copy, Immutable, IntoBytes, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "docs/proxy-protocol.md describes each field")]
pub struct Application {
    pub version: u8,
    pub protocol: u8,
    pub hops: u8,
    pub reserved: u8,
    pub pid: U32,
    pub uid: U32,
    pub gid: U32,
    pub start: U64,
    pub start_ns: U64,
    pub cgroup: U64,
    pub exe_ino: U64,
    pub exe_dev: U32,
    pub local_port: U16,
    pub asked_port: U16,
    pub local: [u8; 16],
    pub asked: [u8; 16],
    pub name: [u8; 16],
}

/// One redirect.
#[derive(Clone, Copy, Immutable, IntoBytes, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "docs/proxy-protocol.md describes each field")]
pub struct HopField {
    pub version: u8,
    pub number: u8,
    pub provenance: u8,
    pub reserved: u8,
    pub filter: U32,
    pub provider: [u8; 8],
    pub time: U64,
    pub pid: U32,
    pub uid: U32,
    pub from: [u8; 16],
    pub asked: [u8; 16],
    pub to: [u8; 16],
    pub from_port: U16,
    pub asked_port: U16,
    pub to_port: U16,
}

/// The trail's identity, the application, and each hop.
pub(super) fn fields(story: &Story<'_>) -> Vec<Tlv<'static>> {
    let trail = story.trail;
    let mut application = application(trail).as_bytes().to_vec();
    application.extend(story.exe.map(|exe| exe.as_os_str().as_bytes()).unwrap_or_default());
    // As text, since that is how others log an identity, and how `hoptrail flows` shows it.
    let id = trail.id().to_string().into_bytes();
    let mut fields = vec![Tlv::UniqueId(id.into()), Tlv::Custom(APPLICATION, application.into())];
    fields.extend(
        (1..).zip(trail.hops()).map(|(number, hop)| {
            Tlv::Custom(HOP, self::hop(number, &hop).as_bytes().to_vec().into())
        }),
    );
    fields
}

fn application(trail: &Trail) -> Application {
    let process = trail.application();
    let mut name = [0; 16];
    let length = process.name.len().min(name.len());
    name[..length].copy_from_slice(&process.name.as_bytes()[..length]);
    Application {
        version: VERSION,
        protocol: trail.protocol().map_or(0, |protocol| protocol as u8),
        hops: u8::try_from(trail.hops().len()).unwrap_or(u8::MAX),
        reserved: 0,
        pid: process.pid.into(),
        uid: process.uid.into(),
        gid: process.gid.into(),
        start: unix_ns(process.start).into(),
        start_ns: process.start_ns.into(),
        cgroup: process.cgroup.into(),
        exe_ino: process.exe.ino.into(),
        exe_dev: process.exe.dev.into(),
        local_port: trail.local().port().into(),
        asked_port: trail.destination().port().into(),
        local: ip(trail.local()),
        asked: ip(trail.destination()),
        name,
    }
}

fn hop(number: u8, hop: &Hop) -> HopField {
    HopField {
        version: VERSION,
        number,
        provenance: hop.provenance as u8,
        reserved: 0,
        filter: hop.filter.into(),
        // A handle is the first bytes of a GUID as they stand in memory.
        provider: hop.provider.0.to_ne_bytes(),
        time: unix_ns(hop.time).into(),
        pid: hop.pid.into(),
        uid: hop.uid.into(),
        from: ip(hop.from),
        asked: ip(hop.asked),
        to: ip(hop.to),
        from_port: hop.from.port().into(),
        asked_port: hop.asked.port().into(),
        to_port: hop.to.port().into(),
    }
}

/// As in records: IPv4 as IPv4-mapped IPv6.
fn ip(addr: SocketAddr) -> [u8; 16] {
    match addr.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
