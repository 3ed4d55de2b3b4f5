//! Rows for other tools, from single leaves. Each row names the log, the leaf and the leaf's hash, so whoever holds
//! the leaf makes the row again ([`holds`]), and whoever holds a checkpoint proves the leaf.
//!
//! [`Table::Focus`] has the columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification); the other tables have
//! names of their own. Amounts are exact decimals.

use core::fmt::Write as _;

use tacit_types::{Code, Fault, Hash, NodeId, Unit, UnixMillis};

use super::Money;
use super::amount::{decimal, price_decimal};
use super::columns::CellKind;
use super::plan::{PricePlan, Schedule};
use super::rate::{ChargeLine, Item};
use super::statement::{Charge, LeafRef, Period};
use crate::leaf::Leaf;
use crate::merkle::leaf_hash;
use crate::opening;
use crate::receipt::JointReceipt;
use crate::record::{Quantity, UsageRecord};

/// What rows say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Usage lines of receipts.
    Usage,
    /// Lines of charges, in the columns of FOCUS 1.2. The billed costs of a charge add up to what it is due with.
    Focus,
    /// Shares of charges.
    Shares,
    /// Payments of settlements.
    Payments,
}

/// A value of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// No value.
    Null,
    /// A text.
    Text(String),
    /// A whole or decimal number, written out.
    Number(String),
}

/// A row: its columns in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The leaf that it is from.
    pub leaf: LeafRef,
    /// Column names and values. The last ones are `x_LogOrigin`, `x_LeafIndex`, `x_LeafHash` and `x_Row`.
    pub cells: Vec<(&'static str, Cell)>,
}

/// What a leaf does not say: names, and the plan of a hash.
pub struct Context<'a> {
    /// The log.
    pub origin: &'a str,
    /// The name of a party; its key in hex when there is none.
    pub name: &'a dyn Fn(&NodeId) -> Option<String>,
    /// The price plan of a hash.
    pub plan: &'a dyn Fn(&Hash) -> Option<PricePlan>,
}

