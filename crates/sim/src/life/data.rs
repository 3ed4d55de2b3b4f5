//! The owners' rows, and what a result over them must be.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tacit_governance::dataset::ColumnKind;
use tacit_jobs::{Fold, Opened, Plan};
use tacit_models::{Kind, Model};
use tacit_types::{Code, Column, Columns, Fault, Seat, Values};

use super::cast::{COHORT, Cast};
use super::score;
use crate::dice::Dice;
use crate::run::{Check, broken, holds};

/// The groups that a job asks for; rows of others are in none of them.
const GROUPS: [&str; 2] = ["a", "b"];

/// What is asked and of which rows.
pub struct Data {
    pub kind: &'static str,
    pub params: Vec<u8>,
    /// Whether the model is a private one, and the last owner deals.
    pub private: bool,
    /// Each owner's rows.
    rows: Vec<Vec<(i64, &'static str)>>,
    cast: &'static Cast,
}

impl Data {
    /// Draws a question and rows. `variant` changes every amount and nothing that is public.
    pub fn draw(d: &mut Dice, owners: usize, variant: i64) -> Self {
        let (kind, private) = *d.pick(&[
            ("stats/v1", false),
            ("stats/v1", false),
            ("count/v1", false),
            ("score-linear/v1", false),
            ("score-linear/v1", true),
            (super::dealt::KINDS[0], true),
            (super::dealt::KINDS[1], true),
            (super::dealt::KINDS[2], true),
        ]);
        let cast = super::cast::cast(owners);
        let mut written = json!({});
        if kind == "stats/v1" {
            written = json!({"measures": [{"column": "amount", "statistics": ["count", "sum", "mean"]}]});
            if d.chance(600) {
                written["group_by"] = json!({"column": "grp", "values": GROUPS});
            }
        }
        if ["stats/v1", "count/v1"].contains(&kind) && d.chance(400) {
            written["checked"] = json!(true);
        }
        let columns = BTreeMap::from([("amount".to_owned(), ColumnKind::Int), ("grp".to_owned(), ColumnKind::Text)]);
        let params = match kind {
            _ if private => score::private_params(cast, kind),
            "score-linear/v1" => score::params(cast),
            _ => tacit_jobs::kind(kind).and_then(|k| k.params(written, &columns)).expect("why: sound parameters"),
        };
        let rows = (0..owners)
            .map(|owner| {
                // Row counts in digits of their own, where rows are all that is counted.
                let n = if kind == "count/v1" { d.below(4) << (2 * owner) } else { *d.pick(&[0, 1, 2, 3, 5, 6]) };
                (0..n).map(|_| row(d, owner, variant)).collect()
            })
            .collect();
        Self { kind, params, private, rows, cast }
    }

    /// An owner's local half.
    pub fn fold(
        &self,
        plan: &dyn Plan,
        owner: usize,
        fails: bool,
        twice: bool,
    ) -> Result<Box<dyn tacit_jobs::JointHalf>, Fault> {
        if fails {
            return Err(Fault::new(Code::DataFileMalformed, "the owner's file cannot be read"));
        }
        let root = self.cast.owners[owner].root.id();
        let mut fold: Box<dyn Fold> = plan.fold(&root, score::material(self.cast, owner, self.private, self.kind))?;
        let rows = &self.rows[owner];
        // In two batches, as a file would come.
        let (head, tail) = rows.split_at(rows.len() / 2);
        let batches = [(0, head), (head.len(), tail)];
        for (first, batch) in batches.into_iter().chain(twice.then_some((head.len(), tail))) {
            fold.take(&columns(first, batch, owner, &self.cast.owners[owner].own_column))?;
        }
        Ok(fold.finish())
    }

