//! A tokio stream as one end of a direction.

use crate::direction::End;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use tokio::net::TcpStream;

impl End for TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn end(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }
}
