//! The examples as providers' proxies, with real clients.

use crate::ready::listens;
use crate::web::{self, Web};
use hoptrail_core::compile::Provider;
use hoptrail_testkit::lab::{Actor, Lab, PORT, V4, eventually, need};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where `minimal_proxy` listens, and so all of them.
const AT: &str = "127.0.0.1:15871";

/// An example at work as acme's proxy, and an application.
struct Stage {
    app: Actor,
    /// What the example has printed.
    said: PathBuf,
    dir: tempfile::TempDir,
    _acme: Actor,
    lab: Lab,
}

impl Stage {
    fn new(example: &str, arguments: &[&str]) -> Self {
        Self::within(1024, example, arguments)
    }

    /// With that many descriptors at most.
    fn within(descriptors: u32, example: &str, arguments: &[&str]) -> Self {
        let at: SocketAddr = AT.parse().unwrap();
        let lab = Lab::of(|lab| {
            let acme = lab.provider("acme", 200);
            vec![Provider { listen_v4: Some(at.into()), listen_v6: None, ..acme }]
        });
        let (app, acme) = (lab.actor("app"), lab.actor("acme"));
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let example = built(example);
        let argv = [&["-c", &limited, example.to_str().unwrap()], arguments].concat();
        let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
        acme.run((argv, said.clone()), start).unwrap();
        listens(&lab, at);
        Self { app, said, dir, _acme: acme, lab }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// curl's exit status and what it printed, of the application.
    fn curl(&self, arguments: &[&str]) -> (i32, String) {
        let own = ["-q", "-sS", "--noproxy", "*", "--max-time", "20"];
        let all = [&own, arguments].concat().into_iter().map(str::to_owned).collect();
        self.app.run(all, curl).unwrap()
    }
}

/// `cargo test` builds examples into a directory beside the tests'.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    assert!(path.exists(), "{} is missing: cargo build -p hoptrail --examples", path.display());
    path
}

/// In the actor; the example ends with the lab's cgroup.
fn start((argv, said): (Vec<String>, PathBuf)) -> io::Result<()> {
    let said = std::fs::File::create(said)?;
    let mut command = Command::new("/bin/sh");
    command.args(argv).stdin(Stdio::null()).stdout(said).spawn().map(|_| ())
}

