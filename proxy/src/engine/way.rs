//! The way to the engine: a connection of its own for every question, and no answer longer than an answer can be. bollard would collect
//! whatever comes.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bollard::errors::Error as ApiError;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::Tls;

/// Bytes of an answer. The list of a thousand containers with eight kilobytes of labels each is half of it.
pub(super) const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// For what is read line by line (`Lines` bounds a line).
pub(super) const ENDLESS: usize = usize::MAX;

/// How the engine is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A socket file.
    Unix(PathBuf),
    /// The loopback interface.
    Tcp(Authority),
    /// Both sides prove who they are.
    Tls {
        authority: Authority,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
}

/// A connection, whatever it is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Way {
    /// Over TLS to `host:port`.
    ///
    /// # Errors
    /// The place is none, or the files are not what they should be.
    pub(super) fn over_tls(authority: Authority, files: &Tls) -> io::Result<Self> {
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let config = Arc::new(configure(files)?);
        Ok(Self::Tls {
            authority,
            name,
            config,
        })
    }

    /// What a request names as its host.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "docker",
            Self::Tcp(authority) | Self::Tls { authority, .. } => authority.as_str(),
        }
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(authority) => Box::new(TcpStream::connect(authority.as_str()).await?),
            Self::Tls {
                authority,
                name,
                config,
            } => {
                let stream = TcpStream::connect(authority.as_str()).await?;
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(name.clone(), stream).await?)
            }
        })
    }

    /// Asks, and gives the head of the answer. Reading its body fails beyond `most` bytes.
    ///
    /// # Errors
    /// The engine is not there, or does not speak HTTP.
    pub(super) async fn send<B>(&self, request: Request<B>, most: usize) -> Result<Response<Incoming>, ApiError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = Bounded {
            stream: self.open().await?,
            left: most,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end and its faults reach whoever reads the answer; with the answer it goes.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender.send_request(self.address(request)).await?)
    }

    /// A server is asked for a path, and told its own name beside it.
    fn address<B>(&self, request: Request<B>) -> Request<B> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        if let Ok(host) = HeaderValue::from_str(self.host()) {
            parts.headers.insert(HOST, host);
        }
        Request::from_parts(parts, body)
    }
}

/// A connection that gives so many bytes and no more.
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        match this.left.checked_sub(read) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the engine's answer is longer than 16 MiB",
            ))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Only engines whose certificate the operator's authority signed are believed, and no public authority.
fn configure(files: &Tls) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| faulty(&files.ca, &error))?;
    }
    let own = Own {
        files: files.clone(),
        provider: Arc::new(aws_lc_rs::default_provider()),
    };
    // Told now, and not by an engine that refuses.
    own.load()?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&own.provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(own)))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| faulty(path, &error))?
        .collect();
    let found = found.map_err(|error| faulty(path, &error))?;
    if found.is_empty() {
        return Err(faulty(path, &"it holds no certificate"));
    }
    Ok(found)
}

fn faulty(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

/// The proxy's own certificate, read for each connection: it may be renewed while the proxy runs.
#[derive(Debug)]
struct Own {
    files: Tls,
    provider: Arc<CryptoProvider>,
}

impl Own {
    fn load(&self) -> io::Result<CertifiedKey> {
        let chain = certificates(&self.files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.files.key).map_err(|error| faulty(&self.files.key, &error))?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| faulty(&self.files.key, &error))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match self.load() {
            Ok(own) => Some(Arc::new(own)),
            Err(error) => {
                tracing::warn!(%error, "the proxy cannot prove to the engine who it is");
                None
            }
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}
