//! What each operation acts on, and with which condition keys: what authorisation asks.
//!
//! A resource's ARN holds its path, and its tags are condition keys, so most of this is read from the store. A resource that does not
//! exist is judged by the ARN that it would have without a path.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access Management (IAM)".

use std::future::Future;

use futures_util::FutureExt;
use pileus_api_iam::Tag;
use pileus_platform::{Access, CallerKind, Cx, Fault};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::IamError;
use crate::group::GroupRow;
use crate::holder::Kind;
use crate::instance_profile::ProfileRow;
use crate::keys::{ACCESS_KEYS, CERTIFICATES, DEVICES, GROUPS, IDS, PROFILES, ROLES, USERS};
use crate::mfa::DeviceRow;
use crate::names;
use crate::policy::PolicyRow;
use crate::role::{RoleRow, SERVICE_LINKED_PATH};
use crate::server_certificate::CertificateRow;
use crate::tags::Tags;
use crate::user::UserRow;

/// One resource, condition keys, and what else the caller must be allowed to do.
pub struct Resource {
    arn: String,
    context: Vec<(String, Vec<String>)>,
    also: Vec<Access>,
}

impl Resource {
    pub fn new(arn: impl Into<String>) -> Resource {
        Resource { arn: arn.into(), context: Vec::new(), also: Vec::new() }
    }

    pub fn with(mut self, key: &str, value: Option<&str>) -> Resource {
        self.context.retain(|(other, _)| value.is_none() || other != key);
        self.context.extend(value.map(|value| (key.to_owned(), vec![value.to_owned()])));
        self
    }

    pub fn with_policy(self, arn: &Option<String>) -> Resource {
        self.with("iam:PolicyARN", arn.as_deref())
    }

    /// The tags that the resource has.
    fn tagged(mut self, tags: &Tags) -> Resource {
        for (key, value) in tags {
            for prefix in ["aws:ResourceTag", "iam:ResourceTag"] {
                self.context.push((format!("{prefix}/{key}"), vec![value.clone()]));
            }
        }
        self
    }

    /// The tags that the request gives.
    pub fn giving(mut self, tags: &Option<Vec<Tag>>) -> Resource {
        let Some(tags) = tags.as_ref().filter(|tags| !tags.is_empty()) else { return self };
        let key = |tag: &Tag| tag.key.clone().unwrap_or_default();
        for tag in tags {
            self.context
                .push((format!("aws:RequestTag/{}", key(tag)), vec![tag.value.clone().unwrap_or_default()]));
        }
        self.context.push(("aws:TagKeys".to_owned(), tags.iter().map(key).collect()));
        self
    }

    /// The keys of the tags that the request takes away.
    pub fn taking(mut self, keys: &Option<Vec<String>>) -> Resource {
        self.context.push(("aws:TagKeys".to_owned(), keys.clone().unwrap_or_default()));
        self
    }

    /// Creating with tags takes the permission to tag as well.
    pub fn giving_new(self, tags: &Option<Vec<Tag>>, action: &'static str) -> Resource {
        let has_tags = tags.as_ref().is_some_and(|tags| !tags.is_empty());
        let mut resource = self.giving(tags);
        if has_tags {
            let access = resource.access(action.to_owned());
            resource.also.push(access);
        }
        resource
    }

    pub fn passing_role(mut self, role_arn: &str, service: &'static str) -> Resource {
        self.also.push(Access::pass_role(role_arn, service));
        self
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    fn access(&self, action: String) -> Access {
        let access = Access::new(action, self.arn.as_str());
        self.context
            .iter()
            .fold(access, |access, (key, values)| access.with_many(key.clone(), values.clone()))
    }

    /// The permissions that `operation` on this resource takes.
    pub fn accesses(self, operation: &str) -> Vec<Access> {
        let mut accesses = vec![self.access(format!("iam:{operation}"))];
        accesses.extend(self.also);
        accesses
    }
}

/// Waits for a read where no waiting is possible. The embedded engines answer at once; one that has to ask elsewhere holds up this
/// thread of the runtime for as long as that takes.
fn read<T>(reading: impl Future<Output = Result<T, IamError>>) -> Result<T, Fault> {
    let mut reading = Box::pin(reading);
    if let Some(found) = reading.as_mut().now_or_never() {
        return Ok(found?);
    }
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            Ok(tokio::task::block_in_place(|| runtime.block_on(reading))?)
        }
        _ => Err(Fault::receiver("ServiceFailure", "authorisation could not read the state of a resource")),
    }
}

fn arn(cx: &Cx, kind: &str, path: &str, name: &str) -> String {
    names::arn(cx.region().partition(), cx.account(), kind, path, name)
}

/// What a new thing's ARN will be.
pub fn new(cx: &Cx, kind: &str, path: &Option<String>, name: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::new(arn(cx, kind, path.as_deref().unwrap_or("/"), name.as_deref().unwrap_or_default())))
}

