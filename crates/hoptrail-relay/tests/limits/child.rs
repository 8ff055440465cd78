//! A relay in a process of its own, in which descriptors are scarce.

use crate::route::RunningRelay;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the child is told: where to forward to, and how many descriptors to leave.
const TASK: &str = "HOPTRAIL_TEST_SCARCE";
const LIMIT: u64 = 512;

pub(crate) struct Scarce {
    child: Child,
    order: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) at: SocketAddr,
}

impl Scarce {
    /// A relay to `to` that has only so many descriptors left for connections.
    pub(crate) fn start(to: SocketAddr, left: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::a_relay_with_few_descriptors", "--ignored", "--nocapture"])
            .env(TASK, format!("{to} {left}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let order = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = after("at ", &mut lines).parse().unwrap();
        Self { child, order, lines, at }
    }

    /// Waits until it has told of pauses so many times.
    pub(crate) fn wait_for_pauses(&mut self, n: usize) {
        let order = self.order.as_mut().unwrap();
        writeln!(order, "{n}").unwrap();
        after("paused ", &mut self.lines);
    }

    /// Ends it; what it has told of pauses.
    pub(crate) fn end(mut self) -> String {
        drop(self.order.take());
        let told = after("pauses ", &mut self.lines);
        assert!(self.child.wait().unwrap().success());
        told
    }
}

fn after(mark: &str, lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let found =
        lines.find_map(|line| line.unwrap().split_once(mark).map(|(_, rest)| rest.to_owned()));
    found.unwrap_or_else(|| panic!("the child has ended without a word of {mark:?}"))
}

#[test]
#[ignore = "the other tests start it, as a process of its own"]
fn a_relay_with_few_descriptors() {
    let task = std::env::var(TASK).unwrap();
    let (to, left) = task.split_once(' ').unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).unwrap();
    let relay = RunningRelay::to(to.parse().unwrap(), |_| {});
    let mut eaten: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    eaten.truncate(eaten.len() - left.parse::<usize>().unwrap());
    println!("at {}", relay.at);
    for order in std::io::stdin().lines() {
        relay.record.pauses(order.unwrap().parse().unwrap());
        println!("paused again");
    }
    println!("pauses {:?}", relay.record.pauses_now());
}
