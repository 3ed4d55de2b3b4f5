//! `count/v1`: how many rows of all providers satisfy a filter, or nothing when they are too few.
//! The smallest kind; `docs/ADDING_A_JOB.md` walks through it.

use serde::Deserialize;
use tacit_crypto::{Transcript, cbor};
use tacit_governance::{JobFacts, Use};
use tacit_protocol::{Abort, Audience, Disclosure, Party};
use tacit_secagg::verify::price::{Price, Priced, price};
use tacit_secagg::{Delivery, Round, Vector, Width};
use tacit_types::{Code, Columns, Fault, Hash, Lang, LocalQuery, NodeId, Predicate, Seat, Unit};

use crate::checked::{is_false, result_name};
use crate::difference::ROWS;
use crate::filter;
use crate::kind::{
    ColumnKinds, Estimate, Fold, JointContext, JointFuture, JointHalf, JointOutput, Kind, Material, Opened,
    OpenedVector, Parts, Plan, Table,
};
use crate::session;

/// The kind.
pub struct Count;

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CountParams {
    /// Rows to count.
    #[n(1)]
    pub filter: Option<Predicate>,
    /// Whether every node checks the sums.
    #[n(2)]
    #[cbor(default, skip_if = "is_false")]
    pub checked: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    filter: Option<String>,
    #[serde(default)]
    checked: bool,
}

/// The two rounds: counts for the nodes, and the release.
const ROUNDS: [Priced; 2] =
    [Priced { width: Width::W64, len: 2, blind: false }, Priced { width: Width::W128, len: 2, blind: true }];

impl Kind for Count {
    fn id(&self) -> &'static str {
        "count/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "the joint number of rows that satisfy a filter",
            Lang::Zh => "满足筛选条件的联合行数",
        }
    }

    fn template(&self) -> &'static str {
        "# Count only the rows that satisfy this.\n[params]\n# filter = \"age >= 18\"\n\
         # Every node checks the sums for itself, so that an aggregator cannot publish a wrong one.\n# checked = true\n"
    }

    fn params(&self, written: serde_json::Value, columns: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        let written: Written =
            serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))?;
        let filter = written.filter.map(|text| filter::parse(&text)).transpose()?;
        match filter.iter().flat_map(Predicate::columns).find(|c| !columns.contains_key(*c)) {
            Some(column) => {
                Err(Fault::new(Code::DataColumnUnknown, format!("`{column}` is not a column of every provider")))
            }
            None => Ok(cbor::encode(&CountParams { filter, checked: written.checked })),
        }
    }

    fn plan(&self, params: &[u8], _: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: CountParams = cbor::decode(params)
            .map_err(|e| Fault::new(Code::RefusedParameters, format!("the parameters of count/v1 are {e}")))?;
        if params.filter.as_ref().is_some_and(|f| !f.within_limits()) {
            return Err(Fault::new(Code::RefusedParameters, "filter: too large"));
        }
        Ok(Box::new(CountPlan { params }))
    }
}

struct CountPlan {
    params: CountParams,
}

/// The joint count and the number of contributors, opened to the nodes for the floor.
fn floor_disclosure() -> Disclosure {
    Disclosure { what: "counts".into(), to: Audience::Nodes, cells_max: 2 }
}

/// The result: a flag and the count.
fn result_disclosure(checked: bool) -> Disclosure {
    Disclosure { what: result_name(checked), to: Audience::Recipient, cells_max: 2 }
}

impl Plan for CountPlan {
    fn facts(&self, _: &NodeId) -> JobFacts {
        let columns = self.params.filter.iter().flat_map(Predicate::columns);
        JobFacts {
            uses: columns.map(|c| (c.to_owned(), Use::Filter)).collect(),
            providers_min: 3,
            rows_max: None,
            score: None,
            checked: Some(self.params.checked),
            privacy: None,
        }
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![floor_disclosure(), result_disclosure(self.params.checked)]
    }

    fn local_query(&self, _: &NodeId, view: &str) -> LocalQuery {
        LocalQuery { view: view.to_owned(), columns: Vec::new(), filter: self.params.filter.clone() }
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Ok(Box::new(CountFold { rows: 0, checked: self.params.checked }))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let checks = self.checks(parties).map_or(0, |price| price.member);
        Estimate { cells: 4, bytes_up: 48 + 2 * 180 * parties as u64 + checks, rounds: 11 }
    }

