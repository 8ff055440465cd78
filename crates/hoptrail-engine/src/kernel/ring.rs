//! Events from the ring.

use super::load::Loaded;
use crate::engine::EngineError;
use crate::event::{Connector, Event, EventKind};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, Provenance};
use hoptrail_core::shared::{EventRecord, event_kind};
use hoptrail_core::{Endpoint, Protocol};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;
use std::time::{Duration, SystemTime};
use zerocopy::FromBytes as _;

pub(super) fn read(loaded: &mut Loaded, timeout: Duration) -> Result<Vec<Event>, EngineError> {
    let mut records = drain(loaded);
    if records.is_empty() && !timeout.is_zero() {
        wait(loaded, timeout)?;
        records = drain(loaded);
    }
    let boot = boot_time();
    Ok(records.iter().filter_map(|record| event(loaded, boot, record)).collect())
}

fn drain(loaded: &mut Loaded) -> Vec<EventRecord> {
    let mut records = Vec::new();
    while let Some(item) = loaded.maps.events.next() {
        records.extend(EventRecord::read_from_bytes(&item).ok());
    }
    records
}

fn wait(loaded: &Loaded, timeout: Duration) -> Result<(), EngineError> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(loaded.maps.events.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(e) => Err(EngineError::os("cannot wait for events", e.into())),
    }
}

/// The moment of boot on the wall clock, as it is set now.
fn boot_time() -> SystemTime {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default();
    SystemTime::now() - now
}

fn event(loaded: &Loaded, boot: SystemTime, record: &EventRecord) -> Option<Event> {
    let kind = match record.kind {
        event_kind::REDIRECTED => EventKind::Redirected,
        event_kind::REACHED => EventKind::Reached,
        event_kind::REFUSED => EventKind::Refused,
        _ => return None,
    };
    Some(Event {
        kind,
        time: boot + Duration::from_nanos(record.time_ns),
        protocol: Protocol::from_number(record.protocol)?,
        by: Connector {
            pid: record.pid,
            uid: record.uid,
            exe: Exe { dev: record.exe_dev, ino: record.exe_ino },
            name: record.name,
        },
        asked: Endpoint::new(record.asked, record.asked_port.number()),
        to: Endpoint::new(record.to, record.to_port.number()),
        provenance: Provenance::of_flags(record.provenance.into()),
        reason: Reason::from_code(record.reason)?,
        handle: record.handle,
        filter: record.filter,
        generation: record.generation,
        exe_path: loaded.maps.path(record.trail.header.origin().exe),
        trail: record.trail,
    })
}
