//! The log's thread: workers hand lines over without waiting, and what a slow reader has no time for is counted.

use super::{Ended, json, text};
use crate::config::LogFormat;
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Connections that wait for the writer: what a fast relay ends in a tenth of a second. About 1 MB.
const QUEUE: usize = 4096;

/// After a wake-up lines are gathered for so long, so that a busy relay does not wake the writer for each.
const GATHER: Duration = Duration::from_millis(10);

/// Written at once; a pipe takes 64 KiB.
const BATCH: usize = 32 * 1024;

/// Where lines go.
pub trait Sink: Send {
    /// Writes whole lines, all of them.
    ///
    /// # Errors
    /// When nobody will ever read them.
    fn lines(&mut self, text: &str) -> io::Result<()>;
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    /// Nothing wakes the writer up.
    queue: SyncSender<Option<Ended>>,
    counts: Arc<Counts>,
    writer: JoinHandle<()>,
}

/// How many lines were written and how many were not.
#[derive(Default, Debug)]
pub(in crate::observe) struct Counts {
    pub(in crate::observe) written: AtomicU64,
    pub(in crate::observe) lost: AtomicU64,
    /// The system's error number of the last write that failed.
    errno: AtomicI32,
    stop: AtomicBool,
}

/// Users' names, looked up once each.
pub struct Users {
    look_up: fn(u32) -> Option<String>,
    known: HashMap<u32, Option<String>>,
}

impl Log {
    /// Starts its thread; nothing when `format` wants no log. `users` finds names; `colour` is for terminals.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        format: LogFormat,
        colour: bool,
        sink: impl Sink + 'static,
        users: fn(u32) -> Option<String>,
    ) -> io::Result<Option<Self>> {
        let lines = match format {
            LogFormat::Text => Lines { one: text::line, lost: text::lost, strip: !colour },
            LogFormat::Json => Lines { one: json::line, lost: json::lost, strip: false },
            LogFormat::None => return Ok(None),
        };
        let (queue, receiver) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            receiver,
            counts: Arc::clone(&counts),
            sink: Box::new(sink),
            lines,
            users: Users::new(users),
            told: 0,
        };
        let name = std::thread::Builder::new().name("log".into());
        Ok(Some(Self { queue, counts, writer: name.spawn(move || writer.run())? }))
    }

    /// Hands a line over, or counts it as lost.
    pub(in crate::observe) fn tell(&self, ended: Ended) {
        if self.queue.try_send(Some(ended)).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    pub(in crate::observe) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many lines were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }

    /// Why the last lines that were to be written could not be. With [`io::ErrorKind::BrokenPipe`] nobody reads them
    /// any more, and the log has ended; with any other it is tried again.
    #[must_use]
    pub fn trouble(&self) -> Option<io::Error> {
        let errno = self.counts.errno.load(Relaxed);
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    /// Writes what is in the queue; gives up at `deadline`, since a reader that does not read must not keep the relay
    /// from ending. Whether all was written.
    #[must_use]
    pub fn finish(&self, deadline: Instant) -> bool {
        self.counts.stop.store(true, SeqCst);
        // When the queue is full, the writer is awake, and looks at `stop` next.
        let _ = self.queue.try_send(None);
        while !self.writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(GATHER / 2);
        }
        self.writer.is_finished()
    }
}

impl Users {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(look_up: fn(u32) -> Option<String>) -> Self {
        Self { look_up, known: HashMap::new() }
    }

    /// The user's name, if it has one.
    pub(super) fn name(&mut self, uid: u32) -> Option<&str> {
        // Users may be many where they are made for each job.
        if self.known.len() > 4096 {
            self.known.clear();
        }
        self.known.entry(uid).or_insert_with(|| (self.look_up)(uid)).as_deref()
    }
}

/// How a line is written.
#[derive(Clone, Copy)]
struct Lines {
    one: fn(&Ended, &mut Users) -> String,
    lost: fn(SystemTime, u64) -> String,
    /// Codes for colours are taken out again.
    strip: bool,
}

impl Lines {
    fn add(self, text: &mut String, line: &str) {
        if self.strip {
            text.extend(anstream::adapter::strip_str(line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
}

struct Writer {
    receiver: Receiver<Option<Ended>>,
    counts: Arc<Counts>,
    sink: Box<dyn Sink>,
    lines: Lines,
    users: Users,
    /// Lost lines of which the reader knows.
    told: u64,
}

impl Writer {
    fn run(mut self) {
        while !self.counts.stop.load(SeqCst) {
            let Ok(first) = self.receiver.recv() else { return };
            if first.is_some() && !self.counts.stop.load(SeqCst) {
                std::thread::sleep(GATHER);
            }
            self.write(first);
        }
        self.write(None);
    }

    /// Writes `first` and what else is in the queue, and how many lines were lost.
    fn write(&mut self, first: Option<Ended>) {
        let (mut text, mut count) = (String::new(), 0);
        let mut next = first.or_else(|| self.receiver.try_recv().ok().flatten());
        while let Some(ended) = next {
            let line = (self.lines.one)(&ended, &mut self.users);
            self.lines.add(&mut text, &line);
            count += 1;
            if text.len() >= BATCH {
                self.put(&text, count);
                (text, count) = (String::new(), 0);
            }
            next = self.receiver.try_recv().ok().flatten();
        }
        let lost = self.counts.lost.load(Relaxed);
        if lost > self.told {
            let line = (self.lines.lost)(SystemTime::now(), lost - self.told);
            self.lines.add(&mut text, &line);
        }
        self.put(&text, count);
        if self.counts.errno.load(Relaxed) == 0 {
            self.told = lost;
        }
    }

    fn put(&mut self, text: &str, lines: u64) {
        if text.is_empty() {
            return;
        }
        let written = self.counts.errno.load(Relaxed) != libc::EPIPE && self.try_put(text);
        if written {
            self.counts.written.fetch_add(lines, Relaxed);
        } else {
            self.counts.lost.fetch_add(lines, Relaxed);
        }
    }

    fn try_put(&mut self, text: &str) -> bool {
        let result = self.sink.lines(text);
        let errno = result.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
        self.counts.errno.store(errno, Relaxed);
        errno == 0
    }
}

impl<W: Write + AsFd + Send> Sink for W {
    fn lines(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process that shares the pipe may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&*self, PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
