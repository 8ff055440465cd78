//! UDP sessions: applications, the relay, and servers, each with its own sockets.

use crate::peers::{Peer, Program};
use crate::sessions::{
    PATIENCE, Settings, ask, ask_again, ask_once, drain, echo, report, start, stopped, told,
};
use crate::tcp::DANTE;
use hoptrail_testkit::lab::{Lab, V4, V4_OTHER, V6, need};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn acme() -> Lab {
    Lab::of(|lab| vec![lab.provider("acme", 200)])
}

fn v4(port: u16) -> SocketAddr {
    (V4, port).into()
}

/// Two applications, both families: each flow has its own session, and nothing is mixed up.
pub(crate) fn a_thousand_flows() {
    let lab = acme();
    let (relay, apps) = (lab.actor("acme"), [lab.actor("app"), lab.actor("app")]);
    start(&relay, &Settings::acme());
    let servers = [vec![v4(53), (V4_OTHER, 53).into()], vec![(V6, 53).into(), (V6, 54).into()]];
    servers.iter().flatten().for_each(|at| echo(&lab, *at));
    let tasks: Vec<_> = apps
        .iter()
        .flat_map(|app| servers.iter().map(|to| app.begin((125, to.clone()), ask)))
        .collect();
    tasks.into_iter().for_each(|task| drop(task.wait().unwrap()));
    // An answer is counted just behind its being sent.
    let report = told(&relay, "1000 answers", |report| report.datagrams.1 >= 1000);
    assert_eq!((report.opened.len(), report.ended.len(), report.open), (1000, 0, 1000));
    for app in &apps {
        assert_eq!(report.opened.iter().filter(|line| line.pid == Some(app.pid())).count(), 500);
    }
    assert!(report.opened.iter().all(|line| line.hops == 1));
    assert_eq!(report.datagrams, (1000, 1000));
    assert_eq!(report.bytes.0, report.bytes.1);
    assert!(report.lost.is_empty() && report.evicted == 0, "{report:?}");
    assert_eq!(lab.counters().redirected, 1000, "the relay's own are not redirected again");
}

/// A real client asks a real server, and the relay knows for what.
pub(crate) fn dns() {
    need("dig", "bind9-dnsutils");
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings::acme());
    let arguments = ["--keep-in-foreground", "--conf-file=FILE"];
    let configuration = "no-resolv\nno-hosts\npid-file=\nuser=root\nlisten-address=192.0.2.10\n\
                         bind-interfaces\naddress=/a.example/192.0.2.99\n";
    let (name, package) = ("dnsmasq", "dnsmasq-base");
    let program = Program { name, package, arguments: &arguments, configuration };
    let _peer = Peer::start(&lab, &program, v4(53));
    let dig = app.run((), |()| {
        let dig = Command::new("dig").args(["+short", "@192.0.2.10", "A.example", "A"]).output();
        dig.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert_eq!(dig.unwrap(), "192.0.2.99\n");
    drain(&relay, 0);
    stopped(&relay);
    let ended = report(&relay).ended;
    assert_eq!((ended.len(), ended[0].name.as_deref()), (1, Some("a.example")), "{ended:?}");
    assert!(ended[0].from_client > 20 && ended[0].from_upstream > ended[0].from_client);
}

/// An application with many flows crowds out its own, not another's.
pub(crate) fn no_more_than_allowed() {
    let lab = acme();
    let (relay, many, one) = (lab.actor("acme"), lab.actor("app"), lab.actor("app"));
    start(&relay, &Settings { most_flows: 8, ..Settings::acme() });
    echo(&lab, v4(53));
    let kept = one.run((1, vec![v4(53)]), ask).unwrap();
    many.run((50, vec![v4(53)]), ask).unwrap();
    one.run((kept[0], v4(53)), ask_again).unwrap();
    let report = report(&relay);
    assert_eq!((report.opened.len(), report.open, report.evicted), (51, 8, 43), "{report:?}");
    assert!(report.ended.iter().all(|line| line.pid == Some(many.pid())));
}

/// Whoever is silent is forgotten, and may speak again.
pub(crate) fn idle_flows_end() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings { idle_ms: 2000, ..Settings::acme() });
    echo(&lab, v4(53));
    let kept = app.run((3, vec![v4(53)]), ask);
    let kept = kept.unwrap_or_else(|e| panic!("{e}: {:?} {:?}", report(&relay), lab.counters()));
    let report = told(&relay, "three flows end", |report| report.ended.len() == 3);
    assert!(report.ended.iter().all(|line| line.end == "Idle" && line.from_client > 0));
    assert_eq!(report.open, 0);
    app.run((kept[0], v4(53)), ask_again).unwrap();
    told(&relay, "the fourth flow ends", |report| report.ended.len() == 4);
}

