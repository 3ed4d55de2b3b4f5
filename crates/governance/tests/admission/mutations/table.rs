//! What refuses a change of each place, and which changes ask for no more than was agreed.

use super::{Doc, Op};
use tacit_types::Code::{self, *};

/// A place of a body.
pub struct Row {
    /// Fields by number, places of lists as `[]`, or as `[0]` where the first is this owner's own.
    pub path: &'static str,
    /// The terms that it is part of; places of one term answer each other, as a job's and a contract's purpose do.
    pub term: &'static str,
    /// Codes that refuse its changes.
    pub codes: &'static [Code],
    /// The changes that may be admitted.
    pub free: fn(&Op) -> bool,
}

impl Row {
    /// Whether two places are part of one term.
    pub fn meets(&self, other: &Row) -> bool {
        self.term.split(", ").any(|a| other.term.split(", ").any(|b| a == b))
    }

    /// Whether its changes may be refused by this code. Bytes that are no body any more are refused before any rule.
    pub fn allows(&self, code: Code, doc: Doc) -> bool {
        let unreadable = if doc == Doc::Job { RefusedMalformed } else { RefusedContractUnknown };
        code == unreadable || self.codes.contains(&code)
    }
}

const fn row(path: &'static str, term: &'static str, codes: &'static [Code], free: fn(&Op) -> bool) -> Row {
    Row { path, term, codes, free }
}

fn never(_: &Op) -> bool {
    false
}

/// Says nothing about use, or another owner's node decides.
fn any(_: &Op) -> bool {
    true
}

fn higher(op: &Op) -> bool {
    matches!(op, Op::Raise(_))
}

fn lower(op: &Op) -> bool {
    matches!(op, Op::Lower(_))
}

/// The same once more.
fn twice(op: &Op) -> bool {
    matches!(op, Op::Repeat)
}

/// A term that is not there asks for nothing.
fn gone(op: &Op) -> bool {
    matches!(op, Op::Remove)
}

fn gone_or_empty(op: &Op) -> bool {
    matches!(op, Op::Remove | Op::Empty)
}

const RIGHTS: &[Code] = &[RefusedContractIncomplete, RefusedRightHold, RefusedRightProcess, RefusedRightOperate];
const APPROVALS: &[Code] = &[RefusedContractIncomplete, RefusedApproval];
const CONTROL: &[Code] =
    &[RefusedContractIncomplete, RefusedApproval, RefusedRightHold, RefusedRightProcess, RefusedRightOperate];

/// Of a job, under the contract that all have signed.
pub const JOB: &[Row] = &[
    row("1", "format", &[], never),
    row("2", "kind", &[RefusedKind], never),
    // What a kind's parameters ask for stands in the facts that the catalogue gives of them.
    row("3", "parameters", &[], any),
    row("4", "contract", &[], never),
    row("4[]", "contract", &[RefusedContractUnknown], twice),
    row("5", "parties", &[RefusedParties], never),
    row("5[]", "parties", &[RefusedParties], never),
    row("5[].1", "parties", &[RefusedParties], never),
    row("5[0].2", "dataset", &[RefusedDataset], never),
    row("5[].2", "others' dataset", &[RefusedRightHold], any),
    row("5[0].3", "view", &[RefusedDataset], never),
    row("5[].3", "others' view", &[], any),
    row("6", "purpose", &[RefusedPurpose], never),
    row("7", "recipient", &[RefusedRecipient], never),
    row("8", "floor", &[], never),
    row("8.1", "floor", &[RefusedCohort], higher),
    row("8.2", "floor", &[RefusedCohort], higher),
    row("9", "nonce", &[], any),
    row("10", "time", &[RefusedJobExpired], any),
    row("11", "time", &[RefusedJobExpired], any),
    row("12", "attempt", &[], any),
    // A kind that scores refuses to be planned without a model.
    row("13", "models", &[RefusedModel, RefusedParameters], gone),
    row("13[]", "models", &[RefusedModel, RefusedParameters], |op| gone(op) || twice(op)),
    row("13[].1", "models", &[RefusedModel, RefusedParties], never),
    row("13[].2", "models", &[RefusedModel], never),
    row("14", "dealer", &[RefusedParties, RefusedParameters], gone),
    row("15", "attachments", &[], any),
    row("15[]", "attachments", &[], any),
    row("15[].1", "attachments", &[], any),
    row("15[].2", "attachments", &[], any),
    row("15[].3", "attachments", &[], any),
    row("15[].4", "attachments", &[], any),
    row("16", "asker", &[RefusedParameters, RefusedParties], never),
];

