//! A proxy on tokio, together with others.

use crate::ready::listens;
use hoptrail::tokio::{Accepted, Listener, UdpProxySocket, relay};
use hoptrail_testkit::lab::{Actor, Lab, Manner, PORT, V4, V6, listener};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

/// In the actor: how its proxy's dials failed, as kinds.
static FAILURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs a proxy of a provider in the actor, for good.
fn run<F: Future<Output = hoptrail::Result<()>>>(proxy: impl FnOnce() -> F + Send + 'static) {
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(proxy()).unwrap();
    });
}

async fn serve(at: SocketAddr) -> hoptrail::Result<()> {
    let listener = Listener::bind(at).await?;
    loop {
        let connection = listener.accept().await?;
        tokio::spawn(async move {
            match connection.dial_timeout(Duration::from_secs(5)).await {
                Ok((application, destination)) => drop(relay(application, destination).await),
                Err(error) => FAILURES.lock().unwrap().push(format!("{:?}", error.kind())),
            }
        });
    }
}

fn start(lab: &Lab, name: &str) -> Actor {
    let actor = lab.actor(name);
    for v4 in [true, false] {
        let start = |at| {
            run(move || serve(at));
            Ok(())
        };
        actor.run(listener(name, v4), start).unwrap();
        listens(lab, listener(name, v4));
    }
    actor
}

pub(crate) fn two_vendors_one_on_tokio() {
    for (acme_first, to) in [(true, (V4, PORT).into()), (false, SocketAddr::from((V6, PORT)))] {
        let (first, second) = if acme_first { (200, 100) } else { (100, 200) };
        let lab = Lab::of(|lab| vec![lab.provider("acme", first), lab.provider("beta", second)]);
        let origin = lab.origin(to);
        let _acme = start(&lab, "acme");
        let beta = lab.proxy("beta", Manner::Declares);
        let app = lab.actor("app");
        app.run(to, a_hundred_at_once).unwrap();
        origin.expect(100);
        assert_eq!(beta.seen().len(), 100);
        let provenances = lab.events().iter().fold(HashMap::new(), |mut all, event| {
            *all.entry(event.provenance.name()).or_insert(0) += 1;
            all
        });
        assert_eq!(provenances, HashMap::from([("fresh", 100), ("declared", 200)]));
    }
}

/// In the application: each gets back what it sent, and then the end.
fn a_hundred_at_once(to: SocketAddr) -> io::Result<()> {
    use std::io::{Read, Write};
    let clients: Vec<_> = (0..100u32)
        .map(|number| {
            std::thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(to)?;
                assert_eq!(stream.peer_addr()?, to);
                let sent: Vec<u8> = (0..50_000).map(|i| (i * (number + 1)) as u8).collect();
                let mut writer = stream.try_clone()?;
                let bytes = sent.clone();
                let writing = std::thread::spawn(move || {
                    writer.write_all(&bytes)?;
                    writer.shutdown(std::net::Shutdown::Write)
                });
                let mut got = Vec::new();
                stream.read_to_end(&mut got)?;
                assert!(got == sent, "client {number}: {} bytes", got.len());
                writing.join().expect("the writer")
            })
        })
        .collect();
    clients.into_iter().try_for_each(|client| client.join().expect("a client"))
}

pub(crate) fn a_destination_that_refuses_is_a_reset() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let acme = start(&lab, "acme");
    let app = lab.actor("app");
    for to in [SocketAddr::from((V4, PORT)), (V6, PORT).into()] {
        let connection = app.dial(to).unwrap();
        let error = app.recv(connection).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    // The application sees the reset before the proxy writes its note.
    let failures = acme.run((), |()| Ok(failures(2))).unwrap();
    assert_eq!(failures, ["Refused", "Refused"]);
}

