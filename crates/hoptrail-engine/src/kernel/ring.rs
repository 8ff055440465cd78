//! Events from the ring.
//!
//! The kernel side wakes a reader at most once in [`WAKE_PAUSE_NS`]; so whoever has read something looks
//! once more a little later, which a timer behind the same descriptor arranges.

use super::load::Loaded;
use crate::engine::EngineError;
use crate::event::{Connector, Event, EventKind};
use aya::maps::{MapData, RingBuf};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, Provenance};
use hoptrail_core::shared::{EventRecord, SHORT_EVENT_BYTES, WAKE_PAUSE_NS, event_kind};
use hoptrail_core::{Endpoint, Protocol};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// The ring and what tells that it is worth reading.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    ready: OwnedFd,
    again: OwnedFd,
}

fn broken(what: &str, error: Errno) -> EngineError {
    EngineError::os(format!("cannot {what} the events"), error.into())
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, EngineError> {
        let failed = |error| broken("wait for", error);
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let again = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed)?;
        let readable = epoll::EventFlags::IN;
        for fd in [ring.as_fd(), again.as_fd()] {
            epoll::add(&ready, fd, epoll::EventData::new_u64(0), readable).map_err(failed)?;
        }
        Ok(Self { ring, ready, again })
    }

    fn drain(&mut self) -> Result<Vec<EventRecord>, EngineError> {
        // Clears the timer if it was that; there is nothing to learn from it.
        let _ = rustix::io::read(&self.again, &mut [0u8; 8]);
        let mut records = Vec::new();
        while let Some(item) = self.ring.next() {
            records.extend(record(&item));
        }
        if !records.is_empty() {
            self.look_again()?;
        }
        Ok(records)
    }

    fn look_again(&self) -> Result<(), EngineError> {
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: 0, tv_nsec: 2 * WAKE_PAUSE_NS as i64 },
        };
        timerfd_settime(&self.again, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|error| broken("wait for", error))
    }

    fn wait(&self, timeout: Duration) -> Result<(), EngineError> {
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(&self.ready, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(broken("wait for", error)),
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

pub(super) fn read(loaded: &mut Loaded, timeout: Duration) -> Result<Vec<Event>, EngineError> {
    let mut records = loaded.events.drain()?;
    if records.is_empty() && !timeout.is_zero() {
        loaded.events.wait(timeout)?;
        records = loaded.events.drain()?;
    }
    let boot = boot_time();
    Ok(records.iter().filter_map(|record| event(loaded, boot, record)).collect())
}

/// A record at its full size; a short one lacks only hops that were not made.
fn record(item: &[u8]) -> Option<EventRecord> {
    if item.len() != SHORT_EVENT_BYTES && item.len() != size_of::<EventRecord>() {
        return None;
    }
    let mut record = EventRecord::new_zeroed();
    record.as_mut_bytes()[..item.len()].copy_from_slice(item);
    Some(record)
}

/// The moment of boot on the wall clock, as it is set now.
fn boot_time() -> SystemTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32);
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
