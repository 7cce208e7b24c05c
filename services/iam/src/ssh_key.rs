//! SSH public keys of users, as CodeCommit takes them.
//!
//! Source: IAM API Reference, "UploadSSHPublicKey", "GetSSHPublicKey"; RFC 4253, section 6.6; RFC 8017, appendix A.1.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::access_key::status;
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::SSH_KEYS;
use crate::names::required;
use crate::page::{self, Page};
use crate::x509::pem;

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_KEYS: usize = 5;
const MIN_MODULUS_BYTES: usize = 256;
const RSA: &[u8] = b"ssh-rsa";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SshKeyRow {
    /// `ssh-rsa AAAA..`
    pub body: String,
    pub fingerprint: String,
    pub is_active: bool,
    pub uploaded: Timestamp,
}

impl Stored for SshKeyRow {}

/// An RSA public key: exponent and modulus, big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RsaKey {
    exponent: Vec<u8>,
    modulus: Vec<u8>,
}

impl RsaKey {
    /// Reads `ssh-rsa AAAA.. comment` or a PEM block.
    fn parse(text: &str) -> Option<RsaKey> {
        let key = match pem(text, "PUBLIC KEY") {
            Some(der) => RsaKey::from_der(&der)?,
            None => RsaKey::from_blob(
                &BASE64.decode(text.trim().strip_prefix("ssh-rsa ")?.split(' ').next()?).ok()?,
            )?,
        };
        (key.modulus.len() >= MIN_MODULUS_BYTES).then_some(key)
    }

    fn from_blob(blob: &[u8]) -> Option<RsaKey> {
        fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            *rest = after;
            Some(part)
        }
        let mut rest = blob;
        if part(&mut rest)? != RSA {
            return None;
        }
        let (exponent, modulus) = (part(&mut rest)?, part(&mut rest)?);
        Some(RsaKey { exponent: trim(exponent), modulus: trim(modulus) })
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        for part in [RSA.to_vec(), signed(&self.exponent), signed(&self.modulus)] {
            blob.extend_from_slice(&(part.len() as u32).to_be_bytes());
            blob.extend_from_slice(&part);
        }
        blob
    }

    /// Reads a `SubjectPublicKeyInfo` whose key is RSA.
    fn from_der(der: &[u8]) -> Option<RsaKey> {
        let at = der.windows(RSA_OID.len()).position(|window| window == RSA_OID)?;
        // After the algorithm: a bit string of a sequence of modulus and exponent.
        let mut rest = der.get(at + RSA_OID.len()..)?;
        let bits = element(&mut rest, 0x03)?;
        let mut bits = bits.get(1..)?;
        let mut sequence = element(&mut bits, 0x30)?;
        let modulus = trim(element(&mut sequence, 0x02)?);
        let exponent = trim(element(&mut sequence, 0x02)?);
        Some(RsaKey { exponent, modulus })
    }

    fn der(&self) -> Vec<u8> {
        let numbers = [tagged(0x02, &signed(&self.modulus)), tagged(0x02, &signed(&self.exponent))].concat();
        let bits = [&[0u8][..], &tagged(0x30, &numbers)].concat();
        tagged(0x30, &[tagged(0x30, RSA_OID), tagged(0x03, &bits)].concat())
    }

    fn ssh(&self) -> String {
        format!("ssh-rsa {}", BASE64.encode(self.blob()))
    }

    fn pem(&self) -> String {
        let body = BASE64.encode(self.der());
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// MD5 of the key in SSH's form, in pairs of digits.
    fn fingerprint(&self) -> String {
        let pairs: Vec<String> = Md5::digest(self.blob()).iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(":")
    }
}

/// The object identifier rsaEncryption and a null parameter.
const RSA_OID: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The contents of the next DER element, which has this tag.
fn element<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, after) = rest.split_first()?;
    let (first, after) = after.split_first()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(*first), after),
        0x81..=0x82 => {
            let (bytes, after) = after.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), after)
        }
        _ => return None,
    };
    let (contents, after) = after.split_at_checked(length)?;
    *rest = after;
    (*found == tag).then_some(contents)
}

fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => bytes.push(short as u8),
        middle @ 0x80..=0xff => bytes.extend_from_slice(&[0x81, middle as u8]),
        long => {
            bytes.push(0x82);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(contents);
    bytes
}

