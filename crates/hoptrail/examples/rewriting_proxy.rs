//! A provider's proxy that replaces words in HTTP answers: `rewriting_proxy 127.0.0.1:15871 FROM TO`.

use hoptrail::tokio::{Connection, Listener};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{error::Error, pin::pin, sync::Arc};
use tokio::{select, spawn, sync::Mutex};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Answer = Response<Either<Full<Bytes>, Incoming>>;
type Session = (Mutex<SendRequest<Incoming>>, Arc<[String; 2]>);

#[tokio::main]
async fn main() -> hoptrail::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("usage: rewriting_proxy ADDRESS:PORT FROM TO");
    let (listener, words) = (Listener::bind(next()).await?, Arc::new([next(), next()]));
    loop {
        spawn(serve(listener.accept().await?, Arc::clone(&words)));
    }
}

async fn serve(connection: Connection, words: Arc<[String; 2]>) -> Result<()> {
    let (application, destination) = connection.dial().await?;
    let (sender, driver) = handshake(TokioIo::new(destination)).await?;
    let session = Arc::new((Mutex::new(sender), words));
    let service = service_fn(move |request| exchange(Arc::clone(&session), request));
    let mut served =
        pin!(http1::Builder::new().serve_connection(TokioIo::new(application), service));
    select! {
        ended = &mut served => return Ok(ended?),
        // When the destination closes, so does this, after the answer that is under way.
        _ = driver => served.as_mut().graceful_shutdown(),
    }
    Ok(served.await?)
}

async fn exchange(session: Arc<Session>, mut request: Request<Incoming>) -> Result<Answer> {
    // Only what is plain and whole can be rewritten.
    for name in [header::ACCEPT_ENCODING, header::RANGE, header::UPGRADE] {
        request.headers_mut().remove(name);
    }
    let has_body = request.method() != Method::HEAD;
    let answer = session.0.lock().await.send_request(request).await?;
    let is =
        |name, start| answer.headers().get(name).is_some_and(|v| v.as_bytes().starts_with(start));
    if !has_body || !is(header::CONTENT_TYPE, b"text/") || is(header::CONTENT_ENCODING, b"") {
        return Ok(answer.map(Either::Right));
    }
    let ((mut head, body), [from, to]) = (answer.into_parts(), &*session.1);
    let bytes = String::from_utf8(body.collect().await?.to_bytes().into())
        .map_or_else(|error| error.into_bytes(), |text| text.replace(from, to).into_bytes());
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(head, Either::Left(bytes.into())))
}
