//! What this machine must have, checked one by one: each failure is one sentence that names what is missing and
//! how to get it. `doctor` prints all of them; what starts an engine stops at the first failure.

use super::cgroup2::Mount;
use super::hooks;
use crate::EngineError;
use crate::kernel::HOOKS;
use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Oldest kernel that has every helper and hook used.
pub const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// File descriptors that programs, maps, links and some hundred proxies' pipes need.
const DESCRIPTORS: u64 = 1024;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is there.
    Ok,
    /// Something works less well, or is worth knowing.
    Warning,
    /// Hoptrail cannot work.
    Failure,
}

/// One check. Its id never changes meaning.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// `HT-D001` and on.
    pub id: &'static str,
    /// What is looked at.
    pub name: &'static str,
    /// What was found.
    pub status: Status,
    /// A sentence: what there is, or what is missing and how to get it.
    pub message: String,
}

/// The checks that need nothing but reading, in the order in which a user can mend them.
#[must_use]
pub fn machine() -> Vec<Check> {
    vec![privilege(), kernel(), btf(), cgroup2(), bpf(), hook_types(), bpffs(), descriptors()]
}

/// The first thing that keeps an engine from starting.
///
/// # Errors
/// That check's sentence.
pub fn ready() -> Result<(), EngineError> {
    let failed = machine().into_iter().find(|check| check.status == Status::Failure);
    failed
        .map_or(Ok(()), |check| Err(EngineError::new(format!("{} ({})", check.message, check.id))))
}

/// HT-D009: programs of others on the hooks, which are never touched.
#[must_use]
pub fn foreign() -> (Check, Vec<hooks::Attached>) {
    let cgroups = Mount::find().map(|mount| mount.search(&|_| true)).unwrap_or_default();
    let mut found = hooks::attached(&cgroups);
    found.retain(|program| !program.ours);
    let result = if found.is_empty() {
        Ok("no programs of others on the same hooks".to_owned())
    } else {
        let list: Vec<_> = found
            .iter()
            .map(|p| format!("{} {} (id {}) at {}", p.hook, p.name, p.id, p.cgroup.display()))
            .collect();
        Err((
            Status::Warning,
            format!(
                "other programs are on the same hooks and are left alone: {}; if connections are not redirected as \
                 expected, look at them first",
                list.join(", ")
            ),
        ))
    };
    (check("HT-D009", "foreign programs", result), found)
}

/// A check from what was found: a sentence, or what is wrong.
#[must_use]
pub fn check(
    id: &'static str,
    name: &'static str,
    found: Result<String, (Status, String)>,
) -> Check {
    let (status, message) = match found {
        Ok(message) => (Status::Ok, message),
        Err(wrong) => wrong,
    };
    Check { id, name, status, message }
}

type Found = Result<String, (Status, String)>;

fn failure(message: impl Into<String>) -> Found {
    Err((Status::Failure, message.into()))
}

fn warning(message: impl Into<String>) -> Found {
    Err((Status::Warning, message.into()))
}

fn privilege() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    check("HT-D001", "privilege", privilege_from(&status, &uid_map))
}

