use pileus_core::AccountId;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::{Context, Level, Principal, Scope};

const OWN: &str = "123456789012";
const OTHER: &str = "999999999999";
const USER: &str = "arn:aws:iam::123456789012:user/ana";
const ROLE: &str = "arn:aws:iam::123456789012:role/app/worker";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/worker/s";
const SERVICE_LINKED: &str =
    "arn:aws:iam::123456789012:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX";

fn account(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

fn user() -> Principal {
    Principal::user(account(OWN), USER)
}

fn session() -> Principal {
    Principal::role_session(account(OWN), SESSION, ROLE)
}

fn federated_user() -> Principal {
    Principal::federated_user(account(OWN), "arn:aws:sts::123456789012:federated-user/f", USER)
}

/// A policy with one statement.
fn policy(statement: Value) -> Named<Arc<Policy>> {
    let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    Named::new("p", Arc::new(Policy::parse(&document).unwrap()))
}

fn allow() -> Named<Arc<Policy>> {
    policy(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}))
}

fn deny() -> Named<Arc<Policy>> {
    policy(json!({"Effect": "Deny", "Action": "*", "Resource": "*"}))
}

/// Allows something else.
fn elsewhere() -> Named<Arc<Policy>> {
    policy(json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}))
}

/// A resource-based policy for `principal`.
fn grants(principal: Value) -> Named<Arc<Policy>> {
    policy(json!({"Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*"}))
}

fn refuses(principal: Value) -> Named<Arc<Policy>> {
    policy(json!({"Effect": "Deny", "Principal": principal, "Action": "*", "Resource": "*"}))
}

fn level(policies: Vec<Named<Arc<Policy>>>) -> Level {
    Level { name: "level".into(), policies }
}

fn ask_as(
    principal: &Principal,
    action: &str,
    resource: &str,
    owner: &str,
    policies: &Policies<'_>,
) -> Verdict {
    let context = Context::new();
    let request = Request {
        principal,
        action,
        resource,
        resource_account: Some(account(owner)),
        context: &context,
        scope: Scope::Exactly,
    };
    evaluate(&request, policies)
}

/// `sqs:SendMessage` to a queue in the own account.
fn ask(principal: &Principal, policies: &Policies<'_>) -> Decision {
    ask_as(principal, "sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:jobs", OWN, policies).decision
}

/// The same in another account.
fn ask_across(principal: &Principal, policies: &Policies<'_>) -> Decision {
    ask_as(principal, "sqs:SendMessage", "arn:aws:sqs:eu-west-1:999999999999:jobs", OTHER, policies).decision
}

use Decision::{Allowed, ExplicitlyDenied, ImplicitlyDenied};

#[test]
fn in_one_account_either_side_may_grant() {
    let names = json!({"AWS": USER});
    let cases = [
        ("nothing", vec![], vec![], ImplicitlyDenied),
        ("own policy", vec![allow()], vec![], Allowed),
        ("another action", vec![elsewhere()], vec![], ImplicitlyDenied),
        ("resource policy", vec![], vec![grants(names.clone())], Allowed),
        ("resource policy for everyone", vec![], vec![grants(json!("*"))], Allowed),
        ("resource policy for the account", vec![], vec![grants(json!({"AWS": OWN}))], ImplicitlyDenied),
        ("both for the account", vec![allow()], vec![grants(json!({"AWS": OWN}))], Allowed),
        ("resource policy for someone else", vec![], vec![grants(json!({"AWS": ROLE}))], ImplicitlyDenied),
        ("own deny", vec![allow(), deny()], vec![grants(names.clone())], ExplicitlyDenied),
        ("resource deny", vec![allow()], vec![refuses(names)], ExplicitlyDenied),
        (
            "resource deny for the account",
            vec![allow()],
            vec![refuses(json!({"AWS": OWN}))],
            ExplicitlyDenied,
        ),
        ("resource policy without a principal", vec![], vec![allow()], ImplicitlyDenied),
        ("resource deny without a principal", vec![allow()], vec![deny()], Allowed),
    ];
    for (name, identity, resource, expected) in cases {
        let policies = Policies { identity: &identity, resource: &resource, ..Policies::default() };
        assert_eq!(ask(&user(), &policies), expected, "{name}");
    }
}

