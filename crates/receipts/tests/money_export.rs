//! Rows for other tools: each is made again from its leaf, and the columns are those that FOCUS asks for.

mod common;

use std::collections::BTreeSet;

use common::shop::*;
use common::*;
use tacit_receipts::money::columns::CellKind;
use tacit_receipts::money::export::{Cell, Context, Row, Table, holds, rows};

#[test]
fn every_exported_row_is_made_again_from_its_leaf() {
    let (mut shop, plan, period) = busy();
    let (first, _) = shop.charge(plan, period);
    let correction = shop.correction(plan, shop.at(5), 1001, 1);
    shop.agree(&correction);
    let (second, _) = shop.charge(plan, period);
    shop.settle(&[first, second]);
    let body = shop.ledger.plan_in_force(&plan).cloned();
    let trust = shop.world.trust();
    let context = Context {
        origin: ORIGIN,
        name: &|party| trust.parties.iter().find(|p| p.key == *party).map(|p| p.name.to_string()),
        plan: &|id| body.clone().filter(|_| *id == plan),
    };
    let mut counts = Vec::new();
    for table in [Table::Usage, Table::Focus, Table::Shares, Table::Payments] {
        let mut all: Vec<(Row, Vec<u8>)> = Vec::new();
        for (index, leaf) in (0..).zip(&shop.world.leaves) {
            all.extend(rows(table, index, leaf, &context).unwrap().into_iter().map(|row| (row, leaf.clone())));
        }
        for (row, leaf) in &all {
            assert_eq!(cell(row, "x_LogOrigin"), ORIGIN);
            assert_eq!(cell(row, "x_LeafIndex"), row.leaf.index.to_string());
            assert_eq!(cell(row, "x_LeafHash"), shop.at(row.leaf.index).hash.to_string());
            assert_eq!(holds(row, table, leaf, &context), Ok(()));
            let other = &shop.world.leaves[row.leaf.index as usize - 1];
            assert!(holds(row, table, other, &context).is_err());
            for i in 0..row.cells.len() {
                let mut changed = row.clone();
                changed.cells[i].1 = Cell::Text("another".into());
                assert!(holds(&changed, table, leaf, &context).is_err(), "{table:?} {}", row.cells[i].0);
            }
            // What a format that knows no names has of the row is the row again.
            let values = row.cells.iter().map(|(_, cell)| match cell {
                Cell::Null => None,
                Cell::Text(text) | Cell::Number(text) => Some(text.clone()),
            });
            let values: Vec<Option<String>> = values.collect();
            assert_eq!(Row::of(table, values.clone()).as_ref(), Ok(row));
            assert!(Row::of(table, values[1..].to_vec()).is_err());
            let unnamed = values.iter().map(|v| v.clone().filter(|v| *v != row.leaf.hash.to_string())).collect();
            assert!(Row::of(table, unnamed).is_err());
            let known: Vec<&str> = table.columns().iter().map(|(name, _)| *name).collect();
            assert_eq!(row.cells.iter().map(|(name, _)| *name).collect::<Vec<_>>(), known);
            for ((column, cell), (_, kind)) in row.cells.iter().zip(table.columns()) {
                let decimals = match cell {
                    Cell::Null => continue,
                    Cell::Text(_) => {
                        assert_eq!(*kind, CellKind::Text, "{column}");
                        continue;
                    }
                    Cell::Number(digits) => digits.split_once('.').map(|(_, rest)| rest.len()),
                };
                let wanted = match kind {
                    CellKind::Text => panic!("{column}: {cell:?}"),
                    CellKind::Count => None,
                    CellKind::Amount => Some(2),
                    CellKind::Price => Some(6),
                };
                assert_eq!(decimals, wanted, "{column}: {cell:?}");
            }
            let json: serde_json::Value = serde_json::from_str(&row.json_line()).unwrap();
            assert_eq!(json.as_object().unwrap().len(), row.cells.len());
            assert_eq!(
                row.csv_line().matches(',').count(),
                row.csv_header().matches(',').count(),
                "no name has a comma"
            );
        }
        counts.push(all.len());
        assert_eq!(Table::named(table.word()), Some(table));
        if table == Table::Focus {
            let cost = |(row, _): &(Row, _)| cell(row, "BilledCost").replace('.', "").parse::<i64>().unwrap();
            // The first charge and what changed it come to what the corrected period costs.
            assert_eq!(all.iter().map(cost).sum::<i64>(), 1500 + 248);
            let columns: BTreeSet<&str> = all[0].0.cells.iter().map(|(name, _)| *name).collect();
            for mandatory in FOCUS_1_2 {
                assert!(columns.contains(mandatory), "{mandatory}");
            }
        }
    }
    assert_eq!(counts, [9, 5, 4, 2]);
}

/// Columns that FOCUS 1.2 asks of every data set.
const FOCUS_1_2: [&str; 21] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
];

fn cell(row: &Row, column: &str) -> String {
    match row.cells.iter().find(|(name, _)| *name == column) {
        Some((_, Cell::Text(text) | Cell::Number(text))) => text.clone(),
        other => panic!("{column}: {other:?}"),
    }
}
