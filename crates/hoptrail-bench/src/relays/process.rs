//! One process of a relay, or what it starts itself: in a cgroup of its own, which dies with this.

use super::Program;
use crate::launch;
use hoptrail_engine::host::cgroup2::CgroupDir;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Until it listens; Python takes its time.
const START: Duration = Duration::from_secs(15);

pub(crate) struct Process {
    child: Child,
    pub(crate) home: CgroupDir,
}

impl Process {
    /// Starts it and waits until something listens at `port`.
    pub(super) fn start(
        program: &Program,
        home: CgroupDir,
        cpus: &[usize],
        log: &Path,
        port: u16,
    ) -> Result<Self, String> {
        let written =
            File::create(log).map_err(|e| format!("cannot make {}: {e}", log.display()))?;
        let child = launched(program, &home, cpus)
            .and_then(|mut command| {
                command.stdin(Stdio::null()).stdout(written.try_clone()?).stderr(written).spawn()
            })
            .map_err(|e| format!("cannot start: {e}"))?;
        let mut process = Self { child, home };
        process.until_listening(port).map_err(|why| match last_line(log) {
            Some(line) => format!("{why}: {line}"),
            None => why,
        })?;
        Ok(process)
    }

    fn until_listening(&mut self, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while !listening(port).map_err(|e| format!("cannot read /proc/net/tcp: {e}"))? {
            match self.child.try_wait() {
                Ok(Some(status)) => return Err(format!("ended at once ({status})")),
                _ if Instant::now() > deadline => return Err("does not listen".into()),
                _ => sleep(Duration::from_millis(5)),
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it started is in the same cgroup.
        let _ = self.home.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, and gives what it wrote.
pub(crate) fn output(program: &Program, home: &CgroupDir, cpus: &[usize]) -> io::Result<String> {
    let out =
        launched(program, home, cpus)?.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    Err(io::Error::other(format!("{} ended with {}: {text}", program.path.display(), out.status)))
}

fn launched(program: &Program, home: &CgroupDir, cpus: &[usize]) -> io::Result<Command> {
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([launch::ARGUMENT, &cpus.join(",")])
        .arg(home.path())
        .arg(&program.path)
        .args(&program.args);
    Ok(command)
}

/// Where a program of that name is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are where an ordinary user's PATH does not lead.
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Whether something listens there, without a connection that would say so.
fn listening(port: u16) -> io::Result<bool> {
    let found = |path| Ok::<_, io::Error>(listens(&fs::read_to_string(path)?, port));
    Ok(found("/proc/self/net/tcp")? || found("/proc/self/net/tcp6").unwrap_or(false))
}

/// `0: 0100007F:1B59 00000000:0000 0A ...`: local address, remote address, state.
fn listens(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(&wanted));
        local && fields.nth(1) == Some("0A")
    })
}

fn last_line(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_in_proc() {
        let table = "  sl  local_address rem_address   st\n   \
                     0: 0100007F:1B59 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:1B5A 0100007F:1B59 01 00000000:00000000\n";
        assert!(listens(table, 7001) && !listens(table, 7002) && !listens(table, 80));
    }
}
