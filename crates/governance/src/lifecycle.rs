//! From the first signature on a contract to its end: which version follows which, who takes the place of whom, who has
//! revoked or suspended it, and in which state of the Dataspace Protocol it therefore is.

use std::collections::BTreeSet;

use tacit_crypto::Body;
use tacit_types::{Code, ContractId, Fault, JobId, NodeId, UnixMillis};

use crate::contract::{Contract, ContractParty, SignedContract};
use crate::orders::Order;

/// How a contract stands to others.
#[derive(Clone, PartialEq, Eq, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Lifecycle {
    /// The version that this one takes the place of, from its own beginning on. What was used of that one counts here too.
    #[n(1)]
    pub amends: Option<ContractId>,
    /// Parties of that version in whose place others stand here. Both sign.
    #[n(2)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub successions: Vec<Succession>,
    /// Days after the contract's end within which what it left behind is deleted; no such duty when absent.
    #[n(3)]
    pub deletion_days: Option<u32>,
}

/// A party in whose place another one stands (合并、分立、解散).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Succession {
    /// The party of the version before. It signs this one too.
    #[n(1)]
    pub from: ContractParty,
    /// The root key of the party of this version that takes over its rights and duties.
    #[n(2)]
    pub to: NodeId,
}

/// Versions that one contract may have had before.
pub const VERSIONS_MAX: usize = 64;
/// Days within which what a contract left behind is deleted, at most.
pub const DELETION_DAYS_MAX: u32 = 366;
/// Parties that are succeeded in one version.
pub const SUCCESSIONS_MAX: usize = 64;

impl Lifecycle {
    /// Everything that is wrong with it in a contract, each in one sentence.
    pub(crate) fn faults(&self, of: &Contract) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, text: &str| {
            if !ok {
                faults.push(text.to_owned());
            }
        };
        let party = |root: &NodeId| of.parties.iter().any(|p| p.root == *root);
        let from: BTreeSet<NodeId> = self.successions.iter().map(|s| s.from.root).collect();
        check(*self != Self::default(), "an empty lifecycle");
        check(self.successions.len() <= SUCCESSIONS_MAX, "more than 64 parties are succeeded");
        check(self.amends.is_some() || self.successions.is_empty(), "a party is succeeded and no version is amended");
        check(from.len() == self.successions.len(), "a party is succeeded twice");
        check(
            self.successions.iter().all(|s| party(&s.to) && !party(&s.from.root)),
            "who is succeeded is a party still, or who succeeds is none",
        );
        check(
            self.deletion_days.is_none_or(|days| (1..=DELETION_DAYS_MAX).contains(&days)),
            "deletion within 0 or more than 366 days",
        );
        faults
    }
}

/// The versions that a contract takes the place of, newest first, as far as they are known.
pub fn versions_before<'a>(contract: &'a SignedContract, known: &'a [SignedContract]) -> Vec<&'a SignedContract> {
    let mut before = Vec::new();
    let mut newest = contract;
    while before.len() < VERSIONS_MAX {
        let amends = newest.body().lifecycle.as_ref().and_then(|l| l.amends);
        let Some(older) = amends.and_then(|id| known.iter().find(|c| c.id() == id)) else { break };
        if !takes_place_of(newest, older) {
            break;
        }
        before.push(older);
        newest = older;
    }
    before
}

/// Whether a version may take the place of another: everyone who signed that one has signed this one, as a party or as one
/// that is succeeded. Nobody can end a contract by writing another.
fn takes_place_of(newer: &SignedContract, older: &SignedContract) -> bool {
    let named = newer.body().lifecycle.as_ref().and_then(|l| l.amends) == Some(older.id());
    named
        && newer.missing().is_empty()
        && older.body().signers().all(|p| newer.signed_by(&p.root))
        && newer.body().faults().is_empty()
}

/// The version in force that has taken the place of a contract.
pub fn replaced_by<'a>(
    contract: &SignedContract,
    known: &'a [SignedContract],
    now: UnixMillis,
) -> Option<&'a SignedContract> {
    known.iter().find(|newer| {
        now >= newer.body().valid_from && newer.unapproved().is_empty() && takes_place_of(newer, contract)
    })
}