/// In the proxy: its failures, once there are so many.
fn failures(count: usize) -> Vec<String> {
    for _ in 0..3000 {
        let failures = FAILURES.lock().unwrap().clone();
        if failures.len() >= count {
            return failures;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    FAILURES.lock().unwrap().clone()
}

pub(crate) fn a_direct_connection_is_never_dialled_for() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let _acme = start(&lab, "acme");
    let outside = lab.outsider();
    let connection = outside.dial(listener("acme", true)).unwrap();
    let error = outside.recv(connection).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// `accept_any` tells them apart.
pub(crate) fn direct_and_redirected_are_told_apart() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    let at = listener("acme", true);
    let told = acme.begin(at, |at| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = Listener::bind(at).await?;
            let mut told = Vec::new();
            for _ in 0..2 {
                told.push(match listener.accept_any().await? {
                    Accepted::Direct(..) => None,
                    Accepted::Redirected(connection) => Some(connection.redirect.destination()),
                });
            }
            Ok(told)
        })
    });
    listens(&lab, at);
    outside.dial(at).unwrap();
    app.dial((V4, PORT).into()).unwrap();
    assert_eq!(told.wait().unwrap(), [None, Some((V4, PORT).into())]);
}

async fn serve_udp(at: SocketAddr) -> hoptrail::Result<()> {
    let socket: &'static UdpProxySocket = Box::leak(Box::new(UdpProxySocket::bind(at).await?));
    let mut flows = HashMap::new();
    let mut datagram = [0; 2048];
    loop {
        let (n, peer) = socket.recv_from(&mut datagram).await?;
        if let Some(upstream) = flows.get::<_>(&peer) {
            let upstream: &std::sync::Arc<tokio::net::UdpSocket> = upstream;
            upstream.send(&datagram[..n]).await.unwrap();
            continue;
        }
        let redirect = socket.redirect_of(peer)?.expect("a redirected flow");
        let upstream = std::sync::Arc::new(redirect.dial_with(&datagram[..n])?);
        flows.insert(peer, std::sync::Arc::clone(&upstream));
        tokio::spawn(async move {
            let mut answer = [0; 2048];
            while let Ok(n) = upstream.recv(&mut answer).await {
                socket.send_to(&answer[..n], peer).await.unwrap();
            }
        });
    }
}

pub(crate) fn udp_flows() {
    let lab = Lab::of(Lab::two);
    let at = listener("acme", true);
    let start = |at| {
        run(move || serve_udp(at));
        Ok(())
    };
    let (acme, beta, app) = (lab.actor("acme"), lab.actor("beta"), lab.actor("app"));
    acme.run(at, start).unwrap();
    beta.run(listener("beta", true), start).unwrap();
    let server = lab.inside(|| UdpSocket::bind((V4, 53))).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for at in [at, listener("beta", true)] {
        hoptrail_testkit::lab::eventually("it is bound", || {
            lab.inside(|| UdpSocket::bind(at).is_err())
        });
    }
    let asked = app.begin(SocketAddr::from((V4, 53)), |to| {
        let sockets = [UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("0.0.0.0:0")?];
        for round in 0..3u8 {
            for (i, socket) in sockets.iter().enumerate() {
                socket.set_read_timeout(Some(Duration::from_secs(10)))?;
                socket.send_to(&[round, i as u8], to)?;
                let mut answer = [0; 16];
                let (n, from) = socket.recv_from(&mut answer)?;
                assert_eq!((&answer[..n], from), (&[round, i as u8, b'!'][..], to));
            }
        }
        Ok(())
    });
    let mut question = [0; 16];
    for _ in 0..6 {
        let (n, from) = server.recv_from(&mut question).unwrap();
        server.send_to(&[&question[..n], b"!"].concat(), from).unwrap();
    }
    asked.wait().unwrap();
    let reached = lab.events().into_iter().filter(|event| {
        event.kind == hoptrail_engine::event::EventKind::Reached && event.trail.hops().len() == 2
    });
    assert_eq!(reached.count(), 2, "two flows, each by way of both");
}
