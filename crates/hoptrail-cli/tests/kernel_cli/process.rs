//! Processes of a test: they end with it, and never make it wait for ever.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Output};
use std::time::{Duration, Instant};

/// Longer than anything that a test starts may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is killed with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// What it prints, line by line; taken once.
    pub(crate) fn lines(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().unwrap())
    }

    /// Waits for its end and gives the exit code, or 128 + the signal.
    pub(crate) fn code(mut self) -> i32 {
        wait(&mut self.0, PATIENCE)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads one line without its end.
pub(crate) fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Waits for its end; gives what it printed.
pub(crate) fn end(running: Running) -> Output {
    end_within(running, PATIENCE)
}

/// The same for one that has much to do.
pub(crate) fn end_within(mut running: Running, patience: Duration) -> Output {
    let stdout = running.0.stdout.take().map(collect);
    let stderr = running.0.stderr.take().map(collect);
    wait(&mut running.0, patience);
    let status = running.0.wait().unwrap();
    let text = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
        thread.map(|t| t.join().unwrap()).unwrap_or_default()
    };
    Output { status, stdout: text(stdout), stderr: text(stderr) }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

fn wait(child: &mut Child, patience: Duration) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt;
            return status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap();
        }
        assert!(begun.elapsed() < patience, "process {} does not end", child.id());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a process said, for assertions.
pub(crate) trait Said {
    /// Exit code.
    fn code(&self) -> i32;
    fn out(&self) -> String;
    fn err(&self) -> String;
    /// Its standard error is one sentence of ours.
    fn sentence(&self) -> String;
}

impl Said for Output {
    fn code(&self) -> i32 {
        self.status.code().unwrap()
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    fn sentence(&self) -> String {
        let said = self.err();
        assert!(said.starts_with("hoptrail: ") && said.lines().count() == 1, "{said}");
        assert_eq!(self.out(), "");
        said.trim_end().to_owned()
    }
}
