//! Starting a program: inside a cgroup from its first instruction, as a given user, with a given signal mask.
#![expect(
    unsafe_code,
    reason = "what happens between fork and exec can only be said with pre_exec"
)]

use crate::EngineError;
use crate::host::cgroup2::CgroupDir;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Gid, Uid, User, getgrouplist, setgid, setgroups, setsid, setuid};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The user a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// A program to start.
#[derive(Debug)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Where it runs.
    pub cgroup: CgroupDir,
    /// Who it runs as; as this process if nothing is said.
    pub identity: Option<Identity>,
    /// Whether it leaves the terminal, so that Ctrl-C means the command and not its proxies.
    pub own_session: bool,
    /// The mask it starts with.
    pub signals: SigSet,
    /// Standard input, output and error.
    pub stdio: [Stdio; 3],
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No such program.
    #[error("{program}: no such command; check the spelling and PATH")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// It is there and cannot be executed.
    #[error("{program}: cannot be executed: {source}")]
    NotExecutable {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Something before it went wrong.
    #[error(transparent)]
    Setup(#[from] EngineError),
}

/// What is done between fork and exec, in this order.
#[derive(Clone, Copy)]
enum Step {
    Cgroup = 1,
    Session = 2,
    Groups = 3,
    Group = 4,
    User = 5,
    Signals = 6,
}

/// An errno from a step travels to the parent as `step * STEP + errno`, since the way there holds one
/// number and the parent must tell "EACCES from the cgroup" from "EACCES from exec".
const STEP: i32 = 10_000;

impl Identity {
    /// By login name or number.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn named(user: &str) -> Result<Self, EngineError> {
        let found = match user.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(user),
        };
        let entry =
            found.map_err(|e| EngineError::os(format!("cannot look up user {user}"), e.into()))?;
        match (entry, user.parse()) {
            (Some(entry), _) => Self::of(&entry, entry.gid.as_raw()),
            (None, Ok(uid)) => Ok(Self::bare(uid, uid)),
            (None, Err(_)) => Err(EngineError::new(format!(
                "there is no user {user}; name one from /etc/passwd, or a number"
            ))),
        }
    }

    /// Who called sudo, if anyone did.
    ///
    /// # Errors
    /// When sudo's variables make no sense.
    pub fn invoking() -> Result<Option<Self>, EngineError> {
        Self::invoked_by(std::env::var("SUDO_UID").ok(), std::env::var("SUDO_GID").ok())
    }

    fn invoked_by(uid: Option<String>, gid: Option<String>) -> Result<Option<Self>, EngineError> {
        let (Some(uid), Some(gid)) = (uid, gid) else { return Ok(None) };
        let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else {
            let what = format!(
                "SUDO_UID={uid} and SUDO_GID={gid} are not numbers; unset them, or say --user"
            );
            return Err(EngineError::new(what));
        };
        let entry = User::from_uid(Uid::from_raw(uid))
            .map_err(|e| EngineError::os(format!("cannot look up user {uid}"), e.into()))?;
        entry.map_or_else(|| Ok(Self::bare(uid, gid)), |entry| Self::of(&entry, gid)).map(Some)
    }

    fn of(entry: &User, gid: u32) -> Result<Self, EngineError> {
        let login = CString::new(entry.name.clone()).unwrap_or_default();
        let groups = getgrouplist(&login, Gid::from_raw(gid)).map_err(|e| {
            EngineError::os(format!("cannot list the groups of {}", entry.name), e.into())
        })?;
        Ok(Self {
            name: entry.name.clone(),
            uid: entry.uid.as_raw(),
            gid,
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: entry.dir.clone(),
            shell: entry.shell.clone(),
        })
    }

    fn bare(uid: u32, gid: u32) -> Self {
        Self {
            name: uid.to_string(),
            uid,
            gid,
            groups: vec![gid],
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    /// What login(1) would set, and nothing left that says sudo.
    fn dress(&self, command: &mut Command) {
        command.env("HOME", &self.home).env("SHELL", &self.shell);
        command.env("USER", &self.name).env("LOGNAME", &self.name);
        for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND", "SUDO_HOME"] {
            command.env_remove(variable);
        }
    }
}

