//! What an idle connection costs in the relay's memory, with 50,000 of them, or as many as descriptors
//! allow: it prints how many.
//!
//! The relay is a process of its own, in a network namespace of its own, since so many connections take all ports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "wire/record.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod record;
#[path = "wire/route.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod route;

use hoptrail_testkit::lab::Case;
use hoptrail_testkit::lab::harness::run_cases;
use route::{Buffers, RunningRelay, address, connect, listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::Socket;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};

/// Which part this process plays, and its arguments.
const PART: &str = "HOPTRAIL_TEST_IDLE";
const CONNECTIONS: usize = 50_000;
/// Two descriptors for each, in both processes, and some for the rest.
const DESCRIPTORS: u64 = 2 * CONNECTIONS as u64 + 400;
/// Each destination has its own 64 Ki of ports, of which 28,000 are chosen from.
const DESTINATIONS: usize = 2;
/// Bytes of user-space memory that a connection may cost.
const GOAL: usize = 512;

fn main() -> ExitCode {
    match std::env::var(PART).as_deref() {
        Ok("scene") => scene(),
        Ok(addresses) => relays(addresses),
        Err(_) => {
            let name = "fifty_thousand_idle_connections".to_owned();
            let body = Box::new(|| {
                in_a_namespace();
                Ok(())
            });
            return run_cases(vec![Case { name, kernel: true, body }]);
        }
    }
    ExitCode::SUCCESS
}

fn in_a_namespace() {
    let myself = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\""])
        .arg(myself)
        .env(PART, "scene")
        .status()
        .unwrap();
    assert!(status.success(), "the scene has failed: see above");
}

fn scene() {
    let connections = possible();
    let servers: Vec<Socket> = (0..DESTINATIONS).map(|_| listener(Buffers::default())).collect();
    let names: Vec<_> = servers.iter().map(|server| address(server).to_string()).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(PART, names.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut relay = Asked {
        order: child.stdin.take().unwrap(),
        lines: BufReader::new(child.stdout.take().unwrap()).lines(),
    };
    let at: Vec<SocketAddr> =
        relay.answer().split(' ').map(|address| address.parse().unwrap()).collect();
    // What the first connection brings with it is not a connection's.
    let first: Vec<_> = at.iter().zip(&servers).map(|(at, server)| pair(*at, server)).collect();
    let before = relay.memory();
    let pairs: Vec<_> =
        (0..connections).map(|n| pair(at[n % DESTINATIONS], &servers[n % DESTINATIONS])).collect();
    let each = relay.memory().saturating_sub(before) / connections;
    println!("{each} bytes for each of {connections} idle connections");
    assert!(each <= GOAL, "{each} bytes for each connection, and {GOAL} are the goal");
    // They are all alive.
    pairs.iter().step_by(97).for_each(|(client, server)| talk(client, server));
    drop((first, pairs, relay));
    assert!(child.wait().unwrap().success());
}

/// How many connections the machine lets this process and its child have.
fn possible() -> usize {
    let all = Some(DESCRIPTORS);
    if setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).is_ok() {
        return CONNECTIONS;
    }
    let most = getrlimit(Resource::Nofile).maximum.unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
    usize::try_from(most - 400).unwrap() / 2
}

/// A connection over which something was said in both directions.
fn pair(to: SocketAddr, server: &Socket) -> (TcpStream, TcpStream) {
    let client = connect(to, Buffers::default());
    let server = server.accept().unwrap().0.into();
    talk(&client, &server);
    (client, server)
}

fn talk(mut client: &TcpStream, mut server: &TcpStream) {
    let mut byte = [0];
    client.write_all(b"?").unwrap();
    server.read_exact(&mut byte).unwrap();
    server.write_all(b"!").unwrap();
    client.read_exact(&mut byte).unwrap();
}

/// The relays' process.
struct Asked {
    order: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Asked {
    fn answer(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Its own memory, in bytes.
    fn memory(&mut self) -> usize {
        writeln!(self.order).unwrap();
        self.answer().parse().unwrap()
    }
}

fn relays(addresses: &str) {
    let relays: Vec<_> = addresses
        .split(' ')
        .map(|address| RunningRelay::to(address.parse().unwrap(), |_| {}))
        .collect();
    let at: Vec<_> = relays.iter().map(|relay| relay.at.to_string()).collect();
    println!("{}", at.join(" "));
    for _ in std::io::stdin().lines() {
        println!("{}", memory());
    }
}

fn memory() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
