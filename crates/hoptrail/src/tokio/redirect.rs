//! Dialling.

use crate::dialling::Dialling;
use crate::error::{Error, Operation, Result};
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A [`crate::Redirect`] that dials without blocking its thread.
#[derive(Clone, Debug)]
pub struct Redirect(crate::Redirect);

impl Redirect {
    /// As [`crate::Redirect::dial`].
    ///
    /// # Errors
    /// As [`crate::Redirect::dial`].
    pub async fn dial(&self) -> Result<TcpStream> {
        connected(self.0.start_dial()?).await
    }

    /// As [`crate::Redirect::dial_to`].
    ///
    /// # Errors
    /// As [`crate::Redirect::dial`].
    pub async fn dial_to(&self, to: SocketAddr) -> Result<TcpStream> {
        connected(self.0.start_dial_to(to)?).await
    }

    /// As [`crate::Redirect::dial_timeout`]. The runtime's time must be enabled.
    ///
    /// # Errors
    /// As [`crate::Redirect::dial_timeout`].
    pub async fn dial_timeout(&self, limit: Duration) -> Result<TcpStream> {
        self.dial_to_timeout(self.destination(), limit).await
    }

    /// As [`crate::Redirect::dial_to_timeout`]. The runtime's time must be enabled.
    ///
    /// # Errors
    /// As [`crate::Redirect::dial_timeout`].
    pub async fn dial_to_timeout(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let dialling = self.0.start_dial_to(to)?;
        let operation = Operation::Connect(dialling.destination());
        let late = |_| Error::new(operation, io::ErrorKind::TimedOut.into());
        timeout(limit, connected(dialling)).await.map_err(late)?
    }
}

impl From<crate::Redirect> for Redirect {
    fn from(redirect: crate::Redirect) -> Self {
        Self(redirect)
    }
}

impl Deref for Redirect {
    type Target = crate::Redirect;

    fn deref(&self) -> &crate::Redirect {
        &self.0
    }
}

/// Waits until the connect has succeeded or failed.
async fn connected(dialling: Dialling) -> Result<TcpStream> {
    let to = dialling.destination();
    let failed = |error| Error::new(Operation::Connect(to), error);
    let stream = TcpStream::from_std(dialling.into_stream()).map_err(failed)?;
    stream.writable().await.map_err(failed)?;
    match stream.take_error() {
        Ok(None) => Ok(stream),
        Ok(Some(error)) | Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Records};
    use std::net::TcpListener;
    use tokio::runtime::Runtime;

    #[test]
    fn a_dial_ends_in_a_connection_or_in_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        Runtime::new().unwrap().block_on(async {
            let stream = connected(crate::dialling::sample(to)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), to);
            drop(listener);
            let error = connected(crate::dialling::sample(to)).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::Refused, Operation::Connect(to))
            );
        });
    }

    #[test]
    fn without_an_engine_records_cannot_be_set_and_nothing_is_dialled() {
        let records = Records::from_bytes(crate::trail::sample(1).as_bytes());
        let to = "127.0.0.1:9".parse().unwrap();
        let redirect = Redirect::from(crate::Redirect::with_destination(records, to));
        let soon = Duration::from_secs(5);
        Runtime::new().unwrap().block_on(async {
            for error in [
                redirect.dial().await.unwrap_err(),
                redirect.dial_to(to).await.unwrap_err(),
                redirect.dial_timeout(soon).await.unwrap_err(),
                redirect.dial_to_timeout(to, soon).await.unwrap_err(),
            ] {
                assert_eq!(error.operation(), Operation::SetRecords);
                assert!(matches!(error.kind(), ErrorKind::NoEngine | ErrorKind::BadRecords));
            }
        });
    }
}
