//! `hoptrail relay` as a plain forwarder, which needs no privileges: what it tells, and how it stops.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its own functions too")]

#[path = "relay/running.rs"]
mod running;

use nix::sys::signal::Signal;
use running::{PATIENCE, Running, between, connect, echo, exchange, get, get_of, lines, relay};
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::process::Stdio;

#[test]
fn each_connection_is_one_line_of_json_when_it_ends() {
    let (mut running, at) = Running::forwarder(echo(), &["--log", "json"]);
    let log = lines(running.child.stdout.take().unwrap());
    for size in [0, 1, 3_000_000] {
        let mut stream = connect(at);
        let sent = vec![7; size];
        std::thread::scope(|scope| {
            let writer = stream.try_clone().unwrap();
            scope.spawn(move || {
                std::io::Write::write_all(&mut &writer, &sent).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert_eq!(back.len(), size);
        });
        let local = stream.local_addr().unwrap();
        drop(stream);
        let said: Value = serde_json::from_str(&log.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert_eq!(said["from_client_bytes"], size);
        assert_eq!(said["from_upstream_bytes"], size);
        assert_eq!((&said["end"], &said["transport"]), (&"closed".into(), &"tcp".into()));
        assert_eq!(said["peer"], local.to_string());
        assert!(said["duration_ns"].as_u64().unwrap() > 0);
    }
    running.signal(Signal::SIGTERM);
    let (code, said) = running.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("hoptrail: stopped\n"), "{said}");
    assert!(log.recv_timeout(PATIENCE).is_err(), "one line each");
}

#[test]
fn a_flow_of_datagrams_is_one_line_too() {
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = echo.local_addr().unwrap();
    let options = ["--log", "json", "--udp-idle", "100ms", "--metrics", "127.0.0.1:0"];
    let mut command = relay(&["--forward", &to.to_string(), "--listen", "127.0.0.1:0"]);
    let mut running = Running::start(command.args(options));
    let said = running.await_line("relay listens at ");
    let log = lines(running.child.stdout.take().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&client, &echo] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    client.connect(between(&said, "listens at ", ",")).unwrap();
    client.send(b"hello").unwrap();
    let mut buffer = [0; 64];
    let (n, from) = echo.recv_from(&mut buffer).unwrap();
    echo.send_to(&[&buffer[..n], b", too"].concat(), from).unwrap();
    let n = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"hello, too");
    let said_too: Value = serde_json::from_str(&log.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!((&said_too["transport"], &said_too["end"]), (&"udp".into(), &"idle".into()));
    assert_eq!(said_too["from_client_bytes"], 5);
    assert_eq!(said_too["from_upstream_bytes"], 10);
    let text = get(between(&said, "metrics at http://", "/"), "/metrics");
    assert!(text.contains("\nhoptrail_relay_datagrams_total{from=\"upstream\"} 1\n"), "{text}");
    let ended = "\nhoptrail_relay_ended_total{transport=\"udp\",end=\"idle\"} 1\n";
    assert!(text.contains(ended), "{text}");
}

#[test]
fn metrics_and_health_are_served() {
    let options = ["--log", "none", "--metrics", "127.0.0.1:0", "--drain", "1h"];
    let to = echo();
    let mut command = relay(&["--forward", &to.to_string(), "--listen", "127.0.0.1:0"]);
    let mut running = Running::start(command.args(options));
    let said = running.await_line("relay listens at ");
    let at = between(&said, "listens at ", ",").parse().unwrap();
    let metrics = between(&said, "metrics at http://", "/");
    let mut stream = connect(at);
    exchange(&mut stream, b"hello");
    let text = get(metrics, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\nhoptrail_relay_open 1\n"), "{text}");
    assert!(text.contains("\nhoptrail_relay_bytes_total{from=\"client\"} 5\n"), "{text}");
    assert!(get(metrics, "/healthz").ends_with("\r\n\r\nok\n"));
    running.signal(Signal::SIGTERM);
    running.await_line("stopping: 1 connection may finish within");
    assert!(
        get(metrics, "/healthz").starts_with("HTTP/1.1 503 "),
        "so that nothing new is sent here"
    );
    assert!(get(metrics, "/metrics").contains("\nhoptrail_relay_draining 1\n"));
    exchange(&mut stream, b"still there");
    drop(stream);
    let (code, said) = running.end();
    assert_eq!(code, 0);
    assert!(said.ends_with("hoptrail: stopped: 1 connection finished, 0 reset\n"), "{said}");
}

#[test]
fn at_the_deadline_what_is_open_is_reset_and_named() {
    let (mut running, at) = Running::forwarder(echo(), &["--drain", "100ms", "--log", "none"]);
    let mut stream = connect(at);
    exchange(&mut stream, b"x");
    running.signal(Signal::SIGINT);
    running.await_line("1 connection reset at the deadline:");
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (code, said) = running.end();
    assert_eq!(code, 0, "{said}");
    let named = said.lines().find(|line| line.ends_with("drained")).unwrap();
    assert!(named.contains(&stream.local_addr().unwrap().to_string()), "{said}");
    assert!(said.ends_with("hoptrail: stopped: 0 connections finished, 1 reset\n"), "{said}");
}

#[test]
fn a_second_signal_resets_at_once() {
    let (mut running, at) = Running::forwarder(echo(), &["--drain", "10h"]);
    let mut stream = connect(at);
    exchange(&mut stream, b"x");
    running.signal(Signal::SIGTERM);
    running.await_line("stopping: ");
    running.signal(Signal::SIGINT);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(running.end().0, 0);
}

#[test]
fn a_wrong_file_changes_nothing_and_a_right_one_says_what_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    let to = echo();
    let right = format!("listen = \"127.0.0.1:0\"\nforward = \"{to}\"\nlog = \"none\"\n");
    std::fs::write(&file, &right).unwrap();
    let mut running = Running::start(&mut relay(&["--config", file.to_str().unwrap()]));
    let said = running.await_line("relay listens at ");
    let at = between(&said, "listens at ", ",").parse().unwrap();
    std::fs::write(&file, format!("{right}idel = \"1s\"\n")).unwrap();
    running.signal(Signal::SIGHUP);
    let said = running.await_line("not reloaded, the rules before stay in force");
    assert!(
        said.contains("relay.toml:4:1: unknown key \"idel\"; did you mean \"idle\"?"),
        "{said}"
    );
    exchange(&mut connect(at), b"goes on");
    std::fs::write(&file, format!("{right}idle = \"1s\"\n")).unwrap();
    running.signal(Signal::SIGHUP);
    running.await_line("the rules were read again and are in force");
    running.await_line("count after a restart: idle");
    std::fs::remove_file(&file).unwrap();
    running.signal(Signal::SIGHUP);
    running.await_line("not reloaded");
    exchange(&mut connect(at), b"goes on");
}

#[test]
fn other_rules_hold_from_a_reload_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    let to = echo();
    let top = format!("listen = \"127.0.0.1:0\"\nforward = \"{to}\"\nlog = \"json\"\n");
    std::fs::write(&file, &top).unwrap();
    let mut running = Running::start(&mut relay(&["--config", file.to_str().unwrap()]));
    let said = running.await_line("relay listens at ");
    let at: std::net::SocketAddr = between(&said, "listens at ", ",").parse().unwrap();
    let log = lines(running.child.stdout.take().unwrap());
    let request = b"GET / HTTP/1.1\r\nHost: Ads.example\r\n\r\n";
    let mut before = connect(at);
    exchange(&mut before, request);

    let rule = "[[rule]]\naction = \"deny\"\nname = \"ads.example\"\ndeny-with = \"answer\"\n";
    std::fs::write(&file, top + rule).unwrap();
    running.signal(Signal::SIGHUP);
    running.await_line("the rules were read again and are in force");
    let answer = get_of(&at.to_string(), request);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let said: Value = serde_json::from_str(&log.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!((&said["verdict"], &said["end"]), (&"denied".into(), &"denied".into()));
    assert_eq!((&said["rule"], &said["name"]), (&1.into(), &"ads.example".into()));
    // What was decided before goes on.
    exchange(&mut before, request);
}

#[test]
fn a_check_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    // A port at which nobody can listen is no matter of the check.
    std::fs::write(&file, "listen = \"192.0.2.1:1\"\n[[rule]]\naction = \"allow\"\n").unwrap();
    let check = |options: &[&str]| {
        let options = [&["--check", "--config", file.to_str().unwrap()], options].concat();
        Running::start(&mut relay(&options)).end()
    };
    assert_eq!(check(&[]), (0, String::new()));
    std::fs::write(&file, "listen = \"192.0.2.1:1\"\n[[rule]]\naction = \"alow\"\n").unwrap();
    let (code, said) = check(&[]);
    assert!(code == 1 && said.contains("relay.toml:3:10: "), "{said}");
}

#[test]
fn options_count_instead_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    std::fs::write(&file, "listen = \"192.0.2.1:1\"\nlog = \"none\"\nthreads = 1\n").unwrap();
    let to = echo();
    let mut command = relay(&["--config", file.to_str().unwrap(), "--forward", &to.to_string()]);
    let (mut running, at) = Running::forwarder_of(command.args(["--log", "json"]));
    exchange(&mut connect(at), b"x");
    let log = lines(running.child.stdout.take().unwrap());
    assert!(log.recv_timeout(PATIENCE).unwrap().starts_with("{\"time\":"));
    let mut wrong = relay(&["--config", file.to_str().unwrap()]);
    let (code, said) = Running::start(&mut wrong).end();
    assert_eq!(code, 1);
    assert!(said.contains("192.0.2.1:1") && said.contains("`ip address`"), "{said}");
}

