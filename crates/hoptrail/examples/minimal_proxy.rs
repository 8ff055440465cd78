//! A provider's proxy.
use hoptrail::{Listener, relay};
use std::{thread, time::Duration};

fn main() -> hoptrail::Result<()> {
    for connection in Listener::bind("127.0.0.1:15871")?.incoming() {
        match connection {
            Ok(connection) => drop(thread::spawn(|| match connection.dial() {
                Ok((application, destination)) => drop(relay(application, destination)),
                Err(error) => eprintln!("{error}"),
            })),
            Err(error) if error.is_temporary() => thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
