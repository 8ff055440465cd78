//! An HTTP/1.1 server that ends its answers in every way there is.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) const PLAIN: &str = "one cat, two cats\n";
pub(crate) const CHUNKED: &str = "a catalogue of cats\n";
/// `/large` says "cat " that often.
pub(crate) const LARGE_WORDS: usize = 300_000;

pub(crate) struct Web {
    listener: TcpListener,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Web {
    /// Serves in this thread's network namespace until it is dropped.
    pub(crate) fn start(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let web = Self { listener, connections: Arc::default(), ended: Arc::default() };
        let listener = web.listener.try_clone().unwrap();
        let (connections, ended) = (Arc::clone(&web.connections), Arc::clone(&web.ended));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(&stream));
            }
        });
        web
    }

    /// How many there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Ends the accept of its thread.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

fn serve(mut stream: &TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream);
    loop {
        let head = head(&mut from)?;
        let mut words = head.first().ok_or(io::ErrorKind::UnexpectedEof)?.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let has = |what: &str| head.iter().any(|line| line.to_lowercase() == what);
        if has("expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let said = if has("transfer-encoding: chunked") {
            let bytes = chunks(&mut from)?;
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            let mut bytes = vec![0; length(&head)];
            from.read_exact(&mut bytes)?;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        assert!(!head.iter().any(|line| line.to_lowercase().starts_with("accept-encoding: gzip")));
        let plain = if method == "HEAD" { "" } else { PLAIN };
        match path {
            "/plain" => whole(stream, "text/plain", PLAIN.len(), plain)?,
            "/binary" => whole(stream, "application/octet-stream", PLAIN.len(), PLAIN)?,
            "/empty" => whole(stream, "text/plain", 0, "")?,
            "/echo" => whole(stream, "text/plain", said.len(), &said)?,
            "/large" => {
                let text = "cat ".repeat(LARGE_WORDS);
                whole(stream, "text/plain; charset=utf-8", text.len(), &text)?;
            }
            "/chunked" => chunked(stream)?,
            // Its end is that of the connection.
            _ => {
                return write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{PLAIN}"
                );
            }
        }
    }
}

fn head(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

fn length(head: &[String]) -> usize {
    let values = head.iter().filter_map(|line| line.split_once(": "));
    let lengths = values.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.map(|(_, value)| value.parse().unwrap()).next().unwrap_or(0)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        from.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(all);
        }
        all.extend(&chunk[..size]);
    }
}

fn whole(mut to: &TcpStream, kind: &str, length: usize, body: &str) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    to.write_all((head + body).as_bytes())
}

/// In chunks of two bytes, so that words are cut.
fn chunked(mut to: &TcpStream) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for chunk in CHUNKED.as_bytes().chunks(2) {
        let text = String::from_utf8_lossy(chunk);
        write!(to, "{:x}\r\n{text}\r\n", chunk.len())?;
    }
    write!(to, "0\r\n\r\n")
}
