//! One direction between two real connections, driven step by step: whatever the order of sends, stalls,
//! shortages and turns, every byte arrives once and in its place, and the tap has seen it before.

use super::*;
use crate::pipes;
use proptest::prelude::*;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData};
use socket2::{SockRef, Socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown as Close, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

/// A prime, so that no buffer's size is a multiple of it.
const PERIOD: u64 = 251;
const SOURCE: u64 = 0;
const TARGET: u64 = 1;
const SINK: u64 = 2;
/// Waits for an event until it is called stuck.
const STUCK: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

#[derive(Clone, Debug)]
enum Step {
    /// The source is given so many bytes, if it takes them.
    Send(usize),
    /// And one that is urgent.
    Urgent,
    /// So many are read at the target.
    Read(usize),
    /// One turn, with an allowance or without.
    Turn(Option<u64>),
    /// All pipes are lent elsewhere, or come back.
    Pipes(bool),
    /// First bytes are gathered to be looked at.
    Gather(usize),
}

#[derive(Clone, Debug)]
struct Case {
    tapped: bool,
    /// Sizes of socket buffers at both ends.
    small: (bool, bool),
    steps: Vec<Step>,
}

/// Checks the order of what it sees.
struct Watch(u64);

struct Rig {
    source: TcpStream,
    from: OwnedFd,
    to: OwnedFd,
    sink: TcpStream,
    epoll: OwnedFd,
    way: Way,
    tools: Tools,
    watch: Option<Box<dyn Tap>>,
    sent: u64,
    given: u64,
    received: u64,
}

fn byte_at(offset: u64) -> u8 {
    (offset % PERIOD) as u8
}

fn bytes_at(offset: u64, n: usize) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..PERIOD + 3_000_000).map(byte_at).collect());
    &BYTES[byte_at(offset).into()..][..n]
}

impl Tap for Watch {
    fn see(&mut self, bytes: &[u8]) -> Ruling {
        assert!(bytes == bytes_at(self.0, bytes.len()), "the tap sees others at {}", self.0);
        self.0 += bytes.len() as u64;
        Ruling::Pass
    }

    fn seen(&self) -> Option<u16> {
        None
    }
}

/// A connection, with small buffers or the usual ones.
fn pair(small: bool) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    for socket in [SockRef::from(&listener), SockRef::from(&client)] {
        if small {
            // With the segments of loopback, which are larger, it would wait for timers.
            socket.set_tcp_mss(1400).unwrap();
            socket.set_recv_buffer_size(16 << 10).unwrap();
            socket.set_send_buffer_size(16 << 10).unwrap();
        }
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_out_of_band_inline(true).unwrap();
    }
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let accepted = listener.accept().unwrap().0;
    client.set_nonblocking(true).unwrap();
    accepted.set_nonblocking(true).unwrap();
    (client.into(), accepted)
}

