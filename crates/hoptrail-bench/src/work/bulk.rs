//! One stream in one direction, metered where it arrives: what a sender has written may still wait in a
//! relay.

use super::socks;
use crate::wire::{Metered, Spells, Way};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

const WRITTEN: usize = 128 << 10;
const READ: usize = 256 << 10;
/// Longer than any relay is silent; a direction that stands still ends the measurement.
const SILENCE: Duration = Duration::from_secs(5);
/// How much longer than it is metered an upload goes on, against the time that the way takes.
const MARGIN: Duration = Duration::from_millis(10);

/// What uploads brought, as their receivers found out.
pub(super) struct Meters {
    pub(super) sender: Sender<Metered>,
    receiver: Receiver<Metered>,
}

impl Meters {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    pub(super) fn take(&self) -> io::Result<Metered> {
        self.receiver.recv_timeout(SILENCE).map_err(|_| io::Error::other("no stream has ended"))
    }
}

/// The client's side.
pub(super) fn run(to: SocketAddr, way: Way, spells: Spells) -> io::Result<Option<Metered>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(&head(way, spells))?;
    if way == Way::Down {
        return meter(&stream, spells).map(Some);
    }
    let end = Instant::now() + length(spells) + MARGIN;
    let chunk = chunk();
    while Instant::now() < end {
        stream.write_all(&chunk)?;
    }
    Ok(None)
}

/// The other side of one connection; ends are the client's.
pub(super) fn serve(mut stream: TcpStream, meters: &Sender<Metered>) {
    let _ = serve_one(&mut stream, meters);
}

fn serve_one(stream: &mut TcpStream, meters: &Sender<Metered>) -> io::Result<()> {
    let mut head = [0; HEAD];
    socks::read_first(stream, &mut head)?;
    let (way, spells) = parse(&head);
    match way {
        Way::Up => {
            let mut metered = meter(&*stream, spells)?;
            metered.bytes += rest(stream);
            let _ = meters.send(metered);
            Ok(())
        }
        Way::Down => {
            let chunk = chunk();
            loop {
                stream.write_all(&chunk)?;
            }
        }
    }
}

/// Bytes that are no easier to search than what is compressed or encrypted.
fn chunk() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..WRITTEN).map(|_| next()).collect()
}

/// Reads to the end of the spells, or to that of the stream.
fn meter(mut stream: impl Read, spells: Spells) -> io::Result<Metered> {
    let mut buffer = vec![0; READ];
    let mut metered = Metered::default();
    metered.bytes += stream.read(&mut buffer)? as u64;
    let mut start = Instant::now() + Duration::from_millis(spells.warm_up_millis);
    let (mut before, spell) = (0, Duration::from_millis(spells.millis));
    loop {
        let n = stream.read(&mut buffer)?;
        metered.bytes += n as u64;
        if n == 0 {
            return Ok(metered);
        }
        let now = Instant::now();
        if now < start {
            before = metered.bytes;
        } else if now - start >= spell {
            metered.rates.push((metered.bytes - before) as f64 / (now - start).as_secs_f64());
            (start, before) = (now, metered.bytes);
            if metered.rates.len() == spells.count as usize {
                return Ok(metered);
            }
        }
    }
}

/// Reads to the end of the stream: a close before would be a reset.
fn rest(stream: &mut TcpStream) -> u64 {
    let mut buffer = vec![0; READ];
    let mut bytes = 0;
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes += n as u64;
    }
    bytes
}

fn length(spells: Spells) -> Duration {
    Duration::from_millis(spells.warm_up_millis + spells.millis * u64::from(spells.count))
}

const HEAD: usize = 21;

/// What the client sends first: way, warm-up, spells, length of one.
fn head(way: Way, spells: Spells) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = if way == Way::Up { b'u' } else { b'd' };
    head[1..9].copy_from_slice(&spells.warm_up_millis.to_be_bytes());
    head[9..13].copy_from_slice(&spells.count.to_be_bytes());
    head[13..].copy_from_slice(&spells.millis.to_be_bytes());
    head
}

fn parse(head: &[u8; HEAD]) -> (Way, Spells) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let way = if head[0] == b'u' { Way::Up } else { Way::Down };
    let spells = Spells {
        warm_up_millis: number(&head[1..9]),
        count: number(&head[9..13]) as u32,
        millis: number(&head[13..]),
    };
    (way, spells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_carries_what_is_asked() {
        let spells = Spells { warm_up_millis: 70_000, count: 300, millis: 20 };
        let (way, parsed) = parse(&head(Way::Down, spells));
        assert_eq!(way, Way::Down);
        assert_eq!(
            (parsed.warm_up_millis, parsed.count, parsed.millis),
            (spells.warm_up_millis, spells.count, spells.millis)
        );
    }

    #[test]
    fn a_stream_that_ends_early_has_fewer_spells_and_all_its_bytes() {
        let spells = Spells { warm_up_millis: 0, count: 5, millis: 100_000 };
        let metered = meter(&[7_u8; 1000][..], spells).unwrap();
        assert_eq!((metered.rates.len(), metered.bytes), (0, 1000));
    }
}
