//! From names to what the kernel knows: executables to device and inode, users to numbers, cgroups
//! to ids, as they are at this moment.

use super::place::{ConfigError, Place, Placed, Problem};
use super::values::User;
use super::{Config, Filter, OnUnavailable, Provider};
use crate::engine::Resolved;
use crate::host::cgroup2::Mount;
use crate::host::mounts::Mounts;
use crate::host::{cgroups, exes, users};
use hoptrail_core::compile::{self, Cgroup, Policy};
use hoptrail_core::records::Exe;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A configuration resolved on this host.
#[derive(Clone, Debug, Default)]
pub struct Resolution {
    /// What an engine enforces.
    pub resolved: Resolved,
    /// What is configured but has no effect at present.
    pub warnings: Vec<Problem>,
    /// Paths that may come to mean something else: when one of them is made, replaced or removed,
    /// resolve again ([`crate::host::watch::Watcher`] tells).
    pub watch: Vec<PathBuf>,
}

/// The host on which names are resolved.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its mounts.
    pub mounts: Mounts,
    /// Its cgroup2 hierarchy, or why there is none.
    pub cgroups: Result<Mount, String>,
}

impl Host {
    /// This one.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn current() -> Result<Self, ConfigError> {
        let mounts = Mounts::read().map_err(|error| {
            Problem::new(format!("cannot read /proc/self/mountinfo: {error}; mount /proc"))
        })?;
        let cgroups = Mount::find().map_err(|error| error.to_string()).and_then(|mount| {
            cgroups::check_whole(&mount).map_err(|error| error.to_string())?;
            Ok(mount)
        });
        Ok(Self { mounts, cgroups })
    }
}

/// Resolves `config` on this host. `commands` tells the cgroup of every provider whose proxy hoptrail
/// runs; one that is not there yet has no members.
///
/// Executables and cgroups that do not exist make a condition that never holds and a warning.
///
/// # Errors
/// Unknown users, and what cannot be looked at.
pub fn resolve(
    config: &Config,
    commands: &BTreeMap<String, Cgroup>,
) -> Result<Resolution, ConfigError> {
    resolve_on(&Host::current()?, config, commands)
}

/// As [`resolve`], on a host that is given.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_on(
    host: &Host,
    config: &Config,
    commands: &BTreeMap<String, Cgroup>,
) -> Result<Resolution, ConfigError> {
    let mut resolver = Resolver::new(host);
    let providers =
        config.providers.iter().map(|p| resolver.provider(p, commands.get(&p.name))).collect();
    let Resolver { mut problems, mut warnings, watch, .. } = resolver;
    if !problems.is_empty() {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        return Err(ConfigError { problems });
    }
    warnings.sort_by(|a, b| a.place.cmp(&b.place));
    let contexts = config.providers.iter().filter(|p| !p.context.is_empty());
    let contexts = contexts.map(|p| (p.name.clone(), p.context.clone())).collect();
    let resolved = Resolved { policy: Policy { providers }, contexts };
    Ok(Resolution { resolved, warnings, watch: watch.into_iter().collect() })
}

struct Resolver<'h> {
    host: &'h Host,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    watch: BTreeSet<PathBuf>,
    // A name is looked up and complained about once, at its first place.
    exes: HashMap<PathBuf, Option<Exe>>,
    users: HashMap<User, Option<u32>>,
    cgroups: HashMap<String, Option<Cgroup>>,
}

impl<'h> Resolver<'h> {
    fn new(host: &'h Host) -> Self {
        Self {
            host,
            problems: Vec::new(),
            warnings: Vec::new(),
            watch: BTreeSet::new(),
            exes: HashMap::new(),
            users: HashMap::new(),
            cgroups: HashMap::new(),
        }
    }

    fn provider(&mut self, provider: &Provider, command: Option<&Cgroup>) -> compile::Provider {
        let members = &provider.members;
        let mut members = compile::Members {
            cgroups: self.all(&members.cgroups, Self::cgroup),
            exes: self.all(&members.exes, Self::exe),
            users: self.all(&members.users, Self::user),
        };
        members.cgroups.extend(command.cloned());
        compile::Provider {
            name: provider.name.clone(),
            guid: provider.guid.into_bytes(),
            rank: provider.rank.value,
            listen_v4: provider.listen_v4.map(Into::into),
            listen_v6: provider.listen_v6.map(Into::into),
            bypass: provider.on_unavailable == OnUnavailable::Bypass,
            context: 0,
            members,
            filters: provider.filters.iter().map(|filter| self.filter(filter)).collect(),
        }
    }

