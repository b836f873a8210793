//! TLS around the same messages, as libprocess has it (3rdparty/libprocess/src/openssl.cpp): every connection of a
//! process, in and out. With downgrade a peer without TLS is spoken to in the clear, both ways.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::net::SocketAddrV4;
use std::path::PathBuf;
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
        let fail = |path: &PathBuf| {
            let path = path.clone();
            move |error: rustls_pki_types::pem::Error| TlsError::File { path, why: error.to_string() }
        };
        let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, TlsError> {
            let read = CertificateDer::pem_file_iter(path).map_err(fail(path))?;
            let list = read.collect::<Result<Vec<_>, _>>().map_err(fail(path))?;
            match list.is_empty() {
                true => Err(TlsError::File { path: path.clone(), why: "no certificate in it".into() }),
                false => Ok(list),
            }
        };
        let own = certificates(&config.certificate)?;
        let key = || PrivateKeyDer::from_pem_file(&config.key).map_err(fail(&config.key));
        let mut roots = RootCertStore::empty();
        if let Some(path) = &config.authority {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| TlsError::File { path: path.clone(), why: error.to_string() })?;
            }
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let versions = |error| TlsError::Pair(error);
        if roots.is_empty() && (config.require_client_certificate || config.verify != Verify::None) {
            return Err(TlsError::NoAuthority);
        }

        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(versions)?;
        let server = if config.require_client_certificate {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|_| TlsError::NoAuthority)?;
            server.with_client_cert_verifier(verifier)
        } else {
            server.with_no_client_auth()
        };
        let server = server.with_single_cert(own.clone(), key()?).map_err(TlsError::Pair)?;

        let inner = match config.verify {
            Verify::None => None,
            _ => Some(
                WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                    .build()
                    .map_err(|_| TlsError::NoAuthority)?,
            ),
        };
        let verifier = Verifier { inner, full: config.verify == Verify::Full, provider: provider.clone() };
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(own, key()?)
            .map_err(TlsError::Pair)?;
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
