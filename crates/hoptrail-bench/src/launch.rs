//! The harness as the starter of another program: it enters its cgroup and CPUs before it becomes it, so that
//! every socket of that program is where it belongs.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The first argument; after it CPUs (`0,1`), the cgroup's directory, the program and its arguments.
pub(crate) const ARGUMENT: &str = "--launch";

/// Comes back only when it fails.
pub(crate) fn run(given: &[String]) -> io::Error {
    let [cpus, cgroup, program, args @ ..] = given else {
        return io::Error::other("--launch takes CPUs, a cgroup and a program");
    };
    match enter(cpus, cgroup) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(e) => e,
    }
}

fn enter(cpus: &str, cgroup: &str) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.split(',') {
        set.set(cpu.parse().map_err(io::Error::other)?)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)?;
    std::fs::write(format!("{cgroup}/cgroup.procs"), "0")
}