impl Rig {
    fn new(case: &Case) -> Self {
        let (source, from) = pair(case.small.0);
        let (to, sink) = pair(case.small.1);
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let flags =
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        epoll::add(&epoll, &from, EventData::new_u64(SOURCE), flags).unwrap();
        epoll::add(&epoll, &to, EventData::new_u64(TARGET), flags).unwrap();
        // What is on its way through the kernel is waited for too.
        let arrives = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&epoll, &sink, EventData::new_u64(SINK), arrives).unwrap();
        Self {
            source,
            from: from.into(),
            to: to.into(),
            sink,
            epoll,
            way: Way::default(),
            tools: Tools::new(),
            watch: case.tapped.then(|| Box::new(Watch(0)) as Box<dyn Tap>),
            sent: 0,
            given: 0,
            received: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(n) => self.send(n),
            Step::Urgent => self.send_urgent(),
            Step::Read(n) => drop(self.read(n)),
            Step::Turn(allowance) => drop(self.turn(allowance, &NOW)),
            Step::Pipes(none) => self.tools.pipes.lend_no_more(none),
            Step::Gather(limit) => {
                self.note(&NOW);
                self.way.gather(self.from.as_fd(), &mut self.tools, limit).unwrap();
            }
        }
    }

    fn send(&mut self, n: usize) {
        match self.source.write(bytes_at(self.sent, n)) {
            Ok(n) => self.sent += n as u64,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn send_urgent(&mut self) {
        let socket = SockRef::from(&self.source);
        match socket.send_out_of_band(&[byte_at(self.sent)]) {
            Ok(n) => self.sent += n as u64,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    /// Nothing at the end.
    fn read(&mut self, n: usize) -> Option<usize> {
        let mut buffer = vec![0; n];
        match self.sink.read(&mut buffer) {
            Ok(0) => None,
            Ok(n) => {
                assert!(
                    buffer[..n] == *bytes_at(self.received, n),
                    "other bytes at {}",
                    self.received
                );
                self.received += n as u64;
                Some(n)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                Some(0)
            }
        }
    }

    /// Notes the events that there are, as a worker does, and says whether there were any.
    fn note(&mut self, wait: &Timespec) -> bool {
        let mut events = Vec::with_capacity(4);
        let spare = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&self.epoll, spare, Some(wait)).unwrap();
        for event in &events {
            match event.data.u64() {
                SOURCE => self.way.note_source(event.flags),
                TARGET => self.way.note_target(event.flags),
                _ => {}
            }
        }
        !events.is_empty()
    }

    fn turn(&mut self, allowance: Option<u64>, wait: &Timespec) -> (Turn, bool) {
        let told = self.note(wait);
        let mut ends = Ends {
            source: self.from.as_fd(),
            target: self.to.as_fd(),
            tap: self.watch.as_deref_mut(),
            allowance: allowance.unwrap_or(u64::MAX),
            given: &mut self.given,
            last: false,
            failed: None,
        };
        let turn = self.way.pump(&mut self.tools, &mut ends).unwrap();
        assert!(self.given <= self.sent && self.received <= self.given);
        (turn, told)
    }

    /// To the end, waiting only for what epoll tells.
    fn finish(mut self) {
        self.source.shutdown(Close::Write).unwrap();
        let mut quiet = false;
        loop {
            let wait = if quiet { &STUCK } else { &NOW };
            let (turn, told) = self.turn(None, wait);
            assert!(
                told || !quiet,
                "stuck with {} of {}: {:?}",
                self.received,
                self.sent,
                self.way
            );
            let before = self.received;
            while self.read(1 << 16).is_some_and(|n| n > 0) {}
            if self.read(1).is_none() {
                break;
            }
            quiet = turn == Turn::Waits && self.received == before && !told;
        }
        assert_eq!((self.received, self.given), (self.sent, self.sent));
        assert!(self.way.shut && self.way.is_empty());
        assert_eq!(self.tools.pipes.lent(), 0);
        // It has seen exactly what was sent, so it expects the next byte.
        let _ = self.watch.take().map(|mut watch| watch.see(bytes_at(self.sent, 1)));
    }
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        1..100usize,
        1..20_000usize,
        Just(BUFFER),
        Just(pipes::capacity()),
        1..3_000_000usize
    ]
}

/// While first bytes are looked at, nothing is read but by gathering.
fn first_steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => sizes().prop_map(Step::Send),
        1 => Just(Step::Urgent),
        2 => sizes().prop_map(Step::Read),
        2 => Just(Step::Turn(Some(0))),
        4 => (1..BUFFER).prop_map(Step::Gather),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => sizes().prop_map(Step::Send),
        1 => Just(Step::Urgent),
        5 => sizes().prop_map(Step::Read),
        6 => Just(Step::Turn(None)),
        3 => (0..200_000u64).prop_map(|allowance| Step::Turn(Some(allowance))),
        1 => any::<bool>().prop_map(Step::Pipes),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let small = (any::<bool>(), any::<bool>());
    let first = prop::collection::vec(first_steps(), 0..8);
    (any::<bool>(), small, first, prop::collection::vec(steps(), 1..60)).prop_map(
        |(tapped, small, mut steps, more)| {
            steps.extend(more);
            Case { tapped, small, steps }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: how_many(),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_byte_arrives_once_and_in_order(case in cases()) {
        let mut rig = Rig::new(&case);
        case.steps.iter().for_each(|step| rig.step(step));
        rig.finish();
    }
}

/// `PROPTEST_CASES` makes a long run.
fn how_many() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}
