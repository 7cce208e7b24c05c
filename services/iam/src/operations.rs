//! Every operation: its handler, and what it acts on.
//!
//! An operation on no resource in particular is judged by its action on `*`. Operations that are not here answer that they are not
//! implemented.

use pileus_api_iam as api;
use pileus_platform::{Access, BoxFuture, Cx, Fault, Handler, Service};
use pileus_wire::operation::Operation;
use pileus_wire::value::Struct;

use crate::access::{self, BOUNDARY, Resource};
use crate::error::IamError;
use crate::policy::{attach, inline, version};
use crate::role::service_linked;
use crate::{
    access_key, account, boundary, details, group, instance_profile, issuer, last_accessed, login_profile,
    mfa, oidc, password_policy, policy, report, role, saml, server_certificate, service_credential,
    signing_certificate, simulate, ssh_key, user,
};

pub fn service() -> Service {
    let service = Table(Service::new(api::SERVICE));
    let service = [
        users as fn(Table) -> Table,
        user_policies,
        groups,
        roles,
        role_policies,
        instance_profiles,
        policies,
        credentials,
        service_credentials,
        devices,
        providers,
        certificates,
        account,
        simulators,
    ]
    .into_iter()
    .fold(service, |service, add| add(service));
    service.0
}

/// The registry, with IAM's habits.
struct Table(Service);

impl Table {
    /// An operation on no resource in particular.
    fn any<I, O, H>(self, operation: Operation<I, O>, handler: H) -> Table
    where
        I: Struct + Default,
        O: Struct,
        H: for<'a> Handler<'a, I, Result<O, IamError>>,
    {
        Table(self.0.op(operation, handler))
    }

    /// An operation on the resource that `find` names.
    fn on<I, O, H, F>(self, operation: Operation<I, O>, handler: H, find: F) -> Table
    where
        I: Struct + Default,
        O: Struct,
        H: for<'a> Handler<'a, I, Result<O, IamError>>,
        F: Fn(&Cx, &I) -> Result<Resource, Fault> + Send + Sync + 'static,
    {
        let access = looked_up(move |cx, input| {
            let resource = find(cx, input);
            Box::pin(async move { Ok(resource?.accesses(cx, operation.name).await?) })
        });
        Table(self.0.op(operation, handler).access_async(operation, access))
    }
}

/// Tells the compiler how long what a closure is given lives.
fn looked_up<I, F>(access: F) -> F
where
    F: for<'a> Fn(&'a Cx, &'a I) -> BoxFuture<'a, Result<Vec<Access>, Fault>>,
{
    access
}

fn users(table: Table) -> Table {
    table
        .on(api::CREATE_USER, user::create_user, |cx, i| {
            Ok(access::new(cx, "user", &i.path, &i.user_name)?
                .with(BOUNDARY, i.permissions_boundary.as_deref())
                .giving_new(&i.tags, "iam:TagUser"))
        })
        .on(api::GET_USER, user::get_user, |cx, i| access::user(cx, &i.user_name))
        .any(api::LIST_USERS, user::list_users)
        .on(api::UPDATE_USER, user::update_user, |cx, i| access::user(cx, &i.user_name))
        .on(api::DELETE_USER, user::delete_user, |cx, i| access::user(cx, &i.user_name))
        .on(api::TAG_USER, user::tag_user, |cx, i| Ok(access::user(cx, &i.user_name)?.giving(&i.tags)))
        .on(
            api::UNTAG_USER,
            user::untag_user,
            |cx, i| Ok(access::user(cx, &i.user_name)?.taking(&i.tag_keys)),
        )
        .on(api::LIST_USER_TAGS, user::list_user_tags, |cx, i| access::user(cx, &i.user_name))
        .on(api::PUT_USER_PERMISSIONS_BOUNDARY, boundary::put_user_permissions_boundary, |cx, i| {
            Ok(access::user(cx, &i.user_name)?.with(BOUNDARY, i.permissions_boundary.as_deref()))
        })
        .on(api::DELETE_USER_PERMISSIONS_BOUNDARY, boundary::delete_user_permissions_boundary, |cx, i| {
            access::user(cx, &i.user_name)
        })
}

