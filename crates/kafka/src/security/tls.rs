//! TLS 1.2 and 1.3 in front of the Kafka protocol, with certificates of clients when they are asked
//! for. Files that change are used for the connections from then on; when they are faulty, the old
//! ones stay in use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use common::{Config, Error, Result};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::common_name;
use super::watched::{Watched, read};

const CERTIFICATE: &str = "kafka.tls.certificate";
const KEY: &str = "kafka.tls.key";
const CLIENT_CA: &str = "kafka.tls.client_ca";

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The door's certificate and what it asks of clients.
pub struct Tls {
    files: Files,
    watched: Watched,
    now: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// None without a certificate.
    pub fn open(config: &Config, dir: &Path) -> Result<Option<Tls>> {
        let path = |text: &String| (!text.is_empty()).then(|| dir.join(text));
        let certificate = path(&config.kafka_tls_certificate);
        let (key, client_ca) = (path(&config.kafka_tls_key), path(&config.kafka_tls_client_ca));
        let missing = |key: &str| {
            let e = Error::invalid(format!("'{key}' is missing"));
            e.hint(format!("TLS needs both {CERTIFICATE} and {KEY}"))
        };
        let files = match (certificate, key) {
            (Some(certificate), Some(key)) => Files { certificate, key, client_ca },
            (Some(_), None) => return Err(missing(KEY)),
            (None, None) if client_ca.is_none() => return Ok(None),
            (None, _) => return Err(missing(CERTIFICATE)),
        };
        let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
        let watched = Watched::new(paths.into_iter().flatten().cloned().collect());
        let now = RwLock::new(Arc::new(load(&files)?));
        Ok(Some(Tls { files, watched, now }))
    }

    /// Reads the files again when they changed.
    pub fn look(&self) {
        if !self.watched.changed() {
            return;
        }
        match load(&self.files) {
            Ok(config) => {
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the certificate of the Kafka door was read again");
            }
            Err(e) => tracing::warn!("the Kafka door keeps its certificate: {e}"),
        }
    }

    /// Shakes hands; gives the name in the client's certificate.
    ///
    /// # Errors
    /// What the client sent is not TLS, or its certificate is missing, not accepted or nameless.
    pub async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Option<String>)> {
        let config = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = TlsAcceptor::from(config)
            .accept(socket)
            .await
            .map_err(|e| Error::denied(format!("no TLS: {e}")))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).cloned();
        let name = match certificate {
            None => None,
            Some(certificate) => Some(common_name(&certificate).ok_or_else(|| {
                Error::denied("the client's certificate has no common name (CN) in its subject")
            })?),
        };
        Ok((stream, name))
    }
}

fn load(files: &Files) -> Result<ServerConfig> {
    let bad = |key: &str, path: &Path, why: &dyn std::fmt::Display| {
        Error::invalid(format!("'{key}': '{}': {why}", path.display()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("setting up TLS: {e}")))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(CLIENT_CA, path)? {
                roots.add(certificate).map_err(|e| bad(CLIENT_CA, path, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| bad(CLIENT_CA, path, &e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(KEY, &files.key)?).map_err(|_| {
        bad(KEY, &files.key, &"it has no private key").hint("write it as PEM, without a password")
    })?;
    builder.with_single_cert(chain, key).map_err(|e| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        Error::invalid(format!("certificate '{certificate}' and key '{key}': {e}"))
            .hint(format!("{CERTIFICATE} and {KEY} must belong together"))
    })
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(key, path)?;
    let bad = |why: String| {
        let e = Error::invalid(format!("'{key}': '{}': {why}", path.display()));
        e.hint("write certificates as PEM, between BEGIN CERTIFICATE and END CERTIFICATE")
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|e| bad(e.to_string()))?;
    match found.is_empty() {
        true => Err(bad("it has no certificate".into())),
        false => Ok(found),
    }
}
