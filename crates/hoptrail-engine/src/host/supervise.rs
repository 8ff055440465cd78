//! Keeps a provider's proxy running: starts its command in a cgroup of its own, waits until it listens,
//! starts it again when it dies, and takes over one that is already there.

use super::cgroup2::CgroupDir;
use super::listen::Listeners;
use super::process::{Launch, LaunchError};
use hoptrail_core::{Endpoint, Protocol};
use nix::sys::signal::SigSet;
use std::ffi::OsString;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a proxy may take until it listens.
pub const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A proxy that ran this long is healthy: its next death is its first.
const HEALTHY: Duration = Duration::from_secs(60);

/// A proxy that hoptrail runs.
#[derive(Clone, Debug)]
pub struct ProxySpec {
    /// The provider's name.
    pub provider: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it should listen.
    pub listen: Vec<(Protocol, Endpoint)>,
}

/// What its standard output and error are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Hoptrail's standard error, both: it outlives hoptrail.
    Inherited,
    /// Pipes, given out by [`Notice::Started`].
    Piped,
}

/// What happened to a proxy.
#[derive(Debug)]
pub enum Notice {
    /// It was started.
    Started {
        /// Its process.
        pid: u32,
        /// What it prints, with [`Output::Piped`].
        output: Option<(ChildStdout, ChildStderr)>,
    },
    /// It was found running.
    Adopted {
        /// The processes in its cgroup.
        pids: Vec<u32>,
    },
    /// It listens.
    Listening {
        /// That long after its start.
        after: Duration,
    },
    /// It runs but does not listen; said once per start.
    Deaf {
        /// Where nothing listens.
        missing: Vec<(Protocol, Endpoint)>,
    },
    /// It ended.
    Died {
        /// How; not known of one that was found running.
        status: Option<ExitStatus>,
        /// When it is started again.
        again_in: Duration,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        error: LaunchError,
        /// When that is tried again.
        again_in: Duration,
    },
}

/// One supervised proxy.
#[derive(Debug)]
pub struct Proxy {
    spec: ProxySpec,
    cgroup: CgroupDir,
    output: Output,
    signals: SigSet,
    pause: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be started at that time.
    Waiting(Instant),
    /// Runs since then; `child` is nothing for one that was found running or went to the background.
    Running { child: Option<Child>, since: Instant, hearing: Hearing },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    NotYet,
    Complained,
    Listens,
}

impl Proxy {
    /// A proxy to be run in `cgroup`, starting with the signal mask `signals`.
    #[must_use]
    pub fn new(
        spec: ProxySpec,
        cgroup: CgroupDir,
        output: Output,
        signals: SigSet,
        now: Instant,
    ) -> Self {
        Self { spec, cgroup, output, signals, pause: FIRST_PAUSE, state: State::Waiting(now) }
    }

    /// What it is.
    #[must_use]
    pub const fn spec(&self) -> &ProxySpec {
        &self.spec
    }

    /// Where it runs.
    #[must_use]
    pub const fn cgroup(&self) -> &CgroupDir {
        &self.cgroup
    }

    /// Whether it runs and listens.
    #[must_use]
    pub const fn listens(&self) -> bool {
        matches!(self.state, State::Running { hearing: Hearing::Listens, .. })
    }

    /// Whether it runs.
    #[must_use]
    pub const fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Takes over what already runs in its cgroup instead of starting a second.
    pub fn adopt(&mut self, now: Instant) -> Option<Notice> {
        let pids = self.cgroup.subtree_processes();
        if pids.is_empty() || self.runs() {
            return None;
        }
        self.state = State::Running { child: None, since: now, hearing: Hearing::NotYet };
        Some(Notice::Adopted { pids })
    }

    /// Does what is due and says what happened. To be called often while it is not listening (10 ms),
    /// else a few times a second.
    pub fn tick(&mut self, now: Instant, listeners: &Listeners) -> Option<Notice> {
        match &self.state {
            State::Waiting(until) if *until <= now => Some(self.start(now)),
            State::Waiting(_) => None,
            State::Running { .. } => self.died(now).or_else(|| self.hear(now, listeners)),
        }
    }

