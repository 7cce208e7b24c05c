//! Access control lists: canned ones, those in headers and bodies, and what they allow. Pure.
//!
//! What a list allows is written as statements of a policy, so that one evaluation decides over policies and lists together.
//!
//! Source: Amazon S3 User Guide, "Access control list (ACL) overview", "Controlling ownership of objects and disabling ACLs for your
//! bucket". Recorded: the sentences.

use pileus_api_s3::{AccessControlPolicy, Grant, Grantee, Owner};
use serde_json::{Value, json};

pub const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
pub const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
pub const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// Who `aws-exec-read` lets read. Recorded.
const EXECUTOR: &str = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c";
const MAX_GRANTS: usize = 100;

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Bucket,
    Object,
}

/// Why a list is refused: code, sentence, and the argument's name and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub argument: Option<(&'static str, String)>,
}

fn refuse(code: &'static str, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned(), argument: None }
}

/// A list as a request names it, by a canned name or by grants in headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    pub canned: Option<&'a str>,
    pub full_control: Option<&'a str>,
    pub read: Option<&'a str>,
    pub read_acp: Option<&'a str>,
    pub write: Option<&'a str>,
    pub write_acp: Option<&'a str>,
}

impl Headers<'_> {
    pub fn is_empty(&self) -> bool {
        self.canned.is_none() && self.grants().next().is_none()
    }

    fn grants(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("FULL_CONTROL", self.full_control),
            ("READ", self.read),
            ("READ_ACP", self.read_acp),
            ("WRITE", self.write),
            ("WRITE_ACP", self.write_acp),
        ];
        all.into_iter().filter_map(|(permission, text)| Some((permission, text?)))
    }

    /// Whether a bucket without lists takes it all the same: it says no more than that the bucket's owner owns everything.
    pub fn says_nothing(&self, bucket_owner: &str) -> bool {
        if let Some(canned) = self.canned {
            return canned == "bucket-owner-full-control" && self.grants().next().is_none();
        }
        self.grants().all(|(permission, text)| {
            permission == "FULL_CONTROL"
                && text.split(',').all(|grantee| {
                    grantee.trim().strip_prefix("id=").is_some_and(|id| id.trim_matches('"') == bucket_owner)
                })
        })
    }

    /// # Errors
    /// `InvalidArgument`, `InvalidRequest`
    pub fn read(&self, of: Of, owner: &str, bucket_owner: &str) -> Result<AccessControlPolicy, Refusal> {
        if let Some(canned) = self.canned {
            if self.grants().next().is_some() {
                return Err(refuse(
                    "InvalidRequest",
                    "Specifying both Canned ACLs and Header Grants is not allowed",
                ));
            }
            return canned_list(canned, of, owner, bucket_owner);
        }
        let mut grants = vec![];
        for (permission, text) in self.grants() {
            for grantee in text.split(',').map(str::trim).filter(|grantee| !grantee.is_empty()) {
                grants.push(Grant {
                    grantee: Some(read_grantee(grantee)?),
                    permission: Some(permission.to_owned()),
                });
            }
        }
        if grants.len() > MAX_GRANTS {
            return Err(malformed());
        }
        Ok(AccessControlPolicy { grants: Some(grants), owner: Some(named(owner)) })
    }
}

/// `id="..."`, `uri="..."`, `emailAddress="..."`
fn read_grantee(text: &str) -> Result<Grantee, Refusal> {
    let invalid = || refuse("InvalidArgument", "Argument format not recognized");
    let (kind, value) = text.split_once('=').ok_or_else(invalid)?;
    let value = value.trim().trim_matches('"');
    let grantee = match kind.trim() {
        "id" => user(value),
        "uri" => group(value),
        "emailAddress" => Grantee {
            email_address: Some(value.to_owned()),
            r#type: Some("AmazonCustomerByEmail".to_owned()),
            ..Grantee::default()
        },
        _ => return Err(invalid()),
    };
    check_grantee(&grantee)?;
    Ok(grantee)
}

