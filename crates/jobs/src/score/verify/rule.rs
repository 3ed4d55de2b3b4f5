//! A rule on shares: what asks the columns of one owner alone is that owner's bit, the rest joins bits.

use core::cmp::Ordering;
use std::sync::Arc;

use tacit_mpc::plan::{AnyBits, KnownBits};
use tacit_types::query::Compare;
use tacit_types::{Code, Columns, Fault, Literal, NodeId, Predicate, Values as Column};

use crate::decimal::Decimal;
use crate::kind::{Fold, Parts};
use crate::score::brings::{self, Brings, Reader};
use crate::score::circuit::{Circuit, Draft, Scale};
use crate::score::keys::Wanted;
use crate::score::params::{OwnerColumns, ScoreParams};
use crate::score::rows::Kept;
use crate::score::shared::{Values, not_ours, pack};

/// What an input is: the answer to a question of its owner, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::score) struct Input(u32);

/// A rule on shares.
#[derive(Clone)]
pub(super) struct Rule {
    pub circuit: Arc<Circuit<Input>>,
    /// What single owners answer.
    questions: Arc<Vec<Question>>,
}

/// A part of a rule that one owner answers.
struct Question {
    owner: NodeId,
    predicate: Predicate,
}

/// Bits of an owner or shared, and whether they stand for their complement.
struct Answer {
    bits: AnyBits,
    not: bool,
}

impl Rule {
    /// Plans a rule whose columns are those of the job's owners. With `silent` a row that is unknown is answered with no.
    ///
    /// # Errors
    /// `refused.parameters`; `refused.parties` with one party alone.
    pub fn new(score: &ScoreParams, rule: &Predicate, parts: &Parts<'_>, silent: bool) -> Result<Self, Fault> {
        let mut writing = Writing { draft: Draft::new(score, parts, None)?, questions: Vec::new() };
        let answer = writing.answer(rule)?;
        let Answer { bits, not } = answer;
        let Writing { mut draft, questions } = writing;
        let bits = match bits {
            AnyBits::Known(known) => draft.builder.share_bits(known)?,
            AnyBits::Shared(shared) => shared,
        };
        let bits = if not { draft.builder.not(bits)? } else { bits };
        let value = draft.builder.to_ring(bits)?;
        if silent {
            draft.hand_silently(value)?
        } else {
            draft.hand(value)?
        }
        let circuit = Arc::new(draft.finish(Scale { fraction_bits: 0, units: 1.0 })?);
        Ok(Self { circuit, questions: Arc::new(questions) })
    }

    /// The local half.
    ///
    /// # Errors
    /// `refused.parties`; those of the list of keys.
    pub fn fold(
        &self,
        score: &ScoreParams,
        me: &NodeId,
        columns: Option<&OwnerColumns>,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
    ) -> Result<Box<dyn Fold>, Fault> {
        brings::fold(score, &self.circuit, me, wanted, || {
            let own = self.questions.iter().enumerate().filter(|(_, q)| q.owner == *me);
            let own: Vec<(u32, Predicate)> = own.map(|(i, q)| (i as u32, q.predicate.clone())).collect();
            let required = columns.map(|c| required(c, &own)).unwrap_or_default();
            Ok(RuleParty { key: columns.map(|c| c.key.clone()), own, required })
        })
    }
}

/// The columns without a value in which a row is unusable: those that no question asks to be without one.
fn required(columns: &OwnerColumns, own: &[(u32, Predicate)]) -> Vec<String> {
    fn nullable<'a>(predicate: &'a Predicate, list: &mut Vec<&'a str>) {
        match predicate {
            Predicate::IsNull { column } => list.push(column),
            Predicate::And(all) | Predicate::Or(all) => all.iter().for_each(|p| nullable(p, list)),
            Predicate::Not(inner) => nullable(inner, list),
            Predicate::Compare { .. } | Predicate::In { .. } => {}
        }
    }
    let mut list = Vec::new();
    own.iter().for_each(|(_, p)| nullable(p, &mut list));
    columns.features.iter().filter(|f| !list.contains(&f.as_str())).cloned().collect()
}

/// The plan in the making.
struct Writing<'a> {
    draft: Draft<'a, Input>,
    questions: Vec<Question>,
}

