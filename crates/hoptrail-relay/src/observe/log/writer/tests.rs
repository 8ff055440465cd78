//! The queue between workers and writer, with real pipes.

use super::*;
use crate::ledger::End;
use crate::observe::sample::{ended, ledger};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn pipe() -> (File, File) {
    let (read, write): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
    (read.into(), write.into())
}

fn log(format: LogFormat, sink: impl Sink + 'static) -> Log {
    Log::start(format, false, sink, |_| Some("root".into())).unwrap().unwrap()
}

fn tell(log: &Log, name: &str) {
    log.tell(ended(ledger(name), End::Closed));
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn every_line_is_written_in_order_also_the_last_ones() {
    let (read, write) = pipe();
    let log = log(LogFormat::Json, write);
    for i in 0..1000 {
        tell(&log, &i.to_string());
        if i % 100 == 0 {
            std::thread::sleep(GATHER);
        }
    }
    // The pipe is smaller than the lines: they are read while they are written.
    let reader =
        std::thread::spawn(move || BufReader::new(read).lines().map(Result::unwrap).collect());
    assert!(log.finish(soon()));
    let (written, lost) = (log.counts.written.load(Relaxed), log.lost());
    drop(log);
    let lines: Vec<String> = reader.join().unwrap();
    assert_eq!((written, lost), (1000, 0));
    for (i, line) in lines.iter().enumerate() {
        let said: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(said["name"], i.to_string());
    }
    assert_eq!(lines.len(), 1000);
}

#[test]
fn a_slow_reader_loses_lines_and_is_told_how_many() {
    let (read, write) = pipe();
    let log = log(LogFormat::Json, write);
    // Nobody reads: the pipe fills, then the queue, and telling never waits.
    let mut told = 0_u64;
    while log.lost() < 500 {
        tell(&log, "x");
        told += 1;
    }
    let reader =
        std::thread::spawn(move || BufReader::new(read).lines().map(Result::unwrap).collect());
    assert!(log.finish(soon()));
    let lost = log.lost();
    drop(log);
    let lines: Vec<String> = reader.join().unwrap();
    let said = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let missing: Vec<u64> = said.filter_map(|line| line["lines_lost"].as_u64()).collect();
    assert_eq!(missing.iter().sum::<u64>(), lost);
    assert_eq!(lines.len() as u64 - missing.len() as u64 + lost, told);
}

#[test]
fn a_reader_that_never_reads_does_not_keep_the_relay_from_ending() {
    let (_read, write) = pipe();
    let log = log(LogFormat::Text, write);
    while log.lost() == 0 {
        tell(&log, "x");
    }
    assert!(!log.finish(Instant::now() + GATHER));
}

#[test]
fn without_a_reader_lines_are_counted_and_nothing_else_happens() {
    let (read, write) = pipe();
    drop(read);
    let log = log(LogFormat::Text, write);
    tell(&log, "x");
    assert!(log.finish(soon()));
    assert_eq!(log.trouble().unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((log.counts.written.load(Relaxed), log.lost()), (0, 1));
}

#[test]
fn after_a_full_disk_the_log_goes_on_and_says_what_is_missing() {
    struct Disk(File, Arc<AtomicBool>);
    impl Sink for Disk {
        fn lines(&mut self, text: &str) -> io::Result<()> {
            let mut full = File::options().write(true).open("/dev/full")?;
            if self.1.load(Relaxed) { full.lines(text) } else { self.0.lines(text) }
        }
    }
    let (read, write) = pipe();
    let full = Arc::new(AtomicBool::new(true));
    let log = log(LogFormat::Json, Disk(write, Arc::clone(&full)));
    (0..3).for_each(|_| tell(&log, "x"));
    while log.lost() < 3 {
        std::thread::sleep(GATHER);
    }
    assert_eq!(log.trouble().unwrap().kind(), io::ErrorKind::StorageFull);
    full.store(false, Relaxed);
    tell(&log, "y");
    assert!(log.finish(soon()));
    assert!(log.trouble().is_none());
    drop(log);
    let lines: Vec<_> = BufReader::new(read).lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("\"y\"") && lines[1].contains("\"lines_lost\":3,"), "{lines:?}");
}

#[test]
fn a_pipe_that_another_process_made_non_blocking_is_waited_for() {
    let (mut read, write) = pipe();
    rustix::io::ioctl_fionbio(&write, true).unwrap();
    let log = log(LogFormat::Text, write);
    for _ in 0..2000 {
        tell(&log, "x");
    }
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        read.read_to_string(&mut all).unwrap();
        all
    });
    assert!(log.finish(soon()));
    assert_eq!(log.lost(), 0);
    drop(log);
    assert_eq!(reader.join().unwrap().lines().count(), 2000);
}

#[test]
fn codes_for_colours_are_for_terminals() {
    for colour in [true, false] {
        let (mut read, write) = pipe();
        let log = Log::start(LogFormat::Text, colour, write, |_| None).unwrap().unwrap();
        tell(&log, "x");
        assert!(log.finish(soon()));
        drop(log);
        let mut all = String::new();
        read.read_to_string(&mut all).unwrap();
        assert_eq!(all.contains('\x1b'), colour);
    }
}

#[test]
fn no_log_is_no_log() {
    let (_read, write) = pipe();
    assert!(Log::start(LogFormat::None, false, write, |_| None).unwrap().is_none());
}
