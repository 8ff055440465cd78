//! The connection that is asked about, put together from the command line.

use super::asked::{Answer, Asked};
use super::{ExplainArgs, Transport};
use crate::output;
use crate::policy::Policy;
use hoptrail_core::decide::{Flow, Past, Process, evaluate};
use hoptrail_core::records::{Exe, MAX_HOPS, Provenance};
use hoptrail_core::{Endpoint, Origin, Protocol};
use hoptrail_engine::host::{cgroups, exes, users};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// A connection and the process that makes it.
pub(super) struct Question {
    flow: Flow,
    exe: Exe,
    uid: u32,
    /// Ids from the root; empty when there is no hierarchy.
    cgroup: Vec<u64>,
    /// Redirect handles of the hops so far.
    trail: Vec<u64>,
    origin: Origin,
    /// Bits of the providers that --as and --down name.
    member_of: u64,
    down: u64,
    /// Bits of the providers as whose proxy the process counted, known after asking.
    members: Cell<u64>,
}

impl Process for Question {
    fn exe(&self) -> Exe {
        self.exe
    }

    fn uid(&self) -> u32 {
        self.uid
    }

    fn cgroup_at(&self, level: u32) -> u64 {
        self.cgroup.get(level as usize).copied().unwrap_or(0)
    }
}

impl Question {
    pub(super) fn new(args: &ExplainArgs, policy: &Policy) -> Result<Self, String> {
        let protocol = match args.protocol {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        };
        let exe = args.exe.as_deref().map_or(Ok(Exe::default()), |path| exe(path, policy))?;
        let uid = args.user.as_deref().map_or_else(|| Ok(users::current()), user)?;
        let original_exe =
            args.original_exe.as_deref().map_or(Ok(exe), |path| self::exe(path, policy))?;
        let original_uid = args.original_user.as_deref().map_or(Ok(uid), user)?;
        let handle = |name: &String| Ok(policy.compiled.providers[number(name, policy)?].handle());
        let trail: Vec<u64> = args.trail.iter().map(handle).collect::<Result<_, String>>()?;
        if trail.len() > MAX_HOPS {
            return Err(format!(
                "--trail names {} providers; a trail has at most {MAX_HOPS} hops",
                trail.len()
            ));
        }
        Ok(Self {
            flow: Flow { protocol, remote: args.to.into() },
            exe,
            uid,
            cgroup: cgroup(&args.cgroup, policy)?,
            trail,
            origin: Origin { exe: original_exe, uid: original_uid },
            member_of: bits(args.member_of.as_slice(), policy)?,
            down: bits(&args.down, policy)?,
            members: Cell::new(0),
        })
    }

    /// The destination.
    pub(super) const fn to(&self) -> Endpoint {
        self.flow.remote
    }

    /// Providers as whose proxy the process makes this connection without records.
    pub(super) fn member_names<'p>(&self, policy: &'p Policy) -> Vec<&'p str> {
        let unrecorded = if self.trail.is_empty() { self.members.get() } else { 0 };
        let is = |i: usize| unrecorded & (1 << i) != 0;
        let named = policy.config.providers.iter().enumerate().filter(|(i, _)| is(*i));
        named.map(|(_, provider)| provider.name.as_str()).collect()
    }

    /// Takes the decision.
    pub(super) fn ask(&self, policy: &Policy) -> Answer {
        let image = &policy.compiled.words;
        let mut asked = Vec::new();
        let verdict = evaluate(
            image,
            &self.flow,
            self,
            |members| {
                self.members.set(members | self.member_of);
                self.past(policy)
            },
            |provider, _| self.down & (1 << provider) == 0,
            |provider, filter, reason| {
                if let Some((_, filter)) = policy.compiled.filter(filter as u16) {
                    asked.push(Asked { provider: provider as usize, filter, reason });
                }
            },
        );
        let filter = policy.compiled.filter(verdict.filter).map(|(_, filter)| filter);
        Answer {
            action: verdict.action,
            reason: verdict.reason,
            decided: verdict.provider.map(usize::from).zip(filter),
            asked,
        }
    }

    fn past(&self, policy: &Policy) -> Past {
        match (self.trail.len() as u32, self.members.get()) {
            (0, 0) => Past::fresh(),
            (0, members) => Past::unrecorded(members),
            (hops, _) => {
                let handle = |hop: u32| self.trail[hop as usize];
                let image = &policy.compiled.words;
                Past::of_trail(image, self.origin, Provenance::Fresh, hops, handle)
            }
        }
    }
}

fn bits(names: &[String], policy: &Policy) -> Result<u64, String> {
    names.iter().try_fold(0, |bits, name| Ok(bits | 1 << number(name, policy)?))
}

/// A provider's number in the order of asking, which is that of the configuration.
fn number(name: &str, policy: &Policy) -> Result<usize, String> {
    let mut providers = policy.config.providers.iter();
    providers.position(|provider| provider.name == name).ok_or_else(|| {
        let known: Vec<&str> = policy.config.providers.iter().map(|p| p.name.as_str()).collect();
        format!("there is no provider \"{name}\" in the configuration; it has {}", known.join(", "))
    })
}

fn user(name: &str) -> Result<u32, String> {
    match users::id(name) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(format!("there is no user \"{name}\" on this machine; write its number")),
        Err(error) => Err(format!("cannot look up user \"{name}\": {error}")),
    }
}

fn exe(path: &Path, policy: &Policy) -> Result<Exe, String> {
    let path = if path.components().count() == 1 && !path.is_absolute() {
        in_search_path(path)?
    } else {
        path.to_path_buf()
    };
    if let Some(interpreter) = exes::interpreter(&path) {
        output::warning(format!(
            "{} is a script: the executable of its process is {interpreter}; ask about that",
            path.display()
        ));
    }
    exes::exe(&path, &policy.host.mounts)
        .map_err(|error| format!("cannot look at {}: {error}", path.display()))
}

fn in_search_path(name: &Path) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|p| p.is_file());
    found.next().ok_or_else(|| {
        format!("there is no {} in PATH; name the executable by its path", name.display())
    })
}

fn cgroup(path: &str, policy: &Policy) -> Result<Vec<u64>, String> {
    match &policy.host.cgroups {
        // Then no filter can name one either.
        Err(_) if path == "/" => Ok(Vec::new()),
        Err(why) => Err(why.clone()),
        Ok(mount) => match cgroups::cgroup(mount, path) {
            Ok(Some(cgroup)) => Ok(cgroup.path),
            Ok(None) => Err(format!("there is no cgroup {path}")),
            Err(error) => Err(error.to_string()),
        },
    }
}
