//! One connection to the metrics server. It never waits, and ends at its deadline whatever the client does.

use super::Metrics;
use super::answer::{Step, step};
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// From the accept to the end, however slowly the client sends or reads.
pub(super) const TIME: Duration = Duration::from_secs(10);

/// What a client may still send after its answer before it is cut off.
const LEFTOVER: usize = 64 * 1024;

/// A client being served.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Asking(Vec<u8>),
    Answering {
        answer: Vec<u8>,
        sent: usize,
    },
    /// The answer is sent: what still comes is read, since closing with unread bytes would destroy the answer.
    Leaving {
        read: usize,
    },
}

impl Client {
    pub(super) fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, deadline: now + TIME, state: State::Asking(Vec::new()) })
    }

    /// What it is waited for.
    pub(super) const fn waits_for(&self) -> PollFlags {
        match self.state {
            State::Asking(_) | State::Leaving { .. } => PollFlags::IN,
            State::Answering { .. } => PollFlags::OUT,
        }
    }

    /// Does what can be done now; `false` when the connection is over.
    pub(super) fn go_on(&mut self, metrics: &Metrics) -> bool {
        loop {
            let went = match &mut self.state {
                State::Asking(_) => self.ask(metrics),
                State::Answering { .. } => self.answer(),
                State::Leaving { .. } => self.leave(),
            };
            match went {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    fn ask(&mut self, metrics: &Metrics) -> io::Result<bool> {
        let State::Asking(request) = &mut self.state else { return Ok(true) };
        let mut buffer = [0; 2048];
        let n = self.stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(false);
        }
        request.extend_from_slice(&buffer[..n]);
        if let Step::Answer(answer) = step(request, metrics) {
            self.state = State::Answering { answer, sent: 0 };
        }
        Ok(true)
    }

    fn answer(&mut self) -> io::Result<bool> {
        let State::Answering { answer, sent } = &mut self.state else { return Ok(true) };
        *sent += self.stream.write(&answer[*sent..])?;
        if *sent == answer.len() {
            self.stream.shutdown(Shutdown::Write)?;
            self.state = State::Leaving { read: 0 };
        }
        Ok(true)
    }

    fn leave(&mut self) -> io::Result<bool> {
        let State::Leaving { read } = &mut self.state else { return Ok(true) };
        let n = self.stream.read(&mut [0; 2048])?;
        *read += n;
        Ok(n > 0 && *read < LEFTOVER)
    }
}