fn user_policies(table: Table) -> Table {
    table
        .on(api::ATTACH_USER_POLICY, attach::attach_user_policy, |cx, i| {
            Ok(access::user(cx, &i.user_name)?.with_policy(&i.policy_arn))
        })
        .on(api::DETACH_USER_POLICY, attach::detach_user_policy, |cx, i| {
            Ok(access::user(cx, &i.user_name)?.with_policy(&i.policy_arn))
        })
        .on(api::LIST_ATTACHED_USER_POLICIES, attach::list_attached_user_policies, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::PUT_USER_POLICY, inline::put_user_policy, |cx, i| access::user(cx, &i.user_name))
        .on(api::GET_USER_POLICY, inline::get_user_policy, |cx, i| access::user(cx, &i.user_name))
        .on(api::DELETE_USER_POLICY, inline::delete_user_policy, |cx, i| access::user(cx, &i.user_name))
        .on(api::LIST_USER_POLICIES, inline::list_user_policies, |cx, i| access::user(cx, &i.user_name))
        .on(api::LIST_GROUPS_FOR_USER, group::list_groups_for_user, |cx, i| access::user(cx, &i.user_name))
}

fn groups(table: Table) -> Table {
    table
        .on(api::CREATE_GROUP, group::create_group, |cx, i| access::new(cx, "group", &i.path, &i.group_name))
        .on(api::GET_GROUP, group::get_group, |cx, i| access::group(cx, &i.group_name))
        .any(api::LIST_GROUPS, group::list_groups)
        .on(api::UPDATE_GROUP, group::update_group, |cx, i| access::group(cx, &i.group_name))
        .on(api::DELETE_GROUP, group::delete_group, |cx, i| access::group(cx, &i.group_name))
        .on(api::ADD_USER_TO_GROUP, group::add_user_to_group, |cx, i| access::group(cx, &i.group_name))
        .on(api::REMOVE_USER_FROM_GROUP, group::remove_user_from_group, |cx, i| {
            access::group(cx, &i.group_name)
        })
        .on(api::ATTACH_GROUP_POLICY, attach::attach_group_policy, |cx, i| {
            Ok(access::group(cx, &i.group_name)?.with_policy(&i.policy_arn))
        })
        .on(api::DETACH_GROUP_POLICY, attach::detach_group_policy, |cx, i| {
            Ok(access::group(cx, &i.group_name)?.with_policy(&i.policy_arn))
        })
        .on(api::LIST_ATTACHED_GROUP_POLICIES, attach::list_attached_group_policies, |cx, i| {
            access::group(cx, &i.group_name)
        })
        .on(api::PUT_GROUP_POLICY, inline::put_group_policy, |cx, i| access::group(cx, &i.group_name))
        .on(api::GET_GROUP_POLICY, inline::get_group_policy, |cx, i| access::group(cx, &i.group_name))
        .on(api::DELETE_GROUP_POLICY, inline::delete_group_policy, |cx, i| access::group(cx, &i.group_name))
        .on(api::LIST_GROUP_POLICIES, inline::list_group_policies, |cx, i| access::group(cx, &i.group_name))
}

fn roles(table: Table) -> Table {
    table
        .on(api::CREATE_ROLE, role::create_role, |cx, i| {
            Ok(access::new(cx, "role", &i.path, &i.role_name)?
                .with(BOUNDARY, i.permissions_boundary.as_deref())
                .giving_new(&i.tags, "iam:TagRole"))
        })
        .on(api::GET_ROLE, role::get_role, |cx, i| access::role(cx, &i.role_name))
        .any(api::LIST_ROLES, role::list_roles)
        .on(api::UPDATE_ROLE, role::update_role, |cx, i| access::role(cx, &i.role_name))
        .on(api::UPDATE_ROLE_DESCRIPTION, role::update_role_description, |cx, i| {
            access::role(cx, &i.role_name)
        })
        .on(api::UPDATE_ASSUME_ROLE_POLICY, role::update_assume_role_policy, |cx, i| {
            access::role(cx, &i.role_name)
        })
        .on(api::DELETE_ROLE, role::delete_role, |cx, i| access::role(cx, &i.role_name))
        .on(api::TAG_ROLE, role::tag_role, |cx, i| Ok(access::role(cx, &i.role_name)?.giving(&i.tags)))
        .on(
            api::UNTAG_ROLE,
            role::untag_role,
            |cx, i| Ok(access::role(cx, &i.role_name)?.taking(&i.tag_keys)),
        )
        .on(api::LIST_ROLE_TAGS, role::list_role_tags, |cx, i| access::role(cx, &i.role_name))
        .on(api::PUT_ROLE_PERMISSIONS_BOUNDARY, boundary::put_role_permissions_boundary, |cx, i| {
            Ok(access::role(cx, &i.role_name)?.with(BOUNDARY, i.permissions_boundary.as_deref()))
        })
        .on(api::DELETE_ROLE_PERMISSIONS_BOUNDARY, boundary::delete_role_permissions_boundary, |cx, i| {
            access::role(cx, &i.role_name)
        })
}