/// The rows that a table has of a leaf; none for a leaf of another kind.
///
/// # Errors
/// `receipt.signature` or `receipt.malformed` for a leaf that cannot be read; `receipt.unagreed` when a charge's plan
/// is not at hand, or is another one than the charge names.
pub fn rows(table: Table, index: u64, bytes: &[u8], context: &Context<'_>) -> Result<Vec<Row>, Fault> {
    let leaf = LeafRef { index, hash: leaf_hash(bytes) };
    let lists = match (table, Leaf::read(bytes)?) {
        (Table::Usage, Leaf::Receipt(statement)) => {
            let mut all = usage(&statement.body().record, context);
            all.extend(asserted(statement.body(), context));
            all
        }
        (Table::Focus, Leaf::Money(_, money)) => match *money {
            Money::Charge(charge) => focus(&charge, context)?,
            _ => Vec::new(),
        },
        (Table::Shares, Leaf::Money(_, money)) => match *money {
            Money::Charge(charge) => shares(&charge, context)?,
            _ => Vec::new(),
        },
        (Table::Payments, Leaf::Money(_, money)) => match *money {
            Money::Settlement(settlement) => {
                let row = |t: &super::Transfer| {
                    let mut cells = Vec::new();
                    party(&mut cells, ["From", "FromName"], &t.from, context);
                    party(&mut cells, ["To", "ToName"], &t.to, context);
                    cells.push(("Amount", amount(i64::try_from(t.fen).unwrap_or(i64::MAX))));
                    cells.push(("Currency", text(&settlement.currency)));
                    cells
                };
                settlement.transfers.iter().map(row).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let place = |(number, mut cells): (usize, Vec<(&'static str, Cell)>)| {
        cells.extend([
            ("x_LogOrigin", text(context.origin)),
            ("x_LeafIndex", number_of(leaf.index)),
            ("x_LeafHash", text(leaf.hash)),
            ("x_Row", number_of(number as u64)),
        ]);
        Row { leaf, cells }
    };
    Ok(lists.into_iter().enumerate().map(place).collect())
}

/// Checks a row against its leaf: the leaf has that hash, and gives that very row.
///
/// # Errors
/// `log.proof` when it does not; what [`rows`] gives.
pub fn holds(row: &Row, table: Table, bytes: &[u8], context: &Context<'_>) -> Result<(), Fault> {
    if leaf_hash(bytes) == row.leaf.hash && rows(table, row.leaf.index, bytes, context)?.contains(row) {
        return Ok(());
    }
    Err(Fault::new(Code::LogProof, format!("a row that leaf {} does not give", row.leaf.index)))
}

fn text(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

fn number_of(value: u64) -> Cell {
    Cell::Number(value.to_string())
}

fn amount(fen: i64) -> Cell {
    Cell::Number(decimal(fen))
}

/// ISO 8601, as FOCUS writes times.
fn time(at: UnixMillis) -> Cell {
    text(at.to_string().replace(' ', "T"))
}

fn name(key: &NodeId, context: &Context<'_>) -> String {
    (context.name)(key).unwrap_or_else(|| key.to_string())
}

fn party(cells: &mut Vec<(&'static str, Cell)>, [id, called]: [&'static str; 2], key: &NodeId, context: &Context<'_>) {
    cells.extend([(id, text(key)), (called, text(name(key, context)))]);
}

/// What a row of usage begins with.
fn used(record: &UsageRecord, unit: Unit, class: String) -> Vec<(&'static str, Cell)> {
    let contracts: Vec<String> = record.contracts.iter().map(ToString::to_string).collect();
    vec![
        ("Job", text(record.job)),
        ("Attempt", number_of(u64::from(record.attempt.0))),
        ("Kind", text(&record.kind)),
        ("Contracts", text(contracts.join(" "))),
        ("Ended", time(record.ended)),
        ("Unit", text(unit.word())),
        ("UnitCode", text(unit.ucum())),
        ("Class", text(class)),
    ]
}

/// What parties assert of themselves, in the attestations that the receipt itself carries: each a commitment without a
/// quantity, so that no sum of a file of rows takes it in.
fn asserted(receipt: &JointReceipt, context: &Context<'_>) -> Vec<Vec<(&'static str, Cell)>> {
    let record = &receipt.record;
    let row = |found: opening::Committed| {
        let unit = opening::unit_of(found.figure.what)?;
        let mut cells = used(record, unit, format!("{:?}", unit.class()));
        cells.extend([("Quantity", Cell::Null), ("Commitment", text(found.figure.commitment))]);
        party(&mut cells, ["Party", "PartyName"], &found.party, context);
        Some(cells)
    };
    opening::committed(receipt, &|_| None, &|key| *key).into_iter().filter_map(row).collect()
}

fn usage(record: &UsageRecord, context: &Context<'_>) -> Vec<Vec<(&'static str, Cell)>> {
    let row = |line: &crate::record::UsageLine| {
        let disputed = if line.is_disputed() { ", disputed" } else { "" };
        let mut cells = used(record, line.unit, format!("{:?}{disputed}", line.class));
        let (quantity, commitment) = match line.quantity {
            // What observers dispute is in no sum that anyone makes of a file of rows.
            _ if line.is_disputed() => (Cell::Null, Cell::Null),
            Quantity::Plain(quantity) => (number_of(quantity), Cell::Null),
            Quantity::Committed(hash) => (Cell::Null, text(hash)),
        };
        cells.extend([("Quantity", quantity), ("Commitment", commitment)]);
        let entry = record.parties.get(line.party.index());
        cells.push(("Party", entry.map_or(Cell::Null, |p| text(p.party))));
        cells.push(("PartyName", entry.map_or(Cell::Null, |p| text(name(&p.party, context)))));
        cells
    };
    record.lines.iter().map(row).collect()
}

fn plan_of(charge: &Charge, context: &Context<'_>) -> Result<PricePlan, Fault> {
    let plan = (context.plan)(&charge.plan).filter(|plan| plan.id() == charge.plan);
    plan.ok_or_else(|| Fault::new(Code::ReceiptUnagreed, format!("price plan {} is not at hand", charge.plan.short())))
}

fn shares(charge: &Charge, context: &Context<'_>) -> Result<Vec<Vec<(&'static str, Cell)>>, Fault> {
    let plan = plan_of(charge, context)?;
    let row = |share: &super::Due| {
        let mut cells = vec![("Contract", text(plan.contract)), ("x_PlanHash", text(charge.plan))];
        party(&mut cells, ["Payer", "PayerName"], &plan.payer, context);
        party(&mut cells, ["Payee", "PayeeName"], &share.party, context);
        cells.extend([("Amount", amount(share.fen)), ("Currency", text(&plan.currency))]);
        cells.extend(times(&charge.period, ["PeriodStart", "PeriodEnd"]));
        cells
    };
    Ok(charge.shares.iter().map(row).collect())
}

fn times(period: &Period, [from, until]: [&'static str; 2]) -> [(&'static str, Cell); 2] {
    [(from, time(period.from)), (until, time(period.until))]
}

/// The rows of a charge: its lines, and what was charged before as a reduction.
fn focus(charge: &Charge, context: &Context<'_>) -> Result<Vec<Vec<(&'static str, Cell)>>, Fault> {
    let plan = plan_of(charge, context)?;
    let mut all: Vec<_> = charge.lines.iter().map(|line| focus_row(charge, &plan, Some(line), context)).collect();
    if charge.before > 0 {
        all.push(focus_row(charge, &plan, None, context));
    }
    Ok(all)
}

/// A row of a line, or of what was charged before. Only units have quantities and prices.
fn focus_row(
    charge: &Charge,
    plan: &PricePlan,
    line: Option<&ChargeLine>,
    context: &Context<'_>,
) -> Vec<(&'static str, Cell)> {
    let (category, frequency, what) = match line.map(|l| l.item) {
        Some(Item::Use) => ("Usage", "Usage-Based", "use"),
        Some(Item::Subscription) => ("Purchase", "Recurring", "subscription"),
        Some(Item::Minimum) => ("Adjustment", "Usage-Based", "up to the minimum"),
        Some(Item::Maximum) => ("Adjustment", "Usage-Based", "down to the maximum"),
        Some(Item::Permitted) => ("Adjustment", "Usage-Based", "down to the permitted revenue"),
        None => ("Adjustment", "One-Time", "charged before"),
    };
    let before = i64::try_from(charge.before).unwrap_or(i64::MAX);
    let fen = line.map_or(-before, |l| l.fen);
    let unit = line.and_then(|l| l.unit);
    let used = line.filter(|l| l.item == Item::Use).zip(unit).and_then(|(l, unit)| Some((l, plan.price(unit)?)));
    let price = used.and_then(|(_, price)| match &price.schedule {
        Schedule::Each { micro } => Some(Cell::Number(price_decimal(*micro))),
        Schedule::Graduated { .. } | Schedule::Volume { .. } => None,
    });
    let price = price.unwrap_or(Cell::Null);
    let counted = line.filter(|l| matches!(l.item, Item::Use | Item::Subscription));
    let code = counted.map_or(Cell::Null, |l| text(l.unit.map_or("{period}", |unit| unit.ucum())));
    let priced = match used {
        Some((line, price)) => number_of(line.quantity.saturating_sub(price.free)),
        None => counted.map_or(Cell::Null, |l| number_of(l.quantity)),
    };
    let consumed = used.map_or(Cell::Null, |(line, _)| number_of(line.quantity));
    let word = unit.map_or("contract", |unit| unit.word());
    let providers: Vec<String> = plan.payees.iter().map(|p| name(p, context)).collect();
    let (cost, provider) = (amount(fen), text(providers.join("; ")));
    let [start, end] = [time(charge.period.from), time(charge.period.until)];
    vec![
        ("AvailabilityZone", Cell::Null),
        ("BilledCost", cost.clone()),
        ("BillingAccountId", text(plan.payer)),
        ("BillingAccountName", text(name(&plan.payer, context))),
        ("BillingAccountType", text("Party")),
        ("BillingCurrency", text(&plan.currency)),
        ("BillingPeriodEnd", end.clone()),
        ("BillingPeriodStart", start.clone()),
        ("ChargeCategory", text(category)),
        ("ChargeClass", if charge.before > 0 { text("Correction") } else { Cell::Null }),
        ("ChargeDescription", text(format!("{word}: {what}"))),
        ("ChargeFrequency", text(frequency)),
        ("ChargePeriodEnd", end),
        ("ChargePeriodStart", start),
        ("ConsumedQuantity", consumed),
        ("ConsumedUnit", used.map_or(Cell::Null, |(_, price)| text(price.unit.ucum()))),
        ("ContractedCost", cost.clone()),
        ("ContractedUnitPrice", price.clone()),
        ("EffectiveCost", cost.clone()),
        ("InvoiceId", Cell::Null),
        ("InvoiceIssuerName", text(context.origin)),
        ("ListCost", cost),
        ("ListUnitPrice", price),
        ("PricingCategory", if used.is_some() { text("Standard") } else { Cell::Null }),
        ("PricingCurrency", text(&plan.currency)),
        ("PricingQuantity", priced),
        ("PricingUnit", code),
        ("ProviderName", provider.clone()),
        ("PublisherName", provider),
        ("RegionId", Cell::Null),
        ("RegionName", Cell::Null),
        ("ResourceId", text(plan.contract)),
        ("ResourceName", Cell::Null),
        ("ResourceType", text("Contract")),
        ("ServiceCategory", text("Analytics")),
        ("ServiceName", text("Tacit")),
        ("ServiceSubcategory", text("Data Processing")),
        ("SkuId", text(word)),
        ("SkuMeter", unit.map_or(Cell::Null, |unit| text(unit.word()))),
        ("SkuPriceId", text(format!("{}/{word}", charge.plan))),
        ("SubAccountId", Cell::Null),
        ("SubAccountName", Cell::Null),
        ("Tags", Cell::Null),
        ("x_PlanHash", text(charge.plan)),
        ("x_FirstLeaf", number_of(charge.period.first)),
        ("x_EndLeaf", number_of(charge.period.end)),
    ]
}

impl Row {
    /// A row from its values in the order of the table's columns, which name the leaf. That the leaf gives it, [`holds`] says.
    ///
    /// # Errors
    /// `log.proof` when there are other columns, or they name no leaf.
    pub fn of(table: Table, values: Vec<Option<String>>) -> Result<Self, Fault> {
        let wrong = |what: &str| Fault::new(Code::LogProof, format!("a row of {}: {what}", table.word()));
        if values.len() != table.columns().len() {
            return Err(wrong("it has other columns"));
        }
        let cell = |((name, kind), value): (&(&'static str, CellKind), Option<String>)| match (kind, value) {
            (_, None) => (*name, Cell::Null),
            (CellKind::Text, Some(text)) => (*name, Cell::Text(text)),
            (_, Some(digits)) => (*name, Cell::Number(digits)),
        };
        let cells: Vec<_> = table.columns().iter().zip(values).map(cell).collect();
        let named = |column: &str| match cells.iter().find(|(name, _)| *name == column) {
            Some((_, Cell::Text(text) | Cell::Number(text))) => Some(text),
            _ => None,
        };
        let index = named("x_LeafIndex").and_then(|text| text.parse().ok());
        let hash = named("x_LeafHash").and_then(|text| Hash::from_hex(text).ok());
        let leaf = index.zip(hash).ok_or_else(|| wrong("it names no leaf"))?;
        Ok(Self { leaf: LeafRef { index: leaf.0, hash: leaf.1 }, cells })
    }

    /// One line of JSON, with its newline. Numbers keep every digit; a reader that knows only floats should take
    /// them as texts.
    pub fn json_line(&self) -> String {
        let mut out = String::from("{");
        for (i, (column, cell)) in self.cells.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json_text(&mut out, column);
            out.push(':');
            match cell {
                Cell::Null => out.push_str("null"),
                Cell::Number(digits) => out.push_str(digits),
                Cell::Text(text) => json_text(&mut out, text),
            }
        }
        out.push_str("}\n");
        out
    }

    /// The header of a CSV file with such rows (RFC 4180).
    pub fn csv_header(&self) -> String {
        self.cells.iter().map(|(column, _)| *column).collect::<Vec<_>>().join(",") + "\r\n"
    }

    /// One line of CSV; no value is an empty field.
    pub fn csv_line(&self) -> String {
        let field = |cell: &Cell| match cell {
            Cell::Null => String::new(),
            Cell::Number(text) | Cell::Text(text) if !text.contains([',', '"', '\r', '\n']) => text.clone(),
            Cell::Number(text) | Cell::Text(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        };
        self.cells.iter().map(|(_, cell)| field(cell)).collect::<Vec<_>>().join(",") + "\r\n"
    }
}

/// A JSON string (RFC 8259, section 7).
fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if (c as u32) < 0x20 => {
                // why: writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
