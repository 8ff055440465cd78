//! `daemon`: what it does when its configuration, or what that names, changes.

use crate::client::{CURL, Held};
use crate::daemon::Daemon;
use crate::process::Said;
use crate::stage::{Stage, provider, provider_with, python_proxy, two};
use hoptrail_testkit::lab::eventually;
use hoptrail_testkit::lab::need;
use hoptrail_testkit::lab::stage::copy_executable;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) fn a_reload_switches_and_a_wrong_one_changes_nothing() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &two());
    let first = daemon.generation();
    let proxies = [daemon.proxy("acme"), daemon.proxy("beta")];
    let swapped = two().replace("rank = 200", "rank = 50");

    daemon.configure(&swapped);
    assert_eq!(stage.get(), "through acme, beta", "a written file alone is not in force");
    let reload = daemon.verb("reload", &[]);
    assert_eq!(reload.code(), 0, "{}", reload.err());
    assert_eq!(reload.out(), format!("reloaded: generation {} is in force\n", first + 1));
    assert_eq!(stage.get(), "through beta, acme");
    assert_eq!(
        [daemon.proxy("acme"), daemon.proxy("beta")],
        proxies,
        "their commands are the same"
    );

    daemon.configure(&swapped.replace("rank = 50", "rank = \"x\""));
    let path = daemon.config.display();
    let reload = daemon.verb("reload", &[]);
    assert_eq!(reload.code(), 1);
    let said = reload.err();
    assert!(said.starts_with("hoptrail: not reloaded, the old policy stays in force: "), "{said}");
    assert!(said.contains(&format!("{path}:2:8: ")), "the place is told: {said}");
    daemon.signal(Signal::SIGHUP);
    daemon.await_log(&format!("not reloaded, generation {} stays in force: ", first + 1), 2);
    assert_eq!(stage.get(), "through beta, acme");
    assert_eq!(daemon.generation(), first + 1);

    daemon.configure(&two());
    daemon.signal(Signal::SIGHUP);
    daemon.await_log(&format!("reloaded: generation {}", first + 2), 1);
    assert_eq!(stage.get(), "through acme, beta");
    assert_eq!([daemon.proxy("acme"), daemon.proxy("beta")], proxies);
}

pub(crate) fn a_reload_ends_and_begins_proxies_and_keeps_connections() {
    let stage = Stage::new();
    let acme = provider_with("acme", 200, 15871, "", &python_proxy("acme", 15871));
    let daemon = Daemon::start(&stage, &(acme.clone() + &provider("beta", 100, 15872, "")));
    assert_eq!(stage.get(), "through beta");
    let only_acme = acme.replace("action = \"redirect\"", "action = \"redirect\" # again");
    daemon.configure(&only_acme);
    assert_eq!(daemon.verb("reload", &[]).code(), 0);
    assert_eq!(stage.get(), "directly");
    assert_eq!(daemon.proxies(), ["provider-acme"]);
    let mut held = Held::open(&stage);

    daemon.configure(&(acme + &provider("gamma", 300, 15873, "")));
    assert_eq!(daemon.verb("reload", &[]).code(), 0);
    daemon.await_log("provider gamma: listens", 1);
    assert_eq!(stage.get(), "through gamma");
    assert_eq!(daemon.proxies(), ["provider-acme", "provider-gamma"]);
    assert_eq!(held.ask(), "directly", "a connection of the policy before goes on");
    assert_eq!(daemon.json("flows")["flows"][0]["application"]["pid"], held.pid());
}

pub(crate) fn a_provider_whose_command_fails_does_not_stop_the_others() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &two());
    let broken = provider_with("broken", 300, 15873, "", "command = [\"no-such-proxy\"]");
    let broken = broken.replace("\"block\"", "\"bypass\"");
    daemon.configure(&(two() + &broken));
    assert_eq!(daemon.verb("reload", &[]).code(), 0);
    daemon.await_log("provider broken: no-such-proxy: no such command", 1);
    assert_eq!(stage.get(), "through acme, beta");
    daemon.configure(&(two() + &broken.replace("\"bypass\"", "\"block\"")));
    assert_eq!(daemon.verb("reload", &[]).code(), 0);
    assert!(stage.get().starts_with("curl: (7) "));
}

