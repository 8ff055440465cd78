//! Proxies that work by themselves, as vendors write them: with the library, and in Python from
//! docs/abi.md alone.

use crate::scene::{Way, bound, canonical};
use hoptrail::UdpProxySocket;
use hoptrail_testkit::lab::stage::{held, keep};
use hoptrail_testkit::lab::{Actor, Lab, eventually, listener, need};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Questions that each client's socket asks of each server.
const ROUNDS: usize = 3;
/// Sockets of each client.
const SOCKETS: usize = 20;

/// A flow as a library proxy saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    peer: SocketAddr,
    destination: SocketAddr,
    pid: u32,
    hop: u8,
}

/// In the actor: the flows of its proxy.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// Starts a proxy on the library at the provider's listeners.
fn library(actor: &Actor, provider: &str) {
    let on = [listener(provider, true), listener(provider, false)];
    let start = actor.run(on, |on| {
        for at in on {
            let socket = Arc::new(UdpProxySocket::bind(at)?);
            std::thread::spawn(move || serve(&socket));
        }
        Ok(())
    });
    start.expect("the proxy listens");
}

fn serve(socket: &Arc<UdpProxySocket>) {
    let mut flows: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut datagram = [0; 2048];
    while let Ok((n, peer)) = socket.recv_from(&mut datagram) {
        let upstream = flows.entry(peer).or_insert_with(|| begin(socket, peer));
        upstream.send(&datagram[..n]).expect("the datagram is passed on");
    }
}

/// A flow's upstream, from which answers go back by themselves.
fn begin(socket: &Arc<UdpProxySocket>, peer: SocketAddr) -> UdpSocket {
    let redirect = socket.redirect_of(peer).expect("the flow").expect("a redirected flow");
    let context = redirect.context().expect("a context");
    let (pid, hop) = (context.application().pid, context.hop());
    let destination = redirect.destination();
    SEEN.lock().expect("seen").push(Seen { peer: redirect.peer(), destination, pid, hop });
    let upstream = redirect.dial().expect("the upstream");
    let (answers, socket) = (upstream.try_clone().expect("a descriptor"), Arc::clone(socket));
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok(n) = answers.recv(&mut datagram) {
            socket.send_to(&datagram[..n], peer).expect("the answer is passed on");
        }
    });
    upstream
}

fn seen(actor: &Actor) -> Vec<Seen> {
    actor.run((), |()| Ok(SEEN.lock().expect("seen").clone())).unwrap()
}

/// Starts `examples/udp_proxy.py` at the provider's listeners. It dies with the lab's cgroup.
fn python(lab: &Lab, actor: &Actor, provider: &str) {
    need("python3", "python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/udp_proxy.py");
    let port = listener(provider, true).port();
    let started = actor.run((script, port), |(script, port)| {
        let mut python = Command::new("python3");
        python.arg(script).arg(port.to_string());
        // An actor's own standard output is its voice.
        python.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map(|_| ())
    });
    started.unwrap();
    eventually("the example listens", || {
        lab.inside(|| {
            [listener(provider, true), listener(provider, false)]
                .into_iter()
                .all(|at| UdpSocket::bind(at).is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse))
        })
    });
}

/// A server outside that answers each question with its own address and the question.
fn server(actor: &Actor, at: SocketAddr) {
    let start = actor.run(at, |at| {
        let socket = UdpSocket::bind(at)?;
        keep(socket.try_clone()?);
        std::thread::spawn(move || {
            let mut question = [0; 2048];
            while let Ok((n, from)) = socket.recv_from(&mut question) {
                let text = String::from_utf8_lossy(&question[..n]);
                socket.send_to(format!("{at} {text}").as_bytes(), from).expect("an answer");
            }
        });
        Ok(())
    });
    start.expect("the server listens");
}

/// In the client: every socket asks every server, and each answer must come from the one that was asked.
fn ask((family, servers): (SocketAddr, Vec<SocketAddr>)) -> io::Result<()> {
    for number in 0..SOCKETS {
        let socket = UdpSocket::bind(family)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        for round in 0..ROUNDS {
            let question = format!("{} {number} {round}", std::process::id());
            for server in &servers {
                socket.send_to(question.as_bytes(), server)?;
            }
            let mut waiting = servers.clone();
            let mut answer = [0; 2048];
            while !waiting.is_empty() {
                let (n, from) = socket.recv_from(&mut answer)?;
                let at = waiting.iter().position(|s| *s == from).expect("an answer from a server");
                let server = canonical(waiting.remove(at));
                assert_eq!(answer[..n], *format!("{server} {question}").as_bytes());
            }
        }
    }
    Ok(())
}

/// Two clients at once ask two servers, by the three ways.
fn questions_and_answers(lab: &Lab) -> [u32; 2] {
    let outside = lab.outsider();
    let clients = [lab.actor("app"), lab.actor("app")];
    for way in [Way::V4, Way::V6] {
        server(&outside, way.to(10, 53));
        server(&outside, way.to(10, 54));
    }
    for way in Way::ALL {
        let family = if way == Way::V4 { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let servers = vec![way.to(10, 53), way.to(10, 54)];
        let asking = clients.each_ref().map(|c| c.begin((family, servers.clone()), ask));
        for task in asking {
            task.wait().unwrap_or_else(|e| panic!("{way:?}: {e}"));
        }
    }
    clients.map(|c| c.pid())
}

/// Flows that the clients made.
const FLOWS: usize = 3 * 2 * 2 * SOCKETS;

/// A proxy on the library alone.
pub(crate) fn library_proxy() {
    let lab = Lab::of(crate::scene::one);
    let acme = lab.actor("acme");
    library(&acme, "acme");
    let clients = questions_and_answers(&lab);
    let seen = seen(&acme);
    assert_eq!(seen.len(), FLOWS);
    for client in clients {
        assert_eq!(seen.iter().filter(|s| s.pid == client).count(), FLOWS / 2);
    }
    assert!(seen.iter().all(|s| s.hop == 1 && [53, 54].contains(&s.destination.port())));
    let peers: std::collections::HashSet<_> = seen.iter().map(|s| s.peer).collect();
    assert_eq!(peers.len(), FLOWS, "each peer is one flow");
}

/// The Python example, and behind it a second vendor on the library: each flow passes both once.
pub(crate) fn python_and_library() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    python(&lab, &acme, "acme");
    library(&beta, "beta");
    let clients = questions_and_answers(&lab);
    let seen = seen(&beta);
    assert_eq!(seen.len(), FLOWS);
    assert!(seen.iter().all(|s| s.hop == 2 && clients.contains(&s.pid)));
    assert_eq!(lab.counters().redirected, 2 * FLOWS as u64);
}

/// What reaches the proxy's port directly is no flow, and the library says so.
pub(crate) fn not_redirected() {
    let lab = Lab::of(crate::scene::one);
    let (acme, outside) = (lab.actor("acme"), lab.outsider());
    let stranger = bound(&outside, "127.0.0.1:7777".parse().unwrap());
    let at = listener("acme", true);
    let proxy = bound(&acme, at);
    stranger.send_to(b"hello", at).unwrap();
    let flow = acme.run(proxy.fd.0, |fd| {
        let socket = UdpProxySocket::from_std(UdpSocket::from(held(fd)?.try_clone()?))?;
        let (_, peer) = socket.recv_from(&mut [0; 16])?;
        Ok((peer, socket.redirect_of(peer)?.map(|flow| flow.destination())))
    });
    assert_eq!(flow.unwrap(), (stranger.local(), None));
}
