//! Where a test takes place: a network namespace, a cgroup and a directory, all of which go with it.

use crate::origin::Origin;
use crate::process::{Running, end};
use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount, OwnedCgroup};
use hoptrail_engine::host::doctor;
use hoptrail_engine::host::hooks::{Attached, attached};
use hoptrail_engine::host::listen::{HERE, Listeners};
use hoptrail_testkit::lab::need;
use hoptrail_testkit::lab::{Net, PREFIX, V4, eventually};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The binary.
pub(crate) const HOPTRAIL: &str = env!("CARGO_BIN_EXE_hoptrail");
/// The top of the source tree, where the examples' commands start.
pub(crate) const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where BPF objects are pinned.
const BPFFS: &str = "/sys/fs/bpf";

/// Namespace, cgroup, directory, origin.
pub(crate) struct Stage {
    /// Answers on port 80.
    pub(crate) origin: Origin,
    pub(crate) mount: Mount,
    pub(crate) dir: tempfile::TempDir,
    /// Unlike any other stage's.
    pub(crate) number: u32,
    net: Net,
    cgroup: OwnedCgroup,
}

/// A BPF file system that only this process and what it starts can see. Before any thread is started.
pub(crate) fn own_bpffs() {
    // Where the kernel cannot run the tests, the harness says why.
    if doctor::ready().is_err() {
        return;
    }
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), nothing).unwrap();
}

/// `cleanup` looks at the runs of the whole machine: tests in which it has something to do, or must have nothing to
/// do, take turns.
pub(crate) fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mount = Mount::find().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-cli{number}", std::process::id());
        let cgroup = OwnedCgroup::create(mount.root().join(name)).unwrap();
        cgroup.child("apps").unwrap();
        let net = Net::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let origin = net.inside(|| Origin::start((V4, 80).into())).unwrap();
        Self { origin, mount, dir, number, net, cgroup }
    }

    /// A file of the test.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A cgroup of the test, made when it is not there; `""` is the whole test's.
    pub(crate) fn cgroup(&self, name: &str) -> CgroupDir {
        CgroupDir::create(self.cgroup.dir().path().join(name)).unwrap()
    }

    /// A cgroup's name as configurations have it.
    pub(crate) fn cgroup_name(&self, name: &str) -> String {
        self.mount.relative(self.cgroup(name).path()).display().to_string()
    }

    /// A program in that cgroup, at the top of the source tree, with nothing to read.
    pub(crate) fn command(&self, cgroup: &str, argv: &[&str]) -> Command {
        let procs = self.cgroup(cgroup).path().join("cgroup.procs");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(procs).args(argv);
        command.current_dir(TOP).env_remove("SUDO_UID").env_remove("SUDO_GID");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it in the test's network namespace.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        Running(self.net.inside(|| command.spawn()).unwrap())
    }

    /// Runs `argv` in that cgroup to its end.
    pub(crate) fn output(&self, cgroup: &str, argv: &[&str]) -> Output {
        end(self.start(&mut self.command(cgroup, argv)))
    }

    /// Runs the binary in the test's cgroup `apps`.
    pub(crate) fn hoptrail(&self, args: &[&str]) -> Output {
        self.output("apps", &[&[HOPTRAIL], args].concat())
    }

    /// `hoptrail run` with that configuration.
    pub(crate) fn run(&self, config: &Path, args: &[&str]) -> Output {
        self.hoptrail(&[&["run", "--config", config.to_str().unwrap()], args].concat())
    }

    /// The processes in that cgroup of the test and below, if it is there.
    pub(crate) fn processes(&self, name: &str) -> Vec<u32> {
        let dir = CgroupDir::open(self.cgroup.dir().path().join(name));
        dir.map(|dir| dir.subtree_processes()).unwrap_or_default()
    }

    /// The programs that are attached to a cgroup.
    pub(crate) fn programs(&self, cgroup: &Path) -> Vec<Attached> {
        attached(&[cgroup.to_owned()])
    }

    /// Whether something listens there; nothing connects to it.
    pub(crate) fn listens(&self, at: &str) -> bool {
        let at = Endpoint::from(at.parse::<SocketAddr>().unwrap());
        self.net.inside(|| Listeners::read(Path::new(HERE)).unwrap().has(Protocol::Tcp, at))
    }

    /// Waits until something listens there.
    pub(crate) fn await_listener(&self, at: &str) {
        eventually("a proxy listens", || self.listens(at));
    }

    /// Every cgroup below that one.
    pub(crate) fn cgroups_below(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.cgroup(name).path()).unwrap().flatten();
        let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// A provider whose proxy is part of the binary: it adds its name to the request, and `filter` says the rest of its
/// only filter.
pub(crate) fn provider(name: &str, rank: u32, port: u16, filter: &str) -> String {
    let listen = format!("\"127.0.0.1:{port}\", \"[::1]:{port}\"");
    provider_with(
        name,
        rank,
        port,
        filter,
        &format!("command = [{HOPTRAIL:?}, \"__proxy\", \"{name}\", {listen}]"),
    )
}

/// A provider whose proxy is said by `who`.
pub(crate) fn provider_with(name: &str, rank: u32, port: u16, filter: &str, who: &str) -> String {
    format!(
        "[provider.{name}]\nrank = {rank}\nlisten = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\n\
         on-unavailable = \"block\"\n{who}\n[[provider.{name}.filter]]\naction = \"redirect\"\nprotocol = \"tcp\"\n\
         ports = 80\n{filter}\n"
    )
}

/// The example's proxy as a provider's command.
pub(crate) fn python_proxy(name: &str, port: u16) -> String {
    need("python3", "python3");
    format!(
        "command = [\"python3\", \"examples/python_proxy.py\", \"{port}\", \"--name\", \"{name}\"]"
    )
}

/// Two providers, acme before beta.
pub(crate) fn two() -> String {
    provider("acme", 200, 15871, "") + &provider("beta", 100, 15872, "")
}
