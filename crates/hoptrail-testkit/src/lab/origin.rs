//! Destinations: servers in the lab's namespace outside its cgroups, that send back what they get.

use super::eventually;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A TCP echo server that counts. It ends when dropped.
#[derive(Debug)]
pub struct Origin {
    at: SocketAddr,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    ended: Arc<AtomicBool>,
    listener: TcpListener,
}

impl Origin {
    pub(super) fn start(at: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let at = listener.local_addr()?;
        let origin = Self {
            at,
            peers: Arc::default(),
            ended: Arc::default(),
            listener: listener.try_clone()?,
        };
        let (peers, ended) = (Arc::clone(&origin.peers), Arc::clone(&origin.ended));
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                peers.lock().expect("peers").push(peer);
                std::thread::spawn(move || echo(stream));
            }
        });
        Ok(origin)
    }

    /// Where it listens.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Who has connected so far.
    ///
    /// # Panics
    /// When its thread has panicked.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().expect("peers").clone()
    }

    /// Waits until `n` have connected; its thread needs a moment for one that has just done so.
    ///
    /// # Panics
    /// When it is not `n`.
    pub fn expect(&self, n: usize) {
        eventually("the destination accepts", || self.accepted() >= n);
        assert_eq!(self.accepted(), n, "connections at the destination");
    }

    /// How many have connected so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.peers().len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Ends the accept of its thread.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    // A client that resets its connection is none of a test's business here.
    while let Ok(n @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..n]).is_err() {
            return;
        }
    }
}