/// Why a contract that all have signed is not to be used: revoked or suspended by one of those, or replaced.
///
/// # Errors
/// `refused.contract_revoked`, `refused.contract_suspended`, `refused.contract_replaced`.
pub fn standing(
    contract: &SignedContract,
    known: &[SignedContract],
    revoked: &[ContractId],
    orders: &[Order],
    now: UnixMillis,
) -> Result<(), Fault> {
    let id = contract.id();
    if revoked.contains(&id) {
        return Err(Fault::new(Code::RefusedContractRevoked, format!("contract {}", id.short())));
    }
    let mut suspended = None;
    for order in orders {
        let Order::Revocation(said) = order else { continue };
        let by = contract.body().signers().find(|p| p.root == said.signer());
        let (body, Some(by)) = (said.body(), by) else { continue };
        if body.contract != id {
            continue;
        }
        let what = |word: &str| format!("contract {}: {word} by {}: {}", id.short(), by.name, body.reason);
        match body.until {
            None => return Err(Fault::new(Code::RefusedContractRevoked, what("revoked"))),
            Some(until) if now < until => suspended = Some(format!("{}, until {until}", what("suspended"))),
            Some(_) => {}
        }
    }
    if let Some(what) = suspended {
        return Err(Fault::new(Code::RefusedContractSuspended, what));
    }
    match replaced_by(contract, known, now) {
        None => Ok(()),
        Some(newer) => {
            let what = format!("contract {}: {} stands in its place", id.short(), newer.id().short());
            Err(Fault::new(Code::RefusedContractReplaced, what))
        }
    }
}

/// What jobs of a contract leave at a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum LeftKind {
    /// Keys that an alignment found: without them an aligned version has no rows.
    #[n(0)]
    AlignedKeys,
    /// A cache of another owner's keys, in the form in which they can be searched alone.
    #[n(1)]
    Cache,
    /// Lists of an exchange that was interrupted.
    #[n(2)]
    Work,
}

impl LeftKind {
    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            LeftKind::AlignedKeys => "aligned_keys",
            LeftKind::Cache => "cache",
            LeftKind::Work => "work",
        }
    }
}

/// Something that was left at a node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Deleted {
    /// What it was.
    #[n(1)]
    pub kind: LeftKind,
    /// The job that left it.
    #[n(2)]
    pub job: JobId,
    /// The dataset versions that were made of it, or the series of a cache.
    #[n(3)]
    pub name: String,
}

/// A party's word, after the end of a contract, on what it left behind (刪除). What the node itself held it has deleted; the rest
/// is what the party says.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DeletionAttestation {
    /// The contract.
    #[n(1)]
    pub contract: ContractId,
    /// What the node has deleted.
    #[n(2)]
    pub deleted: Vec<Deleted>,
    /// What stays, for another contract in force rests on it.
    #[n(3)]
    pub stays: Vec<Deleted>,
    /// What the party says of what left the node: results, copies, models.
    #[n(4)]
    pub declared: Vec<String>,
}

impl Body for DeletionAttestation {
    const TYPE: &'static str = "deletion-attestation";
}

/// What a party declares of deletions, in so many texts.
pub const DECLARED_MAX: usize = 64;

/// The state of a contract, by the words of the Dataspace Protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// A demander has signed it, and no provider.
    Requested,
    /// Providers have signed it, and no demander.
    Offered,
    /// Both sides have signed, not all of them.
    Accepted,
    /// All have signed; approvals are missing.
    Agreed,
    /// All have approved; it has not begun.
    Verified,
    /// It is in force.
    Finalised,
    /// It has ended: by its time, by a revocation, or for a new version.
    Terminated,
}

impl Stage {
    /// The word used in JSON, as the protocol has it.
    pub const fn word(self) -> &'static str {
        match self {
            Stage::Requested => "requested",
            Stage::Offered => "offered",
            Stage::Accepted => "accepted",
            Stage::Agreed => "agreed",
            Stage::Verified => "verified",
            Stage::Finalised => "finalised",
            Stage::Terminated => "terminated",
        }
    }
}

/// In which state it is, by what is known here. A suspension leaves it as it was: it passes.
pub fn stage(contract: &SignedContract, standing: Result<(), &Fault>, now: UnixMillis) -> Stage {
    use crate::contract::Role;
    let ended = standing.is_err_and(|f| f.code != Code::RefusedContractSuspended) || now >= contract.body().ends();
    let signed = |demands: bool| {
        let side = contract.body().signers().filter(|p| (p.role == Role::Demander) == demands);
        side.filter(|p| contract.signed_by(&p.root)).count() > 0
    };
    match (contract.missing().is_empty(), signed(true), signed(false)) {
        _ if ended => Stage::Terminated,
        (true, _, _) if !contract.unapproved().is_empty() => Stage::Agreed,
        (true, _, _) if now < contract.body().valid_from => Stage::Verified,
        (true, _, _) => Stage::Finalised,
        (false, true, true) => Stage::Accepted,
        (false, false, true) => Stage::Offered,
        (false, _, false) => Stage::Requested,
    }
}
