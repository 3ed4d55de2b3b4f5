//! Disputes: that a use is not as its receipt has it, what the other side says, and how it ends.

use tacit_types::{Code, Fault, Hash};

use super::statement::{LeafRef, REASON_BYTES_MAX, common};

/// Hashes of evidence of a dispute, an answer or a ruling.
pub const EVIDENCE_MAX: usize = 64;

/// A line of a receipt on which its observers differ, under one plan. It is in dispute without a statement of anybody's;
/// an answer or a ruling on it names the receipt as its leaf, and this.
///
/// ```cddl
/// About = { 1: plan, 2: line }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct About {
    /// The hash of the plan's body.
    #[n(1)]
    pub plan: Hash,
    /// The usage line's place in its record.
    #[n(2)]
    pub line: u32,
}

statement! {
    /// A party of a plan says that a use is not as its receipt has it. Until a ruling it is on hold: not billed.
    ///
    /// ```cddl
    /// Dispute = { 1: version, 2: origin, 3: plan, 4: LeafRef, ? 5: line, 6: reason, 7: [* evidence_hash] }
    /// ```
    Dispute = "dispute" {
        /// The hash of the plan's body.
        #[n(3)]
        pub plan: Hash,
        /// The receipt.
        #[n(4)]
        pub original: LeafRef,
        /// The usage line's place in its record; none disputes all of them.
        #[n(5)]
        pub line: Option<u32>,
        /// Why, in words.
        #[n(6)]
        pub reason: String,
        /// SHA-256 of documents that the parties exchange.
        #[n(7)]
        pub evidence: Vec<Hash>,
    }
}

statement! {
    /// A party of the plan, or its arbiter, on a dispute that is open. It is for people: it changes no amount.
    ///
    /// ```cddl
    /// Answer = { 1: version, 2: origin, 3: LeafRef, 4: reason, 5: [* evidence_hash], ? 6: About }
    /// ```
    Answer = "dispute-answer" {
        /// The dispute, or a receipt.
        #[n(3)]
        pub dispute: LeafRef,
        /// What the party says, in words.
        #[n(4)]
        pub reason: String,
        /// SHA-256 of documents that the parties exchange.
        #[n(5)]
        pub evidence: Vec<Hash>,
        /// Of a receipt, which of its lines on which observers differ.
        #[n(6)]
        pub about: Option<About>,
    }
}

statement! {
    /// The end of a dispute. In force like a [`Correction`]; that a use stands, those who disputed it may say alone.
    ///
    /// ```cddl
    /// Ruling = { 1: version, 2: origin, 3: LeafRef, 4: outcome, 5: reason, 6: [* evidence_hash], ? 7: About }
    /// ```
    Ruling = "ruling" {
        /// The dispute, or a receipt.
        #[n(3)]
        pub dispute: LeafRef,
        /// What becomes of the use.
        #[n(4)]
        pub outcome: Outcome,
        /// Why, in words.
        #[n(5)]
        pub reason: String,
        /// SHA-256 of documents that it rests on.
        #[n(6)]
        pub evidence: Vec<Hash>,
        /// Of a receipt, which of its lines on which observers differ.
        #[n(7)]
        pub about: Option<About>,
    }
}

/// What becomes of a disputed use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// It is billed as the receipt and the corrections in force have it.
    #[n(0)]
    Stands,
    /// It is not billed.
    #[n(1)]
    Void,
}

/// What each of the three is checked for by itself.
macro_rules! argued {
    ($($name:ident),*) => {$(
        impl $name {
            /// Checks the statement by itself.
            ///
            /// # Errors
            /// `receipt.dispute`.
            pub fn check(&self) -> Result<(), Fault> {
                argued(self.version, &self.origin, &self.reason, &self.evidence)
            }
        }
    )*};
}

argued!(Dispute, Answer, Ruling);

fn argued(version: u32, origin: &str, reason: &str, evidence: &[Hash]) -> Result<(), Fault> {
    let lists =
        [("bytes of a reason", reason.len(), REASON_BYTES_MAX), ("hashes of evidence", evidence.len(), EVIDENCE_MAX)];
    common(Code::ReceiptDispute, version, origin, &lists)
}