impl Launch {
    /// Starts it.
    ///
    /// # Errors
    /// [`LaunchError`], told apart as env(1) does.
    pub fn start(self) -> Result<Child, LaunchError> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(EngineError::new("there is no command to start").into());
        };
        let name = program.to_string_lossy().into_owned();
        let entrance = self.cgroup.entrance().map_err(|e| {
            EngineError::os(format!("cannot enter the cgroup {}", self.cgroup.path().display()), e)
        })?;
        let [stdin, stdout, stderr] = self.stdio;
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(identity) = &self.identity {
            identity.dress(&mut command);
        }
        let prepare = prepare(entrance, self.own_session, self.identity, self.signals);
        // SAFETY: `prepare` only makes system calls on data made before the fork: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(prepare) };
        command.spawn().map_err(|e| failure(name, e))
    }
}

fn prepare(
    mut entrance: File,
    own_session: bool,
    identity: Option<Identity>,
    signals: SigSet,
) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
    let groups: Vec<Gid> =
        identity.iter().flat_map(|who| who.groups.iter().copied().map(Gid::from_raw)).collect();
    move || {
        entrance.write_all(b"0").map_err(|e| at(Step::Cgroup, e.raw_os_error()))?;
        if own_session {
            setsid().map_err(|e| at(Step::Session, Some(e as i32)))?;
        }
        if let Some(who) = &identity {
            setgroups(&groups).map_err(|e| at(Step::Groups, Some(e as i32)))?;
            setgid(Gid::from_raw(who.gid)).map_err(|e| at(Step::Group, Some(e as i32)))?;
            setuid(Uid::from_raw(who.uid)).map_err(|e| at(Step::User, Some(e as i32)))?;
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), None)
            .map_err(|e| at(Step::Signals, Some(e as i32)))
    }
}

fn at(step: Step, errno: Option<i32>) -> io::Error {
    io::Error::from_raw_os_error(step as i32 * STEP + errno.unwrap_or(0))
}

fn failure(program: String, error: io::Error) -> LaunchError {
    let raw = error.raw_os_error().unwrap_or(0);
    let what = match raw / STEP {
        0 if raw == libc::ENOENT => return LaunchError::NotFound { program },
        0 if matches!(raw, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => "fork",
        0 => return LaunchError::NotExecutable { program, source: error },
        1 => "enter its cgroup",
        2 => "leave the terminal's session",
        3 => "take the user's groups",
        4 => "take the user's group",
        5 => "become the user",
        _ => "set the signal mask",
    };
    let source = io::Error::from_raw_os_error(raw % STEP);
    EngineError::os(format!("cannot start {program}: cannot {what}"), source).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_as_env_does() {
        let not_found = failure("x".into(), io::Error::from_raw_os_error(libc::ENOENT));
        assert!(matches!(not_found, LaunchError::NotFound { .. }));
        let denied = failure("x".into(), io::Error::from_raw_os_error(libc::EACCES));
        assert!(matches!(denied, LaunchError::NotExecutable { .. }));
        let cgroup = failure("x".into(), at(Step::Cgroup, Some(libc::EACCES)));
        assert_eq!(
            cgroup.to_string(),
            "cannot start x: cannot enter its cgroup: Permission denied (os error 13)"
        );
    }

    #[test]
    fn under_sudo_the_caller_is_known_with_groups_and_home() {
        let root = Identity::invoked_by(Some("0".into()), Some("0".into())).unwrap().unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(Identity::invoked_by(None, Some("0".into())).unwrap(), None);
        assert!(Identity::invoked_by(Some("x".into()), Some("0".into())).is_err());
    }

    #[test]
    fn a_number_without_an_entry_is_a_user_too() {
        let nobody_knows = Identity::named("3999999999").unwrap();
        assert_eq!((nobody_knows.uid, nobody_knows.gid), (3_999_999_999, 3_999_999_999));
        let error = Identity::named("no-such-user").unwrap_err().to_string();
        assert!(error.contains("no-such-user"), "{error}");
    }
}
