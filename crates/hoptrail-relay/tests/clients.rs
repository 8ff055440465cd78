//! Real clients and servers through a chain of three relays: what they print, and how they end, is as it is directly.
//!
//! About 10,000 connections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "wire/record.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod record;
#[path = "wire/route.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod route;
#[path = "clients/service.rs"]
mod service;

use hoptrail_testkit::lab::{need, run_anywhere};
use service::{Chain, Service, sh};
use std::fs;
use std::process::ExitCode;

const FILES: [(&str, usize); 4] = [("empty", 0), ("one", 1), ("page", 20_000), ("big", 20_000_000)];

fn main() -> ExitCode {
    run_anywhere(&[
        ("http_clients", http_clients),
        ("git", git),
        ("tls", tls),
        ("bulk", bulk),
        ("redis", redis),
    ])
}

/// Runs a command, in which `$A` is the address as HOST:PORT, `$P` the port, directly and through the chain.
fn same(service: &Service, chain: &Chain, command: &str) {
    let direct = sh(command, service.at);
    let relayed = sh(command, chain.at());
    assert!(direct.0.is_some_and(|code| code == 0), "{command} directly: {direct:?}");
    assert!(direct == relayed, "{command}: directly {direct:?}, through relays {relayed:?}");
}

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, size) in FILES {
        let bytes: Vec<u8> = (0..size as u64).map(|n| (n * n / 255 + n) as u8).collect();
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn http_clients() {
    need("nginx", "nginx");
    need("curl", "curl");
    need("wget", "wget");
    need("python3", "python3");
    need("wrk", "wrk");
    let site = site();
    let service = Service::nginx(site.path());
    let chain = Chain::to(service.at);
    for (file, _) in FILES {
        same(&service, &chain, &format!("curl -sS http://$A/{file} | sha256sum"));
        same(&service, &chain, &format!("wget -qO- http://$A/{file} | sha256sum"));
    }
    same(
        &service,
        &chain,
        "curl -sS -o /dev/null -w '%{http_code} %{size_download}' http://$A/none",
    );
    // A connection for each of 3,000 requests.
    same(
        &service,
        &chain,
        "for i in 1 2 3; do seq 1000 | sed \"s|.*|url = http://$A/page?&\\noutput = /dev/null|\" | \
        curl -sS --no-progress-meter --parallel --parallel-max 20 -H 'Connection: close' -w '%{http_code} %{size_download}\\n' -K - | sort | uniq -c; done",
    );
    let python = "python3 -c \"import urllib.request as u, hashlib; \
        print([hashlib.md5(u.urlopen('http://$A/page').read()).hexdigest() for _ in range(500)])\"";
    same(&service, &chain, python);
    // How many requests it makes is its own affair; errors are not.
    same(
        &service,
        &chain,
        "wrk -t2 -c32 -d3s -H 'Connection: close' http://$A/page | { grep -i 'error\\|non-2xx' || true; }",
    );
    same(
        &service,
        &chain,
        "wrk -t2 -c64 -d2s http://$A/page | { grep -i 'error\\|non-2xx' || true; }",
    );
    assert!(chain.connections() > 5000, "{} connections only", chain.connections());
    assert_eq!(chain.failures(), Vec::<String>::new());
}

fn git() {
    need("git", "git");
    need("nginx", "nginx");
    let site = site();
    let make = format!(
        "set -e; cd {0}; mkdir w; mv empty one page big w; cd w; git init -q; git add .; \
         git -c user.name=t -c user.email=t@t commit -qm t; cd ..; git clone -q --bare w r.git; \
         cd r.git; git update-server-info",
        site.path().display()
    );
    assert_eq!(sh(&make, service::nowhere()).0, Some(0));
    let service = Service::nginx(site.path());
    let chain = Chain::to(service.at);
    let clone = "d=$(mktemp -d); git clone -q http://$A/r.git $d/c && (cd $d/c && git log --format=%H && sha256sum *); s=$?; rm -rf $d; exit $s";
    same(&service, &chain, clone);
    assert_eq!(chain.failures(), Vec::<String>::new());
}

fn tls() {
    need("openssl", "openssl");
    let service = Service::openssl();
    let chain = Chain::to(service.at);
    same(
        &service,
        &chain,
        "for i in $(seq 20); do printf 'GET /\\r\\n' | openssl s_client -quiet -connect $A 2>/dev/null | grep -c 'TLSv1.3'; done",
    );
    assert_eq!(chain.failures(), Vec::<String>::new());
}

fn bulk() {
    need("iperf3", "iperf3");
    let service = Service::iperf3();
    let chain = Chain::to(service.at);
    for direction in ["", "-R", "-P 4", "--bidir"] {
        same(
            &service,
            &chain,
            &format!(
                // The server takes one test at a time, and says so to who comes too early.
                "while out=$(iperf3 -c 127.0.0.1 -p $P -n 200M {direction} 2>&1); s=$?; [[ $out == *busy* ]]; \
                 do sleep 0.2; done; [ $s = 0 ] || echo \"$out\"; exit $s"
            ),
        );
    }
    assert_eq!(chain.failures(), Vec::<String>::new());
}

fn redis() {
    need("redis-server", "redis-server");
    need("redis-benchmark", "redis-tools");
    need("redis-cli", "redis-tools");
    let service = Service::redis();
    let chain = Chain::to(service.at);
    // 4,000 connections with a request each, then pipelines.
    same(
        &service,
        &chain,
        "redis-benchmark -p $P -k 0 -c 20 -n 4000 -t incr -q > /dev/null && redis-cli -p $P getset counter:__rand_int__ 0",
    );
    same(
        &service,
        &chain,
        "redis-benchmark -p $P -c 50 -P 16 -n 100000 -t incr -q > /dev/null && redis-cli -p $P getset counter:__rand_int__ 0",
    );
    assert!(chain.connections() > 4000, "{} connections only", chain.connections());
    assert_eq!(chain.failures(), Vec::<String>::new());
}
