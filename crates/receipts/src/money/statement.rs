//! The statements of money that stand in the log as leaves, beside the price plan.
//!
//! They name periods by leaves, so that everyone agrees which receipts belong to one, and other leaves by index and
//! hash.

use tacit_crypto::{cbor, sha256};
use tacit_types::{Code, ContractId, Fault, Hash, NodeId, Unit, UnixMillis};

pub use super::dispute::{About, Answer, Dispute, EVIDENCE_MAX, Outcome, Ruling};
use super::plan::{PAYEES_MAX, PRICES_MAX};
use super::rate::ChargeLine;
use crate::receipt::SeenCheckpoint;

/// The version of these statements that this code writes and reads.
pub const MONEY_VERSION: u32 = 1;
/// Sums of a period's close.
pub const SUMS_MAX: usize = 512;
/// Lines of a charge.
pub const CHARGE_LINES_MAX: usize = 3 * PRICES_MAX + 4;
/// Shares of a charge: the payees' and a commission.
pub const SHARES_MAX: usize = PAYEES_MAX + 1;
/// Corrections and rulings that a charge names as its causes.
pub const CAUSES_MAX: usize = 512;
/// Charges of a settlement.
pub const SETTLED_CHARGES_MAX: usize = 400;
/// Parties of a settlement.
pub const POSITIONS_MAX: usize = 256;
/// Payments of a settlement.
pub const TRANSFERS_MAX: usize = 256;
/// Coalitions of a valuation.
pub const COALITIONS_MAX: usize = 2048;
/// Bytes of the reason of a correction, a dispute, an answer or a ruling.
pub const REASON_BYTES_MAX: usize = 1024;
/// Bytes of a log's origin in a statement.
pub const ORIGIN_BYTES_MAX: usize = 256;
/// Bytes of the cosigned note of a checkpoint in a valuation.
pub const SEED_NOTE_BYTES_MAX: usize = 16 << 10;

/// A stretch of the log and of time, without its end.
///
/// ```cddl
/// Period = { 1: first_leaf, 2: end_leaf, 3: from, 4: until }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Period {
    /// The first leaf.
    #[n(1)]
    pub first: u64,
    /// The leaf after the last.
    #[n(2)]
    pub end: u64,
    /// When its receipts begin to be issued.
    #[n(3)]
    pub from: UnixMillis,
    /// When they no longer are.
    #[n(4)]
    pub until: UnixMillis,
}

impl Period {
    /// Whether a leaf lies in it.
    pub fn holds(&self, leaf: u64) -> bool {
        (self.first..self.end).contains(&leaf)
    }

    /// Whether another one follows at once.
    pub fn is_followed_by(&self, next: &Period) -> bool {
        self.end == next.first && self.until == next.from
    }

    /// Its leaves may be none: a month without use costs its subscription all the same.
    fn check(&self) -> Result<(), Fault> {
        if self.first <= self.end && self.from < self.until {
            return Ok(());
        }
        Err(Fault::new(Code::ReceiptPeriod, format!("leaves {} to {}: it ends before it begins", self.first, self.end)))
    }
}

/// Another leaf of the log: `{ 1: index, 2: RFC 6962 leaf hash }`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LeafRef {
    /// Its place.
    #[n(1)]
    pub index: u64,
    /// Its hash.
    #[n(2)]
    pub hash: Hash,
}

statement! {
    /// What one party counts for a period: signed by the party.
    ///
    /// ```cddl
    /// PeriodClose = { 1: version, 2: origin, 3: Period, ? 4: first_seq, ? 5: last_seq, 6: count,
    ///   7: [* { 1: contract, 2: unit, 3: quantity }], ? 8: disputed }
    /// ```
    PeriodClose = "period-close" {
        /// The period.
        #[n(3)]
        pub period: Period,
        /// The least number among the party's attestations in the leaves of the period; none without any.
        #[n(4)]
        pub first_seq: Option<u64>,
        /// The greatest.
        #[n(5)]
        pub last_seq: Option<u64>,
        /// How many they are.
        #[n(6)]
        pub count: u64,
        /// Every quantity of class A or B in the open on which its observers agree, in receipts of the period with a result
        /// that name the party: summed by contract and unit, ascending.
        #[n(7)]
        pub sums: Vec<UnitSum>,
        /// How many lines of these receipts are in no sum because their observers differ; left out when there are none.
        #[n(8)]
        pub disputed: Option<u64>,
    }
}

