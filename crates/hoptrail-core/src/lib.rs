//! What kernel and user space must agree on: addresses, records and their wire form, redirect
//! states, the policy image and the one decision taken from it.
//!
//! The BPF hooks, the engine, `hoptrail explain` and the model checker all use [`decide`]; nothing
//! else decides. The crate is `no_std`, free of `unsafe`, and free of allocation but for the policy
//! compiler behind the `compile` feature.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "compile")]
extern crate alloc;

pub mod abi;
pub mod addr;
pub mod bits;
#[cfg(feature = "compile")]
pub mod compile;
pub mod context;
pub mod decide;
pub mod image;
pub mod reason;
pub mod records;
pub mod shared;
pub mod siphash;
pub mod state;

pub use addr::{Endpoint, Ip, Protocol};
pub use records::{Hop, Origin, Trail, TrailHeader};
pub use state::RedirectState;