fn role_policies(table: Table) -> Table {
    table
        .on(api::ATTACH_ROLE_POLICY, attach::attach_role_policy, |cx, i| {
            Ok(access::role(cx, &i.role_name)?.with_policy(&i.policy_arn))
        })
        .on(api::DETACH_ROLE_POLICY, attach::detach_role_policy, |cx, i| {
            Ok(access::role(cx, &i.role_name)?.with_policy(&i.policy_arn))
        })
        .on(api::LIST_ATTACHED_ROLE_POLICIES, attach::list_attached_role_policies, |cx, i| {
            access::role(cx, &i.role_name)
        })
        .on(api::PUT_ROLE_POLICY, inline::put_role_policy, |cx, i| access::role(cx, &i.role_name))
        .on(api::GET_ROLE_POLICY, inline::get_role_policy, |cx, i| access::role(cx, &i.role_name))
        .on(api::DELETE_ROLE_POLICY, inline::delete_role_policy, |cx, i| access::role(cx, &i.role_name))
        .on(api::LIST_ROLE_POLICIES, inline::list_role_policies, |cx, i| access::role(cx, &i.role_name))
        .on(
            api::LIST_INSTANCE_PROFILES_FOR_ROLE,
            instance_profile::list_instance_profiles_for_role,
            |cx, i| access::role(cx, &i.role_name),
        )
        .on(api::CREATE_SERVICE_LINKED_ROLE, service_linked::create_service_linked_role, |cx, i| {
            access::service_linked(cx, &i.aws_service_name)
        })
        .on(api::DELETE_SERVICE_LINKED_ROLE, service_linked::delete_service_linked_role, |cx, i| {
            access::role(cx, &i.role_name)
        })
        .any(
            api::GET_SERVICE_LINKED_ROLE_DELETION_STATUS,
            service_linked::get_service_linked_role_deletion_status,
        )
}

fn instance_profiles(table: Table) -> Table {
    table
        .on(api::CREATE_INSTANCE_PROFILE, instance_profile::create_instance_profile, |cx, i| {
            Ok(access::new(cx, "instance-profile", &i.path, &i.instance_profile_name)?
                .giving_new(&i.tags, "iam:TagInstanceProfile"))
        })
        .on(api::GET_INSTANCE_PROFILE, instance_profile::get_instance_profile, |cx, i| {
            access::profile(cx, &i.instance_profile_name)
        })
        .any(api::LIST_INSTANCE_PROFILES, instance_profile::list_instance_profiles)
        .on(api::DELETE_INSTANCE_PROFILE, instance_profile::delete_instance_profile, |cx, i| {
            access::profile(cx, &i.instance_profile_name)
        })
        .on(api::ADD_ROLE_TO_INSTANCE_PROFILE, instance_profile::add_role_to_instance_profile, |cx, i| {
            let role = access::role(cx, &i.role_name)?;
            Ok(access::profile(cx, &i.instance_profile_name)?.passing(role, "ec2.amazonaws.com"))
        })
        .on(
            api::REMOVE_ROLE_FROM_INSTANCE_PROFILE,
            instance_profile::remove_role_from_instance_profile,
            |cx, i| access::profile(cx, &i.instance_profile_name),
        )
        .on(api::TAG_INSTANCE_PROFILE, instance_profile::tag_instance_profile, |cx, i| {
            Ok(access::profile(cx, &i.instance_profile_name)?.giving(&i.tags))
        })
        .on(api::UNTAG_INSTANCE_PROFILE, instance_profile::untag_instance_profile, |cx, i| {
            Ok(access::profile(cx, &i.instance_profile_name)?.taking(&i.tag_keys))
        })
        .on(api::LIST_INSTANCE_PROFILE_TAGS, instance_profile::list_instance_profile_tags, |cx, i| {
            access::profile(cx, &i.instance_profile_name)
        })
}

