//! `export`: rows for other tools, each of which `tacit-verify --rows` makes again from its leaf.

use std::collections::BTreeMap;

use serde_json::json;
use tacit_receipts::money::export::{Context, Table, rows};
use tacit_receipts::money::lines::Format;
use tacit_types::{Fault, Hash, NodeId};

use super::args::{ExportFormat, ExportTable};
use super::{Books, ExportArgs, write};
use crate::output::Out;

pub(super) fn run(books: &Books, out: &Out, args: &ExportArgs) -> Result<(), Fault> {
    let table = match args.table {
        ExportTable::Usage => Table::Usage,
        ExportTable::Focus => Table::Focus,
        ExportTable::Shares => Table::Shares,
        ExportTable::Payments => Table::Payments,
    };
    let format = match args.format {
        ExportFormat::Jsonl => Format::JsonLines,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Html => Format::Html,
    };
    let names: BTreeMap<NodeId, String> = books.names();
    let name = |key: &NodeId| names.get(key).cloned();
    let plan = |hash: &Hash| books.ledger.plan_in_force(hash).cloned();
    let context = Context { origin: &books.trust.origin, name: &name, plan: &plan };
    let mut all = Vec::new();
    for (index, leaf) in (0u64..).zip(&books.leaves) {
        all.extend(rows(table, index, leaf, &context)?);
    }
    write(&args.out, format.file(table, &all).as_bytes())?;
    out.text(format!("{}: {} {}", args.out.display(), all.len(), out.say("rows", "行")));
    out.value(&json!({"file": args.out.display().to_string(), "rows": all.len()}));
    Ok(())
}