fn malformed() -> Refusal {
    refuse(
        "MalformedACLError",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// A list in a body.
///
/// # Errors
/// `MalformedACLError`, `InvalidArgument`, `AccessDenied` when it names another owner.
pub fn check(list: &AccessControlPolicy, of: Of, owner: &str) -> Result<(), Refusal> {
    if list.owner.as_ref().and_then(|owner| owner.id.as_deref()) != Some(owner) {
        return Err(refuse("AccessDenied", "Access Denied"));
    }
    let grants = list.grants.as_deref().unwrap_or_default();
    if grants.len() > MAX_GRANTS {
        return Err(malformed());
    }
    for grant in grants {
        let grantee = grant.grantee.as_ref().ok_or_else(malformed)?;
        check_grantee(grantee)?;
        match (grant.permission.as_deref(), of) {
            (Some("FULL_CONTROL" | "READ" | "READ_ACP" | "WRITE_ACP"), _) | (Some("WRITE"), Of::Bucket) => {}
            // Recorded: objects take the permission, which has no meaning there.
            (Some("WRITE"), Of::Object) => {}
            _ => return Err(malformed()),
        }
    }
    Ok(())
}

fn check_grantee(grantee: &Grantee) -> Result<(), Refusal> {
    match grantee.r#type.as_deref() {
        Some("CanonicalUser") => {
            let id = grantee.id.as_deref().unwrap_or_default();
            if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(Refusal {
                    argument: Some(("CanonicalUser/ID", id.to_owned())),
                    ..refuse("InvalidArgument", "Invalid id")
                });
            }
        }
        Some("Group") => {
            let uri = grantee.uri.as_deref().unwrap_or_default();
            if ![ALL_USERS, AUTHENTICATED, LOG_DELIVERY].contains(&uri) {
                return Err(Refusal {
                    argument: Some(("Group/URI", uri.to_owned())),
                    ..refuse("InvalidArgument", "Invalid group uri")
                });
            }
        }
        Some("AmazonCustomerByEmail") => {
            return Err(refuse(
                "UnresolvableGrantByEmailAddress",
                "The e-mail address you provided does not match any account on record.",
            ));
        }
        _ => return Err(malformed()),
    }
    Ok(())
}

fn named(id: &str) -> Owner {
    Owner { id: Some(id.to_owned()), display_name: None }
}

