//! What TCP promises holds through a relay as it does without one. Each test does the same directly and through relays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "wire/connect.rs"]
mod connect;
#[path = "wire/ends.rs"]
mod ends;
#[path = "wire/flow.rs"]
mod flow;
#[path = "wire/record.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod record;
#[path = "wire/route.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod route;
#[path = "wire/stream.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod stream;
#[path = "wire/urgent.rs"]
mod urgent;
