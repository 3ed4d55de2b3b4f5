//! What a scoring job computes on shares: the plan, whose inputs are whose, and what comes out of a margin. Each kind
//! adds how the margin, or the bit of a decision, comes from its inputs.
//!
//! Everything here follows from the signed job, so all seats make the same plan; its hash is compared before anything
//! else is sent. Nothing of a margin is opened. Less than the score comes from comparisons, and every number goes to
//! the recipient as summands in a masked sum.

use std::collections::BTreeSet;
use std::sync::Arc;

use tacit_governance::Precision;
use tacit_mpc::plan::{AnyBits, Bits, Known, KnownBits, Num, Veiled};
use tacit_mpc::{Builder, Fx, Handed};
use tacit_types::{Code, Fault, NodeId};

use super::online::shares;
use super::params::{ScoreParams, Unknown};
use crate::kind::Parts;

/// What an input of the plan is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input<I> {
    /// Which rows an owner has.
    Rows,
    /// Numbers or bits of the kind.
    Own(I),
}

/// How whole numbers stand for margins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    /// Fraction bits.
    pub fraction_bits: u32,
    /// By how much margins are multiplied, so that what is rounded is whole.
    pub units: f64,
}

impl Scale {
    /// The units of a job's margins.
    pub fn units(params: &ScoreParams) -> f64 {
        10f64.powi(params.output.decimals.unwrap_or(0).into())
    }
}

/// What the recipient of a job on shares makes of the sums that it opens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sums {
    pub scale: Scale,
    /// Of the numbers of rows, and of what tells unknown ones apart.
    formats: [Option<Handed>; 2],
}

impl Sums {
    /// The numbers of so many rows and of what follows them. In verified mode they were found before, with their codes.
    ///
    /// # Errors
    /// `receipt.invalid` for a sum that is none of the job's.
    pub fn numbers(&self, rows: usize, sums: impl Iterator<Item = u64>) -> Result<Vec<u64>, Fault> {
        let number = |(i, sum)| self.formats.get(usize::from(i >= rows)).copied().flatten()?.number(sum);
        let wrong = || Fault::new(Code::ReceiptInvalid, "an opened number is none of this job's");
        sums.enumerate().map(|cell| number(cell).ok_or_else(wrong)).collect()
    }
}

/// A job on shares.
pub(super) struct Circuit<I> {
    pub plan: Arc<tacit_mpc::Plan>,
    /// Who computes, in the plan's order.
    pub parties: Vec<NodeId>,
    pub dealer: NodeId,
    /// What the inputs are, by number.
    pub inputs: Vec<Input<I>>,
    pub scale: Scale,
}

impl<I> Circuit<I> {
    /// What the recipient makes of opened sums.
    pub fn sums(&self) -> Sums {
        Sums { scale: self.scale, formats: [self.plan.handed(0), self.plan.handed(1)] }
    }

    /// Whether a party has a part in the job.
    pub fn has(&self, party: &NodeId) -> bool {
        self.parties.contains(party) || self.dealer == *party
    }
}

/// A format.
///
/// # Errors
/// `refused.overflow` for more bits than fit.
pub(super) fn fx(fraction: u32, bits: u32) -> Result<Fx, Fault> {
    let small = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    Fx::new(small(fraction), small(bits))
}

/// Bits before the point of numbers up to a positive bound, with the sign.
pub(super) fn bits_above(bound: f64) -> u32 {
    // why: a logarithm of a positive decimal is small, and too many bits are refused.
    (bound.log2().floor() + 2.0).max(1.0) as u32
}

/// Where an owner's features begin among all, and how many there are.
pub(super) fn features(params: &ScoreParams, owner: usize) -> (usize, usize) {
    let counts: Vec<usize> = params.owners.iter().map(|o| o.features.len()).collect();
    (counts.iter().take(owner).sum(), counts.get(owner).copied().unwrap_or(0))
}

/// A plan in the making.
pub(super) struct Draft<'a, I> {
    pub builder: Builder,
    pub params: &'a ScoreParams,
    inputs: Vec<Input<I>>,
    parties: Vec<NodeId>,
    dealer: NodeId,
}

impl<'a, I> Draft<'a, I> {
    /// Begins a plan of the owners of data and of one more, who has a model, with the job's dealer.
    ///
    /// # Errors
    /// `refused.parameters` without a dealer; `refused.parties` when one party is left alone.
    pub fn new(params: &'a ScoreParams, parts: &Parts<'_>, more: Option<NodeId>) -> Result<Self, Fault> {
        let missing = || Fault::new(Code::RefusedParameters, "a score on shares without a dealer");
        let dealer = parts.dealer.ok_or_else(missing)?;
        let parties: BTreeSet<NodeId> = params.owners.iter().map(|o| o.owner).chain(more).collect();
        let parties: Vec<NodeId> = parties.into_iter().collect();
        let mut builder = tacit_mpc::Plan::builder(parties.len(), params.rows)?;
        if let Some(audits) = params.verified {
            builder.verified(audits)?;
        }
        Ok(Self { builder, params, inputs: Vec::new(), parties, dealer })
    }