fn trim(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

/// With a leading zero where the number would otherwise read as negative.
fn signed(number: &[u8]) -> Vec<u8> {
    let zero = number.first().is_some_and(|byte| *byte >= 0x80).then_some(0);
    zero.into_iter().chain(number.iter().copied()).collect()
}

impl SshKeyRow {
    fn status(&self) -> String {
        if self.is_active { "Active" } else { "Inactive" }.to_owned()
    }

    fn answer(&self, user: &str, id: &str, body: String) -> api::SSHPublicKey {
        api::SSHPublicKey {
            user_name: Some(user.to_owned()),
            ssh_public_key_id: Some(id.to_owned()),
            fingerprint: Some(self.fingerprint.clone()),
            ssh_public_key_body: Some(body),
            status: Some(self.status()),
            upload_date: Some(self.uploaded),
        }
    }
}

pub async fn upload_ssh_public_key(
    cx: &Cx,
    input: api::UploadSSHPublicKeyRequest,
) -> Result<api::UploadSSHPublicKeyResponse, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let body = required(&input.ssh_public_key_body, "SSHPublicKeyBody")?;
    let key = RsaKey::parse(body).ok_or(IamError::InvalidPublicKey)?;
    let id = &cx.ids().iam("APKA", 17);
    let row = SshKeyRow {
        body: key.ssh(),
        fingerprint: key.fingerprint(),
        is_active: true,
        uploaded: change::now(cx),
    };
    let row = &row;
    let user = change(cx, move |txn| async move {
        let user = Holder::load(&txn, cx.account(), Kind::User, name).await?;
        let rows = page::all(&txn, SSH_KEYS, SSH_KEYS.under(&(user.id.clone(),))).await?;
        if rows.iter().any(|(_, other)| other.fingerprint == row.fingerprint) {
            return Err(IamError::DuplicateSshPublicKey);
        }
        if rows.len() >= MAX_KEYS {
            return Err(IamError::quota("SSHPublicKeysPerUser", MAX_KEYS));
        }
        SSH_KEYS.put(&txn, &(user.id.clone(), id.clone()), row)?;
        Ok(user)
    })
    .await?;
    Ok(api::UploadSSHPublicKeyResponse { ssh_public_key: Some(row.answer(&user.name, id, body.to_owned())) })
}

fn missing(id: &str) -> IamError {
    IamError::NoSuchEntity(format!("The Public Key with id {id} cannot be found."))
}

pub async fn get_ssh_public_key(
    cx: &Cx,
    input: api::GetSSHPublicKeyRequest,
) -> Result<api::GetSSHPublicKeyResponse, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let id = required(&input.ssh_public_key_id, "SSHPublicKeyId")?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let row = SSH_KEYS.get(cx.store(), &(user.id, id.to_owned())).await?.ok_or_else(|| missing(id))?;
    let body = match required(&input.encoding, "Encoding")? {
        "PEM" => RsaKey::parse(&row.body).ok_or(IamError::UnrecognizedPublicKeyEncoding)?.pem(),
        _ => row.body.clone(),
    };
    Ok(api::GetSSHPublicKeyResponse { ssh_public_key: Some(row.answer(&user.name, id, body)) })
}

async fn load(cx: &Cx, txn: &Txn, name: &str, id: &str) -> Result<((String, String), SshKeyRow), IamError> {
    let user = Holder::load(txn, cx.account(), Kind::User, name).await?;
    let key = (user.id, id.to_owned());
    let row = SSH_KEYS.get(txn, &key).await?.ok_or_else(|| missing(id))?;
    Ok((key, row))
}

pub async fn update_ssh_public_key(cx: &Cx, input: api::UpdateSSHPublicKeyRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let id = required(&input.ssh_public_key_id, "SSHPublicKeyId")?;
    let is_active = status(&input.status)?;
    change(cx, move |txn| async move {
        let (key, row) = load(cx, &txn, name, id).await?;
        Ok(SSH_KEYS.put(&txn, &key, &SshKeyRow { is_active, ..row })?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_ssh_public_key(cx: &Cx, input: api::DeleteSSHPublicKeyRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let id = required(&input.ssh_public_key_id, "SSHPublicKeyId")?;
    change(cx, move |txn| async move {
        let (key, _) = load(cx, &txn, name, id).await?;
        SSH_KEYS.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_ssh_public_keys(
    cx: &Cx,
    input: api::ListSSHPublicKeysRequest,
) -> Result<api::ListSSHPublicKeysResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let page = Page::new("ssh-keys", input.marker.as_deref(), input.max_items)?;
    let rows = page::all(cx.store(), SSH_KEYS, SSH_KEYS.under(&(user.id,))).await?;
    let cut = page.cut(rows, |((_, id), _)| id.clone());
    let metadata = |((_, id), row): ((String, String), SshKeyRow)| api::SSHPublicKeyMetadata {
        user_name: Some(user.name.clone()),
        ssh_public_key_id: Some(id),
        status: Some(row.status()),
        upload_date: Some(row.uploaded),
    };
    Ok(api::ListSSHPublicKeysResponse {
        ssh_public_keys: Some(cut.items.into_iter().map(metadata).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(first: u8) -> RsaKey {
        RsaKey { exponent: vec![1, 0, 1], modulus: std::iter::once(first).chain([7; 255]).collect() }
    }

    #[test]
    fn a_key_reads_the_same_in_both_forms() {
        for first in [0x01, 0x80, 0xff] {
            let key = key(first);
            assert_eq!(RsaKey::parse(&format!("{} ann@host", key.ssh())).as_ref(), Some(&key));
            assert_eq!(RsaKey::parse(&key.pem()).as_ref(), Some(&key));
            assert_eq!(key.fingerprint().len(), 47);
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let short = RsaKey { modulus: vec![1; 128], ..key(1) };
        for text in ["", "ssh-rsa", "ssh-rsa !!", "ssh-ed25519 AAAA", "ssh-rsa AAAA", &short.ssh()] {
            assert_eq!(RsaKey::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn broken_keys_are_none_at_worst(bytes: Vec<u8>) {
            let _ = RsaKey::from_blob(&bytes);
            let _ = RsaKey::from_der(&bytes);
        }
    }
}
