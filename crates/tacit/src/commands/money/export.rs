//! `export`: rows for other tools, each of which `tacit-verify --rows` makes again from its leaf.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;
use tacit_data::table::{self, TableColumn, TableFile, TableRow};
use tacit_receipts::bundle::BUNDLE_BYTES_MAX;
use tacit_receipts::money::columns::CellKind;
use tacit_receipts::money::export::{Cell, Context, Row, Table, rows};
use tacit_receipts::money::lines::Format;
use tacit_types::{Code, Fault, Hash, NodeId};

use super::args::{ExportFormat, ExportTable};
use super::{Books, ExportArgs, write};
use crate::output::Out;

fn table_of(asked: ExportTable) -> Table {
    match asked {
        ExportTable::Usage => Table::Usage,
        ExportTable::Focus => Table::Focus,
        ExportTable::Shares => Table::Shares,
        ExportTable::Payments => Table::Payments,
    }
}

/// Writes the rows that the log gives.
pub(super) fn run(books: &Books, out: &Out, args: &ExportArgs) -> Result<(), Fault> {
    let table = table_of(args.table);
    let names: BTreeMap<NodeId, String> = books.names();
    let name = |key: &NodeId| names.get(key).cloned();
    let plan = |hash: &Hash| books.ledger.plan_in_force(hash).cloned();
    let context = Context { origin: &books.trust.origin, name: &name, plan: &plan };
    let mut all = Vec::new();
    for (index, leaf) in (0u64..).zip(&books.leaves) {
        all.extend(rows(table, index, leaf, &context)?);
    }
    written(out, args, table, &all)
}

/// Writes the rows that a Parquet file has, as they were before they went into it.
pub(super) fn again(out: &Out, args: &ExportArgs, file: &Path) -> Result<(), Fault> {
    let table = table_of(args.table);
    let parquet = TableFile::open(file)?;
    let columns = columns(table);
    if parquet.name != table.word() || parquet.columns != columns {
        let what = format!("{}: its rows are not those of the table `{}`", file.display(), table.word());
        return Err(Fault::new(Code::DataFileMalformed, what));
    }
    let (mut all, mut bytes) = (Vec::new(), 0usize);
    parquet.rows(|cells| {
        bytes += cells.iter().flatten().map(|cell| cell.len() + 16).sum::<usize>();
        if bytes > BUNDLE_BYTES_MAX {
            let what = format!("{}: rows of over {BUNDLE_BYTES_MAX} bytes", file.display());
            return Err(Fault::new(Code::DataFileMalformed, what));
        }
        all.push(Row::of(table, cells)?);
        Ok(())
    })?;
    written(out, args, table, &all)
}

fn written(out: &Out, args: &ExportArgs, table: Table, all: &[Row]) -> Result<(), Fault> {
    let format = match args.format {
        ExportFormat::Jsonl => Some(Format::JsonLines),
        ExportFormat::Csv => Some(Format::Csv),
        ExportFormat::Html => Some(Format::Html),
        ExportFormat::Parquet => None,
    };
    match format {
        Some(format) => write(&args.out, format.file(table, all).as_bytes())?,
        None => parquet(&args.out, table, all)?,
    }
    out.text(format!("{}: {} {}", args.out.display(), all.len(), out.say("rows", "行")));
    out.value(&json!({"file": args.out.display().to_string(), "rows": all.len()}));
    Ok(())
}

fn columns(table: Table) -> Vec<TableColumn> {
    let column = |(name, kind): &(&str, CellKind)| TableColumn {
        name: (*name).to_owned(),
        kind: match kind {
            CellKind::Text => table::CellKind::Text,
            CellKind::Count => table::CellKind::Count,
            CellKind::Amount => table::CellKind::Decimal(2),
            CellKind::Price => table::CellKind::Decimal(6),
        },
    };
    table.columns().iter().map(column).collect()
}

fn parquet(path: &Path, table: Table, all: &[Row]) -> Result<(), Fault> {
    let failed = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{}: {e}", path.display()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    let cell = |(_, cell): &(&str, Cell)| match cell {
        Cell::Null => None,
        Cell::Text(text) | Cell::Number(text) => Some(text.clone()),
    };
    let lines = all.iter().map(|row| row.cells.iter().map(cell).collect::<TableRow>());
    table::write_table(&mut file, table.word(), &columns(table), lines)?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}
