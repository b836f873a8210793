//! TLS around the same messages, as libprocess has it (3rdparty/libprocess/src/openssl.cpp): every connection of a
//! process, in and out. With downgrade a peer without TLS is spoken to in the clear, both ways.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How much a server's certificate has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: whoever answers is believed (LIBPROCESS_SSL_VERIFY_SERVER_CERT=false).
    None,
    /// That the authority signed it. libprocess knows peers by address, and certificates often by name.
    #[default]
    Chain,
    /// That, and the address in it.
    Full,
}

/// Files and rules.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// This process' certificates, PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Certificates of the authorities, PEM.
    pub authority: Option<PathBuf>,
    /// How servers are verified.
    pub verify: Verify,
    /// Clients have to show a certificate of the authority.
    pub require_client_certificate: bool,
    /// Peers without TLS are taken and called in the clear.
    pub downgrade: bool,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Verification without an authority.
    #[error("an authority's certificates are needed to verify peers")]
    NoAuthority,
    /// Certificate and key do not make sense together.
    #[error("certificate and key: {0}")]
    Pair(RustlsError),
}

/// Loaded, for both directions.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// Peers without TLS are taken and called in the clear.
    pub downgrade: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("downgrade", &self.downgrade).finish_non_exhaustive()
    }
}

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Tls {
    /// Reads the files.
    pub fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let own = certificates(&config.certificate)?;
        let roots = Arc::new(roots(config.authority.as_deref())?);
        let provider = Arc::new(ring::default_provider());
        if roots.is_empty() && config.require_client_certificate {
            return Err(TlsError::NoAuthority);
        }

        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let server = if config.require_client_certificate {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|_| TlsError::NoAuthority)?;
            server.with_client_cert_verifier(verifier)
        } else {
            server.with_no_client_auth()
        };
        let server = server.with_single_cert(own.clone(), key(&config.key)?).map_err(TlsError::Pair)?;

        let client = client(roots, config.verify, Some((own, key(&config.key)?)))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            downgrade: config.downgrade,
        })
    }

    pub(crate) async fn accept(&self, stream: impl Stream + 'static) -> std::io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.acceptor.accept(stream).await?))
    }

    pub(crate) async fn connect(
        &self,
        to: SocketAddrV4,
        stream: impl Stream + 'static,
    ) -> std::io::Result<Box<dyn Stream>> {
        let name = ServerName::IpAddress(std::net::IpAddr::V4(*to.ip()).into());
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

/// What a program needs that calls and is never called, such as a scheduler.
#[derive(Clone, Debug, Default)]
pub struct TlsClientConfig {
    /// Certificates of the authorities, PEM.
    pub authority: Option<PathBuf>,
    /// How servers are verified.
    pub verify: Verify,
    /// Its own certificates and private key, PEM, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// The same, loaded.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads the files.
    pub fn load(config: &TlsClientConfig) -> Result<Self, TlsError> {
        let roots = Arc::new(roots(config.authority.as_deref())?);
        let own = match &config.own {
            Some((certificate, path)) => Some((certificates(certificate)?, key(path)?)),
            None => None,
        };
        Ok(Self(TlsConnector::from(Arc::new(client(roots, config.verify, own)?))))
    }

    /// Encrypts a connection with the server of this name or address.
    pub async fn connect<S>(
        &self,
        host: &str,
        stream: S,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}

fn unreadable(path: &Path) -> impl Fn(rustls_pki_types::pem::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::File { path: path.clone(), why: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(unreadable(path))?;
    let list = read.collect::<Result<Vec<_>, _>>().map_err(unreadable(path))?;
    match list.is_empty() {
        true => Err(TlsError::File { path: path.to_owned(), why: "no certificate in it".into() }),
        false => Ok(list),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(unreadable(path))
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authority {
        for certificate in certificates(path)? {
            let wrong = |error: RustlsError| TlsError::File { path: path.to_owned(), why: error.to_string() };
            roots.add(certificate).map_err(wrong)?;
        }
    }
    Ok(roots)
}

/// The calling side, with a certificate of its own or none.
fn client(
    roots: Arc<RootCertStore>,
    verify: Verify,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let inner = match verify {
        Verify::None => None,
        _ if roots.is_empty() => return Err(TlsError::NoAuthority),
        _ => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            Some(verifier.map_err(|_| TlsError::NoAuthority)?)
        }
    };
    let verifier = Verifier { inner, full: verify == Verify::Full, provider: provider.clone() };
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match own {
        Some((own, key)) => client.with_client_auth_cert(own, key).map_err(TlsError::Pair),
        None => Ok(client.with_no_client_auth()),
    }
}

/// The usual verification, of less than usual if so configured. Signatures are checked in any case: the peer has the
/// key of the certificate it shows.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    full: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        // Of all that is looked at, the name comes last.
        match inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(RustlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.full => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