    fn party(&self, owner: &NodeId) -> usize {
        self.parties.iter().position(|p| p == owner).unwrap_or(usize::MAX)
    }

    /// Numbers of a party: a row of the list each, or so many rows that are there once.
    ///
    /// # Errors
    /// Those of [`Builder::input`].
    pub fn numbers(&mut self, owner: &NodeId, is: I, rows: Option<u32>, cols: u32, fx: Fx) -> Result<Known, Fault> {
        let party = self.party(owner);
        let known = match rows {
            Some(rows) => self.builder.input_once(party, rows, cols, fx)?,
            None => self.builder.input(party, cols, fx)?,
        };
        self.inputs.push(Input::Own(is));
        Ok(known)
    }

    /// As [`Draft::numbers`], opened under a mask.
    ///
    /// # Errors
    /// Those of [`Builder::input`].
    pub fn masked(&mut self, owner: &NodeId, is: I, rows: Option<u32>, cols: u32, fx: Fx) -> Result<Veiled, Fault> {
        let known = self.numbers(owner, is, rows, cols, fx)?;
        self.builder.mask(known)
    }

    /// As [`Draft::numbers`], as shares.
    ///
    /// # Errors
    /// Those of [`Builder::input`].
    pub fn shared(&mut self, owner: &NodeId, is: I, rows: Option<u32>, cols: u32, fx: Fx) -> Result<Num, Fault> {
        let known = self.numbers(owner, is, rows, cols, fx)?;
        self.builder.share(known)
    }

    /// Bits of a party, so many to a row.
    ///
    /// # Errors
    /// Those of [`Builder::input_bits`].
    pub fn bits(&mut self, owner: &NodeId, is: I, cols: u32) -> Result<KnownBits, Fault> {
        self.packed(owner, Input::Own(is), cols)
    }

    fn packed(&mut self, owner: &NodeId, is: Input<I>, cols: u32) -> Result<KnownBits, Fault> {
        let party = self.party(owner);
        let bits = self.builder.input_bits(party, cols)?;
        self.inputs.push(is);
        Ok(bits)
    }

    /// The conjunction of one or more parties' bits.
    ///
    /// # Errors
    /// Those of [`Builder::and`].
    pub fn all(&mut self, bits: &[KnownBits]) -> Result<Bits, Fault> {
        match bits {
            [one] => self.builder.share_bits(*one),
            several => self.builder.and(&several.iter().map(|b| AnyBits::Known(*b)).collect::<Vec<_>>()),
        }
    }

    /// Whether every owner has each row, as shared bits.
    fn known(&mut self) -> Result<Bits, Fault> {
        let params = self.params;
        let each = params.owners.iter().map(|o| self.packed(&o.owner, Input::Rows, 1));
        let each = each.collect::<Result<Vec<_>, Fault>>()?;
        self.all(&each)
    }

    /// As much of a margin as the job says.
    ///
    /// # Errors
    /// `refused.overflow` for a threshold or edge beyond the format.
    pub fn less(&mut self, margin: Num) -> Result<Num, Fault> {
        let output = &self.params.output;
        let edges: Vec<f64> = output.edges.iter().map(|e| e.to_f64()).collect();
        match output.precision {
            Precision::Score => Ok(margin),
            Precision::Rounded => {
                let half = self.builder.add_public(margin, &[0.5])?;
                self.builder.floor(half)
            }
            Precision::Band => self.builder.band(margin, &edges),
            Precision::Decision => {
                let threshold = edges.first().copied().unwrap_or(0.0);
                let bit = self.builder.at_least(margin, threshold)?;
                self.builder.to_ring(bit)
            }
        }
    }

    /// Gives the recipient a number a row: zero where a row is unknown and the job's rule wants it told, and then
    /// whether it is.
    ///
    /// # Errors
    /// Those of [`Builder::select`].
    pub fn hand(&mut self, value: Num) -> Result<(), Fault> {
        if self.params.unknown == Unknown::Default {
            return self.builder.hand(value).map(|_| ());
        }
        let known = self.known()?;
        let value = self.builder.select(known, value)?;
        self.builder.hand(value)?;
        let unknown = self.builder.not(known)?;
        let unknown = self.builder.to_ring(unknown)?;
        self.builder.hand(unknown).map(|_| ())
    }

    /// Gives the recipient a number a row, zero where a row is unknown, and does not tell that it is.
    ///
    /// # Errors
    /// Those of [`Builder::select`].
    pub fn hand_silently(&mut self, value: Num) -> Result<(), Fault> {
        let known = self.known()?;
        let value = self.builder.select(known, value)?;
        self.builder.hand(value).map(|_| ())
    }

    /// Ends the plan.
    ///
    /// # Errors
    /// Those of [`Builder::finish`].
    pub fn finish(self, scale: Scale) -> Result<Circuit<I>, Fault> {
        let plan = self.builder.finish()?;
        let plan = Arc::new(if self.params.online.is_some() { shares::cut(&plan, self.params.rows)? } else { plan });
        Ok(Circuit { plan, parties: self.parties, dealer: self.dealer, inputs: self.inputs, scale })
    }
}
