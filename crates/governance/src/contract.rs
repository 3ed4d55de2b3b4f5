//! Contracts: in force only when every owner and the demander has signed the same bytes.

use std::collections::BTreeSet;

use tacit_crypto::{Body, SealPublic, SigningKey, Statement, StatementError, cbor, sha256};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, Name, NodeId, UnixMillis};

use crate::align::AlignTerms;
use crate::control::{Control, Office, is_wildcard};
use crate::dataset::Level;
use crate::exact::ExactTerms;
use crate::lifecycle::Lifecycle;
use crate::model::{ModelGrant, Precision, ScoringTerms, is_false};
use crate::orders::{Approval, Verdict};
use crate::privacy::PrivacyTerms;

/// A party's role in a contract.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Owns data that the contract grants.
    #[n(0)]
    Provider,
    /// Uses the results.
    #[n(1)]
    Demander,
    /// Schedules and keeps the log; may be nothing else.
    #[n(2)]
    Coordinator,
    /// Deals correlated randomness to jobs on shares; owns nothing in them.
    #[n(3)]
    Dealer,
}

/// A party of a contract, named by its root key.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ContractParty {
    /// Name, for people.
    #[n(1)]
    pub name: Name,
    /// Root key.
    #[n(2)]
    pub root: NodeId,
    /// Role.
    #[n(3)]
    pub role: Role,
}

/// What a contract grants of one column.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ColumnGrant {
    /// Column name.
    #[n(1)]
    pub name: String,
    /// What may leave.
    #[n(2)]
    pub levels: Vec<Level>,
}

/// What a contract grants of one dataset version.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DatasetGrant {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The exact version.
    #[n(2)]
    pub dataset: DatasetVersionId,
    /// Views that may be used.
    #[n(3)]
    pub views: Vec<String>,
    /// Columns, each with its levels.
    #[n(4)]
    pub columns: Vec<ColumnGrant>,
}

/// The floor below which nothing is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Cohort {
    /// Rows in every released cell.
    #[n(1)]
    pub rows: u64,
    /// Parties with at least one row in every released cell.
    #[n(2)]
    pub contributors: u16,
}

/// How much may be used in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Quota {
    /// Jobs over the whole validity.
    #[n(1)]
    pub jobs: u64,
}

/// The keys of a party that may submit jobs or receive results. Its own signature of the contract answers for them.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct User {
    /// The party's root key.
    #[n(1)]
    pub root: NodeId,
    /// The key that signs its jobs, among the contract's operators.
    #[n(2)]
    pub node: NodeId,
    /// The key to which its results are sealed, among the contract's recipients.
    #[n(3)]
    pub seal: SealPublic,
}

/// The terms. Further terms (rights, purposes by scene, prices, regions, approvals) take the
/// numbers from 20 on.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Contract {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// What the parties call it.
    #[n(2)]
    pub name: Name,
    /// Everyone, with a role.
    #[n(3)]
    pub parties: Vec<ContractParty>,
    /// What is granted.
    #[n(4)]
    pub datasets: Vec<DatasetGrant>,
    /// Job kinds allowed, such as `stats/v1`.
    #[n(5)]
    pub kinds: Vec<String>,
    /// The purpose, equal in every job.
    #[n(6)]
    pub purpose: String,
    /// Keys to which results may be sealed.
    #[n(7)]
    pub recipients: Vec<SealPublic>,
    /// Keys that may sign jobs.
    #[n(8)]
    pub operators: Vec<NodeId>,
    /// The floor.
    #[n(9)]
    pub cohort: Cohort,
    /// The quota.
    #[n(10)]
    pub quota: Quota,
    /// From when.
    #[n(11)]
    pub valid_from: UnixMillis,
    /// Until when, exclusive.
    #[n(12)]
    pub valid_until: UnixMillis,
    /// Whose the operators and recipients are: parties, so that what is asked of parties is asked of them.
    #[n(13)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// Models that may be used.
    #[n(20)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub models: Vec<ModelGrant>,
    /// What may be scored with them.
    #[n(21)]
    pub scoring: Option<ScoringTerms>,
    /// Which lists of keys may be brought together, and what may be learnt of them; none when absent.
    #[n(22)]
    pub alignment: Option<AlignTerms>,
    /// Whether every node must check the sums of a job that an aggregator makes.
    #[n(23)]
    #[cbor(default, skip_if = "is_false")]
    pub checked: bool,
    /// What noisy releases may cost; no such releases when absent.
    #[n(24)]
    pub privacy: Option<PrivacyTerms>,
    /// By how many rows exact questions differ, where they differ; not held when absent.
    #[n(25)]
    pub exact: Option<ExactTerms>,
    /// What its use costs: the hash of a price plan without its contract (`PricePlan::terms`). Payer and payees sign
    /// that plan once the contract is there.
    #[n(30)]
    pub price_plan: Option<Hash>,
    /// Rights, declarations, approvals, regions and what else controls the use.
    #[n(40)]
    pub control: Option<Control>,
    /// Which version it takes the place of, who succeeds whom in it, and what is deleted at its end.
    #[n(80)]
    pub lifecycle: Option<Lifecycle>,
}