#[test]
fn across_accounts_both_sides_must_grant() {
    let cases = [
        ("own policy", vec![allow()], vec![], ImplicitlyDenied),
        ("resource policy", vec![], vec![grants(json!({"AWS": USER}))], ImplicitlyDenied),
        ("both", vec![allow()], vec![grants(json!({"AWS": USER}))], Allowed),
        ("both, by account", vec![allow()], vec![grants(json!({"AWS": OWN}))], Allowed),
        ("both, everyone", vec![allow()], vec![grants(json!("*"))], Allowed),
        ("own deny", vec![allow(), deny()], vec![grants(json!("*"))], ExplicitlyDenied),
    ];
    for (name, identity, resource, expected) in cases {
        let policies = Policies { identity: &identity, resource: &resource, ..Policies::default() };
        assert_eq!(ask_across(&user(), &policies), expected, "{name}");
    }
    let (identity, resource, limit) = ([allow()], [grants(json!({"AWS": SESSION}))], [elsewhere()]);
    let policies =
        Policies { identity: &identity, resource: &resource, session: &limit, ..Policies::default() };
    assert_eq!(ask_across(&session(), &policies), ImplicitlyDenied, "a session policy limits the own side");
}

#[test]
fn across_accounts_the_blame_is_awss() {
    // Recorded by callers of AWS: identity allows, resource policy's principal, who is blamed.
    let cases = [
        (false, Some(json!({"AWS": OWN})), PolicyKind::Resource),
        (false, Some(json!({"AWS": USER})), PolicyKind::Identity),
        (true, None, PolicyKind::Resource),
        (false, None, PolicyKind::Resource),
    ];
    for (own, principal, blamed) in cases {
        let identity = if own { vec![allow()] } else { vec![] };
        let resource: Vec<_> = principal.iter().cloned().map(grants).collect();
        let policies = Policies { identity: &identity, resource: &resource, ..Policies::default() };
        let verdict =
            ask_as(&user(), "sqs:SendMessage", "arn:aws:sqs:eu-west-1:999999999999:jobs", OTHER, &policies);
        assert_eq!(verdict.because, Because::NoneAllows(blamed), "{own} {principal:?}");
    }
}

/// IAM User Guide, the table "Resource-based policies and implicit denies in other policy types (same account)".
#[test]
fn limits_reach_as_far_as_the_resource_policy_names_the_principal() {
    let cases = [
        // principal, named, with a boundary that lacks it, with a session policy that lacks it
        (user(), json!({"AWS": USER}), Allowed, Allowed),
        (session(), json!({"AWS": ROLE}), ImplicitlyDenied, ImplicitlyDenied),
        (session(), json!({"AWS": SESSION}), Allowed, Allowed),
        (session(), json!("*"), Allowed, Allowed),
        (federated_user(), json!({"AWS": "arn:aws:sts::123456789012:federated-user/f"}), Allowed, Allowed),
        (federated_user(), json!({"AWS": USER}), ImplicitlyDenied, ImplicitlyDenied),
        (Principal::from_arn(ROLE).unwrap(), json!({"AWS": ROLE}), ImplicitlyDenied, ImplicitlyDenied),
    ];
    let limit = [elsewhere()];
    for (principal, named, bounded, in_session) in cases {
        let resource = [grants(named.clone())];
        let free = Policies { resource: &resource, ..Policies::default() };
        assert_eq!(ask(&principal, &free), Allowed, "{} by {named}", principal.arn());
        assert_eq!(
            ask(&principal, &Policies { boundary: &limit, ..free }),
            bounded,
            "boundary: {} by {named}",
            principal.arn()
        );
        assert_eq!(
            ask(&principal, &Policies { session: &limit, ..free }),
            in_session,
            "session: {} by {named}",
            principal.arn()
        );
    }
}

#[test]
fn identity_policies_grant_within_boundary_and_session() {
    let (allow, elsewhere, deny) = ([allow()], [elsewhere()], [deny()]);
    let own = Policies { identity: &allow, ..Policies::default() };
    let cases = [
        ("boundary allows", Policies { boundary: &allow, ..own }, Allowed),
        ("boundary lacks", Policies { boundary: &elsewhere, ..own }, ImplicitlyDenied),
        ("boundary denies", Policies { boundary: &deny, ..own }, ExplicitlyDenied),
        ("boundary grants nothing", Policies { identity: &[], boundary: &allow, ..own }, ImplicitlyDenied),
        ("session allows", Policies { session: &allow, ..own }, Allowed),
        ("session lacks", Policies { session: &elsewhere, ..own }, ImplicitlyDenied),
        ("session denies", Policies { session: &deny, ..own }, ExplicitlyDenied),
        ("session grants nothing", Policies { identity: &[], session: &allow, ..own }, ImplicitlyDenied),
        ("endpoint allows", Policies { endpoint: &allow, ..own }, Allowed),
        ("endpoint lacks", Policies { endpoint: &elsewhere, ..own }, ImplicitlyDenied),
        ("endpoint denies", Policies { endpoint: &deny, ..own }, ExplicitlyDenied),
    ];
    for (name, policies, expected) in cases {
        assert_eq!(ask(&session(), &policies), expected, "{name}");
    }
    let either = [elsewhere[0].clone(), allow[0].clone()];
    assert_eq!(ask(&session(), &Policies { session: &either, ..own }), Allowed, "session policies add up");
}

