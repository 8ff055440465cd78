//! `run`: for whom the command runs, and where the policy acts.

use crate::client::CURL;
use crate::daemon::Daemon;
use crate::process::{Said, end};
use crate::stage::{HOPTRAIL, Stage, provider, provider_with, two};
use hoptrail_testkit::lab::need;
use serde_json::Value;

const EGRESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/agent-egress.toml");

pub(crate) fn under_sudo_the_command_runs_as_who_called_it() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let who = "echo $(id -un) $(id -u) $(id -g) $HOME $USER sudo=$SUDO_UID$SUDO_USER; exec \"$@\"";
    let args = [&["--trail", "text", "--", "sh", "-c", who, "sh"], &CURL[..]].concat();
    let run = [&[HOPTRAIL, "run", "--config", config.to_str().unwrap()], &args[..]].concat();
    let nobody = "nobody 65534 65534 /nonexistent nobody sudo=\nthrough acme, beta\n";
    let mut command = stage.command("apps", &run);
    command.env("SUDO_UID", "65534").env("SUDO_GID", "65534").env("SUDO_USER", "nobody");
    let output = end(stage.start(&mut command));
    assert_eq!(output.out(), nobody, "{}", output.err());
    assert!(output.err().contains("(nobody, "), "the trail shows the user: {}", output.err());

    let output = stage.run(&config, &[&["--user", "nobody"], &args[..]].concat());
    assert_eq!(output.out(), nobody, "{}", output.err());
    // Who says --user means it, also under sudo.
    let named =
        [&[HOPTRAIL, "run", "--user", "1", "--config", config.to_str().unwrap()], &args[..]]
            .concat();
    let mut command = stage.command("apps", &named);
    let output = end(stage.start(command.env("SUDO_UID", "65534").env("SUDO_GID", "65534")));
    assert!(output.out().starts_with("daemon 1 1 "), "{}{}", output.out(), output.err());
    let output = stage.run(&config, &["--user", "no-such-user", "--", "true"]);
    assert_eq!(output.code(), 125);
    assert!(output.sentence().contains("there is no user no-such-user"));
}

pub(crate) fn a_proxy_that_runs_elsewhere_is_known_by_its_cgroup() {
    need("python3", "python3");
    let stage = Stage::new();
    let elsewhere = stage.cgroup_name("vendor");
    let config =
        provider_with("acme", 200, 15871, "", &format!("members = {{ cgroup = {elsewhere:?} }}"))
            + &provider("beta", 100, 15872, "");
    let config = stage.file("t.toml", &config);
    let argv = ["python3", "examples/python_proxy.py", "15871", "--name", "acme"];
    let _proxy = stage.start(&mut stage.command("vendor", &argv));
    stage.await_listener("127.0.0.1:15871");
    let output = stage.run(&config, &[&["--trail", "json", "--"], &CURL[..]].concat());
    assert_eq!((output.code(), &*output.out()), (0, "through beta\n"), "{}", output.err());
    let json: String = output.err().lines().filter(|l| !l.starts_with("beta: ")).collect();
    let said: Value = serde_json::from_str(&json).unwrap();
    let legs = said["trails"][0]["legs"].as_array().unwrap();
    let hops: Vec<_> = legs
        .iter()
        .map(|l| (l["provider"]["name"].as_str(), l["provenance"].as_str().unwrap()))
        .collect();
    assert_eq!(hops, [(Some("acme"), "fresh"), (Some("beta"), "declared"), (None, "declared")]);
    assert_eq!(stage.origin.new_connections(), 1);

    let own = provider_with(
        "acme",
        200,
        15871,
        "",
        &format!("members = {{ cgroup = {:?} }}", stage.cgroup_name("apps")),
    );
    let config = stage.file("own.toml", &own);
    let output = stage.run(&config, &["--", "true"]);
    assert_eq!(output.code(), 125);
    assert!(output.sentence().contains("in which the applications run too"), "{}", output.err());
}

pub(crate) fn all_traffic_of_one_command_through_one_proxy() {
    need("python3", "python3");
    let stage = Stage::new();
    let script = r#"
import socket
def attempt(what, *args):
    try: print(what(*args))
    except OSError as error: print(error.strerror)
def tcp(at):
    with socket.create_connection(at, timeout=5) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n"); return s.recv(99).decode().split()[-1]
def udp(at):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"x", at)
attempt(tcp, ("192.0.2.10", 80))
attempt(tcp, ("169.254.169.254", 80))
attempt(udp, ("192.0.2.10", 443))
attempt(udp, ("192.0.2.10", 53))
"#;
    let output = stage.run(EGRESS.as_ref(), &["--trail", "text", "--", "python3", "-c", script]);
    assert_eq!(
        output.out(),
        "directly\nPermission denied\nPermission denied\n1\n",
        "{}",
        output.err()
    );
    assert!(output.err().contains("   1  egress  filter 3  "), "{}", output.err());
    assert_eq!(stage.origin.new_connections(), 1);
}

/// Two kernel sides on one connection, each with keys and records of its own.
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
