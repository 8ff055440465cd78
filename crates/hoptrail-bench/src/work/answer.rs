//! 64 bytes for every 64 bytes: many connections in one thread, as a fast server has them.

use super::socks;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const MESSAGE: usize = 64;
/// First byte of a message after whose answer the connection is closed.
pub(super) const LAST: u8 = b'c';
/// First byte of any other.
pub(super) const MORE: u8 = b'm';

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;

/// A connection and what has come of its next message.
struct Client {
    stream: TcpStream,
    message: [u8; MESSAGE],
    filled: usize,
    /// How many steps of a SOCKS handshake are still to come.
    handshake: u8,
}

/// Until the process ends.
pub(super) fn serve(listener: &TcpListener, accepted: &AtomicU64) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut clients = HashMap::new();
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept(listener, &epoll, &mut clients, accepted)?;
            } else if let Some(client) = clients.get_mut(&event.data())
                && !client.turn()
            {
                clients.remove(&event.data());
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    clients: &mut HashMap<u64, Client>,
    accepted: &AtomicU64,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, message: [0; MESSAGE], filled: 0, handshake: 0 };
        // What has come already needs no event.
        if client.turn() {
            let key = client.stream.as_raw_fd() as u64;
            epoll.add(&client.stream, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
            clients.insert(key, client);
        }
    }
}

impl Client {
    /// Reads once and answers; whether the connection goes on.
    fn turn(&mut self) -> bool {
        match self.stream.read(&mut self.message[self.filled..]) {
            Ok(0) => false,
            Ok(n) => {
                self.filled += n;
                self.answer().unwrap_or(false)
            }
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn answer(&mut self) -> io::Result<bool> {
        if self.filled < MESSAGE && (self.message[0] == socks::VERSION || self.handshake > 0) {
            return self.shake_hands();
        }
        if self.filled < MESSAGE {
            return Ok(true);
        }
        self.filled = 0;
        self.stream.write_all(&self.message)?;
        Ok(self.message[0] != LAST)
    }

    /// A SOCKS client waits after each step, and both are smaller than a message.
    fn shake_hands(&mut self) -> io::Result<bool> {
        let methods = self.handshake == 0;
        let whole = if methods { 2 + usize::from(self.message[1]) } else { socks::REQUEST };
        if self.filled < 2 || self.filled < whole {
            return Ok(true);
        }
        self.filled = 0;
        self.handshake = u8::from(methods);
        let answer: &[u8] = if methods { &socks::NO_METHOD } else { &socks::CONNECTED };
        self.stream.write_all(answer)?;
        self.message[0] = 0;
        Ok(true)
    }
}
