//! `data regrade` and `list approve`: an owner grades its data anew, and others say what they think of it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_data::{Dataset, Origin};
use tacit_governance::grade::Grade;
use tacit_governance::orders::Verdict;
use tacit_governance::regrade::{Graded, REGRADING_APPROVALS, Regrading, RegradingApproval, id, said};
use tacit_governance::{DatasetDescriptor, Order};
use tacit_node::store::DatasetRow;
use tacit_node::{datasets, ledger};
use tacit_types::{Code, DatasetVersionId, Fault};

use super::control::document;
use crate::cli::RegradeArgs;
use crate::home::Party;
use crate::output::Out;

/// What is known here of the grade of a version.
pub struct Known {
    id: DatasetVersionId,
    owner: tacit_types::NodeId,
    sources: Vec<DatasetVersionId>,
    descriptor: DatasetDescriptor,
    orders: Vec<Order>,
}

impl Known {
    /// Of a registered version.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(party: &Party, row: &DatasetRow) -> Result<Self, Fault> {
        let descriptor = datasets::descriptor(row)?;
        let mut tx = party.store.begin().await?;
        let (sources, orders) = (ledger::sources(&mut tx, Some(&descriptor)).await?, tx.orders().await?);
        Ok(Self { id: row.id, owner: party.keys.root.id(), sources, descriptor, orders })
    }

    fn graded(&self) -> Graded<'_> {
        let (owner, id, sources) = (self.owner, self.id, self.sources.as_slice());
        Graded { owner, id, sources, dataset: &self.descriptor, orders: &self.orders }
    }

    /// Whether enough others have approved, whoever they are: whose word counts each contract says.
    fn approved(&self, regrading: &Statement<Regrading>) -> bool {
        let (yes, no) = said(regrading, &self.orders, |_| true);
        no.is_empty() && yes.len() >= REGRADING_APPROVALS
    }

    /// The grade of the version, or of a column of it.
    fn grade(&self, column: Option<&str>) -> Option<Grade> {
        self.graded().grade(column, |r| self.approved(r))
    }

    /// Every regrading that holds for it or waits, of the version first.
    fn all(&self) -> Vec<&Statement<Regrading>> {
        let graded = self.graded();
        let columns = self.descriptor.columns.iter().map(|c| Some(c.name.as_str()));
        core::iter::once(None).chain(columns).flat_map(move |column| graded.regradings(column)).collect()
    }

    /// What was said over the grade, for people.
    pub fn lines(&self, out: &Out) -> Vec<String> {
        let line = |r: &&Statement<Regrading>| {
            let waits = match (r.body().is_downward(), self.approved(r)) {
                (true, false) => out.say("; waits for approvals", "；待批准"),
                _ => "",
            };
            let (yes, no) = said(r, &self.orders, |_| true);
            let (approved, rejected) = (out.say("approved by", "批准"), out.say("rejected by", "否决"));
            format!("{}; {approved} {}, {rejected} {}{waits}", summary(out, r.body()), yes.len(), no.len())
        };
        self.all().iter().map(line).collect()
    }

    /// The same as JSON.
    pub fn view(&self) -> Value {
        let one = |r: &&Statement<Regrading>| {
            let (yes, no) = said(r, &self.orders, |_| true);
            json!({"regrading": id(r).to_string(), "number": r.body().number, "column": r.body().column,
                "from": r.body().from.word(), "to": r.body().to.word(), "approved_by": yes.len(), "rejected_by": no.len(),
                "holds": !r.body().is_downward() || self.approved(r)})
        };
        self.all().iter().map(one).collect()
    }
}

/// A regrading in one line.
pub fn summary(out: &Out, body: &Regrading) -> String {
    let what = out.say("graded anew", "重新定级");
    let column = body.column.as_ref().map_or(String::new(), |c| format!(" {} {c}", out.say("column", "列")));
    let (from, to, at) = (body.from.word(), body.to.word(), body.dataset.short());
    format!("{what} {at}{column}: {from} -> {to}, {}", body.reason)
}

/// The names under which jobs may read what a column is.
#[derive(Default)]
struct Names {
    /// The column of the source that it is under another name.
    source: Option<String>,
    /// The source's column, other names of it in views, what views compute of it, and what has its rows by it.
    also: Vec<String>,
}

