//! Money: what the uses in a log cost, who gets it, and how everyone checks both.
//!
//! A [`PricePlan`] that payer and payees have signed rates the [`Usage`] of a [`Period`] into a [`Charge`]; charges
//! are netted into a [`Settlement`]; [`Correction`]s, [`Dispute`]s and [`Ruling`]s change what later charges are due
//! with, never what is in the log. Each is a leaf. [`Ledger`] follows a log and gives the one charge, close or
//! settlement that its leaves allow, so whoever issues one and whoever verifies it run the same code.
//!
//! Prices are in millionths of a currency unit, charges in fen, products in 128 bits and checked. A unit is rounded
//! once a plan and period, half even; divisions go by largest remainder, ties to the lesser party id. Only units of
//! class A or B are rated. No float, no clock, no order of a map.
//!
//! Rows for other tools come from [`export`]: JSON Lines, CSV, and the columns of FOCUS 1.2. Parquet is not here:
//! a crate that has arrow may write the same rows.

#[macro_use]
mod body;

pub mod amount;
pub mod columns;
pub mod dispute;
pub mod export;
pub mod ledger;
pub mod lines;
pub mod net;
pub mod plan;
pub mod rate;
pub mod share;
pub mod statement;

use tacit_crypto::{Body, cbor};
use tacit_types::{Code, Fault};

pub use ledger::Ledger;
pub use net::net;
pub use plan::{Ceiling, Commission, Counted, Price, PricePlan, Regime, Schedule, Split, Tier};
pub use rate::{ChargeLine, Item, Rated, Usage, rate};
pub use share::{Share, coalitions, share};
pub use statement::{
    About, Answer, Charge, CoalitionValue, Correction, Dispute, Due, LeafRef, Outcome, Period, PeriodClose, Ruling,
    Settlement, Transfer, UnitSum, Valuation,
};

/// A statement of money.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Money {
    /// What is owed under a contract.
    Plan(PricePlan),
    /// What a party counts for a period.
    Close(PeriodClose),
    /// What a payer owes for a period.
    Charge(Charge),
    /// Charges, netted.
    Settlement(Settlement),
    /// Another quantity for a usage line.
    Correction(Correction),
    /// A use that is not as its receipt has it.
    Dispute(Dispute),
    /// What someone says on a dispute.
    Answer(Answer),
    /// The end of a dispute.
    Ruling(Ruling),
    /// What coalitions are worth.
    Valuation(Valuation),
}

impl Money {
    /// The statement of a content type's word and its body; none for another type.
    ///
    /// # Errors
    /// `receipt.malformed` when the body is not canonical CBOR of the type.
    pub fn read(kind: &str, body: &[u8]) -> Result<Option<Self>, Fault> {
        let money = match kind {
            PricePlan::TYPE => Money::Plan(decode(body)?),
            PeriodClose::TYPE => Money::Close(decode(body)?),
            Charge::TYPE => Money::Charge(decode(body)?),
            Settlement::TYPE => Money::Settlement(decode(body)?),
            Correction::TYPE => Money::Correction(decode(body)?),
            Dispute::TYPE => Money::Dispute(decode(body)?),
            Answer::TYPE => Money::Answer(decode(body)?),
            Ruling::TYPE => Money::Ruling(decode(body)?),
            Valuation::TYPE => Money::Valuation(decode(body)?),
            _ => return Ok(None),
        };
        Ok(Some(money))
    }

    /// Checks the statement by itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Money::Plan(plan) => plan.check(),
            Money::Close(close) => close.check(),
            Money::Charge(charge) => charge.check(),
            Money::Settlement(settlement) => settlement.check(),
            Money::Correction(correction) => correction.check(),
            Money::Dispute(dispute) => dispute.check(),
            Money::Answer(answer) => answer.check(),
            Money::Ruling(ruling) => ruling.check(),
            Money::Valuation(valuation) => valuation.check(),
        }
    }

    /// The origin of the log that it is for; a plan is for any.
    pub fn origin(&self) -> Option<&str> {
        match self {
            Money::Plan(_) => None,
            Money::Close(body) => Some(&body.origin),
            Money::Charge(body) => Some(&body.origin),
            Money::Settlement(body) => Some(&body.origin),
            Money::Correction(body) => Some(&body.origin),
            Money::Dispute(body) => Some(&body.origin),
            Money::Answer(body) => Some(&body.origin),
            Money::Ruling(body) => Some(&body.origin),
            Money::Valuation(body) => Some(&body.origin),
        }
    }

    /// Whether it is the coordinator's to sign; the others are a party's.
    pub fn is_coordinators(&self) -> bool {
        matches!(self, Money::Charge(_) | Money::Settlement(_))
    }
}

fn decode<T: Body + for<'b> minicbor::Decode<'b, ()>>(body: &[u8]) -> Result<T, Fault> {
    cbor::decode(body).map_err(|e| Fault::new(Code::ReceiptMalformed, format!("a {} is {e}", T::TYPE)))
}
