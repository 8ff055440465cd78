//! A UDP socket's four switches, and which flows it was told of.

use super::control::Kind;
use crate::requests::{Selected, What};
use crate::system::Descriptor;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// As many flows the kernel side keeps (docs/abi.md).
const MOST_FLOWS: usize = 8192;

#[derive(Default)]
pub(crate) struct Switches {
    on: AtomicU8,
    announced: Mutex<Announced>,
}

/// The flow that each peer was last announced with, as a hash of its records: a peer whose flow was
/// forgotten by the kernel, or that means another one now, has other records.
#[derive(Default)]
struct Announced {
    flows: HashMap<Vec<u8>, u64>,
    order: VecDeque<Vec<u8>>,
}

impl Switches {
    pub(crate) fn set(&self, kind: Kind, on: bool) {
        if on {
            self.on.fetch_or(bit(kind), Ordering::SeqCst);
        } else {
            self.on.fetch_and(!bit(kind), Ordering::SeqCst);
        }
    }

    pub(crate) fn is_on(&self, kind: Kind) -> bool {
        self.on.load(Ordering::SeqCst) & bit(kind) != 0
    }

    pub(crate) fn any(&self) -> bool {
        self.on.load(Ordering::SeqCst) != 0
    }

    /// The control messages for a datagram from `peer`, in the order records, context; none when its
    /// flow was announced before. A datagram that was only looked at leaves the flow unannounced.
    pub(crate) fn announce(&self, fd: Descriptor, peer: &[u8], peeked: bool) -> Vec<Vec<u8>> {
        let Some(family) = Family::of(peer).filter(|_| self.any()) else {
            return Vec::new();
        };
        let Ok(selected) = Selected::new(fd, peer) else { return Vec::new() };
        let Some(records) = selected.value(What::Records) else { return Vec::new() };
        if !self.is_new(peer, &records, peeked) {
            return Vec::new();
        }
        let context = family.kinds(true).find(|kind| self.is_on(*kind));
        let context = context.and_then(|kind| Some(kind.message(&selected.value(What::Context)?)));
        let kind = family.kinds(false).find(|kind| self.is_on(*kind));
        kind.map(|kind| kind.message(&records)).into_iter().chain(context).collect()
    }

    fn is_new(&self, peer: &[u8], records: &[u8], peeked: bool) -> bool {
        let mut hasher = DefaultHasher::new();
        records.hash(&mut hasher);
        let flow = hasher.finish();
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if peeked { announced.flows.get(peer) != Some(&flow) } else { announced.note(peer, flow) }
    }
}

impl Announced {
    fn note(&mut self, peer: &[u8], flow: u64) -> bool {
        match self.flows.insert(peer.to_vec(), flow) {
            Some(before) => before != flow,
            None => {
                self.order.push_back(peer.to_vec());
                if self.order.len() > MOST_FLOWS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.flows.remove(&oldest);
                }
                true
            }
        }
    }
}

/// A datagram's, by its peer.
#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
    /// IPv4 on a dual-stack socket.
    Mapped,
}

impl Family {
    fn of(peer: &[u8]) -> Option<Self> {
        let family = i32::from(u16::from_ne_bytes(peer.get(..2)?.try_into().ok()?));
        match family {
            libc::AF_INET => Some(Self::V4),
            libc::AF_INET6 => {
                let address: [u8; 16] = peer.get(8..24)?.try_into().ok()?;
                let mapped = std::net::Ipv6Addr::from(address).to_ipv4_mapped().is_some();
                Some(if mapped { Self::Mapped } else { Self::V6 })
            }
            _ => None,
        }
    }

    /// The messages that tell of it, the better one first.
    fn kinds(self, context: bool) -> impl Iterator<Item = Kind> {
        let levels: &[bool] = match self {
            Self::V4 => &[false],
            Self::V6 => &[true],
            Self::Mapped => &[false, true],
        };
        levels.iter().map(move |&v6| Kind { v6, context })
    }
}

const fn bit(kind: Kind) -> u8 {
    1 << (kind.v6 as u8 * 2 + kind.context as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_is_its_own() {
        let switches = Switches::default();
        for kind in Kind::ALL {
            switches.set(kind, true);
            assert_eq!(Kind::ALL.map(|k| switches.is_on(k)), Kind::ALL.map(|k| k == kind));
            switches.set(kind, false);
        }
        assert!(!switches.any());
    }

    #[test]
    fn statement_68_a_flow_is_announced_once_and_another_again() {
        let switches = Switches::default();
        assert!(switches.is_new(b"peer", b"flow 1", true));
        assert!(switches.is_new(b"peer", b"flow 1", false));
        assert!(!switches.is_new(b"peer", b"flow 1", false));
        assert!(switches.is_new(b"peer", b"flow 2", false));
        assert!(switches.is_new(b"other", b"flow 1", false));
    }

    #[test]
    fn flows_are_remembered_up_to_a_bound() {
        let mut announced = Announced::default();
        for n in 0..2 * MOST_FLOWS {
            assert!(announced.note(&n.to_ne_bytes(), 1));
        }
        assert_eq!((announced.flows.len(), announced.order.len()), (MOST_FLOWS, MOST_FLOWS));
    }

    #[test]
    fn statement_72_mapped_peers_may_be_told_at_either_level() {
        let mut mapped = [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &[0; 26]].concat();
        mapped[18..20].fill(0xff);
        let levels = |peer: &[u8]| -> Vec<bool> {
            Family::of(peer).unwrap().kinds(false).map(|kind| kind.v6).collect()
        };
        assert_eq!(levels(&mapped), [false, true]);
        mapped[8] = 0x20;
        assert_eq!(levels(&mapped), [true]);
        assert!(Family::of(&[]).is_none());
    }
}
