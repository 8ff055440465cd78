//! Actors: processes in a lab's cgroup and network namespace, which do what a test tells them.
//!
//! Membership of a cgroup is a process' property, so the two sides of a test have to be processes. An
//! actor is the test binary itself, started again; it is sent a function of that binary with
//! arguments, and sends back what the function gives. So the code of both sides stands in the test.

use super::stage::{self, Answer, Order};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who an actor is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Person<'a> {
    /// Name of its cgroup below the lab's; empty for the lab's own.
    pub cgroup: &'a str,
    /// User and group, if not root.
    pub uid: Option<u32>,
    /// Executable: a copy of the test binary ([`stage::copy_of_binary`]); nothing for itself.
    pub exe: Option<&'a Path>,
}

/// A process that does what it is told. Killed when dropped.
pub struct Actor {
    child: Child,
    orders: Mutex<(ChildStdin, u64)>,
    pending: Arc<Mutex<HashMap<u64, Sender<Answer>>>>,
}

/// Something that an actor is doing.
#[must_use = "wait for it, or the test will not see how it ends"]
pub struct Task<R> {
    answer: Receiver<Answer>,
    result: PhantomData<fn() -> R>,
}

impl Actor {
    pub(super) fn start(
        person: &Person<'_>,
        cgroup: Option<&Path>,
        netns: &File,
    ) -> io::Result<Self> {
        let netns = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
        let exe = person.exe.map_or_else(|| "/proc/self/exe".into(), Path::to_path_buf);
        let mut command = Command::new(exe);
        command.args(stage::arguments(person.uid, cgroup, Path::new(&netns)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let answers = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let pending = Arc::new(Mutex::new(HashMap::<u64, Sender<Answer>>::new()));
        let waiting = Arc::clone(&pending);
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let answer: Answer = serde_json::from_str(&line).expect("an actor's answer");
                let sender = waiting.lock().expect("answers").remove(&answer.id);
                // A test that has panicked no longer waits.
                let _ = sender.map(|sender| sender.send(answer));
            }
            // The actor is dead: whoever waits is told so by his closed channel.
            waiting.lock().expect("answers").clear();
        });
        let actor = Self { child, orders: Mutex::new((orders, 0)), pending };
        actor.run((), |()| Ok(()))?;
        Ok(actor)
    }

    /// Runs `work` in the actor, on its main thread, and gives what it gave. `work` is a plain
    /// function: it is sent what it needs as `arguments`.
    ///
    /// # Errors
    /// What `work` failed with.
    ///
    /// # Panics
    /// When `work` panics or the actor dies.
    pub fn run<A: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned>(
        &self,
        arguments: A,
        work: fn(A) -> io::Result<R>,
    ) -> io::Result<R> {
        self.order(&arguments, work, false).wait()
    }

    /// Starts `work` in the actor on a thread of its own.
    pub fn begin<A: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned>(
        &self,
        arguments: A,
        work: fn(A) -> io::Result<R>,
    ) -> Task<R> {
        self.order(&arguments, work, true)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn order<A: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned>(
        &self,
        arguments: &A,
        work: fn(A) -> io::Result<R>,
        own_thread: bool,
    ) -> Task<R> {
        let (sender, answer) = channel();
        let mut orders = self.orders.lock().expect("orders");
        orders.1 += 1;
        let id = orders.1;
        self.pending.lock().expect("answers").insert(id, sender);
        let arguments = serde_json::to_string(arguments).expect("arguments as JSON");
        let order = Order::new(id, own_thread, work, arguments);
        let line = serde_json::to_string(&order).expect("an order as JSON");
        if writeln!(orders.0, "{line}").is_err() {
            self.pending.lock().expect("answers").remove(&id);
        }
        Task { answer, result: PhantomData }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// Waits for its end.
    ///
    /// # Errors
    /// What it failed with.
    ///
    /// # Panics
    /// When it panicked, the actor is dead, or a minute passes.
    pub fn wait(self) -> io::Result<R> {
        let answer = self.answer.recv_timeout(Duration::from_secs(60)).expect("an actor's answer");
        answer.outcome()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs_for(&self, time: Duration) -> bool {
        matches!(self.answer.recv_timeout(time), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}
