//! Copies between two connections until both have ended: half-close and resets kept.

use crate::direction::{BUFFER_BYTES, Direction};
use crate::error::{Error, Operation};
use crate::relay::Relayed;
use crate::reset;
use crate::sys::reset_error;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::TcpStream;

thread_local! {
    /// Bytes are in it only between a read and a write, never while a task waits.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// Both connections. Unless they have ended by themselves, dropping them resets them: also when the
/// task is cancelled.
struct Pair {
    first: TcpStream,
    second: TcpStream,
    ended: bool,
}

/// Copies both ways until both sides have ended. The end of one side's data is passed on while the
/// other still flows; when one side is reset, so is the other, and when this future is dropped, both
/// are. A pair in which nothing flows holds no buffers.
pub async fn relay(first: TcpStream, second: TcpStream) -> Relayed {
    let mut pair = Pair { first, second, ended: false };
    let mut ways = <[Direction; 2]>::default();
    let result = copy(&pair.first, &pair.second, &mut ways).await;
    pair.ended = result.is_ok();
    let error = result.map_err(Error::of(Operation::Relay)).err();
    Relayed { from_first: ways[0].bytes(), from_second: ways[1].bytes(), error }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if !self.ended {
            for stream in [&self.first, &self.second] {
                // Where the option is refused, an ordinary close is the best that is left.
                drop(reset::on_close(stream));
            }
        }
    }
}

async fn copy(first: &TcpStream, second: &TcpStream, ways: &mut [Direction; 2]) -> io::Result<()> {
    for stream in [first, second] {
        stream.set_nodelay(true)?;
    }
    let [up, down] = ways;
    loop {
        BUFFER.with_borrow_mut(|buffer| {
            up.pump(first, second, buffer)?;
            down.pump(second, first, buffer)
        })?;
        if up.ended() && down.ended() {
            return Ok(());
        }
        either(ready(first, up, down), ready(second, down, up)).await?;
    }
}

/// Waits until a socket, given with what leaves it and what enters it, can go on or has failed.
async fn ready(stream: &TcpStream, out: &Direction, into: &Direction) -> io::Result<()> {
    let mut interest = Interest::ERROR;
    if out.wants_to_read() {
        interest = interest.add(Interest::READABLE);
    }
    if into.wants_to_write() {
        interest = interest.add(Interest::WRITABLE);
    }
    let ready = stream.ready(interest).await?;
    if ready.is_error() {
        return Err(stream.take_error()?.unwrap_or_else(reset_error));
    }
    Ok(())
}

/// Whichever comes first.
async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Pending => other.as_mut().poll(cx),
        ready => ready,
    })
    .await
}
