//! The account's password policy: `GetAccountPasswordPolicy`, `UpdateAccountPasswordPolicy`, `DeleteAccountPasswordPolicy`, and what
//! it demands of a password (pure).
//!
//! Source: IAM User Guide, "Set an account password policy for IAM users".

use pileus_api_iam as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::change;
use crate::error::IamError;
use crate::keys::PASSWORD_POLICIES;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordPolicy {
    pub minimum_length: i64,
    pub require_symbols: bool,
    pub require_numbers: bool,
    pub require_uppercase: bool,
    pub require_lowercase: bool,
    pub allow_change: bool,
    pub max_age_days: Option<i64>,
    pub reuse_prevention: Option<i64>,
    pub hard_expiry: Option<bool>,
}

impl Stored for PasswordPolicy {}

/// What counts as a symbol.
const SYMBOLS: &str = "!@#$%^&*()_+-=[]{}|'";
const VIOLATION: &str = "Password does not conform to the account password policy.";

impl PasswordPolicy {
    /// # Errors
    /// `PasswordPolicyViolation`.
    pub fn check(&self, password: &str) -> Result<(), IamError> {
        let has = |wanted: fn(char) -> bool| password.chars().any(wanted);
        let fits = password.chars().count() as i64 >= self.minimum_length
            && (!self.require_symbols || has(|c| SYMBOLS.contains(c)))
            && (!self.require_numbers || has(|c| c.is_ascii_digit()))
            && (!self.require_uppercase || has(|c| c.is_ascii_uppercase()))
            && (!self.require_lowercase || has(|c| c.is_ascii_lowercase()));
        if fits { Ok(()) } else { Err(IamError::PasswordPolicyViolation(VIOLATION)) }
    }
}

/// What holds in an account without a policy of its own: eight characters of at least three of the four kinds.
///
/// # Errors
/// `PasswordPolicyViolation`.
pub fn check_default(password: &str, account: &str) -> Result<(), IamError> {
    let kinds: [fn(char) -> bool; 4] = [
        |c| c.is_ascii_uppercase(),
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_digit(),
        |c| SYMBOLS.contains(c) || (!c.is_ascii_alphanumeric() && c.is_ascii_graphic()),
    ];
    let present = kinds.iter().filter(|kind| password.chars().any(*kind)).count();
    if password.chars().count() >= 8 && present >= 3 && password != account {
        return Ok(());
    }
    Err(IamError::PasswordPolicyViolation(VIOLATION))
}

pub fn reused() -> IamError {
    IamError::PasswordPolicyViolation(VIOLATION)
}

/// Checks a password by the rules of the account.
pub async fn check(
    cx: &Cx,
    reader: &impl Reader,
    password: &str,
) -> Result<Option<PasswordPolicy>, IamError> {
    let policy = PASSWORD_POLICIES.get(reader, &(cx.account(),)).await?;
    match &policy {
        Some(policy) => policy.check(password)?,
        None => check_default(password, cx.account().as_str())?,
    }
    Ok(policy)
}

pub async fn get_account_password_policy(
    cx: &Cx,
    _: Unit,
) -> Result<api::GetAccountPasswordPolicyResponse, IamError> {
    let account = cx.account();
    let policy = PASSWORD_POLICIES.get(cx.store(), &(account,)).await?.ok_or_else(|| {
        IamError::NoSuchEntity(format!("The Password Policy with domain name {account} cannot be found."))
    })?;
    let answer = api::PasswordPolicy {
        minimum_password_length: Some(policy.minimum_length),
        require_symbols: Some(policy.require_symbols),
        require_numbers: Some(policy.require_numbers),
        require_uppercase_characters: Some(policy.require_uppercase),
        require_lowercase_characters: Some(policy.require_lowercase),
        allow_users_to_change_password: Some(policy.allow_change),
        expire_passwords: Some(policy.max_age_days.is_some()),
        max_password_age: policy.max_age_days,
        password_reuse_prevention: policy.reuse_prevention,
        hard_expiry: policy.hard_expiry,
    };
    Ok(api::GetAccountPasswordPolicyResponse { password_policy: Some(answer) })
}

/// What is left out returns to its default.
pub async fn update_account_password_policy(
    cx: &Cx,
    input: api::UpdateAccountPasswordPolicyRequest,
) -> Result<Unit, IamError> {
    let policy = PasswordPolicy {
        minimum_length: input.minimum_password_length.unwrap_or(6),
        require_symbols: input.require_symbols.unwrap_or(false),
        require_numbers: input.require_numbers.unwrap_or(false),
        require_uppercase: input.require_uppercase_characters.unwrap_or(false),
        require_lowercase: input.require_lowercase_characters.unwrap_or(false),
        allow_change: input.allow_users_to_change_password.unwrap_or(false),
        max_age_days: input.max_password_age,
        reuse_prevention: input.password_reuse_prevention,
        hard_expiry: input.hard_expiry,
    };
    let policy = &policy;
    change(cx, move |txn| async move { Ok(PASSWORD_POLICIES.put(&txn, &(cx.account(),), policy)?) }).await?;
    Ok(Unit)
}

pub async fn delete_account_password_policy(cx: &Cx, _: Unit) -> Result<Unit, IamError> {
    change(cx, move |txn| async move {
        if PASSWORD_POLICIES.get(&txn, &(cx.account(),)).await?.is_none() {
            let text = "The account policy with name PasswordPolicy cannot be found.";
            return Err(IamError::NoSuchEntity(text.to_owned()));
        }
        PASSWORD_POLICIES.delete(&txn, &(cx.account(),));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_demands_what_it_says() {
        let lax = PasswordPolicy {
            minimum_length: 6,
            require_symbols: false,
            require_numbers: false,
            require_uppercase: false,
            require_lowercase: false,
            allow_change: false,
            max_age_days: None,
            reuse_prevention: None,
            hard_expiry: None,
        };
        let cases = [
            ("long enough", lax.clone(), "abcdef", true),
            ("too short", lax.clone(), "abcde", false),
            ("no symbol", PasswordPolicy { require_symbols: true, ..lax.clone() }, "abcdef", false),
            ("symbol", PasswordPolicy { require_symbols: true, ..lax.clone() }, "abcde!", true),
            ("no digit", PasswordPolicy { require_numbers: true, ..lax.clone() }, "abcdef", false),
            ("digit", PasswordPolicy { require_numbers: true, ..lax.clone() }, "abcde1", true),
            ("no upper", PasswordPolicy { require_uppercase: true, ..lax.clone() }, "abcdef", false),
            ("no lower", PasswordPolicy { require_lowercase: true, ..lax }, "ABCDEF", false),
        ];
        for (name, policy, password, fits) in cases {
            assert_eq!(policy.check(password).is_ok(), fits, "{name}");
        }
    }

    #[test]
    fn without_a_policy_three_kinds_of_characters_are_needed() {
        let cases = [
            ("abcdefgh", false),
            ("Abcdefgh", false),
            ("Abcdefg1", true),
            ("abcdef1!", true),
            ("Abcde1!", false),
            ("123456789012", false),
        ];
        for (password, fits) in cases {
            assert_eq!(check_default(password, "123456789012").is_ok(), fits, "{password}");
        }
    }
}
