//! `run`: how the command's end, signals and input pass through.

use crate::client::CURL;
use crate::process::{Said, end, line};
use crate::stage::{HOPTRAIL, Stage, in_turn, provider_with, two};
use hoptrail_engine::kernel::{DEFAULT_PINS, HOOKS};
use hoptrail_testkit::lab::eventually;
use hoptrail_testkit::lab::need;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::process::Stdio;

pub(crate) fn the_exit_status_is_the_commands_own() {
    let stage = Stage::new();
    // No proxies: each run is quick.
    let guard =
        "[provider.guard]\nrank = 1\n[[provider.guard.filter]]\naction = \"block\"\nports = 81\n";
    let config = stage.file("t.toml", guard);
    let sh = |script: &str| stage.run(&config, &["--trail", "none", "--", "sh", "-c", script]);
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 125", 125),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let output = sh(script);
        assert_eq!(output.code(), code, "{script}: {}", output.err());
        assert_eq!(output.err(), "", "{script}");
    }
    let start = |program: &str| stage.run(&config, &["--", program]);
    let missing = start("no-such-program");
    assert_eq!(missing.code(), 127);
    assert_eq!(
        missing.sentence(),
        "hoptrail: no-such-program: no such command; check the spelling and PATH"
    );
    let file = start("/etc/passwd");
    assert_eq!(file.code(), 126);
    assert!(
        file.sentence().contains("/etc/passwd: cannot be executed: Permission denied"),
        "{}",
        file.err()
    );
    let config = stage.run("/nowhere.toml".as_ref(), &["--", "true"]);
    assert_eq!(config.code(), 125);
    assert!(config.sentence().contains("/nowhere.toml"), "{}", config.err());
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
}

pub(crate) fn signals_reach_the_command() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let config = config.to_str().unwrap();
    let script = "trap 'echo got TERM; exit 9' TERM; trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.05; done";
    let argv = [HOPTRAIL, "run", "--config", config, "--trail", "none", "--", "sh", "-c", script];
    let mut running = stage.start(&mut stage.command("apps", &argv));
    let mut lines = running.lines();
    assert_eq!(line(&mut lines), "ready");
    running.signal(Signal::SIGUSR1);
    assert_eq!(line(&mut lines), "got USR1");
    running.signal(Signal::SIGTERM);
    assert_eq!(line(&mut lines), "got TERM");
    assert_eq!(running.code(), 9);
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
}

pub(crate) fn input_and_output_pass_through() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let argv = [
        HOPTRAIL,
        "run",
        "--config",
        config.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "cat; echo aside >&2",
    ];
    let mut running = stage.start(stage.command("apps", &argv).stdin(Stdio::piped()));
    running.0.stdin.take().unwrap().write_all(b"one\ntwo").unwrap();
    let output = end(running);
    assert_eq!((output.code(), &*output.out(), &*output.err()), (0, "one\ntwo", "aside\n"));
}

/// The terminal sends Ctrl-C to its whole foreground group, so hoptrail must not pass it on a second time.
pub(crate) fn ctrl_c_on_a_terminal_arrives_once() {
    need("python3", "python3");
    const TERMINAL: &str = r#"
import os, pty, select, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said, sent = b"", False
while select.select([fd], [], [], 20)[0]:
    try: part = os.read(fd, 4096)
    except OSError: break
    said += part
    if b"ready\r\n" in said and not sent:
        sent = True
        os.write(fd, b"\x03")
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    const COUNT: &str = r#"
import os, signal, time
count = 0
def come(*_):
    global count; count += 1
signal.signal(signal.SIGINT, come)
print("terminal", os.isatty(0))
print("ready", flush=True)
until = time.monotonic() + 5
while not count and time.monotonic() < until: time.sleep(0.01)
time.sleep(0.3)
print("interrupted", count, "times", flush=True)
raise SystemExit(count + 20)
"#;
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let run = [HOPTRAIL, "run", "--config", config.to_str().unwrap(), "--", "python3", "-c", COUNT];
    let output = stage.output("apps", &[&["python3", "-c", TERMINAL], &run[..]].concat());
    assert!(output.out().contains("terminal True"), "{}{}", output.out(), output.err());
    assert!(output.out().contains("interrupted 1 times"), "{}", output.out());
    assert_eq!(output.code(), 21);
}

