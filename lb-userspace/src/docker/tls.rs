//! Questions to an engine over TCP. Whoever may ask one is root on its host, so both sides show
//! certificates, and only the authority of the configuration vouches for the engine's.

use std::{error::Error, fs, io, path::Path, sync::Arc, time::Duration};

use bollard::{BollardRequest, errors::Error as ApiError};
use hyper::{Response, body::Incoming, header, http::HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::model::TlsAddress;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why a file does not do.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub(super) struct FileError {
    file: String,
    why: String,
}

fn wrong(file: &Path, why: &impl ToString) -> FileError {
    FileError { file: file.display().to_string(), why: why.to_string() }
}

/// A way to an engine.
#[derive(Clone)]
pub(super) struct Tls {
    at: TlsAddress,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Tls {
    /// Reads the files. They are read again for each new session: certificates are replaced.
    pub(super) fn open(at: &TlsAddress) -> Result<Self, FileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&at.ca)? {
            roots.add(certificate).map_err(|error| wrong(&at.ca, &error))?;
        }
        let chain = certificates(&at.cert)?;
        let key = fs::read(&at.key).map_err(|error| wrong(&at.key, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(&at.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&at.ca, &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong(&at.cert, &error))?;
        let name = ServerName::try_from(at.host.clone()).map_err(|error| wrong(&at.ca, &error))?;
        Ok(Self { at: at.clone(), name, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// A connection with nothing on it.
    pub(super) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let open = async {
            let stream = TcpStream::connect((self.at.host.as_str(), self.at.port)).await?;
            stream.set_nodelay(true)?;
            self.connector.connect(self.name.clone(), stream).await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer for 5 s");
        timeout(CONNECT_MAX, open).await.map_err(late)?
    }

    /// A question on a connection of its own: they are few, and a lost engine shows at once.
    pub(super) async fn ask(
        self,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, ApiError> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| told(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("{}", chain(&error));
            }
        });
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
        sender.send_request(request).await.map_err(|error| told(&error))
    }
}

/// The library tells the outermost error alone, and the reason is an inner one.
fn told(error: &hyper::Error) -> ApiError {
    ApiError::from(io::Error::other(chain(error)))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        text = format!("{text}: {error}");
        inner = error.source();
    }
    text
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = fs::read(file).map_err(|error| wrong(file, &error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(file, &error))?;
    if found.is_empty() { Err(wrong(file, &"there is no certificate in it")) } else { Ok(found) }
}