/// A sum of a period's close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct UnitSum {
    /// The contract.
    #[n(1)]
    pub contract: ContractId,
    /// The unit.
    #[n(2)]
    pub unit: Unit,
    /// The sum.
    #[n(3)]
    pub quantity: u64,
}

statement! {
    /// What a payer owes under one plan for one period: signed by the coordinator, and the same for whoever rates.
    ///
    /// The first charge of a period has nothing before it. A later one for the same period takes in what was corrected
    /// and ruled since, and is due with the difference alone.
    ///
    /// ```cddl
    /// Charge = { 1: version, 2: origin, 3: plan, 4: Period, 5: as_of, 6: [* ChargeLine], 7: total, 8: before, 9: due,
    ///   10: carried_in, 11: carried_out, 12: [* { 1: party, 2: fen }], 13: [* cause_leaf], ? 14: valuation_leaf,
    ///   ? 15: disputed }
    /// ChargeLine = { 1: item, ? 2: unit, 3: quantity, 4: fen }
    /// ```
    Charge = "charge" {
        /// The hash of the plan's body.
        #[n(3)]
        pub plan: Hash,
        /// The period.
        #[n(4)]
        pub period: Period,
        /// The size of the log that was looked at: attestations, corrections, disputes and rulings below it count.
        #[n(5)]
        pub as_of: u64,
        /// What the period costs.
        #[n(6)]
        pub lines: Vec<ChargeLine>,
        /// The lines' sum in fen.
        #[n(7)]
        pub total: u64,
        /// What earlier charges of this period were due with, in all.
        #[n(8)]
        pub before: u64,
        /// `total` less `before`.
        #[n(9)]
        pub due: i64,
        /// Permitted revenue that the period before left.
        #[n(10)]
        pub carried_in: u64,
        /// Permitted revenue that is left to the next.
        #[n(11)]
        pub carried_out: u64,
        /// What each party gets of what is due, ascending by party.
        #[n(12)]
        pub shares: Vec<Due>,
        /// The leaves of corrections and rulings that changed this charge, ascending.
        #[n(13)]
        pub causes: Vec<u64>,
        /// The leaf from which the valuation holds that the split used.
        #[n(14)]
        pub valuation: Option<u64>,
        /// How many lines of the period are not in it because their observers differ and nothing is ruled yet; left out when
        /// there are none.
        #[n(15)]
        pub disputed: Option<u64>,
    }
}

/// What a party gets, or gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Due {
    /// The party.
    #[n(1)]
    pub party: NodeId,
    /// Fen.
    #[n(2)]
    pub fen: i64,
}

statement! {
    /// Charges of one currency, netted: signed by the coordinator.
    ///
    /// ```cddl
    /// Settlement = { 1: version, 2: origin, 3: currency, 4: [+ LeafRef], 5: [* { 1: party, 2: fen }],
    ///   6: [* { 1: from, 2: to, 3: fen }] }
    /// ```
    Settlement = "settlement" {
        /// ISO 4217.
        #[n(3)]
        pub currency: String,
        /// The charges, ascending; each is settled once.
        #[n(4)]
        pub charges: Vec<LeafRef>,
        /// What each party gets in all, or gives when below zero; ascending by party. They add up to zero.
        #[n(5)]
        pub positions: Vec<Due>,
        /// The matrix: what one party pays another after both ways are set off. Ascending, without zeroes.
        #[n(6)]
        pub transfers: Vec<Transfer>,
    }
}

/// A payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Transfer {
    /// Who pays.
    #[n(1)]
    pub from: NodeId,
    /// To whom.
    #[n(2)]
    pub to: NodeId,
    /// Fen, above zero.
    #[n(3)]
    pub fen: u64,
}

statement! {
    /// Another quantity for a usage line, under one plan. The receipt stays as it is. In force once everyone who signed
    /// the plan has signed the same bytes, or its arbiter has.
    ///
    /// ```cddl
    /// Correction = { 1: version, 2: origin, 3: plan, 4: LeafRef, 5: line, 6: was, 7: quantity, 8: reason, ? 9: dispute }
    /// ```
    Correction = "correction" {
        /// The hash of the plan's body.
        #[n(3)]
        pub plan: Hash,
        /// The receipt.
        #[n(4)]
        pub original: LeafRef,
        /// The usage line's place in its record.
        #[n(5)]
        pub line: u32,
        /// What stood there until now, earlier corrections included.
        #[n(6)]
        pub was: u64,
        /// What holds instead.
        #[n(7)]
        pub quantity: u64,
        /// Why, in words.
        #[n(8)]
        pub reason: String,
        /// The leaf of the dispute that it answers.
        #[n(9)]
        pub dispute: Option<u64>,
    }
}