/// As a package manager does it: a new file beside the old one, moved over it.
pub(crate) fn a_replaced_executable_is_followed() {
    let stage = Stage::new();
    let tool = stage.dir.path().join("tool");
    let (tool, new) = (tool.to_str().unwrap(), stage.dir.path().join("tool.new"));
    let curl = which("curl");
    copy_executable(&curl, tool.as_ref());
    let daemon = Daemon::start(&stage, &provider("acme", 200, 15871, &format!("exe = {tool:?}")));
    let ask = || {
        let output = stage.output("apps", &[&[tool], &CURL[1..]].concat());
        if output.code() == 0 { output.out() } else { output.err() }
    };
    assert_eq!(ask(), "through acme\n");
    assert_eq!(stage.get(), "directly", "curl itself is another file");
    for generation in 2..4 {
        copy_executable(&curl, &new);
        fs::rename(&new, tool).unwrap();
        daemon
            .await_log(&format!("executables or cgroups have changed: generation {generation}"), 1);
        assert_eq!(ask(), "through acme\n");
    }
    fs::remove_file(tool).unwrap();
    daemon.await_log("executables or cgroups have changed: generation 4", 1);
    assert!(daemon.log().contains(&format!("there is no {tool} at present")), "{}", daemon.log());
    copy_executable(&curl, tool.as_ref());
    daemon.await_log("executables or cgroups have changed: generation 5", 1);
    assert_eq!(ask(), "through acme\n");
}

/// A service that is restarted gets a new cgroup of the same name.
pub(crate) fn a_member_cgroup_that_is_made_anew_is_followed() {
    need("python3", "python3");
    let stage = Stage::new();
    let name = stage.cgroup_name("vendor");
    let who = format!("members = {{ cgroup = {name:?} }}");
    let argv = ["python3", "examples/python_proxy.py", "15871", "--name", "acme"];
    let daemon = Daemon::start(
        &stage,
        &(provider_with("acme", 200, 15871, "", &who) + &provider("beta", 100, 15872, "")),
    );
    for generation in [1, 3, 5] {
        assert_eq!(daemon.attached(), 2, "its own cgroup and the vendor's");
        let proxy = stage.start(&mut stage.command("vendor", &argv));
        stage.await_listener("127.0.0.1:15871");
        stage.origin.new_connections();
        eventually("its records are taken", || stage.get() == "through beta");
        assert_eq!(stage.origin.new_connections(), 1);
        let hops = daemon.log().matches("by acme, filter 1 to 127.0.0.1:15871").count();
        assert!(hops > 0, "{}", daemon.log());
        drop(proxy);
        stage.cgroup("vendor").kill().unwrap();
        stage.cgroup("vendor").remove().unwrap();
        daemon.await_log(
            &format!("executables or cgroups have changed: generation {}", generation + 1),
            1,
        );
        let _ = stage.cgroup("vendor");
        daemon.await_log(
            &format!("executables or cgroups have changed: generation {}", generation + 2),
            1,
        );
    }
}

/// So does the service on which a daemon acts.
pub(crate) fn the_daemons_own_cgroup_may_be_made_anew() {
    let stage = Stage::new();
    let guard =
        "[provider.guard]\nrank = 1\n[[provider.guard.filter]]\naction = \"block\"\nports = 80\n";
    let daemon = Daemon::start(&stage, guard);
    assert!(stage.get().starts_with("curl: (7) "));
    stage.cgroup("apps").remove().unwrap();
    let gone = "names have changed, but the old policy stays: cannot open the cgroup";
    daemon.await_log(gone, 1);
    let _ = stage.cgroup("apps");
    daemon.await_log("executables or cgroups have changed", 1);
    assert!(stage.get().starts_with("curl: (7) "), "{}", daemon.log());
}

fn which(program: &str) -> std::path::PathBuf {
    let output = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap();
    assert!(output.status.success(), "this test needs {program}: install it");
    fs::canonicalize(Path::new(output.out().trim())).unwrap()
}