    fn checks(&self, parties: usize) -> Option<Price> {
        self.params.checked.then(|| price(parties, ROUNDS))
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        let opened = open(package)?;
        let invalid = || Fault::new(Code::ReceiptInvalid, "the opened result is not a count");
        let [flag, rows] = opened.cells.try_into().map_err(|_| invalid())?;
        let rows = match flag {
            0 => None,
            all if all == opened.survivors as u128 => Some(u64::try_from(rows).map_err(|_| invalid())?),
            _ => return Err(invalid()),
        };
        let suppressed = u64::from(rows.is_none());
        let json = serde_json::json!({"parties": opened.survivors, "rows": rows, "suppressed_cells": suppressed});
        let shown = rows.map_or_else(|| "suppressed".into(), |r| r.to_string());
        let table = Table { title: "count".into(), head: vec!["rows".into()], rows: vec![vec![shown]] };
        Ok(Opened { json, tables: vec![table] })
    }
}

struct CountFold {
    rows: u64,
    checked: bool,
}

impl Fold for CountFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        self.rows += batch.rows as u64;
        Ok(())
    }

    fn sets(&self) -> Option<Vec<String>> {
        Some(vec![ROWS.to_owned()])
    }

    fn members(&self, batch: &Columns, each: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
        (0..batch.rows).for_each(|row| each(0, row));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        Box::new(CountJoint { rows: self.rows, checked: self.checked })
    }
}

struct CountJoint {
    rows: u64,
    checked: bool,
}

impl JointHalf for CountJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(count(*self, party, context))
    }
}

/// The hash of a query. That of the release covers what the floor was checked on, so that parties who
/// were told different counts share no mask.
fn query(joint: &[u64], survivors: &[Seat]) -> Hash {
    let seats: Vec<u64> = survivors.iter().map(|s| u64::from(s.0)).collect();
    let list = |hash: Transcript, words: &[u64]| words.iter().fold(hash.u64(words.len() as u64), |h, w| h.u64(*w));
    list(list(Transcript::new("tacit-count/1/query"), joint), &seats).finish()
}

async fn count(half: CountJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    let CountJoint { rows, checked } = half;
    let mut epoch = session::begin(&mut party, &context, ROUNDS.len() as u16, checked).await?;
    let mine = Vector::W64(vec![rows, u64::from(rows > 0)]);
    let round = |index, query, input: &Vector, delivery| Round {
        index,
        query,
        model_root: None,
        width: input.width(),
        len: input.len(),
        delivery,
    };
    let counting = round(0, query(&[], &[]), &mine, Delivery::Nodes(floor_disclosure()));
    let counted = tacit_secagg::aggregate(&mut party, &mut epoch, &counting, &mine).await?;
    let floor = context.cohort;
    let Some(Vector::W64(joint)) = &counted.sum else {
        return Err(Abort::Local(Fault::new(Code::JobInternal, "the joint count was not opened")));
    };
    let passes = matches!(joint[..], [n, parties] if n >= floor.rows && parties >= u64::from(floor.contributors));
    let release = Vector::W128(if passes { vec![1, u128::from(rows)] } else { vec![0, 0] });
    let delivery = Delivery::Recipient { key: context.recipient, disclosure: result_disclosure(checked) };
    let outcome = tacit_secagg::aggregate(
        &mut party,
        &mut epoch,
        &round(1, query(joint, &counted.survivors), &release, delivery),
        &release,
    )
    .await?;
    let (out, suppressed) = (u64::from(passes), u64::from(!passes));
    let mut given = session::Given::default();
    [&mine, &release].into_iter().for_each(|vector| given.add(vector));
    let output = session::output(outcome, given, out, suppressed)?;
    let lost = || Abort::Local(Fault::new(Code::JobPeerLost, "a party was lost between counting and releasing"));
    if output.survivors != counted.survivors || !session::confirm(&mut party, &context, 0, &output).await? {
        return Err(lost());
    }
    given.meter(&mut party)?;
    party.meter(Unit::CellOut, out)?;
    party.meter(Unit::CellSuppressed, suppressed)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_bound_to_the_count_that_passed_the_floor() {
        let seats = [Seat(0), Seat(1), Seat(2)];
        let good = query(&[9, 3], &seats);
        assert_eq!(good, query(&[9, 3], &seats));
        for other in [query(&[3, 9], &seats), query(&[8, 3], &seats), query(&[9, 3], &seats[..2]), query(&[], &[])] {
            assert_ne!(good, other);
        }
    }
}