statement! {
    /// What coalitions of payees are worth in a period, for splits by worth. In force like a [`Correction`].
    ///
    /// ```cddl
    /// Valuation = { 1: version, 2: origin, 3: plan, 4: Period, ? 5: { 1: size, 2: root }, 6: [+ { 1: coalition, 2: value }],
    ///   ? 7: cosigned_note }
    /// ```
    Valuation = "valuation" {
        /// The hash of the plan's body.
        #[n(3)]
        pub plan: Hash,
        /// The period.
        #[n(4)]
        pub period: Period,
        /// The witnessed checkpoint from which orders of arrival are drawn; for sampling alone.
        #[n(5)]
        pub seed: Option<SeenCheckpoint>,
        /// Values by ascending coalition: exactly those that the split looks at.
        #[n(6)]
        pub values: Vec<CoalitionValue>,
        /// The checkpoint's note with its cosignatures, when there is a seed.
        #[n(7)]
        pub note: Option<minicbor::bytes::ByteVec>,
    }
}

/// What a coalition is worth, in a scale of the parties' own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CoalitionValue {
    /// Bit i is the plan's i-th payee.
    #[n(1)]
    pub coalition: u32,
    /// The value.
    #[n(2)]
    pub value: u64,
}

/// Whether a text is a currency's code.
pub(super) fn currency(text: &str) -> Result<(), &'static str> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(())
    } else {
        Err("a currency is three capital letters")
    }
}

/// What the checks below have in common: version, origin, and lists within their caps.
pub(super) fn common(code: Code, version: u32, origin: &str, lists: &[(&str, usize, usize)]) -> Result<(), Fault> {
    if version != MONEY_VERSION {
        return Err(Fault::new(code, format!("version {version} is not {MONEY_VERSION}")));
    }
    let lists = [&[("bytes of an origin", origin.len(), ORIGIN_BYTES_MAX)], lists].concat();
    match lists.iter().find(|(_, len, most)| len > most) {
        Some((what, len, most)) => Err(Fault::new(code, format!("{len} {what}; {most} are allowed"))),
        None => Ok(()),
    }
}

fn ascending<K: Ord>(code: Code, what: &str, mut keys: impl Iterator<Item = K>) -> Result<(), Fault> {
    if keys.try_fold(None, |last, key| if last.as_ref() < Some(&key) { Ok(Some(key)) } else { Err(()) }).is_err() {
        return Err(Fault::new(code, format!("{what} are not ascending, each once")));
    }
    Ok(())
}

/// A count of disputed lines is left out when there are none.
fn counted(code: Code, disputed: Option<u64>) -> Result<(), Fault> {
    match disputed {
        Some(0) => Err(Fault::new(code, "it counts no disputed line, and says so")),
        _ => Ok(()),
    }
}

impl PeriodClose {
    /// Checks the statement by itself.
    ///
    /// # Errors
    /// `receipt.period` or `receipt.period_close`.
    pub fn check(&self) -> Result<(), Fault> {
        let code = Code::ReceiptPeriodClose;
        common(code, self.version, &self.origin, &[("sums", self.sums.len(), SUMS_MAX)])?;
        counted(code, self.disputed)?;
        ascending(code, "sums", self.sums.iter().map(|s| (s.contract, s.unit)))?;
        self.period.check()
    }
}

