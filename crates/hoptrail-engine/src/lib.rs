//! The engine: configuration to policy, policy to kernel, kernel events to trails.

pub mod config;
pub mod engine;
pub mod event;
pub mod host;
pub mod kernel;
pub mod trails;

pub use engine::{Engine, EngineError};