/// Of a contract that all have signed again, under the job as it was.
pub const CONTRACT: &[Row] = &[
    row("1", "version", &[RefusedContractIncomplete], never),
    row("2", "name", &[], any),
    row("3", "parties", &[RefusedContractIncomplete], never),
    row("3[]", "parties, dealer", &[RefusedContractIncomplete, RefusedParties], never),
    row("3[].1", "names", &[], any),
    row("3[].2", "parties", &[RefusedContractIncomplete], never),
    row("3[].3", "parties, dealer", &[RefusedContractIncomplete, RefusedParties], never),
    row("4", "dataset", &[RefusedContractIncomplete], never),
    row("4[]", "dataset", &[RefusedContractIncomplete, RefusedDataset], twice),
    row("4[].1", "dataset", &[RefusedContractIncomplete], never),
    row("4[0].2", "dataset, control", &[RefusedDataset, RefusedContractIncomplete], never),
    row("4[].2", "others' dataset, control", &[RefusedContractIncomplete], any),
    row("4[0].3", "view", &[RefusedDataset], never),
    row("4[0].3[]", "view", &[RefusedDataset], twice),
    row("4[].3", "others' view", &[], any),
    row("4[].3[]", "others' view", &[], any),
    row("4[0].4", "columns", &[RefusedContractIncomplete], never),
    row("4[0].4[]", "columns", &[RefusedColumn], twice),
    row("4[0].4[].1", "columns", &[RefusedColumn, RefusedContractIncomplete], never),
    row("4[0].4[].2", "levels", &[RefusedLevel], never),
    row("4[0].4[].2[]", "levels", &[RefusedLevel], twice),
    row("4[].4", "others' columns", &[RefusedContractIncomplete], any),
    row("4[].4[]", "others' columns", &[], any),
    row("4[].4[].1", "others' columns", &[RefusedContractIncomplete], any),
    row("4[].4[].2", "others' levels", &[], any),
    row("4[].4[].2[]", "others' levels", &[], any),
    row("5", "kind", &[RefusedContractIncomplete], never),
    row("5[]", "kind", &[RefusedContractIncomplete, RefusedKind], twice),
    row("6", "purpose", &[RefusedContractIncomplete, RefusedPurpose, RefusedPersonal], never),
    row("7", "recipient", &[RefusedContractIncomplete], never),
    row("7[]", "recipient, users", &[RefusedContractIncomplete, RefusedRecipient], twice),
    row("8", "operator", &[RefusedContractIncomplete], never),
    row("8[]", "operator, users", &[RefusedContractIncomplete, RefusedOperator], twice),
    row("9", "floor", &[], never),
    row("9.1", "floor", &[RefusedContractIncomplete, RefusedCohort], lower),
    row("9.2", "floor", &[RefusedContractIncomplete, RefusedCohort], lower),
    row("10", "quota", &[], never),
    row("10.1", "quota", &[RefusedContractIncomplete, RefusedQuota], higher),
    row("11", "validity", &[RefusedContractIncomplete, RefusedContractExpired], any),
    row("12", "validity", &[RefusedContractIncomplete, RefusedContractExpired], any),
    row("13", "users", &[RefusedContractIncomplete], never),
    row("13[]", "users, parties", &[RefusedContractIncomplete], never),
    row("13[].1", "users, parties", &[RefusedContractIncomplete], never),
    row("13[].2", "users, operator", &[RefusedContractIncomplete], never),
    row("13[].3", "users, recipient", &[RefusedContractIncomplete], never),
    row("20", "models, scoring", &[RefusedContractIncomplete, RefusedModel], never),
    row("20[]", "models, scoring", &[RefusedContractIncomplete, RefusedModel], twice),
    row("20[].1", "models, scoring", &[RefusedContractIncomplete, RefusedModel], never),
    row("20[].2", "models, scoring", &[RefusedModel], never),
    row("21", "scoring", &[RefusedContractIncomplete, RefusedPrecision], |op| matches!(op, Op::Graft(_))),
    row("21.1", "scoring", &[RefusedContractIncomplete, RefusedQuota], higher),
    row("21.2", "scoring", &[RefusedContractIncomplete, RefusedQuota], |op| *op == Op::Raise(101)),
    row("21.3", "scoring, digits", &[RefusedContractIncomplete, RefusedPrecision], higher),
    row("21.4", "online", &[RefusedOnline], never),
    row("21.4.1", "online", &[RefusedContractIncomplete, RefusedOnline], higher),
    row("21.4.2", "online", &[RefusedContractIncomplete, RefusedOnline], higher),
    row("21.5", "verified", &[RefusedUnverified], any),
    row("21.7", "scoring, digits", &[RefusedContractIncomplete, RefusedPrecision], |op| higher(op) || gone(op)),
    row("21.8", "unknown", &[RefusedPrecision], gone),
    // How many different keys are asked about is counted where the keys are opened, not here.
    row("21.6", "distinct, scoring", &[RefusedContractIncomplete], any),
    row("21.6.1", "distinct, scoring", &[RefusedContractIncomplete], any),
    row("21.6.2", "distinct, scoring", &[RefusedContractIncomplete], any),
    row("22", "alignment", &[RefusedContractIncomplete, RefusedAlignment], |op| matches!(op, Op::Graft(_))),
    row("22.1", "alignment", &[RefusedContractIncomplete], never),
    row("22.1[]", "alignment", &[RefusedContractIncomplete, RefusedAlignment], never),
    row("22.2", "alignment", &[RefusedContractIncomplete, RefusedAlignment], never),
    row("22.2[]", "alignment", &[RefusedContractIncomplete, RefusedAlignment], twice),
    row("22.3", "alignment", &[RefusedContractIncomplete, RefusedAlignment], lower),
    row("22.4", "alignment", &[RefusedAlignment], any),
    row("22.5", "alignment", &[RefusedContractIncomplete, RefusedAlignment], higher),
    // How often lists come together is counted where they are offered.
    row("22.6", "alignment", &[RefusedContractIncomplete], any),
    row("22.6.1", "alignment", &[RefusedContractIncomplete], any),
    row("22.6.2", "alignment", &[RefusedContractIncomplete], any),
    row("22.6.3", "alignment", &[RefusedContractIncomplete], any),
    row("22.6.4", "alignment", &[RefusedContractIncomplete], any),
    row("22.7", "alignment", &[RefusedContractIncomplete, RefusedAlignment], never),
    row("22.7.1", "alignment", &[RefusedContractIncomplete, RefusedAlignment], higher),
    // How much is searched in some days is counted where it is answered.
    row("22.7.2", "alignment", &[RefusedContractIncomplete], any),
    row("22.7.3", "alignment", &[RefusedContractIncomplete], any),
    row("22.7.4", "alignment", &[RefusedContractIncomplete, RefusedAlignment], higher),
    // What a receipt shows of lists and matches is decided where they are metered.
    row("22.8", "alignment", &[RefusedContractIncomplete], any),
    row("22.9", "alignment", &[RefusedContractIncomplete], any),
    // Who may be the recipient of sums with columns of its own is asked of jobs on shares alone.
    row("22.10", "alignment", &[RefusedContractIncomplete], any),
    row("22.10[]", "alignment", &[RefusedContractIncomplete], any),
    row("23", "checked", &[RefusedUnchecked], any),
    row("24", "privacy", &[RefusedContractIncomplete, RefusedBudget, RefusedUnprivate], never),
    row("24.1", "privacy", &[RefusedContractIncomplete], never),
    row("24.1.1", "privacy", &[RefusedContractIncomplete, RefusedBudget], higher),
    row("24.1.2", "privacy", &[RefusedContractIncomplete, RefusedBudget], higher),
    row("24.2", "privacy", &[RefusedContractIncomplete, RefusedBudget], higher),
    row("24.3", "privacy", &[RefusedUnprivate], any),
    // By how many rows questions differ is seen where the rows are read.
    row("25", "exact", &[RefusedContractIncomplete], any),
    row("25.1", "exact", &[RefusedContractIncomplete], any),
    row("30", "price", &[RefusedPriceUnsigned], gone),
    // Whoever agreed to no terms of control did not agree to less: what the owner says of its data still holds.
    row("40", "control", CONTROL, |op| matches!(op, Op::Graft(_))),
    row("40.1", "control", RIGHTS, never),
    row("40.1[]", "control", RIGHTS, never),
    row("40.1[].1", "control", RIGHTS, never),
    row("40.1[].2", "control", RIGHTS, never),
    // Any party may process.
    row("40.1[].3", "control", RIGHTS, never),
    row("40.1[].4", "documents", &[], any),
    row("40.1[].5", "control", RIGHTS, higher),
    row("40.2", "control", &[RefusedContractIncomplete], never),
    row("40.2[]", "control", &[RefusedContractIncomplete], never),
    row("40.3", "venue", &[], gone),
    row("40.3.1", "venue", &[RefusedContractIncomplete], |op| !matches!(op, Op::Empty)),
    row("40.3.2", "venue", &[RefusedContractIncomplete], |op| !matches!(op, Op::Empty)),
    row("40.3.3", "venue", &[], any),
    row("40.4", "regions", &[RefusedRegion], never),
    // This owner's own place is the one that it says of its data.
    row("40.4[]", "regions", &[RefusedRegion, RefusedContractIncomplete], gone),
    row("40.4[].1", "regions", &[RefusedRegion, RefusedContractIncomplete], never),
    row("40.4[].2", "regions", &[RefusedRegion, RefusedContractIncomplete], any),
    row("40.5", "regions", &[RefusedRegion], never),
    row("40.5.1", "documents", &[RefusedContractIncomplete], |op| !matches!(op, Op::Empty)),
    row("40.5.2", "documents", &[], any),
    row("40.5.3", "regions", &[RefusedContractIncomplete], never),
    row("40.5.3[]", "regions", &[RefusedContractIncomplete, RefusedRegion], twice),
    row("40.5.4", "regions", &[RefusedRegion], higher),
    row("40.6", "approvals", &[RefusedApproval], never),
    row("40.6[0]", "approvals", APPROVALS, never),
    row("40.6[]", "approvals", APPROVALS, gone),
    row("40.6[0].1", "approvals", APPROVALS, never),
    // Approved in the other office as well.
    row("40.6[].1", "approvals", APPROVALS, Op::is_leaf),
    row("40.6[0].2", "approvals", APPROVALS, never),
    row("40.6[].2", "approvals", APPROVALS, gone),
    row("40.6[].3", "approvals", APPROVALS, never),
    // The second trustee's key: one of the two is enough.
    row("40.6[2].3[]", "approvals", APPROVALS, |op| matches!(op, Op::Remove | Op::Flip)),
    row("40.6[].3[]", "approvals", APPROVALS, never),
    row("40.6[].4", "approvals", APPROVALS, never),
    row("40.7", "validity", &[], gone),
    row("40.7.1", "documents", &[], any),
    row("40.7.2", "validity", &[RefusedContractIncomplete, RefusedContractExpired], any),
    row("40.8", "delegation", &[RefusedContractIncomplete], never),
    row("40.9", "liability", &[], gone_or_empty),
    row("40.9[]", "liability", &[RefusedContractIncomplete], never),
    row("40.9[].1", "liability", &[RefusedContractIncomplete], never),
    row("40.9[].2", "documents", &[], any),
    row("40.10", "documents", &[], any),
    row("40.11", "review", &[], gone),
    row("40.11.1", "review", &[RefusedContractIncomplete, RefusedReview], never),
    row("40.11.1[]", "review", &[RefusedContractIncomplete, RefusedReview], |op| matches!(op, Op::Remove | Op::Flip)),
    row("40.11.2", "review", &[RefusedContractIncomplete, RefusedReview], never),
    // What is run again no more asks for less.
    row("40.11.3", "review", &[RefusedReview], any),
    row("40.12", "risk", &[], gone),
    row("40.12.1", "risk", &[RefusedContractIncomplete, RefusedRisk], never),
    row("40.12.1[]", "risk", &[RefusedContractIncomplete, RefusedRisk], never),
    row("40.12.2", "risk", &[RefusedContractIncomplete, RefusedRisk], higher),
    row("40.13", "scene", &[RefusedContractIncomplete], any),
    // Which version it follows says what was used before: that is counted where the uses are kept.
    row("80", "lifecycle", &[RefusedContractIncomplete], any),
    row("80.1", "lifecycle", &[RefusedContractIncomplete], any),
    row("80.2", "lifecycle", &[RefusedContractIncomplete], any),
    row("80.2[]", "lifecycle", &[RefusedContractIncomplete], gone),
    row("80.2[].1", "lifecycle", &[RefusedContractIncomplete], never),
    row("80.2[].1.1", "names", &[], any),
    row("80.2[].1.2", "lifecycle", &[RefusedContractIncomplete], never),
    // One that need not sign in that role has signed all the same.
    row("80.2[].1.3", "lifecycle", &[RefusedContractIncomplete], any),
    row("80.2[].2", "lifecycle", &[RefusedContractIncomplete], never),
    row("80.3", "lifecycle", &[RefusedContractIncomplete], any),
];
