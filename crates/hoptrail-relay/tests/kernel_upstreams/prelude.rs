//! The PROXY protocol, read by others.

use crate::peers::{Peer, Program, patient};
use hoptrail::{Listener, Trail};
use hoptrail_relay::upstream::prelude::{Story, v1, v2};
use hoptrail_testkit::lab::{Lab, Net, V4, at, listener};
use std::io::{self, Read, Write};
use std::net::SocketAddr;

const SERVER: &str = "127.0.0.1:9000";
const SOURCE: &str = "203.0.113.7:40000";
const SOURCE6: &str = "[2001:db8::7]:40001";
const TO: &str = "192.0.2.10:80";

fn haproxy() -> String {
    format!(
        "defaults\n  mode http\n  timeout client 20s\n  timeout server 20s\n  timeout connect 20s\n\
         frontend f\n  bind {SERVER} accept-proxy\n  http-request return status 200 content-type \
         text/plain lf-string \"<%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_unique_id]>\"\n"
    )
}

const HAPROXY: &[&str] = &["-db", "-f", "FILE"];

/// What the server has read of a prelude.
fn told(prelude: &[u8]) -> String {
    let answer = answer(prelude).expect("the server takes it");
    let told = answer.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    told.unwrap_or_else(|| panic!("{answer:?}")).0.to_owned()
}

fn answer(prelude: &[u8]) -> io::Result<String> {
    let mut stream = patient(at(SERVER));
    stream.write_all(prelude)?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn with_haproxy(work: impl FnOnce() + Send) {
    let net = Net::new().unwrap();
    let configuration = haproxy();
    let (name, package) = ("haproxy", "haproxy");
    let program = Program { name, package, arguments: HAPROXY, configuration: &configuration };
    let _peer = Peer::start(&net, &program, at(SERVER));
    net.inside(work);
}

pub(crate) fn haproxy_reads_version_1() {
    with_haproxy(|| {
        assert_eq!(told(&v1(at(SOURCE), at(TO))), "203.0.113.7 40000 192.0.2.10 80 ");
        let both6 = told(&v1(at(SOURCE6), at("[2001:db8::10]:80")));
        assert_eq!(both6, "2001:db8::7 40001 2001:db8::10 80 ");
        let mixed = told(&v1(at(SOURCE6), at(TO)));
        assert_eq!(mixed, "2001:db8::7 40001 ::ffff:192.0.2.10 80 ");
    });
}

pub(crate) fn haproxy_reads_version_2() {
    let trails = [1, 16].map(trail);
    with_haproxy(move || {
        assert_eq!(told(&v2(at(SOURCE), at(TO), None)), "203.0.113.7 40000 192.0.2.10 80 ");
        for trail in &trails {
            let story = Story { trail, exe: Some("/usr/bin/curl".as_ref()) };
            let prelude = v2(at(SOURCE6), at(TO), Some(&story));
            let expected = format!("2001:db8::7 40001 ::ffff:192.0.2.10 80 {}", trail.id());
            assert_eq!(told(&prelude), expected);
            let mut wrong = prelude.clone();
            let last = wrong.len() - 1;
            wrong[last] ^= 1;
            let answer = answer(&wrong).unwrap_or_default();
            assert_eq!(answer, "", "HAProxy closes on a wrong checksum");
        }
    });
}

pub(crate) fn nginx_reads_the_trail() {
    let net = Net::new().unwrap();
    let configuration = format!(
        "daemon off; pid pid; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen {SERVER} \
         proxy_protocol; location / {{ return 200 '<$proxy_protocol_addr $proxy_protocol_port \
         $proxy_protocol_server_addr $proxy_protocol_server_port>'; }} }} }}\n"
    );
    let arguments = &["-p", ".", "-c", "FILE"];
    let (name, package) = ("nginx", "nginx");
    let program = Program { name, package, arguments, configuration: &configuration };
    let _peer = Peer::start(&net, &program, at(SERVER));
    let trails = [1, 16].map(trail);
    let reads_fields = nginx_reads_fields();
    net.inside(move || {
        let addresses = "203.0.113.7 40000 192.0.2.10 80";
        assert_eq!(told(&v1(at(SOURCE), at(TO))), addresses);
        assert_eq!(told(&v2(at(SOURCE), at(TO), None)), addresses);
        for trail in trails.iter().filter(|_| reads_fields) {
            let story = Story { trail, exe: None };
            let prelude = v2(at(SOURCE), at(TO), Some(&story));
            assert_eq!(told(&prelude), addresses, "{}", prelude.len());
        }
    });
}

/// Version 1.22 reads no header over 107 bytes.
fn nginx_reads_fields() -> bool {
    let output = std::process::Command::new("/usr/sbin/nginx").arg("-v").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.rsplit('/').next().unwrap_or_default().split_whitespace().next();
    let numbers: Vec<u32> =
        version.unwrap_or_default().split('.').filter_map(|n| n.parse().ok()).collect();
    assert_eq!(numbers.len(), 3, "{text}");
    numbers >= vec![1, 24, 0]
}

/// A trail of some hops, as the kernel would have made it.
fn trail(hops: u8) -> Trail {
    let mut trail = hoptrail_core::Trail::default();
    trail.header.hops = hops;
    trail.header.protocol = hoptrail_core::Protocol::Tcp as u8;
    trail.header.id = [1, u64::from(hops)];
    trail.header.pid = 4100;
    trail.header.name[..4].copy_from_slice(b"curl");
    for (hop, handle) in trail.hops.iter_mut().take(hops.into()).zip(1..) {
        hop.handle = handle;
    }
    hoptrail::Records::from_bytes(trail.seal([1, 2]).as_bytes()).trail().unwrap()
}

/// In the actor: a proxy that tells every destination the trail.
fn tell(on: SocketAddr) -> io::Result<()> {
    let listener = Listener::bind(on)?;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.expect("a connection");
            let trail = connection.redirect.records().trail().expect("a trail");
            let exe = connection.redirect.context().and_then(|context| context.exe_path());
            let story = Story { trail: &trail, exe };
            let mut upstream = connection.redirect.dial().expect("the destination");
            let prelude = v2(trail.local(), connection.redirect.destination(), Some(&story));
            upstream.write_all(&prelude).expect("the prelude");
            let _ = hoptrail::relay(connection.stream, upstream);
        }
    });
    Ok(())
}

