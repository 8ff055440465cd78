//! `run`: what it prints, for whom the command runs, and what it acts on.

use crate::client::CURL;
use crate::process::{Said, end};
use crate::stage::{HOPTRAIL, Stage, provider, provider_with, two};
use serde_json::Value;

const TWO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/two.toml");
const EGRESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/agent-egress.toml");

pub(crate) fn the_example_shows_a_trail_as_text() {
    let stage = Stage::new();
    let output = stage.run(TWO.as_ref(), &[&["--"], &CURL[..]].concat());
    assert_eq!((output.code(), &*output.out()), (0, "directly\n"), "{}", output.err());
    assert_eq!(stage.origin.new_connections(), 1);
    let said = output.err();
    let trail: Vec<_> =
        said.lines().filter(|l| !l.starts_with("acme: ") && !l.starts_with("beta: ")).collect();
    let [heading, first, second, end] = trail.as_slice() else { panic!("{said}") };
    assert!(
        heading.starts_with("curl[")
            && heading.contains("(root, /")
            && heading.ends_with("/curl) → 192.0.2.10:80"),
        "{said}"
    );
    assert!(
        first.starts_with("   1  acme  filter 1  ") && first.contains(" → 127.0.0.1:15871 "),
        "{said}"
    );
    assert!(
        second.starts_with("   2  beta  filter 1  ")
            && second.contains(" → 127.0.0.1:15872 ")
            && second.ends_with(" declared"),
        "{said}"
    );
    assert!(
        end.starts_with("   ✓  192.0.2.10:80 reached from beta's python3[")
            && end.ends_with(" declared"),
        "{said}"
    );
    assert!(!said.contains('\x1b'), "no colours into a pipe");
}

pub(crate) fn the_trail_as_json_or_not_at_all() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let output = stage.run(&config, &[&["--trail", "none", "--"], &CURL[..]].concat());
    assert_eq!((output.code(), &*output.out()), (0, "through acme, beta\n"));
    assert!(
        output.err().lines().all(|l| l.starts_with("acme: ") || l.starts_with("beta: ")),
        "{}",
        output.err()
    );

    let output = stage.run(&config, &[&["--trail", "json", "--"], &CURL[..]].concat());
    let json: String = output.err().lines().filter(|l| l.starts_with('{')).collect();
    let said: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&said["version"], &said["forgotten"], &said["events_lost"]),
        (&1.into(), &0.into(), &0.into())
    );
    let [trail] = said["trails"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!(trail["id"].as_str().unwrap().len(), 32);
    assert_eq!((&trail["protocol"], &trail["outcome"]), (&"tcp".into(), &"reached".into()));
    assert_eq!(trail["destination"], "192.0.2.10:80");
    assert_eq!(
        (&trail["application"]["name"], &trail["application"]["uid"]),
        (&"curl".into(), &0.into())
    );
    assert!(trail["began_unix_us"].as_u64().unwrap() > 1_700_000_000_000_000);
    let legs = trail["legs"].as_array().unwrap();
    let kinds: Vec<_> = legs
        .iter()
        .map(|l| {
            (
                l["kind"].as_str().unwrap(),
                l["provider"]["name"].as_str(),
                l["provenance"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("hop", Some("acme"), "fresh"),
            ("hop", Some("beta"), "declared"),
            ("reached", None, "declared")
        ]
    );
    assert_eq!((&legs[0]["depth"], &legs[2]["depth"]), (&1.into(), &3.into()));
    assert_eq!(legs[0]["by"]["pid"], trail["application"]["pid"]);
    assert_eq!(legs[1]["to"], "127.0.0.1:15872");
}

pub(crate) fn a_refusal_is_in_the_trail() {
    let stage = Stage::new();
    let guard = "[provider.guard]\nrank = 1\n[[provider.guard.filter]]\naction = \"block\"\nremote = \"192.0.2.0/24\"\n";
    let config = stage.file("t.toml", guard);
    let output = stage.run(&config, &[&["--"], &CURL[..]].concat());
    assert_eq!(output.code(), 7, "curl's own status");
    assert!(output.err().contains("   ✗  192.0.2.10:80 refused to curl["), "{}", output.err());
    assert!(output.err().contains("(guard, filter 1)"), "{}", output.err());
    assert_eq!(stage.origin.new_connections(), 0);
}

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
