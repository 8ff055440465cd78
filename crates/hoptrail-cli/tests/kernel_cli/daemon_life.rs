//! `daemon`: its start, its death, the next one, and what `cleanup` removes.

use crate::client::{CURL, Held};
use crate::daemon::Daemon;
use crate::foreign::Foreign;
use crate::process::Said;
use crate::stage::{Stage, in_turn, provider, provider_with, python_proxy, two};
use hoptrail_testkit::lab::eventually;
use hoptrail_testkit::lab::need;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;

pub(crate) fn a_second_daemon_is_refused_in_one_sentence() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &two());
    assert_eq!(stage.get(), "through acme, beta");
    assert_eq!(stage.origin.new_connections(), 1);
    let argv = daemon.argv();
    let second = stage.output("ctl", &argv.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(second.code(), 1);
    let expected = format!(
        "hoptrail: a hoptrail daemon runs already for {} (process {}); stop it, or give this one another --run-dir, \
         --pins and --cgroup",
        daemon.run_dir,
        daemon.pid()
    );
    assert_eq!(second.sentence(), expected);
    assert_eq!(stage.get(), "through acme, beta");
    assert_eq!(daemon.json("providers")["daemon"], daemon.pid());
    let refused = daemon.verb("cleanup", &[]);
    assert_eq!(refused.code(), 1);
    let expected =
        format!("hoptrail: a hoptrail daemon runs (process {}); stop it first", daemon.pid());
    assert!(refused.sentence().starts_with(&expected), "{}", refused.err());
    assert_eq!(daemon.pinned().unwrap().len(), 1);
}

/// Acme's proxy keeps the records of its first connection in a file, so that they can be set later.
fn keeper(file: &Path) -> String {
    need("python3", "python3");
    let script = format!(
        "import sys; sys.path.insert(0, 'examples'); import asyncio, os, python_proxy as p; query = p.query\n\
         def keep(sock, option):\n    value = query(sock, option)\n    \
         if option == p.RECORDS and not os.path.exists('{0}'): open('{0}', 'wb').write(value)\n    return value\n\
         p.query = keep; asyncio.run(p.main())",
        file.display()
    );
    format!("command = [\"python3\", \"-c\", {script:?}, \"15871\"]")
}

/// Sets kept records on a new socket, as a process of acme's, and asks the origin.
fn set_kept(stage: &Stage, file: &Path) -> String {
    const SET: &str = "
import socket, sys
s = socket.socket()
s.setsockopt(0x4854, 1, open(sys.argv[1], 'rb').read())
s.settimeout(10); s.connect(('192.0.2.10', 80)); s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
print(s.recv(999).decode().splitlines()[-1])
";
    let file = file.to_str().unwrap();
    let output = stage.output("apps/hoptrail-proxies/provider-acme", &["python3", "-c", SET, file]);
    assert_eq!(output.code(), 0, "{}", output.err());
    output.out().trim().to_owned()
}

pub(crate) fn kill_9_changes_nothing_and_a_restart_adopts() {
    let stage = Stage::new();
    let blob = stage.dir.path().join("blob");
    let config = provider_with("acme", 200, 15871, "", &keeper(&blob))
        + &provider_with("beta", 100, 15872, "", &python_proxy("beta", 15872));
    let mut daemon = Daemon::start(&stage, &config);
    let mut held = Held::open(&stage);
    let generation = daemon.generation();
    let proxies = [daemon.proxy("acme"), daemon.proxy("beta")];
    assert_eq!(daemon.end(Signal::SIGKILL), 137);

    assert_eq!(held.ask(), "directly", "the open connection goes on");
    assert_eq!(stage.origin.new_connections(), 1);
    assert_eq!(stage.get(), "directly", "and a new one is made");
    let said = daemon.json("providers");
    assert_eq!(said["daemon"], serde_json::Value::Null);
    assert!(
        said["providers"].as_array().unwrap().iter().all(|p| p["listen"][0]["listening"] == true),
        "{said}"
    );
    assert_eq!(
        daemon.json("flows")["flows"].as_array().unwrap().len(),
        2,
        "the held connection's legs"
    );
    let doctor = daemon.json("doctor");
    let left = doctor["checks"].as_array().unwrap().iter().find(|c| c["id"] == "HT-D011").unwrap();
    assert_eq!(left["status"], "warning");
    assert!(left["message"].as_str().unwrap().contains(&daemon.pins), "{left}");

    daemon.start_again(&[]);
    assert_eq!(daemon.log().matches("taken over").count(), 2, "{}", daemon.log());
    assert_eq!([daemon.proxy("acme"), daemon.proxy("beta")], proxies, "no proxy is started twice");
    assert_eq!(daemon.generation(), generation + 1);
    assert_eq!(held.ask(), "directly");
    assert_eq!(
        set_kept(&stage, &blob),
        "directly",
        "records from before the restart are as good as new"
    );
    stage.origin.new_connections();
    assert_eq!(stage.get(), "directly");
    assert_eq!(stage.origin.new_connections(), 1);
    // The one of the time without a daemon is told too: what was seen waits in the kernel.
    daemon.await_log("redirected curl[", 2);
    daemon.await_log("reached python3[", 3);
}