#[test]
fn what_is_wrong_at_the_start_is_said_in_one_sentence() {
    let (_running, at) = Running::forwarder(echo(), &[]);
    let at = at.to_string();
    let other = echo().to_string();
    for (options, code, what) in [
        (&["--listen", &at][..], 1, "something listens there already; `ss"),
        (&["--listen", "127.0.0.1:0", "--metrics", &at], 1, "cannot serve metrics at"),
        (&[], 1, "nowhere to listen"),
        (&["--listen", &other, "--forward", &other], 1, "would connect to itself"),
        (&["--listen", "127.0.0.1:0", "--config", "/nowhere"], 1, "cannot read /nowhere"),
        (
            &["--listen", "127.0.0.1:0", "--upstream", "socks5://me:geheim@host"],
            1,
            "--upstream: upstream host: write the proxy's port",
        ),
        (&["--listen", "localhost:80"], 2, "--listen <ADDR>"),
        (&["--listen", "127.0.0.1:0", "--log", "xml"], 2, "possible values: text, json, none"),
        (&["--listen", "127.0.0.1:0", "--idle", "5"], 2, "\"5\" is no duration"),
    ] {
        let (is, said) = Running::start(&mut relay(options)).end();
        assert_eq!(is, code, "{options:?}: {said}");
        assert!(said.contains(what), "{options:?}: {said}");
        assert!(code == 2 || said.lines().count() == 1, "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn without_engine_and_forward_a_sentence_says_what_to_do() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let mut running = Running::start(&mut relay(&["--listen", "127.0.0.1:0"]));
    running.await_line("relay listens at ");
    running.signal(Signal::SIGTERM);
    let (code, said) = running.end();
    assert_eq!(code, 0);
    // Somebody may run these tests under an engine.
    let warned = said.matches("warning: no engine acts on this process").count();
    assert_eq!(warned, usize::from(hoptrail::version(&socket).is_err()), "{said}");
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let (running, at) = Running::forwarder(echo(), &["--log", "json", "--drain", "0s"]);
    // The pipe takes some hundred lines; standard output stays open and unread.
    for _ in 0..2000 {
        exchange(&mut connect(at), b"x");
    }
    running.signal(Signal::SIGTERM);
    let (code, said) = running.end();
    assert_eq!(code, 0);
    assert!(said.contains("the last lines of the log are missing"), "{said}");
}

#[test]
fn a_log_whose_reader_has_gone_is_said_and_holds_nothing_up() {
    let (mut running, at) = Running::forwarder(echo(), &[]);
    drop(running.child.stdout.take());
    exchange(&mut connect(at), b"x");
    running.await_line("standard output was closed, so the log ends here; the relay goes on");
    exchange(&mut connect(at), b"x");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().0, 0);
}

#[test]
fn a_full_disk_is_said() {
    let to = echo().to_string();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (mut running, at) =
        Running::forwarder_of(relay(&["--forward", &to]).stdout(Stdio::from(full)));
    exchange(&mut connect(at), b"x");
    running.await_line("the log cannot be written to standard output: No space left on device");
    exchange(&mut connect(at), b"x");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().0, 0);
}

