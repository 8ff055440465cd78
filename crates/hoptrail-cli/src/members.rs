//! Who may act as a provider's proxy, as far as cgroups go.

use crate::failure::Failure;
use crate::output;
use hoptrail_core::compile::Cgroup;
use hoptrail_engine::Engine;
use hoptrail_engine::config::{Config, Provider};
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount};
use hoptrail_engine::host::cgroups;
use std::path::Path;

/// The ids of a cgroup that is there.
pub(crate) fn ids(mount: &Mount, dir: &CgroupDir) -> Result<Cgroup, Failure> {
    let path = mount.relative(dir.path());
    let found = cgroups::cgroup(mount, &path.to_string_lossy());
    found
        .map_err(|e| Failure::new(e.to_string()))?
        .ok_or_else(|| Failure::new(format!("the cgroup {} has gone away", dir.path().display())))
}

/// In `run`, a proxy that is named by executable or user and runs outside is not seen when it dials.
pub(crate) fn warn(provider: &Provider) {
    if !provider.members.exes.is_empty() || !provider.members.users.is_empty() {
        output::warning(format!(
            "provider {}: members by exe or user are known only inside this run; name a cgroup for a proxy that \
             runs elsewhere",
            provider.name
        ));
    }
}

/// A proxy that runs outside of `scope` must be seen when it dials: its cgroup gets the programs too.
pub(crate) fn attach(
    engine: &mut dyn Engine,
    config: &Config,
    mount: &Mount,
    scope: &Path,
) -> Result<(), Failure> {
    for provider in &config.providers {
        for member in &provider.members.cgroups {
            let dir = mount.absolute(Path::new(&member.value));
            if scope.starts_with(&dir) {
                return Err(Failure::new(format!(
                    "{}: members of provider {} are the cgroup {}, in which the applications run too; they could \
                     then pass for the proxy: name a cgroup of the proxy alone",
                    member.place, provider.name, member.value
                )));
            }
            if dir.is_dir() && !dir.starts_with(scope) {
                engine.attach(&dir)?;
            }
        }
    }
    Ok(())
}