fn policies(table: Table) -> Table {
    table
        .on(api::CREATE_POLICY, policy::create_policy, |cx, i| {
            Ok(access::new(cx, "policy", &i.path, &i.policy_name)?.giving_new(&i.tags, "iam:TagPolicy"))
        })
        .on(api::GET_POLICY, policy::get_policy, |cx, i| access::policy(cx, &i.policy_arn))
        .any(api::LIST_POLICIES, policy::list_policies)
        .on(api::DELETE_POLICY, policy::delete_policy, |cx, i| access::policy(cx, &i.policy_arn))
        .on(api::TAG_POLICY, policy::tag_policy, |cx, i| {
            Ok(access::policy(cx, &i.policy_arn)?.giving(&i.tags))
        })
        .on(api::UNTAG_POLICY, policy::untag_policy, |cx, i| {
            Ok(access::policy(cx, &i.policy_arn)?.taking(&i.tag_keys))
        })
        .on(api::LIST_POLICY_TAGS, policy::list_policy_tags, |cx, i| access::policy(cx, &i.policy_arn))
        .on(api::CREATE_POLICY_VERSION, version::create_policy_version, |cx, i| {
            access::policy(cx, &i.policy_arn)
        })
        .on(api::GET_POLICY_VERSION, version::get_policy_version, |cx, i| access::policy(cx, &i.policy_arn))
        .on(api::LIST_POLICY_VERSIONS, version::list_policy_versions, |cx, i| {
            access::policy(cx, &i.policy_arn)
        })
        .on(api::SET_DEFAULT_POLICY_VERSION, version::set_default_policy_version, |cx, i| {
            access::policy(cx, &i.policy_arn)
        })
        .on(api::DELETE_POLICY_VERSION, version::delete_policy_version, |cx, i| {
            access::policy(cx, &i.policy_arn)
        })
        .on(api::LIST_ENTITIES_FOR_POLICY, attach::list_entities_for_policy, |cx, i| {
            access::policy(cx, &i.policy_arn)
        })
}

fn credentials(table: Table) -> Table {
    table
        .on(api::CREATE_ACCESS_KEY, access_key::create_access_key, |cx, i| access::user(cx, &i.user_name))
        .on(api::UPDATE_ACCESS_KEY, access_key::update_access_key, |cx, i| access::user(cx, &i.user_name))
        .on(api::DELETE_ACCESS_KEY, access_key::delete_access_key, |cx, i| access::user(cx, &i.user_name))
        .on(api::LIST_ACCESS_KEYS, access_key::list_access_keys, |cx, i| access::user(cx, &i.user_name))
        .on(api::GET_ACCESS_KEY_LAST_USED, access_key::get_access_key_last_used, |cx, i| {
            access::owner_of_key(cx, &i.access_key_id)
        })
        .on(api::CREATE_LOGIN_PROFILE, login_profile::create_login_profile, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::GET_LOGIN_PROFILE, login_profile::get_login_profile, |cx, i| access::user(cx, &i.user_name))
        .on(api::UPDATE_LOGIN_PROFILE, login_profile::update_login_profile, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::DELETE_LOGIN_PROFILE, login_profile::delete_login_profile, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::CHANGE_PASSWORD, login_profile::change_password, |cx, _| access::user(cx, &None))
        .on(api::UPLOAD_SIGNING_CERTIFICATE, signing_certificate::upload_signing_certificate, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::UPDATE_SIGNING_CERTIFICATE, signing_certificate::update_signing_certificate, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::DELETE_SIGNING_CERTIFICATE, signing_certificate::delete_signing_certificate, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::LIST_SIGNING_CERTIFICATES, signing_certificate::list_signing_certificates, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::UPLOAD_SSH_PUBLIC_KEY, ssh_key::upload_ssh_public_key, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::GET_SSH_PUBLIC_KEY, ssh_key::get_ssh_public_key, |cx, i| access::user(cx, &i.user_name))
        .on(api::UPDATE_SSH_PUBLIC_KEY, ssh_key::update_ssh_public_key, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::DELETE_SSH_PUBLIC_KEY, ssh_key::delete_ssh_public_key, |cx, i| {
            access::user(cx, &i.user_name)
        })
        .on(api::LIST_SSH_PUBLIC_KEYS, ssh_key::list_ssh_public_keys, |cx, i| access::user(cx, &i.user_name))
}

