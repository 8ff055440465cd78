//! Urgent data: an old corner of TCP that telnet and FTP still use, and that makes splice(2) stop.

use crate::route::{Buffers, Route};
use crate::stream::{Seen, bytes_at, receive, receive_all, receive_exactly};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send as send_with, sockopt};
use std::net::{Shutdown, TcpStream};
use std::thread;

fn send_urgent(stream: &TcpStream, byte: u8) {
    assert_eq!(send_with(stream, &[byte], SendFlags::OOB).unwrap(), 1);
}

/// Waits for an urgent byte, and takes it out of band.
fn take_urgent(stream: &TcpStream) -> u8 {
    poll(&mut [PollFd::new(stream, PollFlags::PRI)], None).unwrap();
    let mut byte = [0];
    assert_eq!(recv(stream, &mut byte, RecvFlags::OOB).unwrap().0, 1);
    byte[0]
}

#[test]
fn an_urgent_byte_is_beside_the_stream_as_before() {
    for route in Route::each() {
        let (client, server) = route.pair();
        for (sender, receiver) in [(&client, &server), (&server, &client)] {
            crate::stream::send(sender, 0, 1000).unwrap();
            receive_exactly(receiver, 0, 1000);
            send_urgent(sender, b'!');
            assert_eq!(take_urgent(receiver), b'!');
            crate::stream::send(sender, 1000, 1000).unwrap();
            receive_exactly(receiver, 1000, 1000);
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&server, 2000), (0, Seen::End));
    }
}

#[test]
fn an_urgent_byte_is_in_the_stream_where_the_receiver_wants_that() {
    for route in Route::each() {
        let (client, server) = route.pair();
        sockopt::set_socket_oobinline(&server, true).unwrap();
        let bytes = bytes_at(0, 300);
        for (n, byte) in bytes.iter().enumerate() {
            if n % 100 == 50 {
                send_urgent(&client, *byte);
            } else {
                crate::stream::send(&client, n as u64, 1).unwrap();
            }
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&server, 0), (300, Seen::End));
    }
}

/// Spliced data, held data, a slow reader: no byte is lost and nothing hangs.
#[test]
fn urgent_bytes_in_bulk() {
    let much = 1 << 20;
    for (route, slow) in Route::each().iter().flat_map(|r| [(r, false), (r, true)]) {
        let small = Buffers { receive: slow.then_some(8192), ..Buffers::default() };
        let (client, server) = route.pair_with(Buffers::default(), small);
        sockopt::set_socket_oobinline(&server, true).unwrap();
        let sender = thread::spawn(move || {
            let mut at = 0;
            for _ in 0..8 {
                crate::stream::send(&client, at, much).unwrap();
                send_urgent(&client, bytes_at(at + much, 1)[0]);
                at += much + 1;
            }
            at
        });
        let mut read = 0;
        loop {
            match receive(&server, read, if slow { 5000 } else { 1 << 16 }).unwrap() {
                0 => break,
                n => read += n as u64,
            }
        }
        assert_eq!(read, sender.join().unwrap(), "direct {} slow {slow}", route.is_direct());
    }
}
