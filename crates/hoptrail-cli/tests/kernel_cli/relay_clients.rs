//! Real clients through three providers whose proxies are `relay`: what they print, and how they end, is as it is
//! directly, and each of their connections goes through all three.

use crate::process::{Running, Said, end_within};
use crate::stage::{HOPTRAIL, Stage};
use hoptrail_testkit::lab::need;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel_cli/real_clients.sh");
const ADDRESS: &str = "192.0.2.10";
/// In the order in which they are asked.
const PROVIDERS: [&str; 3] = ["acme", "beta", "gamma"];
/// A relay's own failures are not among them; wrk resets what is under way at its end.
const ENDS: [&str; 3] = ["closed", "client-reset", "upstream-reset"];
const CONNECTIONS: usize = 10_000;
const FILES: [(&str, usize); 4] = [("empty", 0), ("one", 1), ("page", 20_000), ("big", 20_000_000)];
/// What is needed, and the packages that have it.
const PROGRAMS: [(&str, &str); 11] = [
    ("bash", "bash"),
    ("nginx", "nginx"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("python3", "python3"),
    ("wrk", "wrk"),
    ("git", "git"),
    ("openssl", "openssl"),
    ("iperf3", "iperf3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-server", "redis-server"),
];

pub(crate) fn real_clients_through_three_relays_are_as_directly() {
    PROGRAMS.iter().for_each(|(program, package)| need(program, package));
    let stage = Stage::new();
    site(&stage);
    let _servers = servers(&stage);
    let direct = clients(&stage, &[]);
    assert_eq!(direct.code(), 0, "{}", direct.err());
    assert!(!direct.out().lines().any(is_failure), "directly: {}", direct.out());

    let config = stage.file("hoptrail.toml", &config());
    let run = [HOPTRAIL, "run", "--config", config.to_str().unwrap(), "--trail", "none", "--"];
    let relayed = clients(&stage, &run);
    let said = relayed.err();
    for (direct, relayed) in direct.out().lines().zip(relayed.out().lines()) {
        assert_eq!(direct, relayed, "directly, and through relays");
    }
    assert_eq!((relayed.code(), relayed.out().lines().count()), (0, direct.out().lines().count()));

    let trails = PROVIDERS.iter().zip(1..).map(|(name, hop)| trails(&said, name, hop));
    let trails: Vec<BTreeSet<String>> = trails.collect();
    assert!(trails[0].len() >= CONNECTIONS, "{} connections only", trails[0].len());
    assert_eq!(trails[0].symmetric_difference(&trails[1]).next(), None, "not in both");
    assert_eq!(trails[1].symmetric_difference(&trails[2]).next(), None, "not in both");
}

fn is_failure(line: &str) -> bool {
    line.strip_prefix("ends with ").is_some_and(|code| code != "0")
}

/// Files, and a repository of them, for nginx.
fn site(stage: &Stage) {
    let site = stage.dir.path().join("site");
    fs::create_dir_all(site.join("w")).unwrap();
    for (name, size) in FILES {
        let bytes: Vec<u8> = (0..size as u64).map(|n| (n * n / 255 + n) as u8).collect();
        fs::write(site.join(name), &bytes).unwrap();
        fs::write(site.join("w").join(name), bytes).unwrap();
    }
    let make = "set -e; cd \"$0\"/w; git init -q; git add .; git -c user.name=t -c user.email=t@t commit -qm t; \
                cd ..; git clone -q --bare w r.git; cd r.git; git update-server-info";
    let status = Command::new("bash").args(["-c", make]).arg(&site).status().unwrap();
    assert!(status.success(), "the repository: {status}");
}

/// In a cgroup beside the applications', which no provider redirects.
fn servers(stage: &Stage) -> Vec<Running> {
    let dir = stage.dir.path().display();
    stage.file(
        "nginx.conf",
        &format!(
            "daemon off; user root; pid {dir}/pid; error_log {dir}/error; events {{ worker_connections 4096; }}\n\
             http {{ access_log off; server {{ listen {ADDRESS}:8080 backlog=4096; root {dir}/site; }} }}\n"
        ),
    );
    let commands = [
        (8080, format!("exec nginx -e {dir}/error -c {dir}/nginx.conf")),
        (
            4433,
            format!(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {dir}/k -out {dir}/c \
                 -subj /CN=t 2>/dev/null; \
                 exec openssl s_server -quiet -accept {ADDRESS}:4433 -key {dir}/k -cert {dir}/c -www"
            ),
        ),
        (5201, format!("exec iperf3 -s -B {ADDRESS}")),
        (
            6379,
            format!("exec redis-server --bind {ADDRESS} --protected-mode no --save '' --dir {dir}"),
        ),
    ];
    let start = |(port, command): (u16, String)| {
        let mut command = stage.command("servers", &["bash", "-c", &command]);
        command.env("PATH", format!("/usr/sbin:{}", std::env::var("PATH").unwrap()));
        let server = stage.start(command.stdout(Stdio::null()).stderr(Stdio::inherit()));
        stage.await_listener(&format!("{ADDRESS}:{port}"));
        server
    };
    commands.into_iter().map(start).collect()
}

/// What the clients say, started by `by`.
fn clients(stage: &Stage, by: &[&str]) -> Output {
    let mut command = stage.command("apps", &[by, &["bash", CLIENTS]].concat());
    end_within(stage.start(command.env("A", ADDRESS)), Duration::from_secs(300))
}

fn config() -> String {
    let provider = |(name, n): (&str, u16)| {
        let (port, rank) = (15870 + n, 1000 - n);
        let listen = format!("127.0.0.1:{port},[::1]:{port}");
        format!(
            "[provider.{name}]\nrank = {rank}\nlisten = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\n\
             on-unavailable = \"block\"\n\
             command = [{HOPTRAIL:?}, \"relay\", \"--listen\", \"{listen}\", \"--log\", \"json\"]\n\
             [[provider.{name}.filter]]\naction = \"redirect\"\nprotocol = \"tcp\"\n\
             ports = [\"8080\", \"4433\", \"5201\", \"6379\"]\n"
        )
    };
    PROVIDERS.into_iter().zip(1..).map(provider).collect()
}

/// The trails of which a provider's relay told, each once, at that hop.
fn trails(said: &str, provider: &str, hop: u64) -> BTreeSet<String> {
    let prefix = format!("{provider}: {{");
    let mut trails = BTreeSet::new();
    for line in said.lines().filter(|line| line.starts_with(&prefix)) {
        let told: Value = serde_json::from_str(&line[prefix.len() - 1..]).unwrap();
        assert_eq!(told["hops"], hop, "{line}");
        assert!(ENDS.iter().any(|end| told["end"] == *end), "{line}");
        let destination = told["destination"].as_str().unwrap();
        assert!(destination.starts_with(ADDRESS), "{line}");
        assert!(trails.insert(told["trail"].as_str().unwrap().to_owned()), "twice: {line}");
    }
    trails
}