    /// Checks an opened result against the rows of the survivors.
    pub fn the_output_equals_the_plaintext_oracle(&self, opened: &Opened, survivors: &[Seat]) -> Check {
        let wrong = |what: String| broken("the_output_equals_the_plaintext_oracle", what);
        // The dealer has a seat and brings nothing.
        if opened.json["parties"] != json!(survivors.len() - usize::from(self.private)) {
            return wrong(format!("{} parties of {}", opened.json["parties"], survivors.len()));
        }
        if self.private {
            let digit =
                |owner: usize, row: usize| self.rows[owner].get(row).map(|(amount, _)| (amount >> (7 * owner)) as f64);
            return match self.kind {
                "score-linear/v1" => score::the_scores_are_those_of_the_private_model(opened, self.rows.len(), digit),
                kind => super::dealt::the_output_is_that_of_the_whole_table(self.cast, kind, opened, digit),
            };
        }
        if self.kind == "score-linear/v1" {
            return score::the_scores_are_those_of_the_whole_model(opened, survivors, |owner, row| {
                let part = Model::decode(&self.cast.owners[owner].model.2).ok()?;
                let (amount, _) = *self.rows[owner].get(row)?;
                let Kind::Additive(additive) = part.kind() else { return None };
                additive.margin(|_| amount as f64).ok()
            });
        }
        if self.kind == "count/v1" {
            let (rows, owners) = self.count(survivors, |_| true);
            return check_cell(&opened.json["rows"], rows, owners, rows as i64, true);
        }
        for entry in opened.json["rows"].as_array().into_iter().flatten() {
            let (rows, owners) = self.count(survivors, |g| in_group(g, &entry["group"]));
            check_cell(&entry["rows"], rows, owners, rows as i64, entry["group"] == "all")?;
        }
        for entry in opened.json["measures"][0]["groups"].as_array().into_iter().flatten() {
            let (rows, owners) = self.count(survivors, |g| in_group(g, &entry["group"]));
            let all = entry["group"] == "all";
            check_cell(&entry["count"], rows, owners, rows as i64, all)?;
            check_cell(&entry["sum"], rows, owners, self.sum(survivors, &entry["group"]), all)?;
        }
        let cells = opened.json["rows"].as_array().map_or(0, Vec::len);
        holds(cells == 1 || cells == 2 + GROUPS.len(), "the_output_equals_the_plaintext_oracle", || {
            format!("{cells} cells")
        })
    }

    fn of<'a>(&'a self, survivors: &'a [Seat]) -> impl Iterator<Item = &'a Vec<(i64, &'static str)>> {
        survivors.iter().map(|s| &self.rows[s.index()])
    }

    /// Rows in a group and owners with at least one.
    fn count(&self, survivors: &[Seat], listed: impl Fn(&str) -> bool) -> (u64, u64) {
        let counts = self.of(survivors).map(|rows| rows.iter().filter(|(_, g)| listed(g)).count() as u64);
        counts.fold((0, 0), |(rows, owners), n| (rows + n, owners + u64::from(n > 0)))
    }

    fn sum(&self, survivors: &[Seat], group: &Value) -> i64 {
        self.of(survivors).flatten().filter(|(_, g)| in_group(g, group)).map(|(x, _)| x).sum()
    }
}

/// Amounts of each owner in digits of their own, so that a sum tells whose rows are in it how often.
fn row(d: &mut Dice, owner: usize, variant: i64) -> (i64, &'static str) {
    let group = *d.pick(&["a", "a", "b", "c"]);
    let digit = 1 + d.below(3) as i64;
    (((digit + variant) % 7 + 1) << (7 * owner), group)
}

fn columns(first: usize, rows: &[(i64, &'static str)], owner: usize, own: &str) -> Columns {
    let amounts = Values::Int(rows.iter().map(|r| r.0).collect());
    let groups = Values::Text(rows.iter().map(|r| r.1.to_owned()).collect());
    let ids = Values::Text((first..first + rows.len()).map(score::key).collect());
    let digits = Values::Int(rows.iter().map(|r| r.0 >> (7 * owner)).collect());
    let column = |name: &str, values| Column { name: name.into(), values, valid: None };
    let columns = vec![column("amount", amounts), column("grp", groups), column("id", ids), column(own, digits)];
    Columns { rows: rows.len(), columns }
}

fn in_group(group: &str, wanted: &Value) -> bool {
    match wanted.as_str() {
        Some("all") => true,
        Some("(other)") => !GROUPS.contains(&group),
        other => other == Some(group),
    }
}

/// A cell is the number, or hidden; below the floor it must be hidden, and the total at or above it
/// must not.
fn check_cell(cell: &Value, rows: u64, owners: u64, expected: i64, total: bool) -> Check {
    let passes = rows >= COHORT.rows && owners >= u64::from(COHORT.contributors);
    if cell.is_null() {
        return holds(!(passes && total), "a_total_above_the_floor_is_shown", || format!("{rows} rows of {owners}"));
    }
    holds(passes, "no_output_below_the_threshold", || format!("{rows} rows of {owners} owners are shown"))?;
    holds(*cell == json!(expected), "the_output_equals_the_plaintext_oracle", || format!("{cell}, not {expected}"))
}
