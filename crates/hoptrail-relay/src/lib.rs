//! The inspecting relay: accepts redirected connections, inspects, dials on, and copies the cheapest correct way.

pub mod config;
pub mod counters;
pub mod inspect;
pub mod ledger;
pub mod observe;
pub mod rules;
pub mod udp;
pub mod upstream;