fn user(id: &str) -> Grantee {
    Grantee { id: Some(id.to_owned()), r#type: Some("CanonicalUser".to_owned()), ..Grantee::default() }
}

fn group(uri: &str) -> Grantee {
    Grantee { uri: Some(uri.to_owned()), r#type: Some("Group".to_owned()), ..Grantee::default() }
}

fn grant(grantee: Grantee, permission: &str) -> Grant {
    Grant { grantee: Some(grantee), permission: Some(permission.to_owned()) }
}

/// The list of what nobody but its owner may use.
pub fn private(owner: &str) -> AccessControlPolicy {
    AccessControlPolicy { grants: Some(vec![grant(user(owner), "FULL_CONTROL")]), owner: Some(named(owner)) }
}

/// # Errors
/// `InvalidArgument` for a name that is none.
pub fn canned_list(
    name: &str,
    of: Of,
    owner: &str,
    bucket_owner: &str,
) -> Result<AccessControlPolicy, Refusal> {
    let mut list = private(owner);
    let more = match (name, of) {
        ("private", _) => vec![],
        ("public-read", _) => vec![grant(group(ALL_USERS), "READ")],
        ("public-read-write", _) => vec![grant(group(ALL_USERS), "READ"), grant(group(ALL_USERS), "WRITE")],
        ("authenticated-read", _) => vec![grant(group(AUTHENTICATED), "READ")],
        ("aws-exec-read", _) => vec![grant(user(EXECUTOR), "READ")],
        ("log-delivery-write", Of::Bucket) => {
            vec![grant(group(LOG_DELIVERY), "WRITE"), grant(group(LOG_DELIVERY), "READ_ACP")]
        }
        ("bucket-owner-read", Of::Object) if owner != bucket_owner => vec![grant(user(bucket_owner), "READ")],
        ("bucket-owner-full-control", Of::Object) if owner != bucket_owner => {
            vec![grant(user(bucket_owner), "FULL_CONTROL")]
        }
        ("bucket-owner-read" | "bucket-owner-full-control", _) => vec![],
        _ => {
            return Err(Refusal {
                argument: Some(("x-amz-acl", name.to_owned())),
                ..refuse("InvalidArgument", "")
            });
        }
    };
    list.grants.get_or_insert_default().extend(more);
    Ok(list)
}

/// Whether a list lets everyone, or every account, do something.
pub fn is_public(list: &AccessControlPolicy) -> bool {
    list.grants.iter().flatten().any(is_public_grant)
}

fn is_public_grant(grant: &Grant) -> bool {
    let uri = grant.grantee.as_ref().and_then(|grantee| grantee.uri.as_deref());
    matches!(uri, Some(ALL_USERS | AUTHENTICATED))
}

/// Who asks, as lists know them.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub canonical_id: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    pub is_anonymous: bool,
}

/// The statements of a policy that say what the list gives to `asker`. `arn` is the bucket's or the object's. Public grants are
/// passed over when `ignore_public`.
pub fn statements(
    list: &AccessControlPolicy,
    of: Of,
    arn: &str,
    asker: Asker<'_>,
    ignore_public: bool,
) -> Vec<Value> {
    let mut statements = vec![];
    for given in list.grants.iter().flatten() {
        if ignore_public && is_public_grant(given) {
            continue;
        }
        let Some(grantee) = &given.grantee else { continue };
        let principal = match (grantee.id.as_deref(), grantee.uri.as_deref()) {
            (Some(id), _) if id == asker.canonical_id && !asker.is_anonymous => {
                json!({ "AWS": asker.account })
            }
            (_, Some(ALL_USERS)) => json!("*"),
            (_, Some(AUTHENTICATED)) if !asker.is_anonymous => json!({ "AWS": asker.account }),
            (_, Some(LOG_DELIVERY)) => json!({ "Service": "logging.s3.amazonaws.com" }),
            _ => continue,
        };
        for (actions, resource) in allowed(given.permission.as_deref().unwrap_or_default(), of, arn) {
            statements.push(json!({
                "Effect": "Allow", "Principal": principal, "Action": actions, "Resource": resource,
            }));
        }
    }
    statements
}

fn allowed(permission: &str, of: Of, arn: &str) -> Vec<(Vec<&'static str>, String)> {
    let (mut own, mut inner) = (vec![], vec![]);
    let has = |name: &str| permission == name || permission == "FULL_CONTROL";
    match of {
        Of::Bucket => {
            if has("READ") {
                own.extend(["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"]);
            }
            if has("READ_ACP") {
                own.push("s3:GetBucketAcl");
            }
            if has("WRITE_ACP") {
                own.push("s3:PutBucketAcl");
            }
            if has("WRITE") {
                inner.extend([
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:DeleteObjectVersion",
                    "s3:AbortMultipartUpload",
                ]);
            }
        }
        Of::Object => {
            if has("READ") {
                own.extend(["s3:GetObject", "s3:GetObjectVersion"]);
            }
            if has("READ_ACP") {
                own.extend(["s3:GetObjectAcl", "s3:GetObjectVersionAcl"]);
            }
            if has("WRITE_ACP") {
                own.extend(["s3:PutObjectAcl", "s3:PutObjectVersionAcl"]);
            }
        }
    }
    let all = [(own, arn.to_owned()), (inner, format!("{arn}/*"))];
    all.into_iter().filter(|(actions, _)| !actions.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn shown(list: &AccessControlPolicy) -> Vec<String> {
        let one = |grant: &Grant| {
            let grantee = grant.grantee.clone().unwrap_or_default();
            let who = grantee.uri.or(grantee.id).unwrap_or_default();
            let who = who.rsplit('/').next().unwrap_or_default().to_owned();
            let who = if who == ONE {
                "one".into()
            } else if who == TWO {
                "two".into()
            } else {
                who
            };
            format!("{who}={}", grant.permission.as_deref().unwrap_or_default())
        };
        list.grants.iter().flatten().map(one).collect()
    }

    #[test]
    fn canned_lists_are_what_aws_says() {
        let cases = [
            ("private", Of::Bucket, Ok("one=FULL_CONTROL")),
            ("public-read", Of::Object, Ok("one=FULL_CONTROL AllUsers=READ")),
            ("public-read-write", Of::Bucket, Ok("one=FULL_CONTROL AllUsers=READ AllUsers=WRITE")),
            ("authenticated-read", Of::Object, Ok("one=FULL_CONTROL AuthenticatedUsers=READ")),
            ("log-delivery-write", Of::Bucket, Ok("one=FULL_CONTROL LogDelivery=WRITE LogDelivery=READ_ACP")),
            ("log-delivery-write", Of::Object, Err("InvalidArgument")),
            ("bucket-owner-read", Of::Object, Ok("one=FULL_CONTROL two=READ")),
            ("bucket-owner-full-control", Of::Object, Ok("one=FULL_CONTROL two=FULL_CONTROL")),
            ("secret", Of::Object, Err("InvalidArgument")),
        ];
        for (name, of, expected) in cases {
            let got = canned_list(name, of, ONE, TWO);
            let got = got.map(|list| shown(&list).join(" ")).map_err(|refusal| refusal.code);
            assert_eq!(got, expected.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn grants_in_headers_are_read() {
        let read = Headers {
            read: Some(
                r#"uri="http://acs.amazonaws.com/groups/global/AllUsers", id=1111111111111111111111111111111111111111111111111111111111111111"#,
            ),
            ..Headers::default()
        };
        let got = read.read(Of::Object, ONE, TWO).map(|list| shown(&list).join(" "));
        assert_eq!(got, Ok("AllUsers=READ one=READ".to_owned()));
        let cases = [
            (Headers { read: Some("id=1"), ..Headers::default() }, "InvalidArgument"),
            (Headers { read: Some("x"), ..Headers::default() }, "InvalidArgument"),
            (Headers { read: Some("uri=http://x"), ..Headers::default() }, "InvalidArgument"),
            (
                Headers { write: Some("emailAddress=a@b.c"), ..Headers::default() },
                "UnresolvableGrantByEmailAddress",
            ),
            (Headers { canned: Some("private"), ..read }, "InvalidRequest"),
        ];
        for (headers, code) in cases {
            let got = headers.read(Of::Object, ONE, TWO).map_err(|refusal| refusal.code);
            assert_eq!(got, Err(code), "{headers:?}");
        }
    }

    #[test]
    fn some_lists_say_nothing_new() {
        let canned = |name| Headers { canned: Some(name), ..Headers::default() };
        let id = format!("id=\"{TWO}\"");
        let cases = [
            (canned("bucket-owner-full-control"), true),
            (canned("private"), false),
            (canned("public-read"), false),
            (Headers { full_control: Some(&id), ..Headers::default() }, true),
            (Headers { read: Some(&id), ..Headers::default() }, false),
            (Headers::default(), true),
        ];
        for (headers, expected) in cases {
            assert_eq!(headers.says_nothing(TWO), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_list_gives_only_what_it_names() {
        let list = canned_list("public-read", Of::Object, ONE, ONE).expect("canned");
        let stranger = Asker { canonical_id: TWO, account: "222222222222", is_anonymous: false };
        let nobody = Asker { canonical_id: "", account: "000000000000", is_anonymous: true };
        let owner = Asker { canonical_id: ONE, account: "111111111111", is_anonymous: false };
        let count = |asker, ignore| statements(&list, Of::Object, "arn:aws:s3:::b/k", asker, ignore).len();
        assert_eq!([count(stranger, false), count(nobody, false), count(owner, false)], [1, 1, 2]);
        assert_eq!([count(stranger, true), count(nobody, true), count(owner, true)], [0, 0, 1]);
        let bucket = canned_list("public-read-write", Of::Bucket, ONE, ONE).expect("canned");
        let got = statements(&bucket, Of::Bucket, "arn:aws:s3:::b", nobody, false);
        assert_eq!(got[0]["Resource"], "arn:aws:s3:::b");
        assert_eq!(got[1]["Resource"], "arn:aws:s3:::b/*");
        assert!(is_public(&bucket) && !is_public(&private(ONE)));
    }
}
