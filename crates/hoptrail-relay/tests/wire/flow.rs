//! How bytes flow: back-pressure, single bytes, and what a socket tells about bytes that wait in it.

use crate::route::{Buffers, Route, connect};
use crate::stream::{Seen, bytes_at, receive_all, receive_exactly, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const SMALL: Buffers = Buffers { send: Some(64 << 10), receive: Some(64 << 10) };
/// For this long nothing more is taken: then nothing will be.
const QUIET: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Sends until nobody takes any more.
fn fill(stream: &TcpStream) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    loop {
        match rustix::io::write(stream, bytes_at(sent, 1 << 15)) {
            Ok(n) => sent += n as u64,
            Err(rustix::io::Errno::AGAIN) => {
                let mut fds = [PollFd::new(stream, PollFlags::OUT)];
                if poll(&mut fds, Some(&QUIET)).unwrap() == 0 {
                    stream.set_nonblocking(false).unwrap();
                    return sent;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A reader that stalls stops the sender; what the relay keeps meanwhile is bounded, and not lost.
#[test]
fn back_pressure_reaches_the_sender() {
    for route in Route::each() {
        for up in [true, false] {
            let (client, server) = route.pair_with(SMALL, SMALL);
            let (sender, reader) = if up { (client, server) } else { (server, client) };
            let sent = fill(&sender);
            // What the relay may hold: a pipe, and the buffers of two sockets, which the kernel sizes.
            assert!(sent < 24 << 20, "{sent} bytes went into nowhere");
            sender.shutdown(Shutdown::Write).unwrap();
            assert_eq!(receive_all(&reader, 0), (sent, Seen::End));
        }
    }
}

/// One direction that stalls does not stop the other.
#[test]
fn a_stalled_direction_leaves_the_other_alone() {
    for route in Route::each() {
        let (client, server) = route.pair_with(SMALL, SMALL);
        let sent = fill(&client);
        for n in 0..100 {
            send(&server, n * 1000, 1000).unwrap();
            receive_exactly(&client, n * 1000, 1000);
        }
        receive_exactly(&server, 0, sent);
    }
}

#[test]
fn single_bytes() {
    for route in Route::each() {
        let (client, server) = route.pair();
        let echo = thread::spawn(move || std::io::copy(&mut &server, &mut &server).unwrap());
        for n in 0..3000 {
            send(&client, n, 1).unwrap();
            receive_exactly(&client, n, 1);
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(echo.join().unwrap(), 3000);
    }
}

/// Bytes that wait can be counted and looked at where they have arrived.
#[test]
fn waiting_bytes_can_be_counted_and_peeked_at() {
    for route in Route::each() {
        let (client, server) = route.pair();
        for (sender, receiver) in [(&client, &server), (&server, &client)] {
            send(sender, 0, 5000).unwrap();
            let mut peeked = vec![0; 5000];
            while receiver.peek(&mut peeked).unwrap() < 5000 {}
            assert!(peeked == bytes_at(0, 5000));
            assert_eq!(rustix::io::ioctl_fionread(receiver).unwrap(), 5000);
            receive_exactly(receiver, 0, 2000);
            assert_eq!(rustix::io::ioctl_fionread(receiver).unwrap(), 3000);
            receive_exactly(receiver, 2000, 3000);
        }
    }
}

/// Without TCP_NODELAY a message that follows another waits for 40 ms; no clock is needed to see whether it is set.
/// Nor for pacing, which is what bbr does.
#[test]
fn the_relays_sockets_wait_for_nothing_and_watch_their_peers() {
    let route = Route::relayed();
    let (client, server) = route.pair();
    // By then it has set them.
    send(&client, 0, 1).unwrap();
    receive_exactly(&server, 0, 1);
    let ends = [client.local_addr().unwrap(), server.local_addr().unwrap()];
    let of_relay: Vec<_> = sockets_to(&ends);
    assert_eq!(of_relay.len(), 2);
    let system = sockopt::tcp_congestion(&client).unwrap();
    let unpaced = if system.starts_with("bbr") { "reno" } else { &system };
    let deadline = Instant::now() + Duration::from_secs(30);
    for socket in of_relay {
        assert_eq!(sockopt::tcp_congestion(&socket).unwrap(), unpaced);
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_oobinline(&socket).unwrap());
        // That of a connection which lasts.
        while !sockopt::socket_keepalive(&socket).unwrap() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// This process's sockets that are connected to one of these.
fn sockets_to(peers: &[SocketAddr]) -> Vec<Socket> {
    let process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().parse().unwrap()
    };
    let socket =
        |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok().map(Socket::from);
    let to_peer = |socket: &Socket| {
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        peer.is_some_and(|peer| peers.contains(&peer))
    };
    numbers.map(number).filter_map(socket).filter(to_peer).collect()
}

#[test]
fn an_idle_connection_is_reset_when_told_so() {
    let route = Route::relayed_by(|c| c.idle = Some(Duration::from_millis(200)));
    let (client, server) = route.pair();
    send(&client, 0, 10).unwrap();
    assert_eq!(receive_all(&server, 0), (10, Seen::Reset));
    assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    assert_eq!(route.record().next_end().1, hoptrail_relay::ledger::End::Idle);
}

#[test]
fn a_half_closed_idle_connection_likewise() {
    let route = Route::relayed_by(|c| c.half_closed_idle = Some(Duration::from_millis(200)));
    let (client, server) = route.pair();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_all(&server, 0), (0, Seen::End));
    assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    assert_eq!(route.record().next_end().1, hoptrail_relay::ledger::End::Idle);
}

/// Decided before its first byte, or by it.
#[test]
fn a_throttled_connection_is_told_as_one() {
    const THROTTLE: &str = "[[rule]]\naction = \"throttle\"\nrate = \"1 MB/s\"\n";
    let by_its_bytes = format!("{THROTTLE}protocol = \"http1\"\n");
    let other = format!("{THROTTLE}protocol = \"ssh\"\n");
    for (rules, rule) in [("", None), (THROTTLE, Some(1)), (&by_its_bytes, Some(1)), (&other, None)]
    {
        let route = Route::relayed_with(rules, None);
        let (mut client, server) = (connect(route.to, Buffers::default()), route.accept());
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let ends = (client.local_addr().unwrap(), server.local_addr().unwrap());
        client.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut &server, &mut std::io::sink()).unwrap();
        drop(server);
        let (ledger, _) = route.record().next_end();
        assert_eq!((ledger.peer, ledger.destination), ends);
        assert_eq!((ledger.rule.map(|rule| rule.0), ledger.throttled), (rule, rule.is_some()));
    }
}