fn service_credentials(table: Table) -> Table {
    table
        .on(
            api::CREATE_SERVICE_SPECIFIC_CREDENTIAL,
            service_credential::create_service_specific_credential,
            |cx, i| access::user(cx, &i.user_name),
        )
        .on(
            api::RESET_SERVICE_SPECIFIC_CREDENTIAL,
            service_credential::reset_service_specific_credential,
            |cx, i| access::user(cx, &i.user_name),
        )
        .on(
            api::UPDATE_SERVICE_SPECIFIC_CREDENTIAL,
            service_credential::update_service_specific_credential,
            |cx, i| access::user(cx, &i.user_name),
        )
        .on(
            api::DELETE_SERVICE_SPECIFIC_CREDENTIAL,
            service_credential::delete_service_specific_credential,
            |cx, i| access::user(cx, &i.user_name),
        )
        .on(
            api::LIST_SERVICE_SPECIFIC_CREDENTIALS,
            service_credential::list_service_specific_credentials,
            |cx, i| access::user(cx, &i.user_name),
        )
}

fn devices(table: Table) -> Table {
    table
        .on(api::CREATE_VIRTUAL_MFA_DEVICE, mfa::create_virtual_mfa_device, |cx, i| {
            Ok(access::new(cx, "mfa", &i.path, &i.virtual_mfa_device_name)?
                .giving_new(&i.tags, "iam:TagMFADevice"))
        })
        .on(api::ENABLE_MFA_DEVICE, mfa::enable_mfa_device, |cx, i| access::user(cx, &i.user_name))
        .on(api::RESYNC_MFA_DEVICE, mfa::resync_mfa_device, |cx, i| access::user(cx, &i.user_name))
        .on(api::DEACTIVATE_MFA_DEVICE, mfa::deactivate_mfa_device, |cx, i| access::user(cx, &i.user_name))
        .on(api::DELETE_VIRTUAL_MFA_DEVICE, mfa::delete_virtual_mfa_device, |cx, i| {
            access::device(cx, &i.serial_number)
        })
        .on(api::GET_MFA_DEVICE, mfa::get_mfa_device, |cx, i| access::user(cx, &i.user_name))
        .on(api::LIST_MFA_DEVICES, mfa::list_mfa_devices, |cx, i| access::user(cx, &i.user_name))
        .any(api::LIST_VIRTUAL_MFA_DEVICES, mfa::list_virtual_mfa_devices)
        .on(api::TAG_MFA_DEVICE, mfa::tag_mfa_device, |cx, i| {
            Ok(access::device(cx, &i.serial_number)?.giving(&i.tags))
        })
        .on(api::UNTAG_MFA_DEVICE, mfa::untag_mfa_device, |cx, i| {
            Ok(access::device(cx, &i.serial_number)?.taking(&i.tag_keys))
        })
        .on(api::LIST_MFA_DEVICE_TAGS, mfa::list_mfa_device_tags, |cx, i| {
            access::device(cx, &i.serial_number)
        })
}