/// What each capability is for. CAP_SYS_ADMIN covers the first two, as the kernel does.
const CAPABILITIES: &[(u32, &str)] =
    &[(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

fn privilege_from(status: &str, uid_map: &str) -> Found {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect();
    if !missing.is_empty() {
        return failure(format!(
            "hoptrail needs root to load its kernel side ({} missing): run it with sudo",
            missing.join(", ")
        ));
    }
    let whole = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    if !whole && !uid_map.is_empty() {
        return failure(
            "this root is root of a user namespace only, which the kernel lets load no BPF programs: run hoptrail as \
             root of the host",
        );
    }
    Ok("all capabilities are there".to_owned())
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check("HT-D002", "kernel", kernel_from(release.trim()))
}

fn kernel_from(release: &str) -> Found {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = OLDEST_KERNEL;
    if version < OLDEST_KERNEL {
        return failure(format!(
            "Linux {release} is too old: hoptrail needs {major}.{minor} or later (Debian 12, Ubuntu 24.04, RHEL 10 have one)"
        ));
    }
    Ok(format!("Linux {release}"))
}

fn btf() -> Check {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let found = if path.exists() {
        Ok("the kernel describes its types".to_owned())
    } else {
        failure(
            "the kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): use a kernel built with \
             CONFIG_DEBUG_INFO_BTF=y, as those of the distributions are, and mount /sys",
        )
    };
    check("HT-D003", "BTF", found)
}

fn cgroup2() -> Check {
    let found = Mount::find()
        .map(|mount| format!("cgroup2 is at {}", mount.root().display()))
        .map_err(|e| (Status::Failure, e.message));
    check("HT-D004", "cgroup2", found)
}

fn bpf() -> Check {
    check("HT-D005", "bpf system call", bpf_found())
}

fn bpf_found() -> Found {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return failure(
            "the kernel is locked down (confidentiality), so BPF programs may not read who connects: boot with \
             lockdown=integrity or none",
        );
    }
    let Ok(mount) = Mount::find() else {
        return Ok("not tried: cgroup2 is not mounted".to_owned());
    };
    match hooks::missing(mount.root()) {
        Ok(_) => Ok("it can be used".to_owned()),
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => failure(
            "the kernel has no bpf system call: use one built with CONFIG_BPF_SYSCALL=y and CONFIG_CGROUP_BPF=y",
        ),
        Err(e) => failure(format!(
            "the bpf system call is refused ({e}): run as root of the host, and in a container let seccomp pass it \
             (--privileged, or a profile that allows bpf)"
        )),
    }
}

fn hook_types() -> Check {
    let missing = Mount::find().ok().and_then(|mount| hooks::missing(mount.root()).ok());
    let found = match missing {
        Some(missing) if missing.is_empty() => Ok(format!("all {} are there", HOOKS.len())),
        Some(missing) => failure(format!(
            "the kernel lacks the cgroup hooks {}: use one built with CONFIG_CGROUP_BPF=y, version 6.1 or later",
            missing.join(", ")
        )),
        None => Ok("not tried: see the checks before".to_owned()),
    };
    check("HT-D006", "cgroup hooks", found)
}

fn bpffs() -> Check {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let there = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        (fields.next(), fields.next()) == (Some("/sys/fs/bpf"), Some("bpf"))
    });
    let found = if there {
        Ok("bpffs is at /sys/fs/bpf".to_owned())
    } else {
        warning(
            "bpffs is not mounted; `hoptrail daemon` mounts it when it starts (mount -t bpf bpf /sys/fs/bpf)",
        )
    };
    check("HT-D007", "bpffs", found)
}

fn descriptors() -> Check {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let found = if soft >= DESCRIPTORS {
        Ok(format!("{soft} files may be open"))
    } else {
        warning(format!(
            "only {soft} files may be open (hard limit {hard}): allow {DESCRIPTORS} with `ulimit -n {DESCRIPTORS}` or \
             LimitNOFILE={DESCRIPTORS}"
        ))
    };
    check("HT-D008", "file descriptors", found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "         0          0 4294967295\n";

    #[test]
    fn missing_capabilities_are_named() {
        let (status, message) = privilege_from("CapEff:\t0000000000000000\n", WHOLE).unwrap_err();
        assert_eq!(status, Status::Failure);
        assert!(
            message.contains("CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN"),
            "{message}"
        );
        let all_but_net = format!("CapEff:\t{:016x}\n", u64::MAX ^ (1 << 12));
        let (_, message) = privilege_from(&all_but_net, WHOLE).unwrap_err();
        assert!(
            message.contains("(CAP_NET_ADMIN missing)") && message.contains("sudo"),
            "{message}"
        );
    }

    #[test]
    fn root_of_a_user_namespace_is_no_root() {
        let full = "CapEff:\t000001ffffffffff\n";
        assert!(privilege_from(full, WHOLE).is_ok());
        let (_, message) = privilege_from(full, "0 1000 1\n").unwrap_err();
        assert!(message.contains("user namespace"), "{message}");
    }

    #[test]
    fn old_kernels_are_refused_by_number_not_by_text() {
        for good in ["6.1.0-13-amd64", "6.12.1", "6.18.44-fc", "10.0.0"] {
            assert!(kernel_from(good).is_ok(), "{good}");
        }
        for old in ["5.15.0-100-generic", "6.0.19", "4.18.0-553.el8", ""] {
            assert!(kernel_from(old).is_err(), "{old}");
        }
    }

    #[test]
    fn ids_are_unique_and_in_order() {
        let ids: Vec<_> = machine().iter().map(|check| check.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
    }
}