#[test]
fn a_pause_of_accepting_is_said_once_and_ends() {
    let options = ["--max-connections", "2", "--log", "none"];
    let (mut running, at) = Running::forwarder(echo(), &options);
    let mut open = [connect(at), connect(at)];
    open.iter_mut().for_each(|stream| exchange(stream, b"x"));
    let mut third = connect(at);
    running
        .await_line("warning: accepting was paused once: open files, memory or --max-connections");
    drop(open);
    exchange(&mut third, b"its turn");
    running.signal(Signal::SIGTERM);
    drop(third);
    let (code, said) = running.end();
    assert_eq!((code, said.matches("paused").count()), (0, 1), "{said}");
}

#[test]
fn metrics_for_everybody_are_warned_of() {
    let options = ["--metrics", "0.0.0.0:0", "--listen", "127.0.0.1:0", "--live", "never"];
    let mut running = Running::start(&mut relay(&options));
    running.await_line("warning: metrics are served at 0.0.0.0:");
}

#[test]
fn the_end_of_its_terminal_is_its_end() {
    let terminal = terminal();
    let mut command = std::process::Command::new("setsid");
    command.args(["--ctty", env!("CARGO_BIN_EXE_hoptrail"), "relay", "--listen", "127.0.0.1:0"]);
    command.args(["--forward", &echo().to_string()]).stdout(Stdio::null());
    // Standard error stays readable, the terminal is standard input.
    command.stdin(terminal.slave).stderr(Stdio::piped());
    let mut running = Running::of(command.spawn().unwrap());
    drop(command);
    running.await_line("relay listens at ");
    drop(terminal.master);
    let (code, said) = running.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("hoptrail: stopped\n"), "{said}");
}