fn providers(table: Table) -> Table {
    table
        .on(api::CREATE_OPEN_ID_CONNECT_PROVIDER, oidc::create_open_id_connect_provider, |cx, i| {
            Ok(access::new_oidc(cx, &i.url)?.giving_new(&i.tags, "iam:TagOpenIDConnectProvider"))
        })
        .on(api::GET_OPEN_ID_CONNECT_PROVIDER, oidc::get_open_id_connect_provider, |cx, i| {
            access::by_arn(cx, &i.open_id_connect_provider_arn)
        })
        .any(api::LIST_OPEN_ID_CONNECT_PROVIDERS, oidc::list_open_id_connect_providers)
        .on(api::DELETE_OPEN_ID_CONNECT_PROVIDER, oidc::delete_open_id_connect_provider, |cx, i| {
            access::by_arn(cx, &i.open_id_connect_provider_arn)
        })
        .on(
            api::ADD_CLIENT_ID_TO_OPEN_ID_CONNECT_PROVIDER,
            oidc::add_client_id_to_open_id_connect_provider,
            |cx, i| access::by_arn(cx, &i.open_id_connect_provider_arn),
        )
        .on(
            api::REMOVE_CLIENT_ID_FROM_OPEN_ID_CONNECT_PROVIDER,
            oidc::remove_client_id_from_open_id_connect_provider,
            |cx, i| access::by_arn(cx, &i.open_id_connect_provider_arn),
        )
        .on(
            api::UPDATE_OPEN_ID_CONNECT_PROVIDER_THUMBPRINT,
            oidc::update_open_id_connect_provider_thumbprint,
            |cx, i| access::by_arn(cx, &i.open_id_connect_provider_arn),
        )
        .on(api::TAG_OPEN_ID_CONNECT_PROVIDER, oidc::tag_open_id_connect_provider, |cx, i| {
            Ok(access::by_arn(cx, &i.open_id_connect_provider_arn)?.giving(&i.tags))
        })
        .on(api::UNTAG_OPEN_ID_CONNECT_PROVIDER, oidc::untag_open_id_connect_provider, |cx, i| {
            Ok(access::by_arn(cx, &i.open_id_connect_provider_arn)?.taking(&i.tag_keys))
        })
        .on(api::LIST_OPEN_ID_CONNECT_PROVIDER_TAGS, oidc::list_open_id_connect_provider_tags, |cx, i| {
            access::by_arn(cx, &i.open_id_connect_provider_arn)
        })
        .on(api::CREATE_SAML_PROVIDER, saml::create_saml_provider, |cx, i| {
            Ok(access::new(cx, "saml-provider", &None, &i.name)?.giving_new(&i.tags, "iam:TagSAMLProvider"))
        })
        .on(api::GET_SAML_PROVIDER, saml::get_saml_provider, |cx, i| access::by_arn(cx, &i.saml_provider_arn))
        .any(api::LIST_SAML_PROVIDERS, saml::list_saml_providers)
        .on(api::UPDATE_SAML_PROVIDER, saml::update_saml_provider, |cx, i| {
            access::by_arn(cx, &i.saml_provider_arn)
        })
        .on(api::DELETE_SAML_PROVIDER, saml::delete_saml_provider, |cx, i| {
            access::by_arn(cx, &i.saml_provider_arn)
        })
        .on(api::TAG_SAML_PROVIDER, saml::tag_saml_provider, |cx, i| {
            Ok(access::by_arn(cx, &i.saml_provider_arn)?.giving(&i.tags))
        })
        .on(api::UNTAG_SAML_PROVIDER, saml::untag_saml_provider, |cx, i| {
            Ok(access::by_arn(cx, &i.saml_provider_arn)?.taking(&i.tag_keys))
        })
        .on(api::LIST_SAML_PROVIDER_TAGS, saml::list_saml_provider_tags, |cx, i| {
            access::by_arn(cx, &i.saml_provider_arn)
        })
}

