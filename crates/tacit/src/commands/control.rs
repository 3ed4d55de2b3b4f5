//! The terms of control in a contract: how a person writes them, and how they are shown.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_crypto::sha256;
use tacit_governance::control::{
    Answer, ApprovalRule, Clause, Control, CrossBorder, Emergency, Office, PartyRegion, ReviewRule, Right, RightKind,
    RiskRule, Venue,
};
use tacit_governance::{DatasetGrant, PartyCard, SignedContract};
use tacit_types::{Code, Fault, Hash, Name, NodeId, UnixMillis};

use super::money::when;
use crate::output::Out;

/// What a person writes under `[control]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    rights: WrittenRights,
    declarations: WrittenDeclarations,
    scene: Option<String>,
    venue: Option<WrittenVenue>,
    /// Party and region.
    #[serde(default)]
    regions: std::collections::BTreeMap<Name, String>,
    cross_border: Option<WrittenCrossBorder>,
    #[serde(default)]
    approvals: Vec<WrittenApproval>,
    emergency: Option<WrittenEmergency>,
    /// Party and the file of its clause.
    #[serde(default)]
    liability: std::collections::BTreeMap<Name, String>,
    /// The file of the clause on disputes.
    dispute: Option<String>,
    review: Option<WrittenReview>,
    risk: Option<WrittenRisk>,
}

/// The three chains, the same for every dataset: its owner holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRights {
    hold: WrittenRight,
    process: WrittenRight,
    operate: WrittenRight,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRight {
    /// The holder: each dataset's owner when absent.
    holder: Option<Name>,
    /// The file of the document that gives it, or `sha256:` and its hash.
    basis: String,
    /// The end of the contract when absent.
    until: Option<String>,
}

/// Whether the data is of a class that may not be traded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeclarations {
    harms_security: bool,
    infringes_rights: bool,
    unauthorised: bool,
    barred_by_law: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVenue {
    exchange: String,
    order: String,
    operator: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCrossBorder {
    number: String,
    document: String,
    jurisdictions: Vec<String>,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenApproval {
    /// cdo, notary, trustee or security.
    office: String,
    /// For one owner; for all when absent.
    owner: Option<Name>,
    approvers: Vec<Name>,
    #[serde(default = "one")]
    need: u8,
}

fn one() -> u8 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEmergency {
    order: String,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReview {
    reviewers: Vec<Name>,
    #[serde(default = "two")]
    need: u8,
    /// Whether reviews count only where their test vectors give the same at the owner's node.
    #[serde(default)]
    rerun: bool,
}

fn two() -> u8 {
    2
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRisk {
    assessors: Vec<Name>,
    score_max: u8,
}

/// The hash of a document: of a file beside the one that names it, or as `sha256:` and 64 hex digits.
///
/// # Errors
/// `io.failed`, `args.invalid`.
pub fn document(beside: &Path, text: &str) -> Result<Hash, Fault> {
    if let Some(hex) = text.strip_prefix("sha256:") {
        return Hash::from_hex(hex);
    }
    let path = beside.with_file_name("").join(text);
    let bytes = std::fs::read(&path).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())))?;
    Ok(sha256(&bytes))
}

/// The root key of an enrolled party.
///
/// # Errors
/// `refused.parties`.
pub fn root_of(cards: &[PartyCard], name: &Name) -> Result<NodeId, Fault> {
    let card = cards.iter().find(|c| c.name == *name);
    card.map(|c| c.root).ok_or_else(|| Fault::new(Code::RefusedParties, format!("`{name}` is not enrolled")))
}

/// What a contract's terms of control are made over.
pub struct Over<'a> {
    /// The contract file.
    pub file: &'a Path,
    /// Everyone enrolled.
    pub cards: &'a [PartyCard],
    /// Its datasets.
    pub datasets: &'a [DatasetGrant],
    /// Its end.
    pub until: UnixMillis,
}

