//! The cloud's own certificate authority, and the certificate that its nodes answer TLS with.
//!
//! `<data>/tls/ca.pem` is what clients trust (`AWS_CA_BUNDLE`, `pileus ca`). The node's key is made anew when its names
//! change; the authority stays.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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

/// An acceptor for HTTP/2 and HTTP/1.1 with a certificate for `names` (and their sub-domains), made on first use.
pub fn acceptor(data_dir: &Path, names: &[String]) -> Result<TlsAcceptor, TlsError> {
    let dir = data_dir.join("tls");
    fs::create_dir_all(&dir).map_err(|error| TlsError::File { path: dir.clone(), error })?;
    let (ca_pem, ca_key) = authority(&dir)?;
    let (certificate, key) = node_certificate(&ca_key, names)?;
    server_config(vec![certificate, parse_certificate(&ca_path(data_dir), &ca_pem)?], key)
}

/// As `acceptor`, with nothing kept: for a node in memory. Gives the authority's PEM too.
pub fn ephemeral(names: &[String]) -> Result<(TlsAcceptor, String), TlsError> {
    let (ca_pem, ca_key) = make_authority()?;
    let (certificate, key) = node_certificate(&ca_key, names)?;
    let ca = parse_certificate(Path::new("ca.pem"), &ca_pem)?;
    Ok((server_config(vec![certificate, ca], key)?, ca_pem))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
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

fn node_certificate(
    ca_key: &KeyPair,
    names: &[String],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
    let authority = authority_params();
    let issuer = Issuer::from_params(&authority, ca_key);
    let mut subject = vec!["127.0.0.1".to_owned(), "::1".to_owned()];
    for name in names {
        subject.push(name.clone());
        subject.push(format!("*.{name}"));
        // Host names of regional services and of buckets: a wildcard covers one label only.
        for service in ["s3", "execute-api", "lambda-url"] {
            subject.push(format!("*.{service}.{name}"));
        }
    }
    let mut params = CertificateParams::new(subject)?;
    params.distinguished_name.push(DnType::CommonName, "pileus");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((certificate.der().clone(), key))
}

fn parse_certificate(path: &Path, pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::Malformed(path.to_owned()))
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