impl Charge {
    /// Checks the statement by itself: the amounts add up.
    ///
    /// # Errors
    /// `receipt.period` or `receipt.charge`.
    pub fn check(&self) -> Result<(), Fault> {
        let code = Code::ReceiptCharge;
        let lists = [
            ("lines", self.lines.len(), CHARGE_LINES_MAX),
            ("shares", self.shares.len(), SHARES_MAX),
            ("causes", self.causes.len(), CAUSES_MAX),
        ];
        common(code, self.version, &self.origin, &lists)?;
        counted(code, self.disputed)?;
        ascending(code, "shares", self.shares.iter().map(|s| s.party))?;
        ascending(code, "causes", self.causes.iter())?;
        self.period.check()?;
        if self.as_of < self.period.end {
            return Err(Fault::new(Code::ReceiptPeriod, "it was charged before the period was over"));
        }
        let wide = |fen: &i64| i128::from(*fen);
        let sums = [
            ("the lines", self.lines.iter().map(|l| wide(&l.fen)).sum::<i128>(), i128::from(self.total)),
            ("the shares", self.shares.iter().map(|s| wide(&s.fen)).sum(), wide(&self.due)),
            ("total less before", i128::from(self.total) - i128::from(self.before), wide(&self.due)),
        ];
        match sums.iter().find(|(_, sum, stated)| sum != stated) {
            Some((what, sum, stated)) => Err(Fault::new(code, format!("{what} come to {sum} fen, not {stated}"))),
            None => Ok(()),
        }
    }
}

impl Settlement {
    /// Checks the statement by itself: positions and payments net to zero and agree.
    ///
    /// # Errors
    /// `receipt.settlement`.
    pub fn check(&self) -> Result<(), Fault> {
        let code = Code::ReceiptSettlement;
        let wrong = |what: String| Err(Fault::new(code, what));
        let lists = [
            ("charges", self.charges.len(), SETTLED_CHARGES_MAX),
            ("positions", self.positions.len(), POSITIONS_MAX),
            ("payments", self.transfers.len(), TRANSFERS_MAX),
        ];
        common(code, self.version, &self.origin, &lists)?;
        if let Err(what) = currency(&self.currency) {
            return wrong(what.into());
        }
        ascending(code, "charges", self.charges.iter().map(|c| c.index))?;
        ascending(code, "positions", self.positions.iter().map(|p| p.party))?;
        ascending(code, "payments", self.transfers.iter().map(|t| (t.from, t.to)))?;
        if self.charges.is_empty() {
            return wrong("it settles no charge".into());
        }
        let sum: i128 = self.positions.iter().map(|p| i128::from(p.fen)).sum();
        if sum != 0 {
            return wrong(format!("the positions come to {sum} fen, not to zero"));
        }
        for position in &self.positions {
            let flow = |t: &Transfer| {
                let fen = i128::from(t.fen);
                i128::from(t.to == position.party) * fen - i128::from(t.from == position.party) * fen
            };
            let flows: i128 = self.transfers.iter().map(flow).sum();
            if flows != i128::from(position.fen) {
                let who = position.party.short();
                return wrong(format!("{who} gets {flows} fen by the payments and {} by its position", position.fen));
            }
        }
        let known = |party: &NodeId| self.positions.binary_search_by_key(party, |p| p.party).is_ok();
        match self.transfers.iter().find(|t| t.fen == 0 || t.from == t.to || !known(&t.from) || !known(&t.to)) {
            Some(t) => wrong(format!("{} pays {} {} fen", t.from.short(), t.to.short(), t.fen)),
            None => Ok(()),
        }
    }
}

impl Correction {
    /// The hash of the body, which every signer signs.
    pub fn id(&self) -> Hash {
        sha256(&cbor::encode(self))
    }

    /// Checks the statement by itself.
    ///
    /// # Errors
    /// `receipt.correction`.
    pub fn check(&self) -> Result<(), Fault> {
        let code = Code::ReceiptCorrection;
        common(code, self.version, &self.origin, &[("bytes of a reason", self.reason.len(), REASON_BYTES_MAX)])?;
        if self.was == self.quantity {
            return Err(Fault::new(code, "it changes nothing"));
        }
        Ok(())
    }
}

impl Valuation {
    /// Checks the statement by itself.
    ///
    /// # Errors
    /// `receipt.period` or `receipt.plan`.
    pub fn check(&self) -> Result<(), Fault> {
        let code = Code::ReceiptPlan;
        let note = self.note.as_ref().map_or(0, |note| note.len());
        let lists = [
            ("coalitions", self.values.len(), COALITIONS_MAX),
            ("bytes of a checkpoint's note", note, SEED_NOTE_BYTES_MAX),
        ];
        common(code, self.version, &self.origin, &lists)?;
        ascending(code, "coalitions", self.values.iter().map(|v| v.coalition))?;
        if self.seed.is_some() != self.note.is_some() {
            return Err(Fault::new(code, "a seed comes with the note of its checkpoint"));
        }
        self.period.check()
    }
}
