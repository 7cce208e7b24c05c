//! AWS's names as Rust's.

use std::collections::HashSet;

/// Words between underscores: `KMSMasterKeyId` is `kms_master_key_id`, `MD5OfMessageBody` `md5_of_message_body`.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::with_capacity(name.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            text.push('_');
            continue;
        }
        if at > 0 && letter.is_ascii_uppercase() && begins_word(&letters, at) {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    squeeze(&text)
}

/// Whether the capital at `at` begins a new word: after a small letter, or as the last of a run that goes on small.
fn begins_word(letters: &[char], at: usize) -> bool {
    let before = letters[at - 1];
    if before.is_ascii_lowercase() {
        return !is_plural_end(letters, at - 1) || letters.get(at + 1).is_none_or(|c| c.is_ascii_lowercase());
    }
    let goes_on_small = letters.get(at + 1).is_some_and(|next| next.is_ascii_lowercase());
    goes_on_small && !is_plural_end(letters, at + 1) && !is_version(letters, at + 1)
}

/// The `v` of `WAFv2`.
fn is_version(letters: &[char], at: usize) -> bool {
    letters[at] == 'v' && letters.get(at + 1).is_some_and(|next| next.is_ascii_digit())
}

/// The `s` of `ARNs`.
fn is_plural_end(letters: &[char], at: usize) -> bool {
    letters[at] == 's'
        && at >= 2
        && letters[at - 1].is_ascii_uppercase()
        && letters[at - 2].is_ascii_uppercase()
        && letters.get(at + 1).is_none_or(|next| next.is_ascii_uppercase())
}

/// One underscore at a time, none at the ends.
fn squeeze(text: &str) -> String {
    text.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// `SEND_MESSAGE`.
pub fn constant(name: &str) -> String {
    let name = snake(name).to_ascii_uppercase();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A type: AWS's name with a capital, without underscores at its front.
pub fn camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(rest);
    }
    if text == "Self" || text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
        text.push_str("Shape");
    }
    text
}

/// A field or a module.
pub fn field(name: &str) -> String {
    const RAW: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
        "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
        "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where",
        "while", "yield",
    ];
    let name = snake(name);
    match name.as_str() {
        "self" | "super" | "crate" => format!("{name}_"),
        _ if RAW.contains(&name.as_str()) => format!("r#{name}"),
        _ if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) => format!("_{name}"),
        _ => name,
    }
}

/// Keeps names of one scope apart: the second `Name` becomes `Name2`.
#[derive(Default)]
pub struct Scope(HashSet<String>);

impl Scope {
    pub fn with(names: &[&str]) -> Scope {
        Scope(names.iter().map(|name| (*name).to_owned()).collect())
    }

    pub fn claim(&mut self, name: String) -> String {
        let mut candidate = name.clone();
        let mut number = 2;
        while !self.0.insert(candidate.clone()) {
            let is_lower = name.contains('_') || name.chars().all(|c| !c.is_ascii_lowercase());
            candidate = if is_lower { format!("{name}_{number}") } else { format!("{name}{number}") };
            number += 1;
        }
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_break_where_a_reader_would_break_them() {
        let cases = [
            ("QueueUrl", "queue_url"),
            ("KMSMasterKeyId", "kms_master_key_id"),
            ("MD5OfMessageBody", "md5_of_message_body"),
            ("PolicyARNs", "policy_arns"),
            ("ARNs", "arns"),
            ("DBsToKeep", "dbs_to_keep"),
            ("Ipv6Address", "ipv6_address"),
            ("IPv4Prefixes", "ipv4_prefixes"),
            ("WAFv2Rule", "wafv2_rule"),
            ("TLSv1.2", "tlsv1_2"),
            ("S3Bucket", "s3_bucket"),
            ("x509Data", "x509_data"),
            ("__listOfString", "list_of_string"),
            ("SHA256", "sha256"),
            ("isTruncated", "is_truncated"),
            ("NS", "ns"),
            ("BOOL", "bool"),
            ("Status", "status"),
            ("SAMLProvider", "saml_provider"),
        ];
        for (name, expected) in cases {
            assert_eq!(snake(name), expected, "{name}");
        }
    }

    #[test]
    fn words_of_the_language_become_names() {
        assert_eq!(field("Type"), "r#type");
        assert_eq!(field("self"), "self_");
        assert_eq!(constant("2012-10-17"), "_2012_10_17");
        assert_eq!(camel("__string"), "String");
        assert_eq!(camel("Self"), "SelfShape");
    }

    #[test]
    fn names_of_one_scope_stay_apart() {
        let mut scope = Scope::default();
        let names = ["Tag", "Tag", "a_b", "a_b"].map(|name| scope.claim(name.to_owned()));
        assert_eq!(names, ["Tag", "Tag2", "a_b", "a_b_2"]);
    }
}