#[test]
fn every_level_of_an_organisation_must_allow() {
    let (allow_all, identity) = (level(vec![allow()]), [allow()]);
    let linked = Principal::role_session(account(OWN), SESSION, SERVICE_LINKED);
    let cases = [
        ("all levels", user(), vec![allow_all.clone(), allow_all.clone()], Allowed),
        ("one lacks", user(), vec![allow_all.clone(), level(vec![elsewhere()])], ImplicitlyDenied),
        ("one is empty", user(), vec![allow_all.clone(), level(vec![])], ImplicitlyDenied),
        ("one denies", user(), vec![allow_all.clone(), level(vec![allow(), deny()])], ExplicitlyDenied),
        ("root", Principal::root(account(OWN)), vec![level(vec![elsewhere()])], ImplicitlyDenied),
        ("root denied", Principal::root(account(OWN)), vec![level(vec![deny()])], ExplicitlyDenied),
        ("service-linked role", linked, vec![level(vec![deny()])], Allowed),
    ];
    for (name, principal, levels, expected) in cases {
        let policies = Policies { identity: &identity, service_control: &levels, ..Policies::default() };
        assert_eq!(ask(&principal, &policies), expected, "{name}");
    }
}

#[test]
fn resource_control_policies_only_deny() {
    let (identity, resource) = ([allow()], [grants(json!("*"))]);
    let linked = Principal::role_session(account(OWN), SESSION, SERVICE_LINKED);
    let cases = [
        ("none matches", user(), vec![level(vec![])], Allowed),
        ("denies", user(), vec![level(vec![]), level(vec![refuses(json!("*"))])], ExplicitlyDenied),
        (
            "denies anonymous",
            Principal::anonymous(),
            vec![level(vec![refuses(json!("*"))])],
            ExplicitlyDenied,
        ),
        (
            "denies services",
            Principal::service("sns.amazonaws.com"),
            vec![level(vec![refuses(json!("*"))])],
            ExplicitlyDenied,
        ),
        ("service-linked role", linked, vec![level(vec![refuses(json!("*"))])], Allowed),
    ];
    for (name, principal, levels, expected) in cases {
        let policies = Policies {
            identity: &identity,
            resource: &resource,
            resource_control: &levels,
            ..Policies::default()
        };
        assert_eq!(ask(&principal, &policies), expected, "{name}");
    }
}

#[test]
fn services_and_the_anonymous_need_the_resources_policy() {
    let sns = || json!({"Service": "sns.amazonaws.com"});
    let denied_by_organisation = [level(vec![deny()])];
    let cases = [
        ("service named", Principal::service("sns.amazonaws.com"), vec![grants(sns())], Allowed),
        ("another service", Principal::service("sqs.amazonaws.com"), vec![grants(sns())], ImplicitlyDenied),
        ("service by everyone", Principal::service("sns.amazonaws.com"), vec![grants(json!("*"))], Allowed),
        ("service without a policy", Principal::service("sns.amazonaws.com"), vec![], ImplicitlyDenied),
        ("anonymous by everyone", Principal::anonymous(), vec![grants(json!({"AWS": "*"}))], Allowed),
        ("anonymous by account", Principal::anonymous(), vec![grants(json!({"AWS": OWN}))], ImplicitlyDenied),
        ("anonymous by service", Principal::anonymous(), vec![grants(sns())], ImplicitlyDenied),
        (
            "provider",
            Principal::federated("accounts.google.com"),
            vec![grants(json!({"Federated": "accounts.google.com"}))],
            Allowed,
        ),
    ];
    for (name, principal, resource, expected) in cases {
        let policies =
            Policies { resource: &resource, service_control: &denied_by_organisation, ..Policies::default() };
        assert_eq!(ask(&principal, &policies), expected, "{name}");
    }
}