#[test]
fn systemd_is_told() {
    let name = format!("hoptrail-relay-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = echo();
    let mut command = relay(&["--forward", &to.to_string()]);
    let (running, _) = Running::forwarder_of(command.env("NOTIFY_SOCKET", format!("@{name}")));
    let next = || {
        let mut buffer = [0; 512];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    assert!(next().starts_with("READY=1\nSTATUS=relay listens at 127.0.0.1:"));
    running.signal(Signal::SIGHUP);
    assert!(next().starts_with("RELOADING=1\n"));
    assert!(next().starts_with("READY=1\n"));
    running.signal(Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(running.end().0, 0);
}

/// A terminal whose master the started programs do not inherit.
fn terminal() -> nix::pty::OpenptyResult {
    let inherited = nix::pty::openpty(None, None).unwrap();
    let (master, slave) = (inherited.master.try_clone(), inherited.slave.try_clone());
    nix::pty::OpenptyResult { master: master.unwrap(), slave: slave.unwrap() }
}

/// What a relay with its standard error on a terminal draws there.
fn drawn(environment: &[(&str, &str)]) -> String {
    let terminal = terminal();
    let to = echo();
    let mut command = relay(&["--forward", &to.to_string(), "--listen", "127.0.0.1:0"]);
    command.args(["--log", "none"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(environment.iter().copied());
    let mut child = command.stderr(terminal.slave.try_clone().unwrap()).spawn().unwrap();
    drop(terminal.slave);
    // The command keeps its standard error too, for as long as it lives.
    drop(command);
    let mut master = File::from(terminal.master);
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    // The end of the other side is EIO.
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
        if String::from_utf8_lossy(&all).matches(" open").count() == 3 {
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(all).unwrap()
}

#[test]
fn a_terminal_has_a_live_line_which_goes_away() {
    let all = drawn(&[]);
    assert!(all.contains("\r\x1b[K\x1b[1m\x1b[36m0 open\x1b[0m  "), "{all:?}");
    assert!(all.contains("0/s new"), "{all:?}");
    let stopped = all.rfind("hoptrail: stopped").unwrap();
    assert!(all[..stopped].ends_with("\r\x1b[K"), "{all:?}");
    assert!(!all[stopped..].contains(" open"), "{all:?}");
}

#[test]
fn no_color_is_obeyed() {
    let all = drawn(&[("NO_COLOR", "1")]);
    assert!(all.contains("\r\x1b[K0 open  0/s new"), "{all:?}");
    assert!(!all.contains("\x1b[1m") && !all.contains("\x1b[36m"), "{all:?}");
}
