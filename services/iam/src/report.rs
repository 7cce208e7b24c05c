//! The credential report: `GenerateCredentialReport`, `GetCredentialReport`.
//!
//! Source: IAM User Guide, "Generate credential reports for your AWS account".

use std::time::Duration;

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::Stored;
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::access_key::{AccessKeyRow, keys_of};
use crate::change;
use crate::error::IamError;
use crate::keys::{DEVICES_OF, LAST_USE, LOGINS, PASSWORD_POLICIES, REPORTS, ROOT, SIGNING, USERS};
use crate::page;
use crate::signing_certificate::SigningRow;
use crate::user::UserRow;

/// A report is made at most once in this time, and is gone after it.
const LIFETIME: Duration = Duration::from_secs(4 * 3_600);
/// Below the store's limit of a value.
const PART: usize = 500_000;
const COLUMNS: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
                       password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,\
                       access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,\
                       access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,\
                       access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
                       cert_1_last_rotated,cert_2_active,cert_2_last_rotated";
const NONE: &str = "N/A";

/// A part of a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportRow {
    pub generated: Timestamp,
    pub csv: String,
}

impl Stored for ReportRow {}

/// As AWS answers: the first call starts a report, a later one finds it complete.
pub async fn generate_credential_report(
    cx: &Cx,
    _: Unit,
) -> Result<api::GenerateCredentialReportResponse, IamError> {
    let answer = |state: &str, description: Option<&str>| api::GenerateCredentialReportResponse {
        state: Some(state.to_owned()),
        description: description.map(str::to_owned),
    };
    let old = REPORTS.get(cx.store(), &(cx.account(), 0u32)).await?;
    if old.is_some_and(|report| cx.now().since(report.generated) < LIFETIME) {
        return Ok(answer("COMPLETE", None));
    }
    let (csv, generated) = (&write(cx).await?, change::now(cx));
    cx.transact(move |txn| async move {
        for (key, _) in page::all(&txn, REPORTS, REPORTS.under(&(cx.account(),))).await? {
            REPORTS.delete(&txn, &key);
        }
        for (number, part) in parts(csv).into_iter().enumerate() {
            let row = ReportRow { generated, csv: part.to_owned() };
            REPORTS.put(&txn, &(cx.account(), number as u32), &row)?;
        }
        Ok::<(), IamError>(())
    })
    .await?;
    Ok(answer("STARTED", Some("No report exists. Starting a new report generation task")))
}

/// The report is ASCII, so it may be cut anywhere.
fn parts(csv: &str) -> Vec<&str> {
    csv.as_bytes().chunks(PART).map(|part| std::str::from_utf8(part).unwrap_or_default()).collect()
}

pub async fn get_credential_report(cx: &Cx, _: Unit) -> Result<api::GetCredentialReportResponse, IamError> {
    let parts = page::all(cx.store(), REPORTS, REPORTS.under(&(cx.account(),))).await?;
    let generated = parts.first().map(|(_, part)| part.generated).ok_or(IamError::ReportNotPresent)?;
    if cx.now().since(generated) >= LIFETIME {
        return Err(IamError::ReportExpired);
    }
    let csv: String = parts.into_iter().map(|(_, part)| part.csv).collect();
    Ok(api::GetCredentialReportResponse {
        content: Some(csv.into()),
        report_format: Some("text/csv".to_owned()),
        generated_time: Some(generated),
    })
}

async fn write(cx: &Cx) -> Result<String, IamError> {
    let mut csv = COLUMNS.to_owned();
    let partition = cx.region().partition();
    let root = Line {
        name: "<root_account>".to_owned(),
        arn: format!("arn:{partition}:iam::{}:root", cx.account()),
        created: Timestamp::EPOCH,
        owner: ROOT.to_owned(),
        user: None,
    };
    csv.push('\n');
    csv.push_str(&root.write(cx).await?);
    for (_, row) in page::all(cx.store(), USERS, USERS.under(&(cx.account(),))).await? {
        let line = Line {
            name: row.name.clone(),
            arn: row.arn(cx),
            created: row.created,
            owner: row.id.clone(),
            user: Some(row),
        };
        csv.push('\n');
        csv.push_str(&line.write(cx).await?);
    }
    Ok(csv)
}

/// One user of the report.
struct Line {
    name: String,
    arn: String,
    created: Timestamp,
    /// A user's id, or `ROOT`.
    owner: String,
    user: Option<UserRow>,
}

fn date(moment: Timestamp) -> String {
    format!("{}+00:00", moment.to_iso8601().trim_end_matches('Z'))
}

impl Line {
    async fn write(&self, cx: &Cx) -> Result<String, IamError> {
        let mut fields = vec![self.name.clone(), self.arn.clone(), date(self.created)];
        fields.extend(self.password(cx).await?);
        let devices = DEVICES_OF.under(&(cx.account(), self.owner.clone()));
        fields.push((!page::is_empty(cx.store(), DEVICES_OF, devices).await?).to_string());
        let mut keys = keys_of(cx.store(), cx.account(), &self.owner).await?.into_iter();
        for _ in 0..2 {
            fields.extend(self.key(cx, keys.next()).await?);
        }
        let signing = SIGNING.under(&(self.owner.clone(),));
        let mut certificates = page::all(cx.store(), SIGNING, signing).await?.into_iter();
        for _ in 0..2 {
            fields.extend(certificate(certificates.next().map(|(_, row)| row)));
        }
        Ok(fields.join(","))
    }

    /// Whether there is one, its last use, its last change, and when it must change.
    async fn password(&self, cx: &Cx) -> Result<[String; 4], IamError> {
        let none = NONE.to_owned();
        let Some(user) = &self.user else {
            let unknown = "not_supported".to_owned();
            return Ok(["false".to_owned(), none, unknown.clone(), unknown]);
        };
        let Some(login) = LOGINS.get(cx.store(), &(user.id.clone(),)).await? else {
            return Ok(["false".to_owned(), none.clone(), none.clone(), none]);
        };
        let policy = PASSWORD_POLICIES.get(cx.store(), &(cx.account(),)).await?;
        let age = policy.and_then(|policy| policy.max_age_days);
        let next = age.map(|days| date(login.changed + Duration::from_secs(days.unsigned_abs() * 86_400)));
        let used = login.last_used.map_or_else(|| "no_information".to_owned(), date);
        Ok(["true".to_owned(), used, date(login.changed), next.unwrap_or(none)])
    }

    async fn key(&self, cx: &Cx, key: Option<(String, AccessKeyRow)>) -> Result<[String; 5], IamError> {
        let none = || NONE.to_owned();
        let Some((id, row)) = key else {
            return Ok(["false".to_owned(), none(), none(), none(), none()]);
        };
        let last = LAST_USE.get(cx.store(), &(id,)).await?;
        Ok([
            row.is_active.to_string(),
            date(row.created),
            last.as_ref().map_or_else(none, |last| date(last.at)),
            last.as_ref().map_or_else(none, |last| last.region.clone()),
            last.map_or_else(none, |last| last.service),
        ])
    }
}

fn certificate(row: Option<SigningRow>) -> [String; 2] {
    match row {
        Some(row) => [row.is_active.to_string(), date(row.uploaded)],
        None => ["false".to_owned(), NONE.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_awss_and_dates_have_an_offset() {
        assert_eq!(COLUMNS.split(',').count(), 22);
        assert!(!COLUMNS.contains(' '));
        assert_eq!(date(Timestamp::from_secs(0)), "1970-01-01T00:00:00+00:00");
    }
}