#[test]
fn root_needs_no_policy_in_its_own_account() {
    let root = Principal::root(account(OWN));
    let none = Policies::default();
    assert_eq!(ask(&root, &none), Allowed);
    assert_eq!(ask_across(&root, &none), ImplicitlyDenied);
    let (names, refuses) = ([grants(json!({"AWS": OWN}))], [refuses(json!("*"))]);
    assert_eq!(ask_across(&root, &Policies { resource: &names, ..none }), Allowed);
    assert_eq!(ask(&root, &Policies { resource: &refuses, ..none }), ExplicitlyDenied);
    assert_eq!(ask(&root, &Policies { resource_must_allow: true, ..none }), ImplicitlyDenied);
    assert_eq!(ask(&root, &Policies { resource_must_allow: true, resource: &names, ..none }), Allowed);
}

#[test]
fn trust_and_key_policies_must_allow_themselves() {
    let role = "arn:aws:iam::123456789012:role/target";
    let cases = [
        ("own policy alone", vec![allow()], vec![], ImplicitlyDenied),
        ("trust by account alone", vec![], vec![grants(json!({"AWS": OWN}))], ImplicitlyDenied),
        ("trust by account and own policy", vec![allow()], vec![grants(json!({"AWS": OWN}))], Allowed),
        ("trust by name", vec![], vec![grants(json!({"AWS": USER}))], Allowed),
    ];
    for (name, identity, resource, expected) in cases {
        let policies = Policies {
            identity: &identity,
            resource: &resource,
            resource_must_allow: true,
            ..Policies::default()
        };
        assert_eq!(ask_as(&user(), "sts:AssumeRole", role, OWN, &policies).decision, expected, "{name}");
    }
    let policies = Policies { resource_must_allow: true, ..Policies::default() };
    let verdict = ask_as(&user(), "sts:AssumeRole", role, OWN, &policies);
    assert_eq!(verdict.because, Because::NoneAllows(PolicyKind::Trust));
}

#[test]
fn not_principal_excepts_whom_it_names() {
    let except = |effect: &str, principal: Value| {
        policy(json!({"Effect": effect, "NotPrincipal": principal, "Action": "*", "Resource": "*"}))
    };
    let cases = [
        ("deny all but me", user(), vec![except("Deny", json!({"AWS": USER}))], Allowed),
        ("deny all but my account", user(), vec![except("Deny", json!({"AWS": OWN}))], Allowed),
        ("deny all but another", user(), vec![except("Deny", json!({"AWS": ROLE}))], ExplicitlyDenied),
        ("deny all but my role", session(), vec![except("Deny", json!({"AWS": ROLE}))], Allowed),
    ];
    let (identity, boundary) = ([allow()], [allow()]);
    for (name, principal, resource, expected) in cases {
        let policies = Policies { identity: &identity, resource: &resource, ..Policies::default() };
        assert_eq!(ask(&principal, &policies), expected, "{name}");
        let bounded = Policies { boundary: &boundary, ..policies };
        assert_eq!(ask(&principal, &bounded), ExplicitlyDenied, "{name}, with a boundary");
    }
    let resource = [except("Allow", json!({"AWS": ROLE}))];
    assert_eq!(ask(&user(), &Policies { resource: &resource, ..Policies::default() }), Allowed);
    assert_eq!(ask(&session(), &Policies { resource: &resource, ..Policies::default() }), ImplicitlyDenied);
}

#[test]
fn some_actions_need_no_permission_and_some_nobody_has() {
    let (denies, allows) = ([deny()], [allow()]);
    let levels = [level(vec![deny()])];
    let denied = Policies { identity: &denies, service_control: &levels, ..Policies::default() };
    assert_eq!(
        ask_as(&user(), "sts:getcalleridentity", "*", OWN, &denied).because,
        Because::NeedsNoPermission
    );
    let allowed = Policies { identity: &allows, ..Policies::default() };
    let policy = "arn:aws:iam::aws:policy/AdministratorAccess";
    assert_eq!(ask_as(&user(), "iam:DeletePolicy", policy, OWN, &allowed).because, Because::BelongsToAws);
    assert_eq!(ask_as(&user(), "iam:GetPolicy", policy, OWN, &allowed).decision, Allowed);
}

