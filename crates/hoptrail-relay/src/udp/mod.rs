//! Sessions of UDP flows.
