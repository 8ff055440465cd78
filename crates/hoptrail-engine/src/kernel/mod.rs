//! The kernel engine: BPF programs, maps, links and pins.