pub(crate) fn a_proxy_that_dies_is_missed_and_started_again() {
    let stage = Stage::new();
    let beta = provider("beta", 100, 15872, "").replace("\"block\"", "\"bypass\"");
    let daemon = Daemon::start(&stage, &(provider("acme", 200, 15871, "") + &beta));
    // A daemon that is stopped starts nothing again.
    let without = |provider: &str, port: u16| {
        daemon.signal(Signal::SIGSTOP);
        let before = daemon.proxy(provider);
        let end = |pid: &u32| kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        before.iter().for_each(end);
        eventually("it is gone", || !stage.listens(&format!("127.0.0.1:{port}")));
        let meanwhile = stage.get();
        daemon.signal(Signal::SIGCONT);
        eventually("through both again", || stage.get() == "through acme, beta");
        assert!(daemon.proxy(provider).iter().all(|pid| !before.contains(pid)));
        meanwhile
    };
    assert!(without("acme", 15871).starts_with("curl: (7) "), "block");
    assert_eq!(without("beta", 15872), "through acme", "bypass");
    assert!(
        daemon
            .log()
            .contains("provider acme: ended with signal: 9 (SIGKILL); started again in 0.1 s"),
        "{}",
        daemon.log()
    );
}

pub(crate) fn sigterm_leaves_the_kernel_side_and_cleanup_removes_it_twice() {
    let _turn = in_turn();
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &two());
    let foreign = Foreign::put(&stage, "apps", &daemon.pins);
    assert_eq!(daemon.end(Signal::SIGTERM), 0);
    assert!(
        daemon.log().contains("stopped by SIGTERM; connections are redirected as before"),
        "{}",
        daemon.log()
    );
    assert_eq!(stage.get(), "through acme, beta");
    assert_eq!(daemon.pinned().unwrap().len(), 2);

    let cleanup = daemon.verb("cleanup", &[]);
    assert_eq!(cleanup.code(), 0, "{}", cleanup.err());
    let said = cleanup.out();
    for removed in ["/v1", &daemon.run_dir, "/apps/hoptrail-proxies"] {
        assert!(
            said.lines().any(|l| l.starts_with("removed ") && l.ends_with(removed)),
            "{removed}: {said}"
        );
    }
    assert_eq!(stage.get(), "directly");
    assert_eq!(daemon.pinned().unwrap(), ["other-vendor"]);
    assert!(!Path::new(&daemon.run_dir).exists());
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
    assert_eq!(stage.processes(""), [0; 0]);
    foreign.is_there(&stage, "apps");

    let again = daemon.verb("cleanup", &[]);
    assert_eq!((again.code(), &*again.out()), (0, "nothing of hoptrail was left\n"));
    assert_eq!(daemon.json("cleanup")["removed"].as_array().unwrap().len(), 0);
    assert_eq!(stage.output("apps", &CURL).code(), 0);
}

pub(crate) fn cleanup_after_kill_9() {
    let _turn = in_turn();
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &two());
    assert_eq!(daemon.end(Signal::SIGKILL), 137);
    let said = daemon.json("cleanup");
    let removed = said["removed"].as_array().unwrap();
    assert!(
        removed.contains(&daemon.pins.as_str().into())
            && removed.contains(&daemon.run_dir.as_str().into()),
        "{said}"
    );
    assert_eq!(said["error"], serde_json::Value::Null);
    assert_eq!((daemon.pinned(), stage.get()), (None, "directly".to_owned()));
    assert_eq!(stage.processes(""), [0; 0]);
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
    assert!(stage.programs(stage.cgroup("apps").path()).is_empty());
    daemon.start_again(&[]);
    assert_eq!(stage.get(), "through acme, beta", "everything begins anew");
    assert_eq!(daemon.generation(), 1);
}
