//! Proxies that work by themselves, well-mannered and rude.

use super::actor::Actor;
use super::{Lab, listener};
use crate::lab::stage::keep;
use hoptrail::{Redirect, relay};
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

/// How a proxy takes part in a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// Sets the records of what it accepted on what it dials.
    Declares,
    /// Asks for the original destination, as unmodified transparent proxies do, and for nothing else.
    AsksDestination,
    /// Asks for nothing: it knows where to dial.
    Fixed(SocketAddr),
}

/// A provider's proxy at work. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub actor: Actor,
}

/// What a proxy saw of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The accepted connection's peer.
    pub peer: SocketAddr,
    /// Where it dialled.
    pub dialled: Option<SocketAddr>,
    /// Errno of the dial; 0 when it succeeded.
    pub errno: i32,
}

/// In the actor: what its proxy saw.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

impl Lab {
    /// Starts a proxy at the listeners of provider `name`, in the cgroup of that name.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn proxy(&self, name: &str, manner: Manner) -> Proxy {
        let actor = self.actor(name);
        let on = [listener(name, true), listener(name, false)];
        actor.run((on, manner), start).expect("the proxy listens");
        Proxy { actor }
    }
}

impl Proxy {
    /// What it saw, a connection each, in the order in which the dials ended.
    ///
    /// # Panics
    /// When it is dead.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.actor.run((), |()| Ok(SEEN.lock().expect("seen").clone())).expect("what it saw")
    }
}

fn start((on, manner): ([SocketAddr; 2], Manner)) -> io::Result<()> {
    for address in on {
        let listener = TcpListener::bind(address)?;
        keep(listener.try_clone()?);
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                std::thread::spawn(move || serve(stream, peer, manner));
            }
        });
    }
    Ok(())
}

fn serve(stream: TcpStream, peer: SocketAddr, manner: Manner) {
    let (dialled, upstream) = match manner {
        Manner::Declares => declares(&stream),
        Manner::AsksDestination => asks(&stream),
        Manner::Fixed(to) => (Some(to), TcpStream::connect(to)),
    };
    let errno = upstream.as_ref().err().map_or(0, |e| e.raw_os_error().unwrap_or(-1));
    SEEN.lock().expect("seen").push(Seen { peer, dialled, errno });
    match upstream {
        Ok(upstream) => {
            let _ = relay(stream, upstream);
        }
        // The application is to see a failure and not an empty answer.
        Err(_) => {
            SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("linger")
        }
    }
}

fn declares(stream: &TcpStream) -> (Option<SocketAddr>, io::Result<TcpStream>) {
    let redirect = match Redirect::of(stream) {
        Ok(Some(redirect)) => redirect,
        Ok(None) => return (None, Err(io::Error::from_raw_os_error(libc::ENODATA))),
        Err(e) => return (None, Err(plain(&e))),
    };
    let to = redirect.destination();
    (Some(to), redirect.dial().map_err(|e| plain(&e)))
}

fn asks(stream: &TcpStream) -> (Option<SocketAddr>, io::Result<TcpStream>) {
    match hoptrail::original_destination(stream) {
        Ok(Some(to)) => (Some(to), TcpStream::connect(to)),
        Ok(None) => (None, Err(io::Error::from_raw_os_error(libc::ENODATA))),
        Err(e) => (None, Err(plain(&e))),
    }
}

/// The errno alone.
fn plain(error: &hoptrail::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno().unwrap_or(libc::EIO))
}