/// One flow sends as fast as it can; the others ask and are answered.
pub(crate) fn a_flood_and_the_others() {
    const ROUNDS: usize = 40;
    let lab = acme();
    let (relay, flood, app) = (lab.actor("acme"), lab.actor("app"), lab.actor("app"));
    start(&relay, &Settings::acme());
    echo(&lab, v4(53));
    let sink = lab.inside(|| UdpSocket::bind((V4_OTHER, 9))).unwrap();
    static OVER: AtomicBool = AtomicBool::new(false);
    let flooding = flood.begin(SocketAddr::from((V4_OTHER, 9)), |to| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        let mut sent = 0u64;
        while !OVER.load(Ordering::Relaxed) {
            sent += u64::from(socket.send_to(&[0; 1200], to).is_ok());
        }
        Ok(sent)
    });
    told(&relay, "a flood", |report| {
        report.datagrams.0 + report.lost.values().sum::<u64>() > 10_000
    });
    let again = app.run((20, v4(53)), |(sockets, to)| {
        let mut again = 0usize;
        for _ in 0..sockets {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            for round in 0..ROUNDS {
                let question = format!("{round}");
                let mut tries = 0;
                while let Err(error) = ask_once(&socket, to, question.as_bytes()) {
                    tries += 1;
                    assert!(tries < 10, "round {round}: {error}");
                }
                again += tries;
            }
        }
        Ok(again)
    });
    let stop = |()| {
        OVER.store(true, Ordering::Relaxed);
        Ok(())
    };
    flood.run((), stop).unwrap();
    let (again, sent) = (again.unwrap(), flooding.wait().unwrap());
    drop(sink);
    assert!(sent > 10_000, "a flood of {sent} is none");
    assert!(again * 20 <= 20 * ROUNDS, "{again} of {} questions were lost", 20 * ROUNDS);
}

/// A socket that connects to another remote keeps its peer address; its datagrams go where it says.
pub(crate) fn connects_again() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings::acme());
    let servers = [v4(53), v4(54), (V4_OTHER, 53).into()];
    servers.iter().for_each(|at| echo(&lab, *at));
    let work = |servers: [SocketAddr; 3]| -> io::Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        for to in servers {
            socket.connect(to)?;
            socket.send(to.to_string().as_bytes())?;
            let mut answer = [0; 64];
            let (n, from) = socket.recv_from(&mut answer)?;
            assert_eq!((from, &answer[..n]), (to, to.to_string().as_bytes()));
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    app.run(servers, work).unwrap();
    let to: Vec<_> = report(&relay).opened.iter().map(|line| line.destination).collect();
    assert_eq!(to, servers);
}

/// Nobody is there: that is counted, and costs no later datagram.
pub(crate) fn refused() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings::acme());
    let fd = app.run(v4(53), |to| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(b"is anybody there?", to)?;
        Ok(hoptrail_testkit::lab::stage::keep(socket))
    });
    told(&relay, "the answer that nobody is there", |report| report.lost.contains_key("refused"));
    echo(&lab, v4(53));
    app.run((fd.unwrap(), v4(53)), ask_again).unwrap();
    assert_eq!(report(&relay).opened.len(), 1);
}

