//! The worker process: does what it is asked, one thing at a time. It makes no socket before it is
//! asked, by when the harness has moved it to its cgroup.

mod answer;
mod bulk;
mod connect;
mod datagram;
mod promises;
mod relay;
mod requests;
mod serve;
mod socks;
mod traffic;
mod winsock;

use crate::wire::{Answer, Ask, Service};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serve::Served;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// What a worker holds between asks.
#[derive(Default)]
struct Holdings {
    served: HashMap<(Service, SocketAddr), Served>,
    filled: Vec<socket2::Socket>,
    held: Vec<TcpStream>,
}

/// Answers asks until standard input ends.
pub(crate) fn run() {
    let pinned = pin(std::env::args().nth(2).and_then(|cpu| cpu.parse().ok()).unwrap_or(0));
    let mut holdings = Holdings::default();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match (&pinned, serde_json::from_str::<Ask>(&line)) {
            (Err(e), _) => Answer::Failed(format!("cannot be pinned to its CPU: {e}")),
            (_, Err(e)) => Answer::Failed(format!("does not understand {line}: {e}")),
            (_, Ok(ask)) => {
                perform(&mut holdings, ask).unwrap_or_else(|e| Answer::Failed(e.to_string()))
            }
        };
        if respond(&answer).is_err() {
            return;
        }
    }
}

/// Threads inherit it. A machine with one CPU has them all on that one.
fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn respond(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    io::stdout().lock().write_all(line.as_bytes())
}

fn perform(holdings: &mut Holdings, ask: Ask) -> io::Result<Answer> {
    Ok(match ask {
        Ask::Serve { service, at } => {
            holdings.served.insert((service, at), serve::open(service, at)?);
            Answer::Done
        }
        Ask::Accepted { at } => Answer::Count(holdings.at(Service::Accept, at)?.accepted()?),
        Ask::Connect { to, count } => Answer::Times(connect::one_by_one(to, count)?),
        Ask::Fill { to, count } => {
            holdings.filled = connect::many(to, count)?;
            Answer::Done
        }
        Ask::Empty => {
            holdings.filled.clear();
            holdings.held.clear();
            Answer::Done
        }
        Ask::Relay { at, dial, count } => {
            Answer::Relayed(relay::run(holdings.at(Service::Wait, at)?.waiting()?, dial, count)?)
        }
        Ask::Calls { at, call, count } => {
            Answer::Times(winsock::run(holdings.at(Service::Wait, at)?.waiting()?, call, count)?)
        }
        Ask::Stream { to, spells, millis } => Answer::Rates(traffic::stream(to, spells, millis)?),
        Ask::PingPong { to, count } => Answer::Times(traffic::ping_pong(to, count)?),
        Ask::Datagrams { to, count } => Answer::Times(datagram::send(to, count)?),
        Ask::Received { at } => {
            Answer::Count(datagram::receive(holdings.at(Service::Datagrams, at)?.datagrams()?)?)
        }
        Ask::Bulk { to, way, spells } => {
            bulk::run(to, way, spells)?.map_or(Answer::Done, Answer::Metered)
        }
        Ask::Metered { at } => Answer::Metered(holdings.at(Service::Bulk, at)?.meters()?.take()?),
        Ask::Requests { to, clients, millis } => {
            let (count, nanoseconds) = requests::run(to, clients, millis)?;
            Answer::Served { count, nanoseconds }
        }
        Ask::Hold { to, count } => {
            requests::hold(&to, count, &mut holdings.held)?;
            Answer::Count(holdings.held.len() as u64)
        }
        Ask::Probe => Answer::Count(requests::probe(&mut holdings.held)?),
        Ask::Promise { promise, to, at, socks } => {
            let listener = holdings.at(Service::Wait, at)?.waiting()?;
            let (kept, seen) = promises::try_out(promise, listener, to, socks);
            Answer::Kept { kept, seen }
        }
    })
}

impl Holdings {
    fn at(&self, service: Service, at: SocketAddr) -> io::Result<&Served> {
        let served = self.served.get(&(service, at));
        served.ok_or_else(|| io::Error::other(format!("there is no {service:?} at {at}")))
    }
}

/// Nanoseconds since `start`, of which 32 bits last for four seconds.
fn since(start: Instant) -> u32 {
    start.elapsed().as_nanos().try_into().unwrap_or(u32::MAX)
}
