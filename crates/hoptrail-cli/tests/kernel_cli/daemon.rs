//! A daemon of a test, with pins, run directory and log of its own.

use crate::process::{Running, Said};
use crate::stage::{HOPTRAIL, Stage};
use hoptrail_testkit::lab::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

/// A running daemon, or what one has left.
pub(crate) struct Daemon<'s> {
    stage: &'s Stage,
    running: Option<Running>,
    log: PathBuf,
    pub(crate) pins: String,
    pub(crate) run_dir: String,
    pub(crate) cgroup: &'static str,
    pub(crate) config: PathBuf,
}

impl<'s> Daemon<'s> {
    /// Starts it and waits until the proxies of its configuration listen.
    pub(crate) fn start(stage: &'s Stage, config: &str) -> Self {
        let mut daemon = Self {
            stage,
            running: None,
            log: PathBuf::new(),
            pins: format!("/sys/fs/bpf/test-{}", stage.number),
            run_dir: stage.dir.path().join("run").display().to_string(),
            cgroup: "apps",
            config: stage.file("hoptrail.toml", config),
        };
        daemon.start_again(&[]);
        daemon
    }

    /// Starts it where it was.
    pub(crate) fn start_again(&mut self, args: &[&str]) {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        self.log = self.stage.dir.path().join(format!("log-{number}"));
        let argv = self.argv();
        let argv: Vec<&str> = argv.iter().map(String::as_str).chain(args.iter().copied()).collect();
        let mut command = self.stage.command("ctl", &argv);
        self.running = Some(self.stage.start(command.stderr(File::create(&self.log).unwrap())));
        let proxies = fs::read_to_string(&self.config).unwrap().matches("command = ").count();
        self.await_log("acts on", 1);
        self.await_log("listens after", proxies);
    }

    /// The command line of another one like it.
    pub(crate) fn argv(&self) -> Vec<String> {
        let config = self.config.to_str().unwrap();
        let cgroup = self.stage.cgroup_name(self.cgroup);
        let all = [HOPTRAIL, "daemon", "--config", config, "--cgroup", &cgroup];
        let all = all.into_iter().chain(["--pins", &self.pins, "--run-dir", &self.run_dir]);
        all.map(str::to_owned).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.as_ref().unwrap().signal(signal);
    }

    /// Ends it by that signal and gives its exit code.
    pub(crate) fn end(&mut self, signal: Signal) -> i32 {
        self.signal(signal);
        self.running.take().unwrap().code()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log says `what` that often.
    pub(crate) fn await_log(&self, what: &str, times: usize) {
        eventually(&format!("{what:?} in the log"), || {
            let log = self.log();
            assert!(!log.contains("error:") && !log.contains("hoptrail: cannot"), "{log}");
            log.matches(what).count() >= times
        });
    }

    /// Runs a verb that asks of it.
    pub(crate) fn verb(&self, verb: &str, args: &[&str]) -> Output {
        let pins = ["--pins", &self.pins];
        let pins = if verb == "reload" || verb == "providers" { &[][..] } else { &pins[..] };
        let args = [&[HOPTRAIL, verb, "--run-dir", &self.run_dir], pins, args].concat();
        self.stage.output("ctl", &args)
    }

    /// What a verb says with `--json`.
    pub(crate) fn json(&self, verb: &str) -> Value {
        let output = self.verb(verb, &["--json"]);
        assert_eq!(output.code(), 0, "{verb}: {}", output.err());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.json("providers")["generation"].as_u64().unwrap()
    }

    /// Writes another configuration, which does not count before it is reloaded.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(&self.config, text).unwrap();
    }

    /// What is in its pin directory, if that is there.
    pub(crate) fn pinned(&self) -> Option<Vec<String>> {
        let entries = fs::read_dir(&self.pins).ok()?.flatten();
        Some(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// The number of cgroups to which it is attached.
    pub(crate) fn attached(&self) -> usize {
        fs::read_dir(format!("{}/v1/links", self.pins)).unwrap().count()
    }

    /// Where the proxies run that it starts.
    pub(crate) fn proxies(&self) -> Vec<String> {
        let mut all = self.stage.cgroups_below("apps/hoptrail-proxies");
        all.sort();
        all
    }

    /// The processes of a provider's proxy.
    pub(crate) fn proxy(&self, provider: &str) -> Vec<u32> {
        self.stage.processes(&format!("apps/hoptrail-proxies/provider-{provider}"))
    }
}
