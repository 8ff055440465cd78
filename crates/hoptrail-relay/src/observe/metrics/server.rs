//! The metrics server: one thread, a bounded number of clients, none of which can keep it from the others.

use super::Metrics;
use super::client::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When another client comes, the oldest one has to go: a scraper comes in every time.
const CLIENTS: usize = 32;

/// How long accepting rests when it fails, as for want of descriptors.
const REST: Duration = Duration::from_millis(200);

/// A server that runs; it ends with this.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Closed to end the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `metrics` at a listener.
    ///
    /// # Errors
    /// When the listener cannot be used, or no thread can be started.
    pub fn start(listener: TcpListener, metrics: Metrics) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = UnixStream::pair()?;
        stopped.set_nonblocking(true)?;
        let serving = Serving { listener, metrics, stopped, clients: Vec::new(), rest_until: None };
        let thread =
            std::thread::Builder::new().name("metrics".into()).spawn(move || serving.run())?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Serving {
    listener: TcpListener,
    metrics: Metrics,
    stopped: UnixStream,
    /// Oldest first.
    clients: Vec<Client>,
    rest_until: Option<Instant>,
}

impl Serving {
    fn run(mut self) {
        loop {
            self.wait();
            if !matches!(self.stopped.read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock) {
                return;
            }
            let now = Instant::now();
            self.clients.retain_mut(|client| client.deadline > now && client.go_on(&self.metrics));
            if self.rest_until.is_none_or(|until| until <= now) {
                self.accept(now);
            }
        }
    }

    /// Until something can be done.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.stopped, PollFlags::IN)];
        if self.rest_until.is_none() {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for client in &self.clients {
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), client.waits_for()));
        }
        let next = self.clients.iter().map(|client| client.deadline).chain(self.rest_until).min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        // Rounded up, so that the deadline has passed when the wait is over.
        let left = left.map(|left| left + Duration::from_millis(1));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn accept(&mut self, now: Instant) {
        self.rest_until = None;
        // Not without end: those that are being served have their turn too.
        for _ in 0..CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(mut client) = Client::new(stream, now)
                        && client.go_on(&self.metrics)
                    {
                        self.admit(client);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_of_the_connection(&error) => {}
                Err(_) => {
                    self.rest_until = Some(now + REST);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, client: Client) {
        if self.clients.len() >= CLIENTS {
            self.clients.remove(0);
        }
        self.clients.push(client);
    }
}

/// The next one may be better.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