    fn filter(&mut self, filter: &Filter) -> compile::Filter {
        compile::Filter {
            action: filter.action,
            tcp: filter.tcp,
            udp: filter.udp,
            remote: filter.remote.clone(),
            remote_not: filter.remote_not.clone(),
            ports: filter.ports.clone(),
            exes: filter.exes.as_ref().map(|names| self.all(names, Self::exe)),
            users: filter.users.as_ref().map(|names| self.all(names, Self::user)),
            cgroups: filter.cgroups.as_ref().map(|names| self.all(names, Self::cgroup)),
            original_exes: filter.original_exes.as_ref().map(|names| self.all(names, Self::exe)),
            original_users: filter.original_users.as_ref().map(|names| self.all(names, Self::user)),
            loopback: filter.loopback,
        }
    }

    fn all<N, T>(
        &mut self,
        names: &[Placed<N>],
        one: fn(&mut Self, &N, &Place) -> Option<T>,
    ) -> Vec<T> {
        names.iter().filter_map(|name| one(self, &name.value, &name.place)).collect()
    }

    fn exe(&mut self, path: &PathBuf, place: &Place) -> Option<Exe> {
        if let Some(known) = self.exes.get(path) {
            return *known;
        }
        self.watch.extend(exes::links(path));
        let exe = match exes::exe(path, &self.host.mounts) {
            Ok(exe) => {
                self.doubt_exe(path, place);
                Some(exe)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.warn(place, format!("there is no {} at present", path.display()));
                None
            }
            Err(error) => {
                self.wrong(place, format!("cannot look at {}: {error}", path.display()));
                None
            }
        };
        self.exes.insert(path.clone(), exe);
        exe
    }

    fn doubt_exe(&mut self, path: &Path, place: &Place) {
        if path.is_dir() {
            self.warn(place, format!("{} is a directory, so no process runs it", path.display()));
        } else if let Some(interpreter) = exes::interpreter(path) {
            self.warn(
                place,
                format!(
                    "{} is a script: the executable of its process is {interpreter}, so this never matches; name that, or use cgroup or user",
                    path.display()
                ),
            );
        }
    }

    fn user(&mut self, user: &User, place: &Place) -> Option<u32> {
        if let Some(known) = self.users.get(user) {
            return *known;
        }
        let id = match user {
            User::Id(id) => Some(*id),
            User::Name(name) => match users::id(name) {
                Ok(Some(id)) => Some(id),
                Ok(None) => {
                    self.wrong(place, format!("there is no user \"{name}\" on this machine; correct the name or write its number"));
                    None
                }
                Err(error) => {
                    self.wrong(place, format!("cannot look up user \"{name}\": {error}"));
                    None
                }
            },
        };
        self.users.insert(user.clone(), id);
        id
    }

    fn cgroup(&mut self, path: &String, place: &Place) -> Option<Cgroup> {
        if let Some(known) = self.cgroups.get(path) {
            return known.clone();
        }
        let cgroup = match &self.host.cgroups {
            Err(why) => {
                self.wrong(place, why.clone());
                None
            }
            Ok(mount) => {
                self.watch.insert(mount.absolute(Path::new(path)));
                match cgroups::cgroup(mount, path) {
                    Ok(Some(cgroup)) => Some(cgroup),
                    Ok(None) => {
                        self.warn(place, format!("there is no cgroup {path} at present"));
                        None
                    }
                    Err(error) => {
                        self.wrong(place, error.to_string());
                        None
                    }
                }
            }
        };
        self.cgroups.insert(path.clone(), cgroup.clone());
        cgroup
    }

    fn warn(&mut self, place: &Place, message: String) {
        self.warnings.push(Problem::at(place, message));
    }

    fn wrong(&mut self, place: &Place, message: String) {
        self.problems.push(Problem::at(place, message));
    }
}
