//! The other end: sockets that a worker serves until it ends.

use super::bulk::{self, Meters};
use super::{answer, socks};
use crate::wire::Service;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const BACKLOG: i32 = 8192;
/// Room for whole batches of datagrams.
const RECEIVE_BUFFER: usize = 64 << 20;

pub(super) enum Served {
    /// A thread serves it and counts what it accepts.
    Thread(Arc<AtomicU64>),
    Waiting(TcpListener),
    Datagrams(UdpSocket),
    /// A thread for each connection meters it.
    Bulk(Meters),
}

impl Served {
    pub(super) fn accepted(&self) -> io::Result<u64> {
        match self {
            Self::Thread(count) => Ok(count.load(Ordering::Relaxed)),
            _ => Err(io::Error::other("no thread accepts there")),
        }
    }

    pub(super) fn waiting(&self) -> io::Result<&TcpListener> {
        match self {
            Self::Waiting(listener) => Ok(listener),
            _ => Err(io::Error::other("that listener is not for a relay")),
        }
    }

    pub(super) fn datagrams(&self) -> io::Result<&UdpSocket> {
        match self {
            Self::Datagrams(socket) => Ok(socket),
            _ => Err(io::Error::other("that socket is not one for datagrams")),
        }
    }

    pub(super) fn meters(&self) -> io::Result<&Meters> {
        match self {
            Self::Bulk(meters) => Ok(meters),
            _ => Err(io::Error::other("nothing is metered there")),
        }
    }
}

pub(super) fn open(service: Service, at: SocketAddr) -> io::Result<Served> {
    let serve: fn(TcpStream) = match service {
        Service::Wait => return Ok(Served::Waiting(listen(at)?)),
        Service::Datagrams => return Ok(Served::Datagrams(receiver(at)?)),
        Service::Bulk => return Ok(Served::Bulk(meter(listen(at)?))),
        Service::Answer => return Ok(Served::Thread(answers(listen(at)?))),
        Service::Accept => drop,
        Service::Echo => echo,
        Service::Sink => sink,
    };
    let listener = listen(at)?;
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            if let Ok(stream) = stream {
                serve(stream);
            }
        }
    });
    Ok(Served::Thread(count))
}

fn meter(listener: TcpListener) -> Meters {
    let meters = Meters::new();
    let sender = meters.sender.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            thread::spawn(move || bulk::serve(stream, &sender));
        }
    });
    meters
}

fn answers(listener: TcpListener) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        if let Err(e) = answer::serve(&listener, &counter) {
            eprintln!("hoptrail-bench: the server that answers ended: {e}");
        }
    });
    count
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn receiver(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    force_receive_buffer(&socket)?;
    socket.bind(&at.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[expect(unsafe_code, reason = "the socket library has no SO_RCVBUFFORCE")]
fn force_receive_buffer(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let bytes = RECEIVE_BUFFER as libc::c_int;
    // SAFETY: the descriptor is open; the value is a live int of the size given, which the kernel reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 4096];
    let mut first = [0];
    if stream.peek(&mut first).is_ok() && first[0] == socks::VERSION {
        let _ = socks::shake_hands(&mut stream);
    }
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn sink(mut stream: TcpStream) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(1..) = stream.read(&mut buffer) {}
}
