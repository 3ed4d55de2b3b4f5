//! What an owner says of a dataset beside its columns: a file with class, grade, ground, registration and sharing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_governance::grade::{
    Anonymised, Basis, BasisKind, Class, ConsentFor, DatasetTerms, Grade, Registration, Sharing,
};
use tacit_governance::{DatasetDescriptor, PartyCard};
use tacit_types::{Code, Fault, Hash, Name, Predicate};

use super::control::{document, root_of};
use super::money::when;
use crate::output::Out;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// public, enterprise or personal.
    class: String,
    /// general-1 to general-4, important or core.
    grade: String,
    /// unconditional, conditional or withheld.
    #[serde(default = "conditional")]
    sharing: String,
    region: Option<String>,
    #[serde(default)]
    export_controlled: bool,
    #[serde(default)]
    secret: bool,
    basis: Option<WrittenBasis>,
    #[serde(default)]
    consent: Vec<WrittenConsent>,
    anonymised: Option<WrittenAnonymised>,
    registration: Option<WrittenRegistration>,
}

fn conditional() -> String {
    "conditional".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBasis {
    kind: String,
    document: String,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenConsent {
    purpose: String,
    /// The rows whose persons agreed.
    rule: String,
    #[serde(default)]
    recipients: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAnonymised {
    method: String,
    k: u32,
    /// Columns by which persons could be known: the node measures k over them, and what it finds is the report.
    #[serde(default)]
    quasi: Vec<String>,
    report: Option<String>,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRegistration {
    number: String,
    registrar: String,
    certificate: String,
    until: String,
}

/// Reads such a file: the terms that others see, and the rules that stay at the node.
///
/// # Errors
/// `io.failed`, `args.invalid` naming the place; `refused.parties` for a recipient that this node has not heard of.
pub fn read(file: &Path, cards: &[PartyCard]) -> Result<(DatasetTerms, BTreeMap<String, Predicate>), Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    parse(&text, file, cards).map_err(|f| Fault::new(f.code, format!("{}: {}", file.display(), f.what)))
}

/// Whether this is the text of such a file. Documents and parties that it names need not be there.
#[cfg(test)]
pub fn parses(text: &str) -> Result<(), Fault> {
    let read: Result<Written, _> = toml::from_str(text);
    read.map(|_| ()).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string().trim()))
}

fn word<T: Copy>(field: &str, text: &str, all: &[(&str, T)]) -> Result<T, Fault> {
    all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
        Fault::new(Code::ArgsInvalid, format!("{field}: `{text}`; one of {}", words.join(", ")))
    })
}

fn parse(text: &str, file: &Path, cards: &[PartyCard]) -> Result<(DatasetTerms, BTreeMap<String, Predicate>), Fault> {
    let written: Written = toml::from_str(text).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string().trim()))?;
    let classes = [("public", Class::Public), ("enterprise", Class::Enterprise), ("personal", Class::Personal)];
    let sharing = [Sharing::Unconditional, Sharing::Conditional, Sharing::Withheld].map(|s| (s.word(), s));
    let mut rules = BTreeMap::new();
    let mut consent = Vec::new();
    for one in &written.consent {
        if rules.insert(one.purpose.clone(), tacit_jobs::filter::parse(&one.rule)?).is_some() {
            return Err(Fault::new(Code::ArgsInvalid, format!("consent: `{}` stands twice", one.purpose)));
        }
        let recipients = one.recipients.iter().map(|name| root_of(cards, name)).collect::<Result<_, _>>()?;
        consent.push(ConsentFor { purpose: one.purpose.clone(), recipients });
    }
    let grade = Grade::parse(&written.grade).ok_or_else(|| {
        let what = format!("grade: `{}`; one of general-1 to general-4, important, core", written.grade);
        Fault::new(Code::ArgsInvalid, what)
    })?;
    let basis = written.basis.map(|b| {
        Ok::<_, Fault>(Basis {
            kind: word("basis.kind", &b.kind, &BasisKind::ALL.map(|k| (k.word(), k)))?,
            document: document(file, &b.document)?,
            until: when::parse(&b.until)?,
        })
    });
    let anonymised = written.anonymised.map(|a| {
        let report = match (&a.report, a.quasi.is_empty()) {
            (Some(report), true) => document(file, report)?,
            // Known once it was measured.
            (None, false) => Hash([0; 32]),
            _ => {
                let what = "anonymised: either `quasi`, over which the node measures k, or a `report`";
                return Err(Fault::new(Code::ArgsInvalid, what));
            }
        };
        let until = when::parse(&a.until)?;
        Ok::<_, Fault>(Anonymised { method: a.method, k: a.k, report, until, quasi: a.quasi, measured: None })
    });
    let registration = written.registration.map(|r| {
        let (certificate, until) = (document(file, &r.certificate)?, when::parse(&r.until)?);
        Ok::<_, Fault>(Registration { number: r.number, registrar: r.registrar, certificate, until })
    });
    let terms = DatasetTerms {
        class: word("class", &written.class, &classes)?,
        grade,
        sharing: word("sharing", &written.sharing, &sharing)?,
        basis: basis.transpose()?,
        consent,
        anonymised: anonymised.transpose()?,
        registration: registration.transpose()?,
        region: written.region,
        export_controlled: written.export_controlled,
        secret: written.secret,
    };
    Ok((terms, rules))
}

