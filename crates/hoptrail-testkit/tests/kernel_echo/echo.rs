//! The listener: whoever asks is told what the listener was told.

use hoptrail::{Context, ErrorKind, Protocol, Redirect, UdpProxySocket};
use hoptrail_core::records::Exe;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// What a listener sends back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Echo {
    /// The context of a redirected connection or datagram, and the proxy's port.
    Context {
        pid: u32,
        /// Device and inode.
        exe: (u32, u64),
        path: PathBuf,
        /// Port of the application's socket.
        from_port: u16,
        destination: SocketAddr,
        udp: bool,
        /// The provider's own.
        bytes: String,
        proxy_port: u16,
    },
    /// The general text: nothing was told, and here.
    NoContext { at: SocketAddr },
    /// Something that no listener should be told.
    Failed { at: SocketAddr, why: String },
}

type Told = hoptrail::Result<Option<Option<Context>>>;

impl Echo {
    fn of(told: Told, at: SocketAddr) -> Self {
        match told {
            Ok(Some(Some(context))) => Self::of_context(&context, at.port()),
            Ok(Some(None)) => Self::Failed { at, why: "records without a context".into() },
            Ok(None) => Self::NoContext { at },
            // On another machine.
            Err(error) if error.kind() == ErrorKind::NoEngine => Self::NoContext { at },
            Err(error) => Self::Failed { at, why: error.to_string() },
        }
    }

    fn of_context(context: &Context, proxy_port: u16) -> Self {
        let application = context.application();
        let Exe { dev, ino } = application.exe;
        Self::Context {
            pid: application.pid,
            exe: (dev, ino),
            path: context.exe_path().map(Path::to_owned).unwrap_or_default(),
            from_port: context.local().port(),
            destination: context.destination(),
            udp: context.protocol() == Some(Protocol::Udp),
            bytes: String::from_utf8_lossy(context.provider_bytes()).into_owned(),
            proxy_port,
        }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an echo as JSON")
    }
}

/// In an actor: listens at each address, for both protocols, on threads of their own.
pub(crate) fn start(at: Vec<SocketAddr>) -> io::Result<()> {
    for at in at {
        let listener = TcpListener::bind(at)?;
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                // A client that is gone is not answered.
                let _ = answer(stream, at);
            }
        });
        let socket = UdpProxySocket::bind(at)?;
        std::thread::spawn(move || answer_datagrams(&socket, at));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, at: SocketAddr) -> io::Result<()> {
    let told = Redirect::of(&stream).map(|all| all.map(|redirect| redirect.context().cloned()));
    stream.read_exact(&mut [0])?;
    stream.write_all(&Echo::of(told, at).text())
}

fn answer_datagrams(socket: &UdpProxySocket, at: SocketAddr) {
    while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
        let told = socket.redirect_of(peer);
        let told = told.map(|all| all.map(|redirect| redirect.context().cloned()));
        socket.send_to(&Echo::of(told, at).text(), peer).expect("the answer is sent");
    }
}