/// A DNS question for the address of a name in one label and `example`.
fn question(label: &str) -> Vec<u8> {
    let name = [&[label.len() as u8], label.as_bytes(), b"\x07example\0"].concat();
    [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0"[..], &name, b"\0\x01\0\x01"].concat()
}

/// Nothing of a flow for a denied name reaches the server; other names do.
pub(crate) fn denied_by_name() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    let rules = "[[rule]]\naction = \"deny\"\nname = \"bad.example\"\n".into();
    start(&relay, &Settings { rules, ..Settings::acme() });
    let server = lab.inside(|| UdpSocket::bind(v4(53))).unwrap();
    let send = |(question, to): (Vec<u8>, SocketAddr)| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        (0..3).try_for_each(|_| socket.send_to(&question, to).map(|_| ()))
    };
    app.run((question("bad"), v4(53)), send).unwrap();
    let denied = told(&relay, "three are denied", |r| r.lost.get("denied") == Some(&3));
    assert_eq!((denied.opened.len(), denied.ended.len(), denied.open), (1, 1, 0));
    let end = &denied.ended[0];
    assert_eq!((end.end.as_str(), end.rule, end.from_client), ("Denied", Some(1), 0));
    assert_eq!(end.name.as_deref(), Some("bad.example"));
    app.run((question("good"), v4(53)), send).unwrap();
    for _ in 0..3 {
        let mut got = [0; 512];
        let n = server.recv(&mut got).unwrap();
        assert_eq!(got[..n], question("good"));
    }
    // One is counted just behind its being sent.
    told(&relay, "three passed", |report| report.datagrams.0 == 3);
}

/// What is over the rate is dropped, and counted; what is not arrives.
pub(crate) fn throttled() {
    const LENGTH: usize = 1200;
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    let rules = "[[rule]]\naction = \"throttle\"\nrate = \"1 kB/s\"\n".into();
    start(&relay, &Settings { rules, ..Settings::acme() });
    let server = lab.inside(|| UdpSocket::bind(v4(53))).unwrap();
    let send = |to: SocketAddr| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        (0..200).try_for_each(|_| socket.send_to(&[7; LENGTH], to).map(|_| ()))
    };
    app.run(v4(53), send).unwrap();
    let lost =
        |report: &crate::sessions::Report| report.lost.get("throttled").copied().unwrap_or(0);
    let after = told(&relay, "200 came", |report| report.datagrams.0 + lost(report) == 200);
    let passed = after.datagrams.0;
    assert!(passed >= (65_536 / LENGTH) as u64 && lost(&after) > 0, "{after:?}");
    assert_eq!(after.bytes.0, passed * LENGTH as u64);
    for _ in 0..passed {
        assert_eq!(server.recv(&mut [0; 2048]).unwrap(), LENGTH);
    }
}

/// Datagrams of every length arrive whole, and are counted to the byte.
pub(crate) fn any_length() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings::acme());
    echo(&lab, v4(53));
    let lengths = vec![0usize, 1, 1472, 1473, 9000, 65_506, 65_507];
    let bytes: usize = lengths.iter().sum();
    let work = |(lengths, to): (Vec<usize>, SocketAddr)| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        lengths.iter().try_for_each(|length| ask_once(&socket, to, &vec![7; *length]))
    };
    let count = lengths.len() as u64;
    app.run((lengths, v4(53)), work).unwrap();
    drain(&relay, 0);
    assert_eq!(stopped(&relay), (0, 1));
    let report = report(&relay);
    assert_eq!(
        (report.ended[0].from_client, report.ended[0].from_upstream),
        (bytes as u64, bytes as u64)
    );
    assert_eq!((report.datagrams, report.bytes), ((count, count), (bytes as u64, bytes as u64)));
    assert_eq!(report.ended[0].end, "Drained");
}