fn certificates(table: Table) -> Table {
    table
        .on(api::UPLOAD_SERVER_CERTIFICATE, server_certificate::upload_server_certificate, |cx, i| {
            Ok(access::new(cx, "server-certificate", &i.path, &i.server_certificate_name)?
                .giving_new(&i.tags, "iam:TagServerCertificate"))
        })
        .on(api::GET_SERVER_CERTIFICATE, server_certificate::get_server_certificate, |cx, i| {
            access::certificate(cx, &i.server_certificate_name)
        })
        .any(api::LIST_SERVER_CERTIFICATES, server_certificate::list_server_certificates)
        .on(api::UPDATE_SERVER_CERTIFICATE, server_certificate::update_server_certificate, |cx, i| {
            access::certificate(cx, &i.server_certificate_name)
        })
        .on(api::DELETE_SERVER_CERTIFICATE, server_certificate::delete_server_certificate, |cx, i| {
            access::certificate(cx, &i.server_certificate_name)
        })
        .on(api::TAG_SERVER_CERTIFICATE, server_certificate::tag_server_certificate, |cx, i| {
            Ok(access::certificate(cx, &i.server_certificate_name)?.giving(&i.tags))
        })
        .on(api::UNTAG_SERVER_CERTIFICATE, server_certificate::untag_server_certificate, |cx, i| {
            Ok(access::certificate(cx, &i.server_certificate_name)?.taking(&i.tag_keys))
        })
        .on(api::LIST_SERVER_CERTIFICATE_TAGS, server_certificate::list_server_certificate_tags, |cx, i| {
            access::certificate(cx, &i.server_certificate_name)
        })
}

fn account(table: Table) -> Table {
    table
        .any(api::CREATE_ACCOUNT_ALIAS, account::create_account_alias)
        .any(api::DELETE_ACCOUNT_ALIAS, account::delete_account_alias)
        .any(api::LIST_ACCOUNT_ALIASES, account::list_account_aliases)
        .any(api::SET_SECURITY_TOKEN_SERVICE_PREFERENCES, account::set_security_token_service_preferences)
        .any(api::ENABLE_OUTBOUND_WEB_IDENTITY_FEDERATION, issuer::enable_outbound_web_identity_federation)
        .any(api::DISABLE_OUTBOUND_WEB_IDENTITY_FEDERATION, issuer::disable_outbound_web_identity_federation)
        .any(
            api::GET_OUTBOUND_WEB_IDENTITY_FEDERATION_INFO,
            issuer::get_outbound_web_identity_federation_info,
        )
        .any(api::GET_ACCOUNT_SUMMARY, account::get_account_summary)
        .any(api::GET_ACCOUNT_PASSWORD_POLICY, password_policy::get_account_password_policy)
        .any(api::UPDATE_ACCOUNT_PASSWORD_POLICY, password_policy::update_account_password_policy)
        .any(api::DELETE_ACCOUNT_PASSWORD_POLICY, password_policy::delete_account_password_policy)
        .any(api::GET_ACCOUNT_AUTHORIZATION_DETAILS, details::get_account_authorization_details)
        .any(api::GENERATE_CREDENTIAL_REPORT, report::generate_credential_report)
        .any(api::GET_CREDENTIAL_REPORT, report::get_credential_report)
}

fn simulators(table: Table) -> Table {
    table
        .any(api::SIMULATE_CUSTOM_POLICY, simulate::simulate_custom_policy)
        .on(api::SIMULATE_PRINCIPAL_POLICY, simulate::simulate_principal_policy, |cx, i| {
            access::by_arn(cx, &i.policy_source_arn)
        })
        .any(api::GET_CONTEXT_KEYS_FOR_CUSTOM_POLICY, simulate::get_context_keys_for_custom_policy)
        .on(
            api::GET_CONTEXT_KEYS_FOR_PRINCIPAL_POLICY,
            simulate::get_context_keys_for_principal_policy,
            |cx, i| access::by_arn(cx, &i.policy_source_arn),
        )
        .on(
            api::LIST_POLICIES_GRANTING_SERVICE_ACCESS,
            last_accessed::list_policies_granting_service_access,
            |cx, i| access::by_arn(cx, &i.arn),
        )
        .on(
            api::GENERATE_SERVICE_LAST_ACCESSED_DETAILS,
            last_accessed::generate_service_last_accessed_details,
            |cx, i| access::by_arn(cx, &i.arn),
        )
        .any(api::GET_SERVICE_LAST_ACCESSED_DETAILS, last_accessed::get_service_last_accessed_details)
        .any(
            api::GET_SERVICE_LAST_ACCESSED_DETAILS_WITH_ENTITIES,
            last_accessed::get_service_last_accessed_details_with_entities,
        )
}
