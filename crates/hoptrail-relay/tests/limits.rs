//! At the limits: no descriptors or places left, and the order to stop.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "limits/child.rs"]
mod child;
#[path = "limits/drain.rs"]
mod drain;
#[path = "limits/places.rs"]
mod places;
#[path = "wire/record.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod record;
#[path = "wire/route.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod route;
#[path = "limits/sharing.rs"]
mod sharing;
#[path = "wire/stream.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod stream;
