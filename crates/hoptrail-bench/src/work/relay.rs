//! The smallest relay: accept, dial, close. With records it is what the library's users write; without,
//! the same by the standard library.

use crate::wire::{Dial, Steps};
use hoptrail::Redirect;
use socket2::SockRef;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Relays connections that wait already; gives the times of each.
pub(super) fn run(listener: &TcpListener, dial: Dial, count: u32) -> io::Result<Vec<Steps>> {
    (0..count).map(|_| relay(listener, dial)).collect()
}

fn relay(listener: &TcpListener, dial: Dial) -> io::Result<Steps> {
    let mut clock = Clock(Instant::now());
    let (stream, _) = listener.accept()?;
    let accept = clock.lap();
    let redirect = match dial {
        Dial::Records => Redirect::of(&stream).map_err(io::Error::other)?,
        Dial::Plain(_) => None,
    };
    let ask = clock.lap();
    let upstream = match (dial, redirect) {
        (Dial::Plain(to), _) => {
            let upstream = TcpStream::connect(to)?;
            upstream.set_nodelay(true)?;
            upstream
        }
        (Dial::Records, Some(redirect)) => redirect.dial().map_err(io::Error::other)?,
        (Dial::Records, None) => {
            return Err(io::Error::other("a connection came that was not redirected"));
        }
    };
    let dial = clock.lap();
    close(stream, upstream)?;
    Ok(Steps { accept, ask, dial, close: clock.lap() })
}

/// With resets, for the sake of the ports.
fn close(stream: TcpStream, upstream: TcpStream) -> io::Result<()> {
    for stream in [&stream, &upstream] {
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

struct Clock(Instant);

impl Clock {
    /// Nanoseconds since the last time.
    fn lap(&mut self) -> u32 {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap.as_nanos().try_into().unwrap_or(u32::MAX)
    }
}