#[test]
fn the_deciding_statement_is_named() {
    let document = r#"{"Version":"2012-10-17","Statement":[
        {"Sid":"Read","Effect":"Allow","Action":"sqs:Get*","Resource":"*"},
        {"Sid":"Send","Effect":"Allow","Action":"sqs:SendMessage","Resource":"*"}]}"#;
    let identity =
        [Named::new("arn:aws:iam::123456789012:policy/queues", Arc::new(Policy::parse(document).unwrap()))];
    let policies = Policies { identity: &identity, ..Policies::default() };
    let verdict =
        ask_as(&user(), "sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:jobs", OWN, &policies);
    let Because::Statement(deciding) = verdict.because else { panic!("{:?}", verdict.because) };
    assert_eq!((deciding.kind, deciding.statement, deciding.sid()), (PolicyKind::Identity, 1, Some("Send")));
    assert_eq!(&*deciding.policy.name, "arn:aws:iam::123456789012:policy/queues");
}

/// A scene: statements by kind of policy, and who asks.
#[derive(Debug, Clone)]
struct Scene {
    principal: Principal,
    across: bool,
    must_allow: bool,
    kinds: [Vec<Named<Arc<Policy>>>; 5],
    levels: Vec<Level>,
}

impl Scene {
    fn decide(&self) -> Decision {
        let [identity, boundary, session, resource, endpoint] = &self.kinds;
        let policies = Policies {
            identity,
            boundary,
            session,
            resource,
            endpoint,
            service_control: &self.levels,
            resource_control: &[],
            resource_must_allow: self.must_allow,
        };
        if self.across { ask_across(&self.principal, &policies) } else { ask(&self.principal, &policies) }
    }
}

fn statement() -> impl Strategy<Value = Value> {
    let effect = prop_oneof![5 => Just("Allow"), 1 => Just("Deny")];
    let action = select(vec!["*", "sqs:*", "sqs:SendMessage", "ec2:*", "s3:Get*"]);
    let resource = select(vec!["*", "arn:aws:sqs:*:*:jobs", "arn:aws:s3:::b"]);
    let principal = select(vec![
        json!("*"),
        json!({"AWS": OWN}),
        json!({"AWS": USER}),
        json!({"AWS": ROLE}),
        json!({"AWS": SESSION}),
    ]);
    (effect, action, resource, principal).prop_map(|(effect, action, resource, principal)| {
        json!({"Effect": effect, "Action": action, "Resource": resource, "Principal": principal})
    })
}

fn some_policies() -> impl Strategy<Value = Vec<Named<Arc<Policy>>>> {
    prop::collection::vec(statement().prop_map(policy), 0..3)
}

fn scenes() -> impl Strategy<Value = Scene> {
    let principals = vec![
        user(),
        session(),
        federated_user(),
        Principal::root(account(OWN)),
        Principal::anonymous(),
        Principal::service("x.amazonaws.com"),
    ];
    let kinds = [some_policies(), some_policies(), some_policies(), some_policies(), some_policies()];
    let levels = prop::collection::vec(some_policies().prop_map(level), 0..2);
    (select(principals), any::<bool>(), any::<bool>(), kinds, levels).prop_map(
        |(principal, across, must_allow, kinds, levels)| Scene {
            principal,
            across,
            must_allow,
            kinds,
            levels,
        },
    )
}

proptest! {
    #[test]
    fn an_explicit_deny_always_wins(scene in scenes(), kind in 0usize..5) {
        let mut scene = scene;
        scene.kinds[kind].push(refuses(json!("*")));
        prop_assert_eq!(scene.decide(), ExplicitlyDenied);
    }

    /// Of a kind that is there already: the first boundary or session policy is itself a limit.
    #[test]
    fn adding_an_allow_never_takes_permission_away(scene in scenes(), kind in 0usize..5) {
        let before = scene.decide();
        let mut scene = scene;
        let limit = [1, 2, 4].contains(&kind) && scene.kinds[kind].is_empty();
        scene.kinds[kind].push(grants(json!("*")));
        if before == Allowed && !limit {
            prop_assert_eq!(scene.decide(), Allowed);
        }
        prop_assert_eq!(before == ExplicitlyDenied, scene.decide() == ExplicitlyDenied);
    }

    #[test]
    fn a_further_limit_never_gives_permission(scene in scenes(), kind in select(vec![1usize, 2, 4])) {
        let before = scene.decide();
        let mut scene = scene;
        if scene.kinds[kind].is_empty() {
            scene.kinds[kind].push(elsewhere());
            if before != Allowed {
                prop_assert_ne!(scene.decide(), Allowed);
            }
        }
    }
}