/// In the application: what the destination answers, and its own address.
fn ask(to: SocketAddr) -> io::Result<(String, SocketAddr)> {
    let mut stream = patient(to);
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok((answer, stream.local_addr()?))
}

/// The trail of a real connection, read by a program that was written from the document.
pub(crate) fn a_reader_of_the_document() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/trail_server.py");
    let (ip, to) = (V4.to_string(), SocketAddr::from((V4, 80)));
    let arguments = &[script, &ip, "80"];
    let (name, package) = ("python3", "python3");
    let program = Program { name, package, arguments, configuration: "" };
    let _peer = Peer::start(&lab, &program, to);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    acme.run(listener("acme", true), tell).unwrap();
    let (answer, local) = app.run(to, ask).unwrap();
    let told: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
    assert_eq!(told["destination"], format!("{V4} 80"));
    assert_eq!(told["source"], format!("{} {}", local.ip(), local.port()));
    assert_eq!(told["id"].as_str().unwrap().len(), 32);
    let application = &told["application"];
    assert_eq!(application["pid"], app.pid());
    assert_eq!(application["asked"], to.to_string());
    assert_eq!(application["local"], local.to_string());
    assert_eq!((&application["protocol"], &application["hops"]), (&6.into(), &1.into()));
    assert!(application["exe"].as_str().unwrap().starts_with('/'), "{application}");
    let hop = &told["hops"][0];
    assert_eq!((&hop["number"], &hop["provenance"]), (&1.into(), &0.into()));
    assert_eq!(hop["asked"], to.to_string());
    assert_eq!(hop["to"], listener("acme", true).to_string());
    assert_eq!(told["hops"].as_array().unwrap().len(), 1);
}
