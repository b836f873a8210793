//! TLS between two transports, with certificates made here; and what it keeps out.

use http::Response;
use libprocess::{Config, Event, Tls, TlsConfig, Transport, Upid, Verify, full};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Files of a certificate for this name or address.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |ending: &str| self.dir.path().join(format!("{name}.{ending}"));
        std::fs::write(file("pem"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        (file("pem"), file("key"))
    }

    fn config(&self, name: &str, verify: Verify) -> TlsConfig {
        let (certificate, key) = self.issue(name);
        let authority = Some(self.path());
        TlsConfig { certificate, key, authority, verify, require_client_certificate: false, downgrade: false }
    }
}

async fn transport(tls: Option<TlsConfig>) -> (Transport, mpsc::Receiver<Event>) {
    let (events, received) = mpsc::channel(100);
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        is_hosted: Arc::new(|_| true),
        http: Arc::new(|_| Box::pin(async { Response::new(full("")) })),
        max_body: 2 << 20,
        tls: tls.map(|config| Tls::load(&config).unwrap()),
    };
    (Transport::bind(config, events).await.unwrap(), received)
}

/// True if a message, longer than any buffer on the way, gets from one to the other and an answer back.
async fn speak(a: Option<TlsConfig>, b: Option<TlsConfig>) -> bool {
    let ((a, mut at_a), (b, mut at_b)) = (transport(a).await, transport(b).await);
    let body = vec![7; 1 << 20];
    a.send("a", &Upid::new("b", b.local()), "there", &body);
    let message = async |events: &mut mpsc::Receiver<Event>| match tokio::time::timeout(
        Duration::from_secs(5),
        events.recv(),
    )
    .await
    {
        Ok(Some(Event::Message(message))) => Some(message),
        _ => None,
    };
    let Some(there) = message(&mut at_b).await else { return false };
    assert_eq!((there.body.len(), there.from.as_ref().unwrap().id.as_str()), (body.len(), "a"));
    b.send("b", &there.from.unwrap(), "back", b"");
    message(&mut at_a).await.is_some_and(|back| back.name == "back")
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_one_authority_speak_and_others_do_not() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let of = |authority: &Authority, name: &str, verify| Some(authority.config(name, verify));
    assert!(speak(of(&ours, "127.0.0.1", Verify::Full), of(&ours, "127.0.0.1", Verify::Full)).await);
    assert!(speak(of(&ours, "one.example", Verify::Chain), of(&ours, "two.example", Verify::Chain)).await);
    assert!(!speak(of(&ours, "127.0.0.1", Verify::Full), of(&ours, "two.example", Verify::Full)).await);
    assert!(!speak(of(&ours, "127.0.0.1", Verify::Chain), of(&theirs, "127.0.0.1", Verify::Chain)).await);
    assert!(speak(of(&ours, "127.0.0.1", Verify::None), of(&theirs, "127.0.0.1", Verify::None)).await);
    let guarded = |authority: &Authority| {
        let config = authority.config("127.0.0.1", Verify::Chain);
        Some(TlsConfig { require_client_certificate: true, ..config })
    };
    assert!(speak(guarded(&ours), guarded(&ours)).await);
    let stranger = TlsConfig { verify: Verify::None, ..theirs.config("127.0.0.1", Verify::None) };
    assert!(!speak(Some(stranger), guarded(&ours)).await, "its certificate is not ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_only_where_downgrade_is_allowed() {
    let ours = Authority::new();
    let strict = ours.config("127.0.0.1", Verify::Chain);
    let lenient = TlsConfig { downgrade: true, ..strict.clone() };
    assert!(!speak(None, Some(strict.clone())).await);
    assert!(!speak(Some(strict.clone()), None).await);
    assert!(speak(None, Some(lenient.clone())).await);
    assert!(speak(Some(lenient), None).await);
    // A plain connection to a strict one is closed and counted.
    let (strict, _events) = transport(Some(strict)).await;
    let mut stream = tokio::net::TcpStream::connect(strict.local()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // closed, one way or the other
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(strict.counters().connections_refused, 1);
}

#[test]
fn files_that_make_no_sense_are_named() {
    let ours = Authority::new();
    let good = ours.config("127.0.0.1", Verify::Chain);
    let error = |config: TlsConfig| Tls::load(&config).unwrap_err().to_string();
    let nowhere = Path::new("/nowhere.pem").to_owned();
    assert!(error(TlsConfig { certificate: nowhere.clone(), ..good.clone() }).contains("/nowhere.pem"));
    assert!(error(TlsConfig { key: nowhere, ..good.clone() }).contains("/nowhere.pem"));
    assert!(error(TlsConfig { certificate: good.key.clone(), ..good.clone() }).contains("no certificate"));
    assert!(error(TlsConfig { authority: None, ..good.clone() }).contains("authority"));
    let (_, other) = ours.issue("other");
    assert!(error(TlsConfig { key: other, ..good }).contains("certificate and key"));
}
