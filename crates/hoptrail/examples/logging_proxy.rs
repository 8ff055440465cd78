//! A provider's proxy that logs one line per connection: `logging_proxy 127.0.0.1:15871`.

use hoptrail::{Connection, ErrorKind, Listener, Result, relay};
use std::thread::{sleep, spawn};
use std::time::Duration;

fn main() -> std::process::ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: logging_proxy ADDRESS:PORT (an address of the provider's `listen`)");
        return 2.into();
    };
    let Err(error) = serve(&address) else { return 0.into() };
    eprintln!("logging_proxy: {error}");
    1.into()
}

fn serve(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    for connection in listener.incoming() {
        match connection {
            Ok(connection) => drop(spawn(move || handle(connection))),
            Err(error) if error.kind() == ErrorKind::Exhausted => {
                eprintln!("logging_proxy: {error}");
                sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn handle(connection: Connection) {
    let who = describe(&connection);
    // When dialling fails, the application has seen a reset.
    match connection.dial_timeout(Duration::from_secs(30)) {
        Ok((application, destination)) => {
            let done = relay(application, destination);
            let end = done.error.map_or("closed".into(), |error| error.to_string());
            println!("{who}: {} bytes up, {} down, {end}", done.from_first, done.from_second);
        }
        Err(error) => println!("{who}: {error}"),
    }
}

fn describe(connection: &Connection) -> String {
    let exe = connection.redirect.context().and_then(|context| context.exe_path());
    let exe = exe.map_or("?".into(), |path| path.display().to_string());
    match connection.redirect.records().trail() {
        Ok(trail) => format!("{exe} {trail}"),
        Err(_) => format!("{exe} -> {}", connection.redirect.destination()),
    }
}