impl Body for Contract {
    const TYPE: &'static str = "contract";
}

/// Parties of one contract.
pub const CONTRACT_PARTIES_MAX: usize = 256;
/// Models of one contract.
pub const CONTRACT_MODELS_MAX: usize = 64;
/// Bytes of a purpose.
pub const PURPOSE_BYTES_MAX: usize = 256;
/// The least cohort of rows that a contract may state.
pub const COHORT_ROWS_MIN: u64 = 3;
/// The least number of contributors that a contract may state.
pub const COHORT_CONTRIBUTORS_MIN: u16 = 2;

impl Contract {
    /// The hash of the body bytes, which every signer signs.
    pub fn id(&self) -> ContractId {
        ContractId(sha256(&cbor::encode(self)).0)
    }

    /// Everything that is wrong with the terms, each in one sentence.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, text: &str| {
            if !ok {
                faults.push(text.to_owned());
            }
        };
        let roots: BTreeSet<NodeId> = self.parties.iter().map(|p| p.root).collect();
        let role = |root: &NodeId, role: Role| self.parties.iter().any(|p| p.root == *root && p.role == role);
        check(self.version == 1, "the version is not 1");
        check(self.parties.len() <= CONTRACT_PARTIES_MAX, "more than 256 parties");
        check(roots.len() == self.parties.len(), "a party stands twice");
        check(self.parties.iter().any(|p| p.role == Role::Demander), "no demander");
        check(self.datasets.iter().all(|d| role(&d.owner, Role::Provider)), "a dataset's owner is not a provider");
        check(
            self.parties.iter().filter(|p| p.role == Role::Provider).all(|p| {
                self.datasets.iter().any(|d| d.owner == p.root) || self.models.iter().any(|m| m.owner == p.root)
            }),
            "a provider grants neither dataset nor model",
        );
        check(!self.datasets.is_empty(), "no dataset");
        check(self.models.len() <= CONTRACT_MODELS_MAX, "more than 64 models");
        check(self.models.iter().all(|m| role(&m.owner, Role::Provider)), "a model's owner is not a provider");
        check(self.models.is_empty() || self.scoring.is_some(), "models without terms of scoring");
        check(
            self.scoring.is_none_or(|s| s.rows > 0 && s.rows_per_job > 0 && s.rows_per_job <= s.rows),
            "the rows that may be scored are 0, or fewer than those of one job",
        );
        check(
            self.scoring.is_none_or(|s| s.decimals.is_none() || s.precision == Precision::Rounded),
            "digits after the point without a precision of `rounded`",
        );
        check(
            self.scoring.and_then(|s| s.online).is_none_or(|o| o.rows_per_window > 0 && o.rows_per_second > 0),
            "online terms that allow nothing",
        );
        check(
            self.scoring.is_none_or(|s| s.distinct.is_none_or(|d| d.keys > 0 && d.keys <= s.rows && d.days > 0)),
            "the different keys of a period are 0, or more than the rows, or the period has no day",
        );
        check(!self.kinds.is_empty() && self.kinds.iter().all(|k| !is_wildcard(k)), "no job kind, or a wildcard");
        check(
            !self.purpose.trim().is_empty() && self.purpose.len() <= PURPOSE_BYTES_MAX && !is_wildcard(&self.purpose),
            "the purpose is empty, a wildcard or over 256 bytes",
        );
        check(!self.recipients.is_empty(), "no recipient");
        check(!self.operators.is_empty(), "no operator");
        let users: BTreeSet<&NodeId> = self.users.iter().map(|u| &u.root).collect();
        check(
            users.len() == self.users.len() && users.iter().all(|root| roots.contains(root)),
            "a user that is no party, or stands twice",
        );
        check(
            self.operators.iter().all(|key| self.users.iter().any(|u| u.node == *key)),
            "an operator that is nobody's among the users",
        );
        check(
            self.recipients.iter().all(|key| self.users.iter().any(|u| u.seal == *key)),
            "a recipient that is nobody's among the users",
        );
        check(
            self.alignment.as_ref().is_none_or(AlignTerms::is_sound),
            "terms of alignment that allow nothing, or lists or changes of fewer than 3 keys, or repeats over no or too many days",
        );
        check(
            self.alignment
                .as_ref()
                .is_none_or(|a| a.recipients_with_columns.iter().all(|root| role(root, Role::Provider))),
            "a recipient with columns is not a provider",
        );
        check(
            self.privacy.is_none_or(|p| p.is_sound()),
            "a privacy budget that allows nothing, or more than epsilon 100 and delta 0.0001, or less than one job's",
        );
        check(
            self.exact.is_none_or(|e| e.is_sound()),
            "exact questions that differ by fewer than 2 rows, or more than 256",
        );
        check(self.cohort.rows >= COHORT_ROWS_MIN, "the floor is below 3 rows");
        check(self.cohort.contributors >= COHORT_CONTRIBUTORS_MIN, "the floor is below 2 contributors");
        check(self.quota.jobs > 0, "the quota is 0 jobs");
        check(self.valid_from < self.valid_until, "it ends before it begins");
        for grant in &self.datasets {
            check(!grant.columns.is_empty(), "a dataset without columns");
            check(grant.columns.iter().all(|c| c.name != "*"), "a wildcard column");
        }
        faults.extend(self.control.iter().flat_map(|control| control.faults(self)));
        faults.extend(self.lifecycle.iter().flat_map(|lifecycle| lifecycle.faults(self)));
        faults
    }

    /// Whose signatures are needed: every provider's, every dealer's and every demander's, and those of parties that are
    /// succeeded.
    pub fn signers(&self) -> impl Iterator<Item = &ContractParty> {
        let succeeded = self.lifecycle.iter().flat_map(|l| l.successions.iter().map(|s| &s.from));
        self.parties
            .iter()
            .chain(succeeded)
            .filter(|p| matches!(p.role, Role::Provider | Role::Dealer | Role::Demander))
    }

    /// Who uses what comes out: demanders, and every other party that may submit jobs or receive results.
    pub fn using(&self) -> impl Iterator<Item = &ContractParty> {
        let named = |p: &ContractParty| self.users.iter().any(|u| u.root == p.root);
        self.parties.iter().filter(move |p| p.role == Role::Demander || named(p))
    }

    /// When the last job may begin, exclusive: the end of the contract, or of the emergency that it rests on.
    pub fn ends(&self) -> UnixMillis {
        let emergency = self.control.as_ref().and_then(|c| c.emergency);
        emergency.map_or(self.valid_until, |e| e.until.min(self.valid_until))
    }

    /// The grant of an owner's dataset version.
    pub fn grant(&self, owner: &NodeId, dataset: &DatasetVersionId) -> Option<&DatasetGrant> {
        self.datasets.iter().find(|d| d.owner == *owner && d.dataset == *dataset)
    }
}

