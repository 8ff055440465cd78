//! Closing a connection so that the other side sees a failure, not the end of an answer.

use crate::error::{Error, Operation, Result};
use crate::sys::AsSock;
use socket2::SockRef;
use std::net::TcpStream;
use std::time::Duration;

/// Closes a connection with a reset. Data that was not sent yet is lost. It happens when the last
/// clone of the stream is gone.
///
/// # Errors
/// When the system refuses; the connection is then closed in the ordinary way.
pub fn reset(stream: TcpStream) -> Result<()> {
    on_close(&stream)
}

/// Makes the coming close a reset.
pub(crate) fn on_close(stream: &impl AsSock) -> Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).map_err(Error::of(Operation::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn the_other_side_sees_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        reset(listener.accept().unwrap().0).unwrap();
        match client.read(&mut [0; 1]) {
            // Wine takes the error for itself; after an orderly end one could still write.
            Ok(0) if cfg!(windows) => assert!(client.write(b"x").is_err()),
            other => assert_eq!(other.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}
