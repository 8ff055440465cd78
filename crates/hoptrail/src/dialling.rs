//! A dial that an event loop finishes: started, and told later how it went.

use crate::error::{Error, Operation, Result};
use socket2::Socket;
use std::net::{SocketAddr, TcpStream};

/// A connect under way on a non-blocking socket that carries the records:
/// [`Redirect::start_dial`](crate::Redirect::start_dial).
///
/// When poll, epoll or the like says that the socket is writable or has failed, [`finish`] tells how it
/// went. Dropping it gives the connect up.
///
/// [`finish`]: Self::finish
#[derive(Debug)]
#[must_use]
pub struct Dialling {
    socket: Socket,
    to: SocketAddr,
}

impl Dialling {
    pub(crate) const fn new(socket: Socket, to: SocketAddr) -> Self {
        Self { socket, to }
    }

    /// The address that is being dialled.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.to
    }

    /// The connection, still non-blocking, once the socket has become writable. Before that it gives a
    /// stream that is not connected yet.
    ///
    /// # Errors
    /// As [`Redirect::dial`](crate::Redirect::dial), always of [`Operation::Connect`].
    pub fn finish(self) -> Result<TcpStream> {
        match self.socket.take_error() {
            Ok(None) => Ok(self.socket.into()),
            Ok(Some(error)) | Err(error) => Err(Error::new(Operation::Connect(self.to), error)),
        }
    }

    /// The stream without a question to the system: for a loop that was told "writable" and no error.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.socket.into()
    }
}

#[cfg(unix)]
mod fd {
    use super::Dialling;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

    impl AsFd for Dialling {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    impl AsRawFd for Dialling {
        fn as_raw_fd(&self) -> RawFd {
            self.socket.as_raw_fd()
        }
    }

    impl From<Dialling> for OwnedFd {
        fn from(dialling: Dialling) -> Self {
            dialling.socket.into()
        }
    }
}

#[cfg(windows)]
mod socket {
    use super::Dialling;
    use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, OwnedSocket, RawSocket};

    impl AsSocket for Dialling {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.socket.as_socket()
        }
    }

    impl AsRawSocket for Dialling {
        fn as_raw_socket(&self) -> RawSocket {
            self.socket.as_raw_socket()
        }
    }

    impl From<Dialling> for OwnedSocket {
        fn from(dialling: Dialling) -> Self {
            dialling.socket.into()
        }
    }
}

/// A dial of `to` without records, which could not be set without an engine.
#[cfg(test)]
pub(crate) fn sample(to: SocketAddr) -> Dialling {
    use socket2::{Domain, Type};
    let socket = crate::sys::open_nonblocking(Domain::for_address(to), Type::STREAM).unwrap();
    let error = socket.connect(&to.into()).unwrap_err();
    assert!(crate::sys::under_way(&error), "{error}");
    Dialling::new(socket, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::net::TcpListener;

    fn finish(to: SocketAddr) -> Result<TcpStream> {
        let dialling = sample(to);
        poll(&mut [PollFd::new(&dialling, PollFlags::OUT)], None).unwrap();
        dialling.finish()
    }

    #[test]
    fn it_ends_in_a_connection_or_in_the_reason() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let to = listener.local_addr().unwrap();
            assert_eq!(finish(to).unwrap().peer_addr().unwrap(), to);
            drop(listener);
            let error = finish(to).unwrap_err();
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::Refused, Operation::Connect(to))
            );
        }
    }

    #[test]
    fn dropping_gives_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        drop(sample(listener.local_addr().unwrap()));
        let dialling = sample(listener.local_addr().unwrap());
        assert_eq!(dialling.destination(), listener.local_addr().unwrap());
        poll(&mut [PollFd::new(&dialling, PollFlags::OUT)], None).unwrap();
        assert!(dialling.into_stream().peer_addr().is_ok());
    }
}