impl Writing<'_> {
    /// The one owner of all columns of a part; nobody where there are several, or no column.
    fn owner(&self, predicate: &Predicate) -> Option<NodeId> {
        let names = predicate.columns();
        let whole = |o: &&OwnerColumns| names.iter().all(|n| o.features.iter().any(|f| f == n));
        (!names.is_empty()).then(|| self.draft.params.owners.iter().find(whole)).flatten().map(|o| o.owner)
    }

    fn ask(&mut self, owner: NodeId, predicate: Predicate) -> Result<KnownBits, Fault> {
        let input = Input(u32::try_from(self.questions.len()).unwrap_or(u32::MAX));
        let bits = self.draft.bits(&owner, input, 1)?;
        self.questions.push(Question { owner, predicate });
        Ok(bits)
    }

    /// The bits of a part.
    fn answer(&mut self, predicate: &Predicate) -> Result<Answer, Fault> {
        if let Some(owner) = self.owner(predicate) {
            let bits = AnyBits::Known(self.ask(owner, predicate.clone())?);
            return Ok(Answer { bits, not: false });
        }
        match predicate {
            Predicate::Not(inner) => {
                let Answer { bits, not } = self.answer(inner)?;
                Ok(Answer { bits, not: !not })
            }
            Predicate::And(list) => self.all(list, false),
            // One holds unless none does.
            Predicate::Or(list) => {
                let Answer { bits, not } = self.all(list, true)?;
                Ok(Answer { bits, not: !not })
            }
            _ => Err(Fault::new(Code::RefusedParameters, "rule: a column of nobody")),
        }
    }

    /// The conjunction of parts, or of their complements. What one owner can answer together is one bit of it.
    fn all(&mut self, list: &[Predicate], complements: bool) -> Result<Answer, Fault> {
        let mut own: Vec<(NodeId, Vec<Predicate>)> = Vec::new();
        let mut bits = Vec::new();
        for part in list {
            let Some(owner) = self.owner(part) else {
                let Answer { bits: of, not } = self.answer(part)?;
                bits.push(self.shown(of, not != complements)?);
                continue;
            };
            let part = if complements { Predicate::Not(Box::new(part.clone())) } else { part.clone() };
            match own.iter_mut().find(|(o, _)| *o == owner) {
                Some((_, parts)) => parts.push(part),
                None => own.push((owner, vec![part])),
            }
        }
        for (owner, mut parts) in own {
            let whole = if parts.len() == 1 { parts.pop() } else { Some(Predicate::And(parts)) };
            let whole = whole.ok_or_else(not_ours)?;
            bits.push(AnyBits::Known(self.ask(owner, whole)?));
        }
        let joined = match bits.as_slice() {
            [one] => *one,
            several => AnyBits::Shared(self.draft.builder.and(several)?),
        };
        Ok(Answer { bits: joined, not: false })
    }

    /// Bits, or their complement.
    fn shown(&mut self, bits: AnyBits, not: bool) -> Result<AnyBits, Fault> {
        if !not {
            return Ok(bits);
        }
        let shared = match bits {
            AnyBits::Known(known) => self.draft.builder.share_bits(known)?,
            AnyBits::Shared(shared) => shared,
        };
        self.draft.builder.not(shared).map(AnyBits::Shared)
    }
}

/// What a party brings: the answers to its questions; nothing at the dealer.
struct RuleParty {
    key: Option<String>,
    /// This owner's questions, with their numbers.
    own: Vec<(u32, Predicate)>,
    required: Vec<String>,
}

impl Brings for RuleParty {
    type Input = Input;
    type Cell = u8;

