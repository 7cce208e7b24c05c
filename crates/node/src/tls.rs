//! The cloud's own certificate authority, and the certificates that its nodes answer TLS with.
//!
//! `<data>/tls/ca.pem` is what clients trust (`AWS_CA_BUNDLE`, `pileus ca`). A certificate is issued for each name that a
//! client asks for, when it does: clients take no wildcard right below a top-level name such as `localhost`, and bucket
//! names are not known beforehand.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
    #[error("{0} does not hold a certificate or key in PEM form; remove it to have it made anew")]
    Malformed(PathBuf),
}

/// Where the authority's certificate lies under a data directory.
pub fn ca_path(data_dir: &Path) -> PathBuf {
    data_dir.join("tls").join("ca.pem")
}

/// An acceptor for HTTP/2 and HTTP/1.1 whose authority lies under `data_dir`, made on first use.
pub fn acceptor(data_dir: &Path, address: IpAddr) -> Result<(TlsAcceptor, String), TlsError> {
    let dir = data_dir.join("tls");
    fs::create_dir_all(&dir).map_err(|error| TlsError::File { path: dir.clone(), error })?;
    let (pem, key) = authority(&dir)?;
    Ok((server_config(&ca_path(data_dir), &pem, key, address)?, pem))
}

/// As `acceptor`, with nothing kept: for a node in memory.
pub fn ephemeral(address: IpAddr) -> Result<(TlsAcceptor, String), TlsError> {
    let (pem, key) = make_authority()?;
    Ok((server_config(Path::new("ca.pem"), &pem, key, address)?, pem))
}

/// The certificates of a text in PEM form.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.map_err(|_| TlsError::Malformed(PathBuf::from("ca.pem")))
}

/// An authority to keep, as certificate and key in PEM form.
pub fn new_authority() -> Result<(String, String), TlsError> {
    let (pem, key) = make_authority()?;
    Ok((pem, key.serialize_pem()))
}

/// As `acceptor`, with an authority that is kept elsewhere: nodes of one cloud share theirs.
pub fn with_authority(pem: &str, key: &str, address: IpAddr) -> Result<TlsAcceptor, TlsError> {
    let place = Path::new("the cloud's authority");
    let key = KeyPair::from_pem(key).map_err(|_| TlsError::Malformed(place.to_owned()))?;
    server_config(place, pem, key, address)
}

fn server_config(path: &Path, pem: &str, key: KeyPair, address: IpAddr) -> Result<TlsAcceptor, TlsError> {
    let authority = CertificateDer::from_pem_slice(pem.as_bytes());
    let authority = authority.map_err(|_| TlsError::Malformed(path.to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Names::new(authority, key, address)?));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Issues a certificate for each name that clients ask for.
struct Names {
    authority: CertificateDer<'static>,
    authority_key: KeyPair,
    /// One key for all of the node's certificates.
    key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
    address: IpAddr,
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

/// Certificates kept; when there are more names all are forgotten, which costs a signature each.
const MAX_ISSUED: usize = 1_024;

impl Names {
    fn new(
        authority: CertificateDer<'static>,
        authority_key: KeyPair,
        address: IpAddr,
    ) -> Result<Names, TlsError> {
        let key = KeyPair::generate()?;
        let der =
            PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let signing_key = any_ecdsa_type(&der)?;
        Ok(Names { authority, authority_key, key, signing_key, address, issued: Mutex::default() })
    }

    /// For a client that names no host, the addresses that we are reached at.
    fn issue(&self, name: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        let subject = match name {
            "" => vec![
                "localhost".to_owned(),
                "127.0.0.1".to_owned(),
                "::1".to_owned(),
                self.address.to_string(),
            ],
            name => vec![name.to_owned()],
        };
        let authority = authority_params();
        let issuer = Issuer::from_params(&authority, &self.authority_key);
        let mut params = CertificateParams::new(subject)?;
        params.distinguished_name.push(DnType::CommonName, "pileus");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, &issuer)?;
        let chain = vec![certificate.der().clone(), self.authority.clone()];
        Ok(Arc::new(CertifiedKey::new(chain, self.signing_key.clone())))
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default();
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = issued.get(name) {
            return Some(known.clone());
        }
        match self.issue(name) {
            Ok(certificate) => {
                if issued.len() == MAX_ISSUED {
                    issued.clear();
                }
                issued.insert(name.to_owned(), certificate.clone());
                Some(certificate)
            }
            Err(error) => {
                tracing::warn!(name, %error, "no certificate could be issued");
                None
            }
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

fn authority(dir: &Path) -> Result<(String, KeyPair), TlsError> {
    let (pem_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
    if pem_path.exists() && key_path.exists() {
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|_| TlsError::Malformed(key_path))?;
        return Ok((read(&pem_path)?, key));
    }
    let (pem, key) = make_authority()?;
    write_private(&key_path, &key.serialize_pem())?;
    fs::write(&pem_path, &pem).map_err(|error| TlsError::File { path: pem_path, error })?;
    Ok((pem, key))
}

fn make_authority() -> Result<(String, KeyPair), TlsError> {
    let key = KeyPair::generate()?;
    Ok((authority_params().self_signed(&key)?.pem(), key))
}

/// What the authority's certificate says. Fixed, so that its key alone is enough to issue under it again.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "pileus local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn read(path: &Path) -> Result<String, TlsError> {
    fs::read_to_string(path).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

/// Readable by the owner alone from the moment it exists.
fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| TlsError::File { path: path.to_owned(), error })
}