/// No new flow while stopping; the old one may go on until it is silent.
pub(crate) fn draining() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings::acme());
    echo(&lab, v4(53));
    let kept = app.run((1, vec![v4(53)]), ask).unwrap();
    drain(&relay, 60_000);
    let late = app.run(v4(53), |to| UdpSocket::bind("0.0.0.0:0")?.send_to(b"late", to));
    assert_eq!(late.unwrap(), 4);
    told(&relay, "the late one is lost", |report| report.lost.contains_key("draining"));
    app.run((kept[0], v4(53)), ask_again).unwrap();
    assert_eq!(stopped(&relay), (1, 0));
    let report = report(&relay);
    assert_eq!((report.opened.len(), report.ended.len(), report.open), (1, 1, 0));
    assert_eq!(report.ended[0].end, "Closed");
}

/// Without an engine: everything that comes goes to one place.
pub(crate) fn forwarded() {
    let lab = Lab::new();
    let (relay, client) = (lab.outsider(), lab.outsider());
    let listen: SocketAddr = "127.0.0.1:5300".parse().unwrap();
    let settings = Settings { listen: vec![listen], forward: Some(v4(53)), ..Settings::acme() };
    start(&relay, &settings);
    echo(&lab, v4(53));
    let kept = client.run((20, vec![listen]), ask).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    client.run((kept[0], listen), ask_again).unwrap();
    let report = report(&relay);
    assert_eq!(report.opened.len(), 20, "{report:?}");
    assert!(
        report.opened.iter().all(|l| l.pid.is_none() && l.hops == 0 && l.destination == v4(53))
    );
}

/// Through a SOCKS5 server, until that is gone.
pub(crate) fn socks5_associate() {
    let lab = acme();
    let socks = "127.0.0.1:1080".parse().unwrap();
    let peer = Peer::start(&lab, &DANTE, socks);
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings { upstream: format!("socks5://{socks}"), ..Settings::acme() });
    let servers = vec![v4(53), (V4_OTHER, 53).into()];
    servers.iter().for_each(|at| echo(&lab, *at));
    let kept = app.run((10, servers), ask).unwrap();
    for fd in kept {
        app.run((fd, v4(53)), ask_again).unwrap();
    }
    let before = told(&relay, "30 answers", |report| report.datagrams.1 >= 30);
    assert_eq!((before.opened.len(), before.ended.len()), (20, 0), "{before:?}");
    assert_eq!(before.datagrams, (30, 30));
    assert_eq!(before.bytes.0, before.bytes.1, "headers are not counted");
    drop(peer);
    let after = told(&relay, "the flows end with the server", |report| report.ended.len() == 20);
    assert!(after.ended.iter().all(|line| line.end == "UpstreamReset"), "{after:?}");
}

/// A server that is not there: told once, and tried again later.
pub(crate) fn socks5_that_is_gone() {
    let lab = acme();
    let (relay, app) = (lab.actor("acme"), lab.actor("app"));
    start(&relay, &Settings { upstream: "socks5://127.0.0.1:1080".into(), ..Settings::acme() });
    let work = |to| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        (0..5).try_for_each(|_| socket.send_to(b"lost", to).map(|_| ()))?;
        Ok(hoptrail_testkit::lab::stage::keep(socket))
    };
    let fd = app.run(v4(53), work).unwrap();
    let report = told(&relay, "all five are lost", |r| r.lost.get("unreachable") == Some(&5));
    assert_eq!(report.ended.len(), 1);
    assert!(report.ended[0].end.contains("errno: 111"), "{report:?}");
    assert!(report.ended[0].end.contains("step: Connect"), "{report:?}");
    let _peer = Peer::start(&lab, &DANTE, "127.0.0.1:1080".parse().unwrap());
    echo(&lab, v4(53));
    std::thread::sleep(Duration::from_millis(1100));
    app.run((fd, v4(53)), ask_again).unwrap();
}
