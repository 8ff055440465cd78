//! Programs of others as peers, each in a namespace of its test.

use hoptrail_testkit::lab::{Lab, Net, eventually, need};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running program. It ends when dropped, with its files.
pub(crate) struct Peer {
    child: Child,
    dir: PathBuf,
}

/// A program that a test needs: its name, the package that has it on Debian, and its arguments, in
/// which `FILE` is a file with the configuration.
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    pub(crate) package: &'a str,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) configuration: &'a str,
}

impl Peer {
    /// Starts a program and waits until it listens at `at`.
    pub(crate) fn start(place: &impl Place, program: &Program<'_>, at: SocketAddr) -> Self {
        need(program.name, program.package);
        let dir = directory();
        let file = dir.join("configuration");
        fs::write(&file, program.configuration).unwrap();
        let mut started = None;
        place.within(&mut || started = Some(run(program, &dir, &file)));
        let child = started.unwrap().unwrap();
        let peer = Self { child, dir };
        eventually(&format!("{} listens at {at}", program.name), || {
            let mut listens = false;
            place.within(&mut || listens = is_taken(at));
            listens
        });
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // With the processes that it has started. It may have ended by itself.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn run(program: &Program<'_>, dir: &Path, file: &Path) -> std::io::Result<Child> {
    let path = file.to_string_lossy();
    let arguments = program.arguments.iter().map(|argument| argument.replace("FILE", &path));
    let log = fs::File::create(dir.join("log"))?;
    let mut command = Command::new(program.name);
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdout(log.try_clone()?).stderr(log).process_group(0).spawn()
}

/// Below the directory for temporary files, readable to programs that give up being root.
fn directory() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("hoptrail-test-{}-peer-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Whether somebody is bound there, by TCP or UDP.
fn is_taken(at: SocketAddr) -> bool {
    let taken = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    TcpListener::bind(at).is_err_and(taken) || std::net::UdpSocket::bind(at).is_err_and(taken)
}

/// Where a program runs.
pub(crate) trait Place {
    fn within(&self, work: &mut (dyn FnMut() + Send));
}

impl Place for Net {
    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        self.inside(work);
    }
}

/// In its namespace, and in none of its cgroups.
impl Place for Lab {
    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        self.inside(work);
    }
}

/// A server that says where it is before anyone asks, then sends back what it gets.
pub(crate) fn greeter(at: SocketAddr) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.write_all(format!("hello from {at}\n").as_bytes());
                let mut bytes = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// A connection that waits no longer than a test may.
pub(crate) fn patient(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}
