//! What the redirect context says: statements 16, 18, 20 to 22.

use crate::scene::{Scene, errno, trail};
use hoptrail::Context;
use hoptrail_core::context::Context as Layout;
use hoptrail_testkit::lab::{Lab, Person, exe_of, listener, stage};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Clock ticks since boot when a process started: field 22 of /proc/PID/stat.
fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Process, start, executable, user, group, cgroup, destination and local address.
pub(crate) fn the_application_is_described() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let exe = stage::copy_of_binary("the-application");
    let app = lab.person(&Person { cgroup: "app", uid: Some(4242), exe: Some(exe.path()) });
    let acme = lab.actor("acme");
    let listening = acme.listen(listener("acme", true), 8).unwrap();
    let to = "192.0.2.10:80".parse().unwrap();
    let client = app.dial(to).unwrap();
    let (accepted, _) = acme.accept(listening).unwrap();
    let bytes = acme.context(accepted).unwrap();
    let layout = Layout::parse(&bytes).unwrap();
    let header = layout.header;
    assert_eq!((header.pid, header.uid, header.gid), (app.pid(), 4242, 4242));
    assert_eq!(header.start_ns / 10_000_000, start_ticks(app.pid()));
    let file = exe_of(exe.path());
    assert_eq!((header.exe_dev, header.exe_ino), (file.dev, file.ino));
    assert_eq!(Path::new(std::str::from_utf8(layout.path).unwrap()), exe.path());
    let cgroup = std::fs::metadata(lab.cgroup_dir().join("app")).unwrap().ino();
    assert_eq!(header.cgroup, cgroup);
    assert_eq!(layout.destination(), to.into());
    assert_eq!(layout.local(), app.local(client).unwrap().into());
    assert_eq!((header.protocol, header.hop, header.version), (6, 1, 1));
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", app.pid())).unwrap();
    assert_eq!(Context::parse(&bytes).unwrap().application().name, comm.trim_end());
    // The blob says the same.
    let trail = trail(&acme.records(accepted).unwrap());
    assert_eq!((trail.header.pid, trail.header.uid), (app.pid(), 4242));
    assert_eq!(trail.header.start_ns, header.start_ns);
    assert_eq!(trail.header.cgroup, cgroup);
}

/// A thread that connects is its process' connect.
pub(crate) fn a_thread_is_its_process() {
    let s = Scene::new();
    let task = s.app.begin(s.origin.at(), |to: std::net::SocketAddr| {
        let stream = std::net::TcpStream::connect(to)?;
        Ok(stage::keep(stream))
    });
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    task.wait().unwrap();
    let header = Layout::parse(&s.acme.context(accepted).unwrap()).unwrap().header;
    assert_eq!(header.pid, s.app.pid());
    assert_eq!(header.start_ns / 10_000_000, start_ticks(s.app.pid()));
}

/// Statements 16 and 22: the provider's bytes, whatever they are.
pub(crate) fn any_bytes_of_a_provider_arrive() {
    let s = Scene::new();
    let all: Vec<u8> = (0..=255).collect();
    let every = (1..=17).chain([63, 64, 65, 255, 256]);
    for bytes in every.map(|n| all[256 - n..].to_vec()).chain([vec![0], vec![0; 9]]) {
        s.lab.load_with(vec![s.lab.provider("acme", 200)], &[("acme", &bytes)]);
        let accepted = s.connect().accepted;
        let context = s.acme.context(accepted).unwrap();
        assert_eq!(context.len() % 8, 0);
        let layout = Layout::parse(&context).unwrap();
        assert_eq!(layout.provider, bytes);
        let used = context.len() - bytes.len().next_multiple_of(8) + bytes.len();
        assert!(context[used..].iter().all(|&b| b == 0), "padding of {} bytes", bytes.len());
    }
}

/// Statement 18, as Hoptrail has it: without bytes of the provider there is still a context.
pub(crate) fn a_provider_without_bytes_has_a_context() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    let context = s.acme.context(accepted).unwrap();
    assert_eq!(Layout::parse(&context).unwrap().provider, b"");
    s.acme.records(accepted).unwrap();
}

/// Statement 20: what was valid at the redirect stays, for that connection.
pub(crate) fn a_reload_does_not_reach_open_connections() {
    let s = Scene::new();
    let provider = || vec![s.lab.provider("acme", 200)];
    s.lab.load_with(provider(), &[("acme", b"first")]);
    let first = s.connect();
    s.lab.load_with(provider(), &[("acme", b"second, and longer")]);
    let second = s.connect();
    s.lab.load(provider());
    let third = s.connect();
    s.lab.load(Vec::new());
    let bytes = |fd| Layout::parse(&s.acme.context(fd).unwrap()).unwrap().provider.to_vec();
    assert_eq!(bytes(first.accepted), b"first");
    assert_eq!(bytes(second.accepted), b"second, and longer");
    assert_eq!(bytes(third.accepted), b"");
}

/// A path that is too long keeps its end.
pub(crate) fn a_long_path_keeps_its_end() {
    let s = Scene::new();
    let copy = stage::copy_of_binary("deep");
    let mut dir = copy.path().parent().unwrap().to_owned();
    for n in 0..8 {
        dir.push(format!("{n}-{}", "x".repeat(60)));
        std::fs::create_dir(&dir).unwrap();
    }
    let deep = dir.join("program");
    std::fs::rename(copy.path(), &deep).unwrap();
    let app = s.lab.person(&Person { cgroup: "app", uid: None, exe: Some(&deep) });
    let _client = app.dial(s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let context = s.acme.context(accepted).unwrap();
    let path = String::from_utf8(Layout::parse(&context).unwrap().path.to_vec()).unwrap();
    assert!(path.len() <= 256, "{}", path.len());
    assert!(path.len() > 180, "only {path}");
    assert!(deep.to_str().unwrap().ends_with(&path), "{path}");
    assert!(path.starts_with('/'), "{path}");
}

/// The context of a listener or a fresh socket is none.
pub(crate) fn no_context_without_a_connection() {
    let s = Scene::new();
    assert_eq!(errno(s.acme.context(s.listener)), libc::ENOTCONN);
}
