//! `GetAccountAuthorizationDetails`: everything that gives somebody permissions, in one list.

use pileus_api_iam as api;
use pileus_platform::Cx;
use pileus_store::Stored;

use crate::boundary;
use crate::error::IamError;
use crate::group::{GroupRow, groups_of};
use crate::instance_profile::profiles_of;
use crate::keys::{GROUPS, LAST_USE, POLICIES, ROLES, USERS};
use crate::names;
use crate::page::{self, Page};
use crate::policy::version::{self, versions_of};
use crate::policy::{PolicyRow, Usage, attach, aws, inline, usages};
use crate::role::{self, RoleRow};
use crate::tags;
use crate::user::UserRow;

/// One entry of the list before its details are read.
enum Item {
    User(UserRow),
    Group(GroupRow),
    Role(RoleRow),
    Local(PolicyRow, Usage),
    Aws(&'static pileus_iam::managed::ManagedPolicy, Usage),
}

/// Of AWS's policies only those in use, as there.
pub async fn get_account_authorization_details(
    cx: &Cx,
    input: api::GetAccountAuthorizationDetailsRequest,
) -> Result<api::GetAccountAuthorizationDetailsResponse, IamError> {
    let page = Page::new("details", input.marker.as_deref(), input.max_items)?;
    let filter = input.filter.unwrap_or_default();
    let wants = |kind: &str| filter.is_empty() || filter.iter().any(|wanted| wanted == kind);
    let items = gather(cx, wants).await?;
    let cut = page.cut(items, |(key, _)| key.clone());
    let mut answer = api::GetAccountAuthorizationDetailsResponse {
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
        ..Default::default()
    };
    let users = answer.user_detail_list.get_or_insert_default();
    let groups = answer.group_detail_list.get_or_insert_default();
    let roles = answer.role_detail_list.get_or_insert_default();
    let policies = answer.policies.get_or_insert_default();
    for (_, item) in cut.items {
        match item {
            Item::User(row) => users.push(user(cx, &row).await?),
            Item::Group(row) => groups.push(group(cx, &row).await?),
            Item::Role(row) => roles.push(role(cx, &row).await?),
            Item::Local(row, usage) => policies.push(local(cx, &row, usage).await?),
            Item::Aws(managed, usage) => {
                let versions = aws::version(managed).into_iter().collect();
                policies.push(detail(aws::summary(managed, usage), versions));
            }
        }
    }
    Ok(answer)
}

async fn gather(cx: &Cx, wants: impl Fn(&str) -> bool) -> Result<Vec<(String, Item)>, IamError> {
    let mut items = Vec::new();
    if wants("User") {
        items.extend(rows(cx, USERS, "0").await?.map(|(key, row)| (key, Item::User(row))));
    }
    if wants("Group") {
        items.extend(rows(cx, GROUPS, "1").await?.map(|(key, row)| (key, Item::Group(row))));
    }
    if wants("Role") {
        items.extend(rows(cx, ROLES, "2").await?.map(|(key, row)| (key, Item::Role(row))));
    }
    let usages = usages(cx.store(), cx.account()).await?;
    if wants("LocalManagedPolicy") {
        for (key, row) in rows(cx, POLICIES, "3").await? {
            let usage = usages.get(&row.arn(cx)).copied().unwrap_or_default();
            items.push((key, Item::Local(row, usage)));
        }
    }
    if wants("AWSManagedPolicy") {
        let in_use = usages.iter().filter_map(|(arn, usage)| Some((aws::find(arn)?, *usage)));
        items.extend(in_use.map(|(managed, usage)| (format!("4{}", managed.arn), Item::Aws(managed, usage))));
    }
    Ok(items)
}

async fn rows<V: Stored>(
    cx: &Cx,
    table: pileus_store::Table<crate::keys::ByName, V>,
    prefix: &str,
) -> Result<impl Iterator<Item = (String, V)>, IamError> {
    let rows = page::all(cx.store(), table, table.under(&(cx.account(),))).await?;
    Ok(rows.into_iter().map(move |((_, key), row)| (format!("{prefix}{key}"), row)))
}

async fn user(cx: &Cx, row: &UserRow) -> Result<api::UserDetail, IamError> {
    let groups = groups_of(cx.store(), &row.id).await?;
    Ok(api::UserDetail {
        path: Some(row.path.clone()),
        user_name: Some(row.name.clone()),
        user_id: Some(row.id.clone()),
        arn: Some(row.arn(cx)),
        create_date: Some(row.created),
        user_policy_list: Some(inline::details(cx.store(), &row.id).await?),
        group_list: Some(groups.into_iter().map(|group| group.name).collect()),
        attached_managed_policies: Some(attach::attached_to(cx.store(), &row.id).await?),
        permissions_boundary: boundary::answer(&row.boundary),
        tags: Some(tags::answer(&row.tags)),
    })
}

async fn group(cx: &Cx, row: &GroupRow) -> Result<api::GroupDetail, IamError> {
    Ok(api::GroupDetail {
        path: Some(row.path.clone()),
        group_name: Some(row.name.clone()),
        group_id: Some(row.id.clone()),
        arn: Some(row.arn(cx)),
        create_date: Some(row.created),
        group_policy_list: Some(inline::details(cx.store(), &row.id).await?),
        attached_managed_policies: Some(attach::attached_to(cx.store(), &row.id).await?),
    })
}

async fn role(cx: &Cx, row: &RoleRow) -> Result<api::RoleDetail, IamError> {
    let mut row = row.clone();
    row.show_trust(cx).await?;
    let mut profiles = Vec::new();
    for profile in profiles_of(cx, &row.id).await? {
        profiles.push(profile.answer(cx).await?);
    }
    let last_use = LAST_USE.get(cx.store(), &(row.id.clone(),)).await?;
    Ok(api::RoleDetail {
        path: Some(row.path.clone()),
        role_name: Some(row.name.clone()),
        role_id: Some(row.id.clone()),
        arn: Some(row.arn(cx)),
        create_date: Some(row.created),
        assume_role_policy_document: Some(names::encode_document(&row.trust)),
        instance_profile_list: Some(profiles),
        role_policy_list: Some(inline::details(cx.store(), &row.id).await?),
        attached_managed_policies: Some(attach::attached_to(cx.store(), &row.id).await?),
        permissions_boundary: boundary::answer(&row.boundary),
        tags: Some(tags::answer(&row.tags)),
        role_last_used: Some(role::last_used(last_use)),
    })
}

async fn local(cx: &Cx, row: &PolicyRow, usage: Usage) -> Result<api::ManagedPolicyDetail, IamError> {
    let versions = versions_of(cx, row).await?;
    let versions = versions.iter().map(|(number, stored)| api::PolicyVersion {
        document: Some(names::encode_document(&stored.document)),
        ..version::answer(*number, stored, row)
    });
    let policy = api::Policy { description: row.description.clone(), ..row.summary(cx, usage) };
    Ok(detail(policy, versions.collect()))
}

fn detail(policy: api::Policy, versions: Vec<api::PolicyVersion>) -> api::ManagedPolicyDetail {
    api::ManagedPolicyDetail {
        policy_name: policy.policy_name,
        policy_id: policy.policy_id,
        arn: policy.arn,
        path: policy.path,
        default_version_id: policy.default_version_id,
        attachment_count: policy.attachment_count,
        permissions_boundary_usage_count: policy.permissions_boundary_usage_count,
        is_attachable: policy.is_attachable,
        description: policy.description,
        create_date: policy.create_date,
        update_date: policy.update_date,
        policy_version_list: Some(versions),
    }
}