/// A contract with the signatures collected so far.
#[derive(Clone, Debug)]
pub struct SignedContract {
    body: Contract,
    id: ContractId,
    signatures: Vec<Statement<Contract>>,
    approvals: Vec<Statement<Approval>>,
}

impl SignedContract {
    /// A contract with no signature yet.
    pub fn draft(body: Contract) -> Self {
        let id = body.id();
        Self { body, id, signatures: Vec::new(), approvals: Vec::new() }
    }

    /// Collects signatures over one contract, and approvals of it, in any order; statements over other bytes or by
    /// strangers are refused.
    ///
    /// # Errors
    /// `refused.contract_incomplete` with the reason.
    pub fn collect<'a>(statements: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Fault> {
        let mut all: Option<Self> = None;
        let mut others = Vec::new();
        for bytes in statements {
            match Statement::<Contract>::verify(bytes) {
                Ok(statement) => {
                    let contract = all.get_or_insert_with(|| Self::draft(statement.body().clone()));
                    contract.add(statement)?;
                }
                Err(StatementError::Type) => others.push(bytes),
                Err(e) => {
                    return Err(Fault::new(Code::RefusedContractIncomplete, format!("a signature: {e}")));
                }
            }
        }
        let mut all = all.ok_or_else(|| Fault::new(Code::RefusedContractIncomplete, "no signature at all"))?;
        for bytes in others {
            let approval = Statement::<Approval>::verify(bytes)
                .map_err(|e| Fault::new(Code::RefusedContractIncomplete, format!("an approval: {e}")))?;
            all.add_approval(approval)?;
        }
        Ok(all)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// `refused.contract_incomplete` when it is over other bytes or by a key that need not sign.
    pub fn add(&mut self, statement: Statement<Contract>) -> Result<(), Fault> {
        if statement.body_hash().0 != self.id.0 {
            return Err(Fault::new(Code::RefusedContractIncomplete, "a signature over other bytes"));
        }
        if !self.body.signers().any(|p| p.root == statement.signer()) {
            return Err(Fault::new(
                Code::RefusedContractIncomplete,
                format!("{} is not a party that signs it", statement.signer().short()),
            ));
        }
        if !self.signatures.iter().any(|s| s.signer() == statement.signer()) {
            self.signatures.push(statement);
        }
        Ok(())
    }

