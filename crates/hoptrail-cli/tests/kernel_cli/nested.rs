//! A run inside a daemon's scope: two kernel sides on one connection, each with keys and records of its own.

use crate::client::CURL;
use crate::daemon::Daemon;
use crate::process::Said;
use crate::stage::{HOPTRAIL, Stage, provider};

pub(crate) fn a_run_inside_a_daemons_scope_works() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &provider("outer", 200, 15871, ""));
    assert_eq!(stage.get(), "through outer");
    let inner = stage.file("inner.toml", &provider("inner", 200, 15881, ""));
    let output = stage.run(&inner, &[&["--"], &CURL[..]].concat());
    assert_eq!(
        (output.code(), &*output.out()),
        (0, "through inner, outer\n"),
        "{}\n{}",
        output.err(),
        daemon.log()
    );
    assert_eq!(stage.origin.new_connections(), 2, "one of each");
    assert!(output.err().contains("   1  inner  filter 1  "), "{}", output.err());
    assert_eq!(stage.get(), "through outer", "the run took nothing of the daemon's with it");
}

pub(crate) fn a_runs_cgroup_can_be_said() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &provider("acme", 200, 15871, ""));
    let parent = stage.cgroup_name("elsewhere");
    let args = [
        "run",
        "--config",
        config.to_str().unwrap(),
        "--cgroup-parent",
        &parent,
        "--",
        "cat",
        "/proc/self/cgroup",
    ];
    let output = stage.output("ctl", &[&[HOPTRAIL], &args[..]].concat());
    assert_eq!(output.code(), 0, "{}", output.err());
    assert!(
        output.out().lines().any(|l| l.starts_with(&format!("0::{parent}/hoptrail-run-"))),
        "{}",
        output.out()
    );
    assert_eq!(stage.cgroups_below("elsewhere"), [""; 0]);
    let args =
        ["run", "--config", config.to_str().unwrap(), "--cgroup-parent", "/no/such", "--", "true"];
    let output = stage.output("ctl", &[&[HOPTRAIL], &args[..]].concat());
    assert_eq!(output.code(), 125);
    assert!(output.sentence().starts_with("hoptrail: there is no cgroup at "), "{}", output.err());
}
