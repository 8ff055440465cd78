//! The demo's programs: two inspecting proxies, a client for machines without curl, and the origin server.

use crate::demo_http::{add_via, answer, read_head, request_line, vias};
use crate::failure::Failure;
use crate::output;
use hoptrail::{Listener, Redirect, original_destination};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No part waits longer for another.
const PATIENCE: Duration = Duration::from_secs(10);

/// An inspecting proxy (internal)
#[derive(clap::Args, Debug)]
pub(crate) struct ProxyArgs {
    /// Whose
    name: String,
    /// Where it listens
    #[arg(required = true)]
    listen: Vec<SocketAddr>,
    /// Know only SO_ORIGINAL_DST and set no records
    #[arg(long)]
    rude: bool,
}

/// A client (internal)
#[derive(clap::Args, Debug)]
pub(crate) struct ClientArgs {
    /// The origin
    to: SocketAddr,
}

/// What the origin saw: the intermediaries of every connection.
pub(crate) type Seen = Arc<Mutex<Vec<Vec<String>>>>;

/// Answers on port 80 of each address for as long as the process lives.
pub(crate) fn origin(addresses: &[IpAddr]) -> Result<Seen, Failure> {
    let seen = Seen::default();
    for &address in addresses {
        let listener = TcpListener::bind((address, 80)).map_err(|e| {
            Failure::os(format!("the demo's origin cannot listen at {address} port 80"), e)
        })?;
        let seen = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &seen);
            }
        });
    }
    Ok(seen)
}

pub(crate) fn run_proxy(args: &ProxyArgs) -> ExitCode {
    let threads: Vec<_> = args
        .listen
        .iter()
        .map(|&at| {
            let name = args.name.clone();
            let rude = args.rude;
            std::thread::spawn(
                move || if rude { listen_rudely(&name, at) } else { listen(&name, at) },
            )
        })
        .collect();
    for thread in threads {
        if let Ok(Err(error)) = thread.join() {
            output::error(format!("{}: {error}", args.name));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

pub(crate) fn run_client(args: &ClientArgs) -> ExitCode {
    match fetch(args.to) {
        Ok(body) => {
            output::stdout(&body);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::error(error);
            ExitCode::FAILURE
        }
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (head, _) = read_head(&mut stream)?;
    let through = vias(&head);
    let said = format!(
        "Hello from {}. Your request came through {}.\n",
        stream.local_addr()?,
        through.join(" and ")
    );
    if let Ok(mut seen) = seen.lock() {
        seen.push(through);
    }
    answer(&mut stream, &said)
}

/// The proxy as it should be: records and context are read when it accepts, and set when it dials.
fn listen(name: &str, at: SocketAddr) -> io::Result<()> {
    let listener = Listener::bind(at)?;
    for connection in listener.incoming() {
        let connection = connection?;
        let name = name.to_owned();
        std::thread::spawn(move || inspect(&name, connection.stream, &connection.redirect));
    }
    Ok(())
}

fn inspect(name: &str, mut client: TcpStream, redirect: &Redirect) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let (head, rest) = read_head(&mut client)?;
    let who = redirect.context().map(|context| {
        let application = context.application();
        format!(" for process {}", application.pid)
    });
    let destination = redirect.destination();
    println!("{}{} to {destination}", request_line(&head), who.unwrap_or_default());
    let upstream = redirect.dial()?;
    exchange(client, upstream, add_via(head, name), &rest)
}

/// The rude one: the way of proxies that were written for netfilter.
fn listen_rudely(name: &str, at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    for client in listener.incoming() {
        let client = client?;
        let name = name.to_owned();
        std::thread::spawn(move || inspect_rudely(&name, client));
    }
    Ok(())
}

fn inspect_rudely(name: &str, mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let Some(destination) = original_destination(&client)? else { return Ok(()) };
    let (head, rest) = read_head(&mut client)?;
    println!("{} to {destination}, and I set no records", request_line(&head));
    let upstream = TcpStream::connect(destination)?;
    exchange(client, upstream, add_via(head, name), &rest)
}

fn exchange(
    mut client: TcpStream,
    mut upstream: TcpStream,
    head: Vec<u8>,
    rest: &[u8],
) -> io::Result<()> {
    upstream.set_read_timeout(Some(PATIENCE))?;
    upstream.write_all(&head)?;
    upstream.write_all(rest)?;
    io::copy(&mut upstream, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn fetch(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
    let (_, mut body) = read_head(&mut stream)?;
    stream.read_to_end(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