    fn kept(&self) -> Option<(&str, usize)> {
        self.key.as_deref().map(|key| (key, self.own.len()))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, u8>, Fault> {
        self.own.iter().try_for_each(|(_, predicate)| check(predicate, batch))?;
        let required: Vec<_> = self.required.iter().filter_map(|name| batch.get(name)).collect();
        Ok(Box::new(move |row, cells| {
            for (cell, (_, predicate)) in cells.iter_mut().zip(&self.own) {
                *cell = u8::from(holds(predicate, batch, row));
            }
            required.iter().all(|column| has_value(column, row))
        }))
    }

    fn absent(&self, _: usize) -> u8 {
        0
    }

    fn values(self: Arc<Self>, kept: Option<Kept<u8>>) -> Box<dyn Values<Input>> {
        Box::new(Answers { party: self, kept })
    }
}

/// Answers by row.
struct Answers {
    party: Arc<RuleParty>,
    kept: Option<Kept<u8>>,
}

impl Values<Input> for Answers {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        let place = self.party.own.iter().position(|(n, _)| *n == input.0).ok_or_else(not_ours)?;
        let kept = self.kept.as_ref().ok_or_else(not_ours)?;
        pack(out, row, usize::MAX, |r| kept.row(r).get(place).is_some_and(|bit| *bit == 1));
        Ok(())
    }
}

/// Whether a row has a value; a number that is none is not one.
fn has_value(column: &tacit_types::Column, row: usize) -> bool {
    let number = match &column.values {
        Column::Float(list) => list.get(row).is_some_and(|x| !x.is_nan()),
        Column::Int(_) | Column::Text(_) => true,
    };
    number && column.is_valid(row)
}

/// Checks that literals are of the kind of their columns: before rows, so that no failure tells of one.
fn check(predicate: &Predicate, batch: &Columns) -> Result<(), Fault> {
    let fits = |name: &str, literals: &[Literal]| {
        let column = batch.get(name).ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))?;
        let text = matches!(column.values, Column::Text(_));
        match literals.iter().all(|l| matches!(l, Literal::Text(_)) == text) {
            true => Ok(()),
            false => Err(Fault::new(Code::DataColumnType, format!("`{name}` is compared with another kind"))),
        }
    };
    match predicate {
        Predicate::Compare { column, value, .. } => fits(column, core::slice::from_ref(value)),
        Predicate::In { column, values } => fits(column, values),
        Predicate::IsNull { column } => fits(column, &[]).or_else(|fault| match batch.get(column) {
            Some(_) => Ok(()),
            None => Err(fault),
        }),
        Predicate::And(all) | Predicate::Or(all) => all.iter().try_for_each(|p| check(p, batch)),
        Predicate::Not(inner) => check(inner, batch),
    }
}

/// Whether a part holds for a row. Without a value no comparison holds.
fn holds(predicate: &Predicate, batch: &Columns, row: usize) -> bool {
    let column = |name: &str| batch.get(name).filter(|c| has_value(c, row));
    match predicate {
        Predicate::Compare { column: name, op, value } => {
            column(name).and_then(|c| order(&c.values, row, value)).is_some_and(|found| compares(*op, found))
        }
        Predicate::In { column: name, values } => {
            column(name).is_some_and(|c| values.iter().any(|v| order(&c.values, row, v) == Some(Ordering::Equal)))
        }
        Predicate::IsNull { column: name } => column(name).is_none(),
        Predicate::And(all) => all.iter().all(|p| holds(p, batch, row)),
        Predicate::Or(all) => all.iter().any(|p| holds(p, batch, row)),
        Predicate::Not(inner) => !holds(inner, batch, row),
    }
}

const fn compares(op: Compare, found: Ordering) -> bool {
    match op {
        Compare::Eq => found.is_eq(),
        Compare::Ne => found.is_ne(),
        Compare::Lt => found.is_lt(),
        Compare::Le => found.is_le(),
        Compare::Gt => found.is_gt(),
        Compare::Ge => found.is_ge(),
    }
}

/// How a value stands to a literal: exactly for whole numbers, as the nearest double for fractions.
fn order(values: &Column, row: usize, literal: &Literal) -> Option<Ordering> {
    let decimal = |literal: &Literal| match literal {
        Literal::Int(n) => Some(Decimal::whole(*n)),
        Literal::Decimal { units, scale } => Some(Decimal { units: *units, scale: *scale }),
        Literal::Text(_) => None,
    };
    match (values, literal) {
        (Column::Text(list), Literal::Text(text)) => list.get(row).map(|value| value.as_bytes().cmp(text.as_bytes())),
        (Column::Int(list), _) => Some(Decimal::whole(*list.get(row)?).cmp_value(decimal(literal)?)),
        (Column::Float(list), _) => list.get(row)?.partial_cmp(&decimal(literal)?.to_f64()),
        (Column::Text(_), _) => None,
    }
}