fn curl(arguments: Vec<String>) -> io::Result<(i32, String)> {
    let output = Command::new("curl").args(arguments).stdin(Stdio::null()).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

/// What curl says of a reset: when it was connecting still, in a TLS handshake, and later. An empty
/// answer would be 52.
fn is_reset(status: i32) -> bool {
    [7, 35, 56].contains(&status)
}

fn http() -> SocketAddr {
    (V4, PORT).into()
}

pub(crate) fn the_minimal_proxy() {
    let stage = Stage::new("minimal_proxy", &[]);
    let (status, said) = stage.curl(&["http://192.0.2.10/plain"]);
    assert!(is_reset(status), "{status}: {said}");
    let web = stage.lab.inside(|| Web::start(http()));
    let got = stage.curl(&["http://192.0.2.10/plain", "http://192.0.2.10/chunked"]);
    assert_eq!(got, (0, [web::PLAIN, web::CHUNKED].concat()));
    assert_eq!(web.connections(), 1);
    let provenances: Vec<_> = stage.lab.events().iter().map(|e| e.provenance.name()).collect();
    assert_eq!(provenances, ["fresh", "declared", "fresh", "declared"]);
}

/// Forty connections for a proxy that has descriptors for about six: those for which there are none
/// wait or see a reset, and it works again as soon as there are.
pub(crate) fn the_minimal_proxy_without_descriptors() {
    let stage = Stage::within(16, "minimal_proxy", &[]);
    let web = stage.lab.inside(|| Web::start(http()));
    let held: Vec<_> = (0..40).map(|_| stage.app.dial(http()).unwrap()).collect();
    eventually("some are passed on", || web.connections() > 0);
    // Connections that nobody can accept keep the proxy busy for as long as there are any.
    std::thread::sleep(Duration::from_millis(300));
    for connection in held {
        stage.app.close(connection);
    }
    eventually("it works again", || {
        stage.curl(&["http://192.0.2.10/plain"]) == (0, web::PLAIN.to_owned())
    });
}

pub(crate) fn the_logging_proxy() {
    let stage = Stage::new("logging_proxy", &[AT]);
    let web = stage.lab.inside(|| Web::start(http()));
    assert_eq!(stage.curl(&["http://192.0.2.10/plain"]), (0, web::PLAIN.to_owned()));
    eventually("the line", || stage.said().ends_with('\n'));
    let said = stage.said();
    assert!(said.contains("/curl curl[") && said.contains(" -> 192.0.2.10:80: "), "{said}");
    assert!(said.ends_with(" down, closed\n"), "{said}");
    drop(web);
    assert!(is_reset(stage.curl(&["http://192.0.2.10/"]).0));
    eventually("the line", || stage.said().lines().count() == 2);
    assert!(stage.said().contains("cannot connect to 192.0.2.10:80: "), "{}", stage.said());
}

pub(crate) fn the_rewriting_proxy() {
    let stage = Stage::new("rewriting_proxy", &[AT, "cat", "tiger"]);
    let web = stage.lab.inside(|| Web::start(http()));
    let tiger = |text: &str| text.replace("cat", "tiger");
    // One connection, kept alive over whatever ways there are to say where an answer ends.
    let url = |path: &str| format!("http://192.0.2.10{path}");
    let got = stage.curl(&[&url("/plain"), &url("/chunked"), &url("/empty"), &url("/plain")]);
    let expected = [web::PLAIN, web::CHUNKED, "", web::PLAIN].concat();
    assert_eq!(got, (0, tiger(&expected)));
    assert_eq!(web.connections(), 1, "kept alive on both sides");
    assert_eq!(stage.curl(&[&url("/close")]), (0, tiger(web::PLAIN)), "ended by closing");
    assert_eq!(stage.curl(&[&url("/binary")]), (0, web::PLAIN.to_owned()), "no text");
    assert_eq!(stage.curl(&["--compressed", &url("/plain")]), (0, tiger(web::PLAIN)));
    let length = format!("content-length: {}\r\n", web::PLAIN.len());
    let head = stage.curl(&["--head", &url("/plain")]).1;
    assert!(head.to_lowercase().contains(&length), "{head}");
    // What goes up is left alone: with a length, and in chunks.
    for header in ["X: 1", "Transfer-Encoding: chunked"] {
        let post = ["-H", header, "-H", "Expect: 100-continue", "-d", "a cat", &url("/echo")];
        assert_eq!(stage.curl(&post), (0, "a tiger".to_owned()), "the echo is text");
    }
    let large = stage.curl(&[&url("/large")]).1;
    assert_eq!(large.len(), web::LARGE_WORDS * "tiger ".len());
    drop(web);
    assert!(is_reset(stage.curl(&[&url("/plain")]).0));
}

pub(crate) fn the_sni_proxy() {
    need("openssl", "openssl");
    let stage = Stage::new("sni_proxy", &[AT, "bad.test"]);
    let mut server = tls_server(&stage);
    let get = |name: &str| {
        let resolve = format!("{name}:443:192.0.2.10");
        stage.curl(&["--insecure", "--resolve", &resolve, &format!("https://{name}/")])
    };
    let (status, page) = get("good.test");
    assert!(status == 0 && page.contains("s_server"), "{status}: {page}");
    assert!(is_reset(get("bad.test").0));
    assert!(is_reset(get("BAD.test").0));
    assert_eq!(stage.curl(&["--insecure", "https://192.0.2.10/"]).0, 0, "no name at all");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// The same name byte for byte, in records of five bytes each, and what is no TLS.
pub(crate) fn the_sni_proxy_reads_what_comes_in_pieces() {
    let stage = Stage::new("sni_proxy", &[AT, "bad.test"]);
    let at: SocketAddr = (V4, 443).into();
    let listener = stage.lab.inside(|| TcpListener::bind(at)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // It speaks first.
            let _ = stream.write_all(b"hello\n");
            std::mem::forget(stream);
        }
    });
    let first_byte = |(at, pieces): (SocketAddr, Vec<Vec<u8>>)| {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        for piece in pieces {
            stream.write_all(&piece)?;
        }
        let mut byte = [0];
        Ok(stream.read(&mut byte).map_err(|e| e.kind() == io::ErrorKind::ConnectionReset))
    };
    let ask = |pieces: Vec<Vec<u8>>| stage.app.run((at, pieces), first_byte).unwrap();
    let bytes = |hello: Vec<u8>| hello.into_iter().map(|byte| vec![byte]).collect::<Vec<_>>();
    for size in [5, 16_384] {
        assert_eq!(ask(bytes(hello("bad.test", size))), Err(true), "records of {size}");
        assert_eq!(ask(bytes(hello("good.test", size))), Ok(1), "records of {size}");
    }
    assert_eq!(ask(vec![b"SSH-2.0-x\r\n".to_vec()]), Ok(1), "another protocol");
    assert_eq!(ask(vec![vec![22, 3, 1]]), Ok(1), "a beginning, and no more");
    assert_eq!(ask(vec![]), Ok(1), "the server speaks first");
}

/// OpenSSL's server with a certificate of the test.
fn tls_server(stage: &Stage) -> std::process::Child {
    let dir = stage.dir.path();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
                -keyout key -out certificate";
    let made = openssl(&make.split_whitespace().collect::<Vec<_>>()).status();
    assert!(made.unwrap().success());
    let serve =
        ["s_server", "-accept", "192.0.2.10:443", "-key", "key", "-cert", "certificate", "-www"];
    let server = stage.lab.inside(|| openssl(&serve).spawn()).unwrap();
    listens(&stage.lab, (V4, 443).into());
    server
}

/// A ClientHello with that name, in records of that size.
fn hello(name: &str, size: usize) -> Vec<u8> {
    let prefixed = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let names = prefixed(&[&[0][..], &prefixed(name.as_bytes())].concat());
    let extension = [&[0, 0][..], &prefixed(&names)].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &prefixed(&extension)].concat();
    let message = [&[1, 0][..], &prefixed(&body)].concat();
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &prefixed(part)].concat()).collect()
}