/// The named user, or the caller when no name is given.
pub fn user(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = match (name, &cx.caller().kind) {
        (Some(name), _) => name,
        (None, CallerKind::User { name, .. }) => &**name,
        (None, _) => return Ok(Resource::new("*")),
    };
    let key = (cx.account(), names::key(name));
    match read(async { Ok(USERS.get(cx.store(), &key).await?) })? {
        Some(row) => Ok(of_user(cx, &row)),
        None => Ok(Resource::new(arn(cx, Kind::User.word(), "/", name))),
    }
}

fn of_user(cx: &Cx, row: &UserRow) -> Resource {
    let resource = Resource::new(row.arn(cx)).tagged(&row.tags);
    resource.with("iam:PermissionsBoundary", row.boundary.as_deref())
}

pub fn group(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    let key = (cx.account(), names::key(name));
    let row: Option<GroupRow> = read(async { Ok(GROUPS.get(cx.store(), &key).await?) })?;
    let found = row.map(|row| row.arn(cx));
    Ok(Resource::new(found.unwrap_or_else(|| arn(cx, Kind::Group.word(), "/", name))))
}

pub fn role(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    let key = (cx.account(), names::key(name));
    let row: Option<RoleRow> = read(async { Ok(ROLES.get(cx.store(), &key).await?) })?;
    match row {
        Some(row) => {
            let resource = Resource::new(row.arn(cx)).tagged(&row.tags);
            Ok(resource.with("iam:PermissionsBoundary", row.boundary.as_deref()))
        }
        None => Ok(Resource::new(arn(cx, Kind::Role.word(), "/", name))),
    }
}

pub fn profile(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    let key = (cx.account(), names::key(name));
    let row: Option<ProfileRow> = read(async { Ok(PROFILES.get(cx.store(), &key).await?) })?;
    match row {
        Some(row) => Ok(Resource::new(row.arn(cx)).tagged(&row.tags)),
        None => Ok(Resource::new(arn(cx, "instance-profile", "/", name))),
    }
}

/// A managed policy by its ARN, which names its path itself.
pub fn policy(cx: &Cx, policy_arn: &Option<String>) -> Result<Resource, Fault> {
    let policy_arn = policy_arn.as_deref().unwrap_or_default();
    let row = match names::parse_arn(policy_arn) {
        Some(named) if named.kind == "policy" => read(PolicyRow::find(cx.store(), cx.account(), policy_arn))?,
        _ => None,
    };
    let resource = Resource::new(policy_arn);
    Ok(match row {
        Some(row) => resource.tagged(&row.tags),
        None => resource,
    })
}

/// Whatever an ARN names: providers, and the sources of simulations.
pub fn by_arn(_: &Cx, arn: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::new(arn.clone().unwrap_or_default()))
}

pub fn device(cx: &Cx, serial: &Option<String>) -> Result<Resource, Fault> {
    let serial = serial.as_deref().unwrap_or_default();
    let key = (cx.account(), serial.to_owned());
    let row: Option<DeviceRow> = read(async { Ok(DEVICES.get(cx.store(), &key).await?) })?;
    let resource = Resource::new(serial);
    Ok(match row {
        Some(row) => resource.tagged(&row.tags),
        None => resource,
    })
}

pub fn certificate(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    let key = (cx.account(), names::key(name));
    let row: Option<CertificateRow> = read(async { Ok(CERTIFICATES.get(cx.store(), &key).await?) })?;
    Ok(match row {
        Some(row) => Resource::new(arn(cx, "server-certificate", &row.path, &row.name)).tagged(&row.tags),
        None => Resource::new(arn(cx, "server-certificate", "/", name)),
    })
}

/// The user that an access key belongs to.
pub fn owner_of_key(cx: &Cx, id: &Option<String>) -> Result<Resource, Fault> {
    let id = id.clone().unwrap_or_default();
    let user = read(async {
        let Some(row) = ACCESS_KEYS.get(cx.store(), &(id,)).await? else { return Ok(None) };
        let Some(owner) = IDS.get(cx.store(), &(row.owner,)).await? else { return Ok(None) };
        if owner.account != cx.account() {
            return Ok(None);
        }
        Ok(USERS.get(cx.store(), &(owner.account, owner.key)).await?)
    })?;
    Ok(user.map_or_else(|| Resource::new("*"), |row| of_user(cx, &row)))
}

/// The roles that a service may make for itself.
pub fn service_linked(cx: &Cx, service: &Option<String>) -> Result<Resource, Fault> {
    let service = service.as_deref().unwrap_or_default();
    let resource =
        Resource::new(arn(cx, Kind::Role.word(), &format!("{SERVICE_LINKED_PATH}{service}/"), "*"));
    Ok(resource.with("iam:AWSServiceName", Some(service)))
}

/// What a new OIDC provider's ARN will be.
pub fn new_oidc(cx: &Cx, url: &Option<String>) -> Result<Resource, Fault> {
    let url = url.as_deref().unwrap_or_default();
    let url = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
    Ok(Resource::new(arn(cx, "oidc-provider", "/", url)))
}
