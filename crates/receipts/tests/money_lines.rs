//! Exported files: every row of every format is held to its leaf, and nothing else may stand in a file.

mod common;

use common::shop::*;
use common::*;
use tacit_receipts::money::export::{Cell, Context, Row, Table, rows};
use tacit_receipts::money::lines::{Checked, Format, check};
use tacit_receipts::money::*;
use tacit_types::*;

const FORMATS: [Format; 3] = [Format::JsonLines, Format::Csv, Format::Html];

/// A log with two charges and a settlement, and the rows of a table of it.
fn log() -> (Shop, PricePlan) {
    let (mut shop, plan, period) = busy();
    let (first, _) = shop.charge(plan, period);
    let other = PricePlan { contract: ContractId([8; 32]), subscription: 990, ..shop.plan() };
    shop.agree(&other);
    let next = Period { first: period.end, end: shop.size(), from: period.until, until: shop.world.now.plus(1) };
    let (second, _) = shop.charge(plan, next);
    shop.settle(&[first, second]);
    let plan = shop.ledger.plan_in_force(&plan).unwrap().clone();
    (shop, plan)
}

fn with_context<T>(plan: &PricePlan, run: impl FnOnce(&Context<'_>) -> T) -> T {
    let name = |key: &NodeId| Some(format!("<{}>", key.short()));
    let plan = |hash: &Hash| (*hash == plan.id()).then(|| plan.clone());
    run(&Context { origin: ORIGIN, name: &name, plan: &plan })
}

fn leaves(shop: &Shop) -> impl Iterator<Item = (u64, &[u8])> + Clone {
    (0u64..).zip(shop.world.leaves.iter().map(Vec::as_slice))
}

fn all(shop: &Shop, table: Table, context: &Context<'_>) -> Vec<Row> {
    leaves(shop).flat_map(|(index, leaf)| rows(table, index, leaf, context).unwrap()).collect()
}

#[test]
fn every_file_is_held_to_the_log() {
    let (shop, plan) = log();
    with_context(&plan, |context| {
        for (table, format) in Table::ALL.into_iter().flat_map(|t| FORMATS.map(|f| (t, f))) {
            let rows = all(&shop, table, context);
            let file = format.file(table, &rows);
            let says = |text: &str| check(text, leaves(&shop), context);
            let count = rows.len() as u64;
            assert!(count >= 2, "{table:?}");
            assert_eq!(says(&file), Ok(Checked { table: Some(table), rows: count, left_out: 0 }), "{format:?}");
            // A file of fewer rows is no lie, and says less.
            let fewer = format.file(table, &rows[1..]);
            assert_eq!(says(&fewer), Ok(Checked { table: Some(table), rows: count - 1, left_out: 1 }));
            let wrong = |text: String, what: &str| {
                let fault = says(&text).unwrap_err();
                assert_eq!(fault.code, Code::LogProof);
                assert!(fault.what.contains(what), "{table:?} {format:?}: {}", fault.what);
            };
            let twice = format.file(table, &[rows.clone(), vec![rows[0].clone()]].concat());
            wrong(twice, "twice");
            let mut altered = rows.clone();
            let at = altered[1].cells.iter().position(|(_, cell)| matches!(cell, Cell::Number(_))).unwrap();
            altered[1].cells[at].1 = Cell::Number("4711".into());
            wrong(format.file(table, &altered), "no leaf gives this row");
            let line = format.line(&rows[0]);
            wrong(file.replace(&line, &format!("{line}<script src=x></script>\n")), "no leaf gives this row");
            if format == Format::Html {
                wrong(file.replace("</body>", "<p>paid</p></body>"), "begin and end");
                wrong(file.replace("<caption>", "<caption>paid "), "begin and end");
            }
            // The row of one table in a file of another.
            let other = if table == Table::Usage { Table::Focus } else { Table::Usage };
            let mixed = [rows, all(&shop, other, context)].concat();
            wrong(format.file(table, &mixed), "no leaf gives this row");
        }
    });
}

#[test]
fn no_row_is_a_file_too() {
    let (shop, plan) = Shop::with(3, |_| {});
    let plan = shop.ledger.plan_in_force(&plan).unwrap().clone();
    with_context(&plan, |context| {
        for format in FORMATS {
            let empty = format.file(Table::Payments, &[]);
            let found = check(&empty, leaves(&shop), context).unwrap();
            assert_eq!((found.rows, found.left_out), (0, 0), "{format:?}");
        }
        assert!(check("paid\n", leaves(&shop), context).is_err());
        assert!(check("{\"BilledCost\":1}\n", leaves(&shop), context).is_err());
    });
}

#[test]
fn a_page_has_no_markup_from_the_log() {
    let leaf = LeafRef { index: 1, hash: Hash([1; 32]) };
    let row = Row { leaf, cells: vec![("a", Cell::Text("<b>&\"'\n\u{1b}</td>".into())), ("b", Cell::Null)] };
    let line = Format::Html.line(&row);
    assert_eq!(line, "<tr><td>&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}&lt;/td&gt;</td><td></td></tr>\n");
}
