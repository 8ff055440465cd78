//! A provider's proxy.
use hoptrail::{Listener, relay};

fn main() -> hoptrail::Result<()> {
    let listener = Listener::bind("127.0.0.1:15871")?;
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || match connection.dial() {
            Ok((application, destination)) => drop(relay(application, destination)),
            Err(error) => eprintln!("{error}"),
        });
    }
    Ok(())
}