    /// Ends it, and does not start it again until `adopt` or `tick`.
    pub fn stop(&mut self, now: Instant) {
        let _ = self.cgroup.kill();
        if let State::Running { child: Some(child), .. } = &mut self.state {
            let _ = child.wait();
        }
        self.state = State::Waiting(now);
    }

    fn start(&mut self, now: Instant) -> Notice {
        // What the one before left behind would hold its port.
        let _ = self.cgroup.kill();
        match self.launch().start() {
            Ok(mut child) => {
                let output = child.stdout.take().zip(child.stderr.take());
                let pid = child.id();
                self.state =
                    State::Running { child: Some(child), since: now, hearing: Hearing::NotYet };
                Notice::Started { pid, output }
            }
            Err(error) => Notice::NotStarted { error, again_in: self.wait(now) },
        }
    }

    fn launch(&self) -> Launch {
        let outputs = match self.output {
            // Its standard output must not mix with that of the command.
            Output::Inherited => [stderr(), stderr()],
            Output::Piped => [Stdio::piped(), Stdio::piped()],
        };
        let [stdout, stderr] = outputs;
        Launch {
            argv: self.spec.command.iter().map(OsString::from).collect(),
            cgroup: self.cgroup.clone(),
            identity: None,
            own_session: true,
            signals: self.signals,
            stdio: [Stdio::null(), stdout, stderr],
        }
    }

    fn wait(&mut self, now: Instant) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.state = State::Waiting(now + pause);
        pause
    }

    fn died(&mut self, now: Instant) -> Option<Notice> {
        let State::Running { child, since, .. } = &mut self.state else { return None };
        let status = match child {
            None if self.cgroup.populated() => return None,
            None => None,
            Some(running) => match running.try_wait() {
                Ok(None) => return None,
                // A program that goes to the background leaves its work to its children.
                Ok(Some(status)) if status.success() && self.cgroup.populated() => {
                    *child = None;
                    return None;
                }
                Ok(Some(status)) => Some(status),
                Err(_) => None,
            },
        };
        if now.duration_since(*since) >= HEALTHY {
            self.pause = FIRST_PAUSE;
        }
        Some(Notice::Died { status, again_in: self.wait(now) })
    }

    fn hear(&mut self, now: Instant, listeners: &Listeners) -> Option<Notice> {
        let State::Running { since, hearing, .. } = &mut self.state else { return None };
        if *hearing == Hearing::Listens {
            return None;
        }
        let after = now.duration_since(*since);
        let missing: Vec<_> = self
            .spec
            .listen
            .iter()
            .copied()
            .filter(|&(protocol, at)| !listeners.has(protocol, at))
            .collect();
        if missing.is_empty() {
            *hearing = Hearing::Listens;
            return Some(Notice::Listening { after });
        }
        if *hearing == Hearing::NotYet && after >= PATIENCE {
            *hearing = Hearing::Complained;
            return Some(Notice::Deaf { missing });
        }
        None
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Started { pid, .. } => write!(f, "started as process {pid}"),
            Self::Adopted { pids } => {
                write!(f, "runs already as process {}; taken over", list(pids))
            }
            Self::Listening { after } => {
                write!(f, "listens after {:.1} ms", after.as_secs_f64() * 1e3)
            }
            Self::Deaf { missing } => {
                let places: Vec<_> = missing
                    .iter()
                    .map(|(protocol, at)| format!("{}/{at}", protocol.name()))
                    .collect();
                write!(
                    f,
                    "runs, but nothing listens at {} after {} s; its command must listen where `listen` says",
                    places.join(" and "),
                    PATIENCE.as_secs()
                )
            }
            Self::Died { status, again_in } => {
                f.write_str("ended")?;
                if let Some(status) = status {
                    write!(f, " with {status}")?;
                }
                write!(f, "; started again in {:.1} s", again_in.as_secs_f64())
            }
            Self::NotStarted { error, again_in } => {
                write!(f, "{error}; tried again in {:.1} s", again_in.as_secs_f64())
            }
        }
    }
}

fn list(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// A copy of this process's standard error.
fn stderr() -> Stdio {
    use std::os::fd::AsFd;
    std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

#[cfg(test)]
mod tests;
