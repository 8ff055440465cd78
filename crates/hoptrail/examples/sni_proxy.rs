//! A provider's proxy that refuses TLS connections by name: `sni_proxy 127.0.0.1:15871 example.org ...`.

use hoptrail::{Connection, Listener, relay};
use std::io::{self, Read, Write};
use std::{sync::Arc, thread::spawn, time::Duration};
use tls_parser::{TlsExtension::SNI, TlsMessage, TlsMessageHandshake, nom, *};

fn main() -> hoptrail::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("usage: sni_proxy ADDRESS:PORT REFUSED-NAME...");
    let refused: Arc<[String]> = arguments.collect();
    for connection in Listener::bind(address)?.incoming() {
        let (connection, refused) = (connection?, Arc::clone(&refused));
        spawn(move || handle(connection, &refused).unwrap_or_else(|error| eprintln!("{error}")));
    }
    Ok(())
}

fn handle(mut connection: Connection, refused: &[String]) -> io::Result<()> {
    // Where the server speaks first, there is nothing to wait for.
    connection.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut first, mut part, mut name) = (Vec::new(), [0; 4096], None);
    while let (None, Ok(n @ 1..)) = (&name, connection.stream.read(&mut part)) {
        first.extend(&part[..n]);
        name = server_name(&first);
    }
    if name.as_ref().is_some_and(|name| refused.contains(name)) {
        return Ok(connection.refuse()?);
    }
    let (application, mut destination) = connection.dial()?;
    destination.write_all(&first)?;
    relay(application, destination).error.map_or(Ok(()), |error| Err(error.into()))
}

/// The name in a ClientHello, empty for none; nothing when it takes more bytes to tell.
fn server_name(mut records: &[u8]) -> Option<String> {
    let is_handshake = |bytes: &[u8]| bytes.first().is_none_or(|kind| *kind == 22);
    // A message may be spread over records.
    let mut message = Vec::new();
    while let (true, Ok((rest, record))) = (is_handshake(records), parse_tls_raw_record(records)) {
        message.extend(record.data);
        records = rest;
    }
    match parse_tls_message_handshake(&message) {
        Ok((_, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) => {
            let parsed = parse_tls_client_hello_extensions(hello.ext.unwrap_or_default());
            let name = parsed.ok()?.1.into_iter().find_map(|extension| match extension {
                SNI(names) => {
                    names.first().map(|(_, name)| String::from_utf8_lossy(name).to_lowercase())
                }
                _ => None,
            });
            Some(name.unwrap_or_default())
        }
        Err(nom::Err::Incomplete(_)) if is_handshake(records) => None,
        _ => Some(String::new()),
    }
}