impl Written {
    /// The terms.
    ///
    /// # Errors
    /// `refused.parties` for a name that is not enrolled; `io.failed` for a document; `args.invalid`.
    pub fn terms(&self, over: &Over<'_>) -> Result<Control, Fault> {
        let root = |name: &Name| root_of(over.cards, name);
        let roots = |names: &[Name]| names.iter().map(root).collect::<Result<Vec<_>, _>>();
        let mut rights = Vec::new();
        for grant in over.datasets {
            for (kind, written) in [
                (RightKind::Hold, &self.rights.hold),
                (RightKind::Process, &self.rights.process),
                (RightKind::Operate, &self.rights.operate),
            ] {
                rights.push(Right {
                    dataset: grant.dataset,
                    kind,
                    holder: written.holder.as_ref().map_or(Ok(grant.owner), root)?,
                    basis: document(over.file, &written.basis)?,
                    until: written.until.as_deref().map_or(Ok(over.until), when::parse)?,
                });
            }
        }
        let said = &self.declarations;
        let answers = [said.harms_security, said.infringes_rights, said.unauthorised, said.barred_by_law];
        let office = |word: &str| {
            Office::ALL.into_iter().find(|o| o.word() == word).ok_or_else(|| {
                let what = format!("control.approvals: office `{word}`; one of cdo, notary, trustee, security");
                Fault::new(Code::ArgsInvalid, what)
            })
        };
        Ok(Control {
            rights,
            declarations: answers.map(|of| if of { Answer::Yes } else { Answer::No }).to_vec(),
            venue: self.venue.as_ref().map(|v| v.terms(over)).transpose()?,
            regions: self
                .regions
                .iter()
                .map(|(name, region)| Ok(PartyRegion { party: root(name)?, region: region.clone() }))
                .collect::<Result<_, Fault>>()?,
            cross_border: self.cross_border.as_ref().map(|c| c.terms(over)).transpose()?,
            approvals: self
                .approvals
                .iter()
                .map(|a| {
                    let owner = a.owner.as_ref().map(root).transpose()?;
                    Ok(ApprovalRule { office: office(&a.office)?, owner, keys: roots(&a.approvers)?, need: a.need })
                })
                .collect::<Result<_, Fault>>()?,
            emergency: self
                .emergency
                .as_ref()
                .map(|e| {
                    Ok::<_, Fault>(Emergency { order: document(over.file, &e.order)?, until: when::parse(&e.until)? })
                })
                .transpose()?,
            delegation: 0,
            liability: self
                .liability
                .iter()
                .map(|(name, file)| Ok(Clause { party: root(name)?, text: document(over.file, file)? }))
                .collect::<Result<_, Fault>>()?,
            dispute: self.dispute.as_deref().map(|file| document(over.file, file)).transpose()?,
            review: self
                .review
                .as_ref()
                .map(|r| Ok::<_, Fault>(ReviewRule { reviewers: roots(&r.reviewers)?, need: r.need, rerun: r.rerun }))
                .transpose()?,
            risk: self
                .risk
                .as_ref()
                .map(|r| Ok::<_, Fault>(RiskRule { assessors: roots(&r.assessors)?, score_max: r.score_max }))
                .transpose()?,
            scene: self.scene.clone(),
        })
    }
}

impl WrittenVenue {
    fn terms(&self, over: &Over<'_>) -> Result<Venue, Fault> {
        let operator = self.operator.as_ref().map(|name| root_of(over.cards, name)).transpose()?;
        Ok(Venue { exchange: self.exchange.clone(), order: self.order.clone(), operator })
    }
}

impl WrittenCrossBorder {
    fn terms(&self, over: &Over<'_>) -> Result<CrossBorder, Fault> {
        Ok(CrossBorder {
            number: self.number.clone(),
            document: document(over.file, &self.document)?,
            jurisdictions: self.jurisdictions.clone(),
            until: when::parse(&self.until)?,
        })
    }
}

/// The terms as JSON.
pub fn view(contract: &SignedContract) -> Value {
    let body = contract.body();
    let Some(control) = &body.control else { return Value::Null };
    let name = |root: &NodeId| {
        let party = body.parties.iter().find(|p| p.root == *root);
        party.map_or_else(|| root.to_string(), |p| p.name.to_string())
    };
    let said = |key: &NodeId| {
        let approval = contract.approvals().iter().find(|a| a.signer() == *key);
        approval.map(|_| if contract.rejected_by(key) { "rejected" } else { "approved" })
    };
    json!({
        "rights": control.rights.iter().map(|r| json!({"dataset": r.dataset.to_string(), "right": r.kind.word(),
            "holder": name(&r.holder), "basis": r.basis.to_string(), "until": r.until.0})).collect::<Vec<_>>(),
        "scene": control.scene,
        "venue": control.venue.as_ref().map(|v| json!({"exchange": v.exchange, "order": v.order})),
        "regions": control.regions.iter().map(|r| json!({"party": name(&r.party), "region": r.region})).collect::<Vec<_>>(),
        "cross_border": control.cross_border.as_ref().map(|c| json!({"number": c.number, "document": c.document.to_string(),
            "jurisdictions": c.jurisdictions, "until": c.until.0})),
        "approvals": control.approvals.iter().map(|a| json!({"office": a.office.word(), "owner": a.owner.as_ref().map(name),
            "need": a.need, "approvers": a.keys.iter().map(|k| json!({"key": k.to_string(), "said": said(k)})).collect::<Vec<_>>()}))
            .collect::<Vec<_>>(),
        "lacking": contract.unapproved(),
        "emergency": control.emergency.map(|e| json!({"order": e.order.to_string(), "until": e.until.0})),
        "liability": control.liability.iter().map(|c| json!({"party": name(&c.party), "text": c.text.to_string()})).collect::<Vec<_>>(),
        "dispute": control.dispute.map(|d| d.to_string()),
        "review": control.review.as_ref().map(|r| json!({"need": r.need, "rerun": r.rerun,
            "reviewers": r.reviewers.iter().map(ToString::to_string).collect::<Vec<_>>()})),
        "risk": control.risk.as_ref().map(|r| json!({"score_max": r.score_max,
            "assessors": r.assessors.iter().map(ToString::to_string).collect::<Vec<_>>()})),
    })
}

