//! The host: cgroups, users, executables, namespaces, and what the kernel can do.

pub mod cgroup2;
pub mod cgroups;
pub mod doctor;
pub mod exes;
pub mod hooks;
pub mod listen;
pub mod mounts;
pub mod process;
pub mod supervise;
pub mod users;
pub mod watch;
