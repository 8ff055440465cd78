//! `hoptrail __reaper`: outlives a hoptrail that was killed with -9, and clears up after it.
//!
//! It holds the read end of a pipe whose write end only hoptrail has. When the pipe ends, hoptrail is dead:
//! everything in the run's cgroup is killed (its connections would no longer be redirected) and the cgroup removed.

use crate::failure::Failure;
use hoptrail_engine::host::cgroup2::CgroupDir;
use nix::sys::signal::SigSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

/// Clear up after a hoptrail that was killed (internal)
#[derive(clap::Args, Debug)]
pub(crate) struct ReaperArgs {
    /// The run's cgroup
    cgroup: PathBuf,
}

/// A reaper that waits; ended when this is dropped, after the run has cleared up by itself.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Starts one for the cgroup that is about to be made.
    pub(crate) fn start(cgroup: &Path) -> Result<Self, Failure> {
        let mut child = Command::new("/proc/self/exe")
            .arg0("hoptrail")
            .arg("__reaper")
            .arg(cgroup)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Failure::os("cannot start the process that clears up", e))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

pub(crate) fn run(args: &ReaperArgs) -> ExitCode {
    // Signals for hoptrail's group or terminal are not for the reaper. Until here hoptrail's mask was inherited.
    let _ = nix::unistd::setsid();
    let _ = SigSet::all().thread_block();
    let mut rest = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut rest);
    let Ok(cgroup) = CgroupDir::open(&args.cgroup) else { return ExitCode::SUCCESS };
    match cgroup.kill().and_then(|()| cgroup.remove()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
