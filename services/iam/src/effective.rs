//! Every policy that gives a principal its permissions: its own inline and managed ones, and a user's groups'.

use pileus_store::Reader;

use crate::error::IamError;
use crate::group::groups_of;
use crate::holder::{Holder, Kind};
use crate::keys::{ATTACHED, INLINE};
use crate::page;
use crate::policy;

/// One policy as evaluation and the simulators see it.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Whom it is attached to: the principal itself or one of its groups.
    pub holder: Holder,
    pub policy_name: String,
    /// `None` for an inline policy.
    pub arn: Option<String>,
    pub document: String,
}

impl Effective {
    /// How denials and explanations call it.
    pub fn label(&self) -> String {
        match &self.arn {
            Some(arn) => arn.clone(),
            None => format!(
                "inline policy {} of {} {}",
                self.policy_name,
                self.holder.kind.word(),
                self.holder.name
            ),
        }
    }

    /// How the simulators call it.
    pub fn source_id(&self) -> String {
        match &self.arn {
            Some(_) => self.policy_name.clone(),
            None => format!("{}_{}_{}", self.holder.kind.word(), self.holder.name, self.policy_name),
        }
    }
}

/// The policies of a principal.
pub async fn of(reader: &impl Reader, holder: &Holder) -> Result<Vec<Effective>, IamError> {
    let mut found = own(reader, holder).await?;
    if holder.kind == Kind::User {
        for group in groups_of(reader, &holder.id).await? {
            let group = Holder {
                account: holder.account,
                kind: Kind::Group,
                id: group.id,
                path: group.path,
                name: group.name,
            };
            found.extend(own(reader, &group).await?);
        }
    }
    Ok(found)
}

async fn own(reader: &impl Reader, holder: &Holder) -> Result<Vec<Effective>, IamError> {
    let of_holder = (holder.id.clone(),);
    let mut found = Vec::new();
    for ((_, policy_name), row) in page::all(reader, INLINE, INLINE.under(&of_holder)).await? {
        found.push(Effective { holder: holder.clone(), policy_name, arn: None, document: row.document });
    }
    for ((_, arn), _) in page::all(reader, ATTACHED, ATTACHED.under(&of_holder)).await? {
        // A policy cannot be deleted while it is attached.
        if let Some(document) = policy::document_of(reader, holder.account, &arn).await? {
            let policy_name = arn.rsplit('/').next().unwrap_or_default().to_owned();
            found.push(Effective { holder: holder.clone(), policy_name, arn: Some(arn), document });
        }
    }
    Ok(found)
}