impl Names {
    /// Of a column of the source, or of a view. What a view computes is a column of its own, and grades none of the source.
    async fn of(party: &Party, row: &DatasetRow, column: &str) -> Result<Self, Fault> {
        let registration = datasets::kept(row)?.registration;
        let views: Vec<String> = registration.views.iter().map(|view| view.name.to_string()).collect();
        let own = registration.columns.iter().any(|known| known.name == column);
        let dataset = Dataset::open(registration, &party.config.sources).await?;
        let mut made: Vec<(String, Origin)> = Vec::new();
        for view in &views {
            made.extend(dataset.origins(view).await?);
        }
        let named = || made.iter().filter(|(name, _)| name == column).map(|(_, origin)| origin);
        let of: BTreeSet<&str> = match own {
            true => BTreeSet::from([column]),
            false => named().filter_map(|origin| origin.same.as_deref()).collect(),
        };
        // By whatever name it goes through the views: one may have computed it, and another gives it on.
        let depends = |origin: &Origin| {
            origin.touches.contains(column) || of.iter().any(|source| origin.touches.contains(*source))
        };
        let touched = made.iter().filter(|(_, origin)| depends(origin));
        let names = of.iter().copied().chain(touched.map(|(name, _)| name.as_str()));
        let also: BTreeSet<&str> = names.filter(|name| *name != column).collect();
        Ok(Self {
            source: of.first().filter(|source| **source != column).map(|source| (*source).to_owned()),
            also: also.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Grades a dataset version of this party's, or a column of it, anew. It is taken in here at once; what is less sensitive waits for
/// others.
pub async fn regrade(party: &Party, out: &Out, args: &RegradeArgs) -> Result<(), Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let mut rows = party.store.datasets().await?;
    rows.retain(|r| r.name == args.name && args.version.is_none_or(|v| r.version == v));
    let row = match rows.as_slice() {
        [] => return Err(Fault::new(Code::DataUnknown, &args.name)),
        [row] => row,
        // A contract over an older version would go on with the old grade, unnoticed.
        _ => {
            let versions: Vec<String> = rows.iter().map(|r| r.version.to_string()).collect();
            return Err(invalid(format!("{} has versions {}; --version says which", args.name, versions.join(", "))));
        }
    };
    let to = Grade::parse(&args.grade);
    let to =
        to.ok_or_else(|| invalid(format!("--grade `{}`; one of general-1 to general-4, important, core", args.grade)))?;
    let known = Known::of(party, row).await?;
    if let Some(column) = args.column.as_deref().filter(|c| known.descriptor.column(c).is_none()) {
        return Err(Fault::new(Code::DataColumnUnknown, format!("`{column}` is not a column of {}", args.name)));
    }
    let column = args.column.as_deref();
    let names = match column {
        Some(column) => Names::of(party, row, column).await?,
        None => Names::default(),
    };
    let (evidence, now) = (document(Path::new("./-"), &args.evidence)?, tacit_node::now());
    let anew = |column: Option<&str>| {
        // A column that was never graded apart has the grade of its dataset.
        let from = known.grade(column).or_else(|| known.grade(None)).unwrap_or(Grade(1));
        let before = known.orders.iter().filter_map(|order| match order {
            Order::Regrading(s) if s.body().dataset == row.id && s.body().column.as_deref() == column => {
                Some(s.body().number)
            }
            _ => None,
        });
        let (number, reason) = (before.max().unwrap_or(0) + 1, args.reason.clone());
        Regrading { dataset: row.id, column: column.map(str::to_owned), number, from, to, evidence, reason }
    };
    let body = anew(column);
    // What is more sensitive is so by whatever name a job reads it. What is less sensitive was approved of that name alone.
    let also =
        names.also.iter().map(|name| anew(Some(name.as_str()))).filter(|other| other.from < to && to > body.from);
    let also: Vec<Regrading> = also.collect();
    if body.from == to {
        return Err(invalid(format!("it is of grade `{}` already", to.word())));
    }
    let sign =
        |body: &Regrading| Order::read(Statement::sign(&party.keys.root, &args.name, now, None, body.clone()).bytes());
    let order = sign(&body)?;
    let mut tx = party.store.begin().await?;
    tx.put_order(&order, now).await?;
    for other in &also {
        tx.put_order(&sign(other)?, now).await?;
    }
    tx.commit().await?;
    if let Some(to) = &args.out {
        write(to, order.bytes())?;
    }
    out.text(format!("{} {}", out.say("signed:", "已签署："), summary(out, &body)));
    for other in &also {
        out.text(format!("{} {}", out.say("and so, as it is made of it:", "由其得出者亦然："), summary(out, other)));
    }
    if let (Some(source), true) = (&names.source, body.is_downward()) {
        let stays = out.say("the grade of the source's column stays:", "来源列的级别不变：");
        out.text(format!("{stays} {source}"));
    }
    out.text(match body.is_downward() {
        true => out.say(
            "it holds under a contract once two of its approvers have approved it: `tacit list approve`, then `tacit list add` here",
            "须经合同所载审批方中两名以 `tacit list approve` 批准，并在此以 `tacit list add` 录入后，方在该合同下生效",
        ),
        false => out.say("it holds from the next admission on", "自下一次准入起生效"),
    });
    out.value(
        &json!({"dataset": row.id.to_string(), "column": body.column, "number": body.number, "from": body.from.word(),
        "to": to.word(), "evidence": body.evidence.to_string(), "holds": !body.is_downward(), "source": names.source,
        "also": also.iter().map(|other| &other.column).collect::<Vec<_>>(),
        "statement": args.out.as_ref().map(|f| f.display().to_string())}),
    );
    Ok(())
}

/// Approves or rejects an owner's regrading, and writes what was said for that owner.
pub fn approve(
    party: &Party,
    out: &Out,
    file: &Path,
    (verdict, reason): (Verdict, &str),
    to: &Path,
) -> Result<Order, Fault> {
    let bytes = std::fs::read(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let invalid = |what: &str| Fault::new(Code::ArgsInvalid, format!("{}: {what}", file.display()));
    let Order::Regrading(regrading) = Order::read(&bytes).map_err(|f| invalid(&f.what))? else {
        return Err(invalid("it is no regrading"));
    };
    let key = &party.keys.root;
    if regrading.signer() == key.id() {
        return Err(invalid("who grades anew does not approve it"));
    }
    let body = RegradingApproval { regrading: id(&regrading), verdict, reason: reason.to_owned() };
    let subject = body.regrading.to_string();
    let order = Order::read(Statement::sign(key, &subject, tacit_node::now(), None, body).bytes())?;
    write(to, order.bytes())?;
    out.text(summary(out, regrading.body()));
    Ok(order)
}

fn write(to: &Path, bytes: &[u8]) -> Result<(), Fault> {
    std::fs::write(to, bytes).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))
}
