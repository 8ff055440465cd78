//! The command that `run` wraps: its signals, its end, and the exit status that tells of it.

use crate::failure::Failure;
use hoptrail_engine::host::cgroup2::CgroupDir;
use hoptrail_engine::host::process::{Launch, LaunchError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Hoptrail itself failed, the command cannot be executed, the command is not there: as env(1).
pub(crate) const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What hoptrail passes on to the command.
const FORWARDED: &[Signal] = &[
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// Signals of this process, taken as data instead of being delivered.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

/// One signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Which.
    pub(crate) signal: Signal,
    /// `si_code`.
    pub(crate) code: i32,
    /// Who sent it, if a process did.
    pub(crate) sender: u32,
}

impl Signals {
    /// Takes those that `run` forwards, and the ends of children. To be called before any thread is started.
    pub(crate) fn forwarded() -> Result<Self, Failure> {
        Self::take(FORWARDED)
    }

    /// Takes `signals`, and the ends of children.
    pub(crate) fn take(signals: &[Signal]) -> Result<Self, Failure> {
        let mut set: SigSet = signals.iter().copied().collect();
        set.add(Signal::SIGCHLD);
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))
            .map_err(|e| Failure::os("cannot block signals", e))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|e| Failure::os("cannot take signals", e))?;
        Ok(Self { fd, before })
    }

    /// The mask with which started programs shall begin.
    pub(crate) const fn before(&self) -> SigSet {
        self.before
    }

    /// Waits for a signal, or for one of `others` to be readable.
    pub(crate) fn wait(&self, others: &[std::os::fd::BorrowedFd<'_>], timeout: Duration) {
        let mut fds = vec![PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        fds.extend(others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout);
    }

    /// The next signal, if one has come.
    pub(crate) fn next(&self) -> Option<Received> {
        let info = self.fd.read_signal().ok()??;
        let signal = Signal::try_from(info.ssi_signo.cast_signed()).ok()?;
        Some(Received { signal, code: info.ssi_code, sender: info.ssi_pid })
    }
}

/// The running command.
#[derive(Debug)]
pub(crate) struct Wrapped {
    child: Child,
    cgroup: CgroupDir,
}

impl Wrapped {
    /// Starts it.
    pub(crate) fn start(launch: Launch) -> Result<Self, LaunchError> {
        let cgroup = launch.cgroup.clone();
        Ok(Self { child: launch.start()?, cgroup })
    }

    /// Passes on the signals that have come, and tells whether the command has ended.
    pub(crate) fn tend(&mut self, signals: &Signals) -> Option<ExitStatus> {
        while let Some(received) = signals.next() {
            self.pass_on(received);
        }
        self.child.try_wait().ok().flatten()
    }

    fn pass_on(&self, received: Received) {
        let inside = || self.cgroup.subtree_processes().contains(&received.sender);
        if !is_for_command(received, inside) {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), received.signal);
        }
    }
}

/// The terminal's own signals have reached the command already, since it is in hoptrail's process group. What
/// the command sends to its whole group must not come back to it either.
fn is_for_command(received: Received, sender_is_inside: impl FnOnce() -> bool) -> bool {
    let of_kernel = received.code > 0;
    received.signal != Signal::SIGCHLD && !of_kernel && !sender_is_inside()
}

/// The status with which hoptrail ends after the command ended so.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// The status with which hoptrail ends when the command did not even start.
pub(crate) const fn start_code(error: &LaunchError) -> u8 {
    match error {
        LaunchError::NotFound { .. } => NOT_FOUND,
        LaunchError::NotExecutable { .. } => NOT_EXECUTABLE,
        LaunchError::Setup(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc;

    fn received(signal: Signal, code: i32) -> Received {
        Received { signal, code, sender: 1 }
    }

    #[test]
    fn ctrl_c_of_the_terminal_is_not_doubled_and_kill_is_passed_on() {
        const SI_KERNEL: i32 = 0x80;
        assert!(!is_for_command(received(Signal::SIGINT, SI_KERNEL), || false));
        assert!(is_for_command(received(Signal::SIGINT, libc::SI_USER), || false));
        assert!(is_for_command(received(Signal::SIGTERM, libc::SI_TKILL), || false));
        assert!(is_for_command(received(Signal::SIGUSR1, libc::SI_QUEUE), || false));
    }

    #[test]
    fn what_the_command_sends_to_its_group_does_not_come_back() {
        assert!(!is_for_command(received(Signal::SIGTERM, libc::SI_USER), || true));
        assert!(!is_for_command(received(Signal::SIGCHLD, libc::SI_USER), || false));
    }

    #[test]
    fn exit_codes_are_the_commands_own() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(42 << 8)), 42);
        assert_eq!(exit_code(ExitStatus::from_raw(libc::SIGTERM)), 143);
        assert_eq!(exit_code(ExitStatus::from_raw(libc::SIGKILL)), 137);
    }
}