    /// Adds an approval or a rejection. A rejection takes the place of what the same key said before, and stays.
    ///
    /// # Errors
    /// `refused.contract_incomplete` when it is of another contract, or by a key that has no say in that office.
    pub fn add_approval(&mut self, approval: Statement<Approval>) -> Result<(), Fault> {
        let no = |what: String| Err(Fault::new(Code::RefusedContractIncomplete, what));
        let (key, body) = (approval.signer(), approval.body());
        if body.contract != self.id {
            return no("an approval of other bytes".into());
        }
        let rule = self.body.control.as_ref().and_then(|c| c.approver(&key));
        if rule.is_none_or(|r| r.office != body.office) {
            return no(format!("{} has no say as {}", key.short(), body.office.word()));
        }
        match self.approvals.iter_mut().find(|known| known.signer() == key) {
            None => self.approvals.push(approval),
            Some(known) if approval.body().verdict == Verdict::Reject && known.body().verdict == Verdict::Approve => {
                *known = approval;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Approves or rejects, in the office in which the terms name the key.
    ///
    /// # Errors
    /// Those of [`SignedContract::add_approval`].
    pub fn approve(
        &mut self,
        key: &SigningKey,
        verdict: Verdict,
        reason: &str,
        at: UnixMillis,
    ) -> Result<Vec<u8>, Fault> {
        let rule = self.body.control.as_ref().and_then(|c| c.approver(&key.id()));
        let Some(office) = rule.map(|r| r.office) else {
            let what = format!("contract {} asks no approval of {}", self.body.name, key.id().short());
            return Err(Fault::new(Code::RefusedContractIncomplete, what));
        };
        let body = Approval { contract: self.id, office, verdict, reason: reason.to_owned() };
        let statement = Statement::sign(key, &self.id.to_string(), at, None, body);
        let bytes = statement.bytes().to_vec();
        self.add_approval(statement)?;
        Ok(bytes)
    }

    /// Signs as a party.
    ///
    /// # Errors
    /// Those of [`SignedContract::add`]; `args.invalid` when the terms are faulty.
    pub fn sign(&mut self, key: &SigningKey, at: UnixMillis) -> Result<Vec<u8>, Fault> {
        let faults = self.body.faults();
        if !faults.is_empty() {
            return Err(Fault::new(Code::ArgsInvalid, format!("contract {}: {}", self.body.name, faults.join("; "))));
        }
        let statement = Statement::sign(key, &self.id.to_string(), at, None, self.body.clone());
        let bytes = statement.bytes().to_vec();
        self.add(statement)?;
        Ok(bytes)
    }

    /// The terms.
    pub fn body(&self) -> &Contract {
        &self.body
    }

    /// The id.
    pub fn id(&self) -> ContractId {
        self.id
    }

    /// The signed statements.
    pub fn signatures(&self) -> &[Statement<Contract>] {
        &self.signatures
    }

    /// Approvals and rejections.
    pub fn approvals(&self) -> &[Statement<Approval>] {
        &self.approvals
    }

    /// Whether that key has rejected it.
    pub fn rejected_by(&self, key: &NodeId) -> bool {
        self.approvals.iter().any(|a| a.signer() == *key && a.body().verdict == Verdict::Reject)
    }

    /// Every statement with its signer: signatures, then approvals.
    pub fn statements(&self) -> impl Iterator<Item = (NodeId, &[u8])> {
        let signatures = self.signatures.iter().map(|s| (s.signer(), s.bytes()));
        signatures.chain(self.approvals.iter().map(|s| (s.signer(), s.bytes())))
    }

    /// Takes over what another copy of the same contract has beside this one's.
    ///
    /// # Errors
    /// Those of [`SignedContract::add`].
    pub fn merge(&mut self, other: &Self) -> Result<(), Fault> {
        other.signatures.iter().try_for_each(|s| self.add(s.clone()))?;
        other.approvals.iter().try_for_each(|s| self.add_approval(s.clone()))
    }

    /// Approvals that the terms ask for and that are not there, and vetoes, each in a few words.
    pub fn unapproved(&self) -> Vec<String> {
        let rules = self.body.control.iter().flat_map(|c| &c.approvals);
        let said = |keys: &[NodeId], verdict: Verdict| {
            self.approvals.iter().filter(|a| a.body().verdict == verdict && keys.contains(&a.signer())).count()
        };
        rules
            .filter_map(|rule| {
                let (yes, no) = (said(&rule.keys, Verdict::Approve), said(&rule.keys, Verdict::Reject));
                if rule.office == Office::Trustee && no > 0 {
                    return Some("a trustee has rejected it".to_owned());
                }
                let short = yes < usize::from(rule.need);
                short.then(|| format!("{yes} of {} approvals as {}", rule.need, rule.office.word()))
            })
            .collect()
    }

    /// Names of the parties whose signature is missing.
    pub fn missing(&self) -> Vec<&Name> {
        self.body.signers().filter(|p| !self.signatures.iter().any(|s| s.signer() == p.root)).map(|p| &p.name).collect()
    }

    /// Whether that key has signed.
    pub fn signed_by(&self, root: &NodeId) -> bool {
        self.signatures.iter().any(|s| s.signer() == *root)
    }
}