/// The terms as JSON.
pub fn view(descriptor: &DatasetDescriptor) -> Value {
    let Some(terms) = &descriptor.terms else { return Value::Null };
    json!({
        "class": format!("{:?}", terms.class).to_lowercase(), "grade": terms.grade.word(), "sharing": terms.sharing.word(),
        "basis": terms.basis.as_ref().map(|b| json!({"kind": b.kind.word(), "document": b.document.to_string(), "until": b.until.0})),
        "consent": terms.consent.iter().map(|c| json!({"purpose": c.purpose,
            "recipients": c.recipients.iter().map(ToString::to_string).collect::<Vec<_>>()})).collect::<Vec<_>>(),
        "anonymised": terms.anonymised.as_ref().map(|a| json!({"method": a.method, "k": a.k, "report": a.report.to_string(), "until": a.until.0,
            "quasi": a.quasi, "measured": a.measured})),
        "registration": terms.registration.as_ref().map(|r| json!({"number": r.number, "registrar": r.registrar,
            "certificate": r.certificate.to_string(), "until": r.until.0})),
        "region": terms.region, "export_controlled": terms.export_controlled, "secret": terms.secret,
    })
}

/// The terms in one line.
pub fn line(out: &Out, descriptor: &DatasetDescriptor) -> Option<String> {
    let terms = descriptor.terms.as_ref()?;
    let class = match terms.class {
        Class::Public => out.say("public data", "公共数据"),
        Class::Enterprise => out.say("data of an enterprise", "企业数据"),
        Class::Personal => out.say("personal data", "个人信息"),
    };
    let basis = terms.basis.as_ref().map_or(String::new(), |b| format!(", {} {}", b.kind.word(), b.until));
    Some(format!("{class}, {} {}, {}{basis}", out.say("grade", "级别"), terms.grade.word(), terms.sharing.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "class = \"personal\"\ngrade = \"general-3\"\nregion = \"CN-XM\"\n\
        [basis]\nkind = \"consent\"\ndocument = \"sha256:0101010101010101010101010101010101010101010101010101010101010101\"\n\
        until = \"2027-01-01\"\n[[consent]]\npurpose = \"fraud research\"\nrule = \"agreed = 1\"\n";

    #[test]
    fn a_file_gives_terms_and_keeps_rules_apart() {
        let (terms, rules) = parse(FILE, Path::new("x"), &[]).unwrap();
        assert_eq!((terms.class, terms.grade, terms.sharing), (Class::Personal, Grade(3), Sharing::Conditional));
        assert_eq!(terms.consent.len(), 1);
        assert_eq!(rules.keys().collect::<Vec<_>>(), ["fraud research"]);
        for (from, to) in [
            ("personal", "private"),
            ("general-3", "general-5"),
            ("consent\"\nd", "agreed\"\nd"),
            ("2027-01-01", "soon"),
            ("agreed = 1", "agreed ="),
            ("sha256:01", "sha256:"),
            ("region", "regions"),
        ] {
            let wrong = FILE.replacen(from, to, 1);
            assert!(wrong != FILE && parse(&wrong, Path::new("x"), &[]).is_err(), "{from}");
        }
    }
}