pub(crate) fn what_the_command_leaves_running_is_ended_and_told() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let output = stage.run(&config, &["--", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo left"]);
    assert_eq!((output.code(), &*output.out()), (0, "left\n"));
    assert!(
        output.err().contains("warning: a process that the command left running (1): ended"),
        "{}",
        output.err()
    );
    assert_eq!(stage.processes("apps"), [0; 0]);
}

pub(crate) fn nothing_stays_of_a_run() {
    let _turn = in_turn();
    let stage = Stage::new();
    let vendor = stage.cgroup("vendor");
    let beside = provider_with(
        "beside",
        50,
        15873,
        "ports = 8000",
        &format!("members = {{ cgroup = {:?} }}", stage.cgroup_name("vendor")),
    );
    let config = stage.file("t.toml", &(two() + &beside.replace("ports = 80\n", "")));
    let argv = [HOPTRAIL, "run", "--config", config.to_str().unwrap(), "--", "sleep", "600"];
    for kill in [Signal::SIGTERM, Signal::SIGKILL] {
        let running = stage.start(&mut stage.command("apps", &argv));
        let pid = running.pid();
        let run = format!("apps/hoptrail-run-{pid}");
        eventually("the command runs", || {
            stage.processes("apps").len() >= 5 && !stage.processes(&format!("{run}/app")).is_empty()
        });
        assert_eq!(
            stage.programs(vendor.path()).len(),
            HOOKS.len(),
            "a proxy that runs outside is seen too"
        );
        running.signal(kill);
        assert_eq!(running.code(), 128 + kill as i32);
        // The reaper may need a moment.
        eventually("no process stays", || stage.processes("apps").is_empty());
        eventually("no cgroup stays", || stage.cgroups_below("apps").is_empty());
        eventually("no program stays", || stage.programs(vendor.path()).is_empty());
        assert!(!std::path::Path::new(DEFAULT_PINS).exists(), "a run pins nothing");
    }
}

pub(crate) fn a_provider_that_cannot_work_ends_the_run() {
    let stage = Stage::new();
    let case = |command: &str| {
        let config = stage.file(
            "t.toml",
            &provider_with("acme", 200, 15871, "", &format!("command = {command}")),
        );
        let output = stage.run(&config, &["--", "echo", "started"]);
        assert_eq!((output.code(), &*output.out()), (125, ""), "{command}");
        assert_eq!(stage.cgroups_below("apps"), [""; 0]);
        assert_eq!(stage.processes("apps"), [0; 0]);
        output.err()
    };
    let died = case(r#"["sh", "-c", "echo I cannot >&2; exit 3"]"#);
    assert_eq!(
        died.lines().collect::<Vec<_>>(),
        [
            "acme: I cannot",
            "hoptrail: provider acme: its command ended with exit status: 3 before it listened; try it by itself"
        ]
    );
    let missing = case(r#"["no-such-proxy"]"#);
    assert_eq!(
        missing,
        "hoptrail: provider acme: no-such-proxy: no such command; check the spelling and PATH\n"
    );
    let deaf = case(r#"["sleep", "600"]"#);
    assert_eq!(
        deaf,
        "hoptrail: provider acme: runs, but nothing listens at tcp/127.0.0.1:15871 and tcp/[::1]:15871 after 10 s; its \
         command must listen where `listen` says\n"
    );
}

/// The reaper was killed too: then `doctor` tells of what is left, and `cleanup` removes it.
pub(crate) fn a_run_that_nobody_clears_up_is_found() {
    let _turn = in_turn();
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let config = config.to_str().unwrap();
    let argv = [HOPTRAIL, "run", "--engine", "kernel", "--config", config, "--", "sleep", "600"];
    let running = stage.start(&mut stage.command("apps", &argv));
    let run = format!("apps/hoptrail-run-{}", running.pid());
    eventually("the command runs", || !stage.processes(&format!("{run}/app")).is_empty());
    let none = ["--run-dir", "/run/no-such", "--pins", "/sys/fs/bpf/none"];
    let cleanup = || stage.output("ctl", &[&[HOPTRAIL, "cleanup"], &none[..]].concat());
    assert_eq!(cleanup().code(), 0);
    assert_eq!(stage.processes(&run).len(), 3, "one that runs is left alone");
    let beside = stage.cgroup("apps").processes().unwrap();
    let reaper = beside.into_iter().find(|pid| *pid != running.pid()).unwrap();
    kill(Pid::from_raw(reaper.cast_signed()), Signal::SIGKILL).unwrap();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.code(), 137);
    assert_eq!(stage.processes(&run).len(), 3, "two proxies and the command");
    let path = stage.cgroup(&run).path().display().to_string();
    let doctor = stage.output("ctl", &[&[HOPTRAIL, "doctor"], &none[..]].concat());
    assert_eq!(doctor.code(), 0, "a warning is no failure: {}", doctor.out());
    assert!(
        doctor.out().lines().any(|l| l.starts_with("HT-D011 warning") && l.contains(&path)),
        "{}",
        doctor.out()
    );
    let cleanup = cleanup();
    assert_eq!(cleanup.code(), 0, "{}", cleanup.err());
    assert!(cleanup.out().contains(&format!("removed {path}\n")), "{}", cleanup.out());
    assert_eq!((stage.cgroups_below("apps"), stage.processes("")), (vec![], vec![]));
}

pub(crate) fn a_proxy_that_dies_during_a_run_is_told_and_started_again() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let script = ["sh", "-c", "read go; exec \"$@\"", "sh"];
    let run = [HOPTRAIL, "run", "--config", config.to_str().unwrap(), "--"];
    let argv = [&run[..], &script, &CURL].concat();
    let mut running = stage.start(stage.command("apps", &argv).stdin(Stdio::piped()));
    let cgroup = |name: &str| format!("apps/hoptrail-run-{}/{name}", running.pid());
    let (app, acme) = (cgroup("app"), cgroup("provider-acme"));
    eventually("the command runs", || !stage.processes(&app).is_empty());
    let before = stage.processes(&acme);
    kill(Pid::from_raw(before[0].cast_signed()), Signal::SIGKILL).unwrap();
    eventually("it is gone", || !stage.processes(&acme).contains(&before[0]));
    eventually("another one", || !stage.processes(&acme).is_empty());
    stage.await_listener("127.0.0.1:15871");
    writeln!(running.0.stdin.as_mut().unwrap(), "go").unwrap();
    let output = end(running);
    assert_eq!((output.code(), &*output.out()), (0, "through acme, beta\n"), "{}", output.err());
    let told = "warning: provider acme: ended with signal: 9 (SIGKILL); started again in 0.1 s";
    assert!(output.err().contains(told), "{}", output.err());
}
