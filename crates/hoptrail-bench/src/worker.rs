//! A worker process as the harness sees it: started in a cgroup before it has made a socket, pinned to
//! a CPU, moved between cgroups, asked for one measurement at a time.

use crate::Result;
use crate::wire::{Answer, Ask, Call, Dial, Metered, Promise, Service, Spells, Steps, Way};
use hoptrail_engine::EngineError;
use hoptrail_engine::host::cgroup2::CgroupDir;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The first argument of a worker.
pub(crate) const ARGUMENT: &str = "--worker";

pub(crate) struct Worker {
    name: &'static str,
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(name: &'static str, cpu: usize, home: &CgroupDir) -> Result<Self> {
        let failed = |e| EngineError::os(format!("cannot start the {name}"), e);
        let exe = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(exe)
            .args([ARGUMENT, &cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (asks, answers) =
            pipes.ok_or_else(|| EngineError::new(format!("the {name} has no pipes")))?;
        let worker = Self { name, child, asks, answers: BufReader::new(answers) };
        worker.move_to(home)?;
        Ok(worker)
    }

    /// Moves the process: a socket belongs to the cgroup in which it was made, for good.
    pub(crate) fn move_to(&self, home: &CgroupDir) -> Result<()> {
        let moved = home.entrance().and_then(|mut file| write!(file, "{}", self.child.id()));
        moved.map_err(|e| {
            EngineError::os(
                format!("cannot move the {} to {}", self.name, home.path().display()),
                e,
            )
        })
    }

    pub(crate) fn serve(&mut self, service: Service, at: SocketAddr) -> Result<()> {
        self.done(&Ask::Serve { service, at })
    }

    pub(crate) fn accepted(&mut self, at: SocketAddr) -> Result<u64> {
        self.count(&Ask::Accepted { at })
    }

    pub(crate) fn connect(&mut self, to: SocketAddr, count: u32) -> Result<Vec<u32>> {
        self.times(&Ask::Connect { to, count })
    }

    pub(crate) fn fill(&mut self, to: SocketAddr, count: u32) -> Result<()> {
        self.done(&Ask::Fill { to, count })
    }

    pub(crate) fn empty(&mut self) -> Result<()> {
        self.done(&Ask::Empty)
    }

    pub(crate) fn relay(&mut self, at: SocketAddr, dial: Dial, count: u32) -> Result<Vec<Steps>> {
        match self.ask(&Ask::Relay { at, dial, count })? {
            Answer::Relayed(steps) => Ok(steps),
            other => Err(self.odd(&other)),
        }
    }

    pub(crate) fn calls(&mut self, at: SocketAddr, call: Call, count: u32) -> Result<Vec<u32>> {
        self.times(&Ask::Calls { at, call, count })
    }

    pub(crate) fn stream(&mut self, to: SocketAddr, spells: u32, millis: u64) -> Result<Vec<f64>> {
        match self.ask(&Ask::Stream { to, spells, millis })? {
            Answer::Rates(rates) => Ok(rates),
            other => Err(self.odd(&other)),
        }
    }

    pub(crate) fn ping_pong(&mut self, to: SocketAddr, count: u32) -> Result<Vec<u32>> {
        self.times(&Ask::PingPong { to, count })
    }

    pub(crate) fn datagrams(&mut self, to: SocketAddr, count: u32) -> Result<Vec<u32>> {
        self.times(&Ask::Datagrams { to, count })
    }

    pub(crate) fn received(&mut self, at: SocketAddr) -> Result<u64> {
        self.count(&Ask::Received { at })
    }

    /// Nothing of an upload, which its receiver meters.
    pub(crate) fn bulk(
        &mut self,
        to: SocketAddr,
        way: Way,
        spells: Spells,
    ) -> Result<Option<Metered>> {
        match self.ask(&Ask::Bulk { to, way, spells })? {
            Answer::Metered(metered) => Ok(Some(metered)),
            Answer::Done => Ok(None),
            other => Err(self.odd(&other)),
        }
    }

    pub(crate) fn metered(&mut self, at: SocketAddr) -> Result<Metered> {
        match self.ask(&Ask::Metered { at })? {
            Answer::Metered(metered) => Ok(metered),
            other => Err(self.odd(&other)),
        }
    }

    /// Nanoseconds per connection.
    pub(crate) fn requests(&mut self, to: SocketAddr, clients: u32, millis: u64) -> Result<f64> {
        match self.ask(&Ask::Requests { to, clients, millis })? {
            Answer::Served { count, nanoseconds } => Ok(nanoseconds as f64 / count as f64),
            other => Err(self.odd(&other)),
        }
    }

    pub(crate) fn hold(&mut self, to: Vec<SocketAddr>, count: u32) -> Result<u64> {
        self.count(&Ask::Hold { to, count })
    }

    /// How many of the held connections answered.
    pub(crate) fn probe(&mut self) -> Result<u64> {
        self.count(&Ask::Probe)
    }

    pub(crate) fn promise(
        &mut self,
        promise: Promise,
        to: SocketAddr,
        at: SocketAddr,
        socks: bool,
    ) -> Result<(bool, String)> {
        match self.ask(&Ask::Promise { promise, to, at, socks })? {
            Answer::Kept { kept, seen } => Ok((kept, seen)),
            other => Err(self.odd(&other)),
        }
    }

    fn times(&mut self, ask: &Ask) -> Result<Vec<u32>> {
        match self.ask(ask)? {
            Answer::Times(times) => Ok(times),
            other => Err(self.odd(&other)),
        }
    }

    fn count(&mut self, ask: &Ask) -> Result<u64> {
        match self.ask(ask)? {
            Answer::Count(count) => Ok(count),
            other => Err(self.odd(&other)),
        }
    }

    fn done(&mut self, ask: &Ask) -> Result<()> {
        match self.ask(ask)? {
            Answer::Done => Ok(()),
            other => Err(self.odd(&other)),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        let answer = self
            .exchange(ask)
            .map_err(|e| EngineError::os(format!("the {} did not answer {ask:?}", self.name), e))?;
        match answer {
            Answer::Failed(why) => {
                Err(EngineError::new(format!("the {} failed at {ask:?}: {why}", self.name)))
            }
            answer => Ok(answer),
        }
    }

    fn exchange(&mut self, ask: &Ask) -> io::Result<Answer> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.asks.write_all(line.as_bytes())?;
        line.clear();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn odd(&self, answer: &Answer) -> EngineError {
        EngineError::new(format!(
            "the {} gave an answer to another question: {answer:?}",
            self.name
        ))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its threads wait in accept(2) and would not notice that nobody asks any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