/// The terms for people, a label and a value each.
pub fn lines(out: &Out, contract: &SignedContract) -> Vec<Vec<String>> {
    let body = contract.body();
    let Some(control) = &body.control else { return Vec::new() };
    let mut lines = Vec::new();
    let mut line = |label: &str, value: String| lines.push(vec![label.to_owned(), value]);
    for (kind, label) in [
        (RightKind::Hold, out.say("right to hold", "数据资源持有权")),
        (RightKind::Process, out.say("right to process", "数据加工使用权")),
        (RightKind::Operate, out.say("right to operate", "数据产品经营权")),
    ] {
        let mut holders: Vec<String> = control
            .rights
            .iter()
            .filter(|r| r.kind == kind)
            .filter_map(|r| body.parties.iter().find(|p| p.root == r.holder).map(|p| p.name.to_string()))
            .collect();
        holders.dedup();
        line(label, holders.join(", "));
    }
    line(
        out.say("not to be traded", "不得交易"),
        out.say("none of the four classes, as declared", "已声明不属于四类情形").into(),
    );
    if let Some(venue) = &control.venue {
        line(out.say("on exchange", "场内"), format!("{} {}", venue.exchange, venue.order));
    }
    if let Some(emergency) = control.emergency {
        line(out.say("emergency until", "应急有效至"), emergency.until.to_string());
    }
    for rule in &control.approvals {
        let office = match rule.office {
            Office::ChiefDataOfficer => out.say("chief data officer", "首席数据官"),
            Office::Notary => out.say("notary", "公证方"),
            Office::Trustee => out.say("trustee", "受托者"),
            Office::Security => out.say("security review", "安全审查"),
        };
        let said = rule.keys.iter().filter(|k| contract.approvals().iter().any(|a| a.signer() == **k));
        let yes = said.filter(|k| !contract.rejected_by(k)).count();
        let of = format!("{yes}/{} {}", rule.need, out.say("approvals", "已批准"));
        let vetoed = rule.keys.iter().any(|k| contract.rejected_by(k));
        line(office, if vetoed { format!("{of}, {}", out.say("rejected", "已否决")) } else { of });
    }
    for region in &control.regions {
        let name = body.parties.iter().find(|p| p.root == region.party).map_or("?", |p| p.name.as_str());
        line(out.say("region", "地区"), format!("{name}: {}", region.region));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        control: Written,
    }

    #[test]
    fn the_example_gives_terms_over_datasets_and_enrolled_names_alone() {
        let text = include_str!("../../../../examples/control.toml");
        let File { control } = toml::from_str(text).unwrap();
        let card = |name: &str, n: u8| PartyCard {
            version: 1,
            name: Name::new(name).unwrap(),
            root: NodeId([n; 32]),
            node: NodeId([n; 32]),
            seal: tacit_crypto::SealPublic([n; 32]),
            witness: NodeId([n; 32]),
            role: tacit_governance::PartyRole::Partner,
            issued_at: UnixMillis(0),
        };
        let names = ["hospital-a", "institute", "hospital-a-cdo", "patients", "lab-1", "lab-2", "lab-3", "auditor"];
        let cards: Vec<PartyCard> = (1..).zip(names).map(|(n, name)| card(name, n)).collect();
        let grant = DatasetGrant {
            owner: cards[0].root,
            dataset: tacit_types::DatasetVersionId([9; 32]),
            views: Vec::new(),
            columns: Vec::new(),
        };
        let datasets = [grant];
        let until = UnixMillis(5);
        let over = |cards| Over { file: Path::new("control.toml"), cards, datasets: &datasets, until };
        let terms = control.terms(&over(&cards)).unwrap();
        let rights: Vec<_> = terms.rights.iter().map(|r| (r.kind, r.holder, r.until)).collect();
        let (owner, demander) = (cards[0].root, cards[1].root);
        assert_eq!(
            rights,
            [
                (RightKind::Hold, owner, until),
                (RightKind::Process, demander, until),
                (RightKind::Operate, demander, until)
            ]
        );
        assert_eq!(terms.declarations, [Answer::No; 4]);
        assert_eq!((terms.approvals.len(), terms.regions.len(), terms.review.unwrap().need), (2, 2, 2));
        assert_eq!(control.terms(&over(&cards[..7])).unwrap_err().code, Code::RefusedParties, "no auditor");
    }
}
