//! Relays that see every byte, and one that holds them up.

use crate::route::Route;
use crate::stream::bytes_at;
use hoptrail_relay::ledger::Ledger;
use hoptrail_relay::tap::{Ruling, Tap, Taps};
use std::sync::Arc;

/// Denies the connection when it sees other bytes than those that are sent, or sees any twice.
struct Watch {
    at: u64,
}

struct Watches;

impl Taps for Watches {
    fn of(&self, _: &Ledger) -> Option<[Box<dyn Tap>; 2]> {
        Some([Box::new(Watch { at: 0 }), Box::new(Watch { at: 0 })])
    }
}

impl Tap for Watch {
    fn see(&mut self, mut bytes: &[u8]) -> Ruling {
        while !bytes.is_empty() {
            let expected = bytes_at(self.at, bytes.len());
            if !bytes.starts_with(expected) {
                return Ruling::Deny;
            }
            self.at += expected.len() as u64;
            bytes = &bytes[expected.len()..];
        }
        Ruling::Pass
    }

    fn seen(&self) -> Option<u16> {
        None
    }
}

pub(crate) fn tapped() -> Route {
    Route::relayed_with("", Some(Arc::new(Watches)))
}

pub(crate) fn throttled() -> Route {
    Route::relayed_with("[[rule]]\naction = \"throttle\"\nrate = \"40 MB/s\"\n", None)
}
