//! Reading a PostgreSQL table: one read-only transaction, generated SQL with quoted identifiers, rows streamed.
//!
//! The server casts every column to one of three types (int8, float8, text), so that no other wire format
//! is decoded here; filters run in this process, with the same rules as for files.

use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use futures::TryStreamExt;
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Code, Fault, Name};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, IsolationLevel, NoTls, Row, Transaction};

use crate::builder::{BATCH_TEXT_BYTES, Builder};
use crate::config::PostgresConfig;
use crate::fault::one_line;
use crate::kind::{ColumnDef, Found, Kind, check_header, normalise, schema_of};
use crate::scan::Sink;

/// A table of a named database.
#[derive(Clone, Copy)]
pub(crate) struct Relation<'a> {
    pub(crate) name: &'a Name,
    pub(crate) schema: &'a str,
    pub(crate) table: &'a str,
}

/// The order in which rows are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the source has them.
    Any,
    /// The same for the same rows: a table is sorted by all columns. A file has its own order.
    Canonical,
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "postgres://{}/{}.{}", self.name, self.schema, self.table)
    }
}

impl Relation<'_> {
    /// The fault for an error of the client. A server's message is quoted only for the classes that speak of
    /// names and rights (SQLSTATE 28, 3D, 42): others may hold a value of a row.
    fn fault(self, error: &Error) -> Fault {
        let Some(server) = error.as_db_error() else {
            let cause = std::error::Error::source(error).map(|c| format!(": {c}")).unwrap_or_default();
            return Fault::new(
                Code::DataSourceUnreachable,
                format!("{self}: {}", one_line(&format!("{error}{cause}"))),
            );
        };
        let state = server.code();
        let class = state.code().get(..2).unwrap_or_default();
        let code = match class {
            "08" | "28" | "3D" | "53" | "57" if *state != SqlState::QUERY_CANCELED => Code::DataSourceUnreachable,
            _ if *state == SqlState::UNDEFINED_TABLE
                || *state == SqlState::INSUFFICIENT_PRIVILEGE
                || *state == SqlState::INVALID_SCHEMA_NAME =>
            {
                Code::DataTableAbsent
            }
            _ if *state == SqlState::UNDEFINED_COLUMN => Code::DataChanged,
            "22" => Code::DataValueType,
            _ => Code::DataQueryFailed,
        };
        let text = match class {
            "28" | "3D" | "42" => format!(": {}", one_line(server.message())),
            _ if *state == SqlState::QUERY_CANCELED => ": the statement took longer than statement_seconds".to_owned(),
            _ => String::new(),
        };
        Fault::new(code, format!("{self}: SQLSTATE {}{text}", state.code()))
    }
}

/// A connection whose task ends with it.
struct Connection {
    client: Client,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(config: &PostgresConfig, relation: Relation<'_>) -> Result<Connection, Fault> {
    let client = config.client(relation.name)?;
    // why: the client's own limit covers the socket alone, not a listener that accepts and then says nothing.
    let seconds = config.connect_seconds;
    let (client, connection) = tokio::time::timeout(Duration::from_secs(seconds.into()), client.connect(NoTls))
        .await
        .map_err(|_| {
            let what = format!("{relation}: no answer within {seconds} s");
            Fault::new(Code::DataSourceUnreachable, what)
        })?
        .map_err(|e| relation.fault(&e))?;
    // why: an error of the connection reaches the client's own calls.
    let task = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { client, task })
}

/// Opens a read-only transaction with the session's settings fixed, so that the output and the meaning of names do not
/// depend on the role's own.
async fn begin<'a>(
    client: &'a mut Client,
    config: &PostgresConfig,
    relation: Relation<'_>,
) -> Result<Transaction<'a>, Fault> {
    let builder = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = builder.start().await.map_err(|e| relation.fault(&e))?;
    let millis = u64::from(config.statement_seconds) * 1000;
    let settings = format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'ISO, YMD'; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1",
        // why: the server's setting is an i32.
        millis.min(i32::MAX as u64)
    );
    transaction.batch_execute(&settings).await.map_err(|e| relation.fault(&e))?;
    Ok(transaction)
}

/// Ends the transaction before the caller goes on, so that no lock outlives the read.
async fn end(transaction: Transaction<'_>, relation: Relation<'_>) -> Result<(), Fault> {
    transaction.rollback().await.map_err(|e| relation.fault(&e))
}

const CATALOG: &str = "SELECT a.attname::text, CASE WHEN t.typtype = 'e' THEN 'enum' ELSE t.typname END::text \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'v', 'm', 'p', 'f') \
     AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

async fn found_columns(transaction: &Transaction<'_>, relation: Relation<'_>) -> Result<Vec<Found>, Fault> {
    let rows =
        transaction.query(CATALOG, &[&relation.schema, &relation.table]).await.map_err(|e| relation.fault(&e))?;
    if rows.is_empty() {
        return Err(Fault::new(Code::DataTableAbsent, relation.to_string()));
    }
    let names_and_types = rows
        .iter()
        .map(|row| Ok((row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?)))
        .collect::<Result<Vec<_>, Error>>()
        .map_err(|e| relation.fault(&e))?;
    check_header(names_and_types.iter().map(|(name, _)| name.as_str()), &relation.to_string())?;
    let found = |(name, native): (String, String)| Found { name, kind: kind_of(&native), native };
    Ok(names_and_types.into_iter().map(found).collect())
}

/// The kind of a type of the server's catalogue.
fn kind_of(native: &str) -> Option<Kind> {
    match native {
        "bool" | "int2" | "int4" | "int8" => Some(Kind::Int),
        "float4" | "float8" | "numeric" => Some(Kind::Float),
        "text" | "varchar" | "bpchar" | "name" | "enum" | "uuid" => Some(Kind::Text),
        "date" | "time" | "timestamp" | "timestamptz" => Some(Kind::Text),
        _ => None,
    }
}

/// The columns of a table.
///
/// # Errors
/// `data.source_unreachable`, `data.table_absent` and those of a header.
pub(crate) async fn columns(config: &PostgresConfig, relation: Relation<'_>) -> Result<Vec<Found>, Fault> {
    let mut connection = connect(config, relation).await?;
    let transaction = begin(&mut connection.client, config, relation).await?;
    let found = found_columns(&transaction, relation).await?;
    end(transaction, relation).await?;
    Ok(found)
}

/// An identifier in double quotes, with those inside doubled.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The expression that gives a column as int8, float8 or text.
fn expression(native: &str, column: &ColumnDef) -> String {
    let name = quoted(&column.name);
    match (column.kind, native) {
        (Kind::Int, "bool") => format!("{name}::int4::int8"),
        (Kind::Int, _) => format!("{name}::int8"),
        (Kind::Float, _) => format!("{name}::float8"),
        (Kind::Text, "timestamp") => format!("replace({name}::text, ' ', 'T') COLLATE \"C\""),
        (Kind::Text, "timestamptz") => {
            format!("(replace(({name} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z') COLLATE \"C\"")
        }
        (Kind::Text, _) => format!("{name}::text COLLATE \"C\""),
    }
}

fn select(relation: Relation<'_>, native: &[Found], columns: &[ColumnDef], order: Order) -> Result<String, Fault> {
    let mut list = Vec::with_capacity(columns.len());
    for column in columns {
        let found = native
            .iter()
            .find(|found| found.name == column.name)
            .filter(|found| found.serves(column.kind))
            .ok_or_else(|| {
                let what = format!("{relation}: column {:?} is gone or of another type", column.name);
                Fault::new(Code::DataChanged, what)
            })?;
        list.push(expression(&found.native, column));
    }
    let mut sql = format!("SELECT {} FROM {}.{}", list.join(", "), quoted(relation.schema), quoted(relation.table));
    if order == Order::Canonical && !columns.is_empty() {
        let positions: Vec<String> = (1..=columns.len()).map(|i| i.to_string()).collect();
        sql.push_str(&format!(" ORDER BY {}", positions.join(", ")));
    }
    Ok(sql)
}

/// Reads those columns of all rows into `sink`.
///
/// # Errors
/// `data.source_unreachable`, `data.table_absent`, `data.changed`, `data.query_failed` (the server ended the statement),
/// `data.value_not_finite`, `data.value_type`.
pub(crate) async fn read(
    config: &PostgresConfig,
    relation: Relation<'_>,
    columns: &[ColumnDef],
    order: Order,
    sink: &Sink,
) -> Result<(), Fault> {
    let mut connection = connect(config, relation).await?;
    let transaction = begin(&mut connection.client, config, relation).await?;
    let native = found_columns(&transaction, relation).await?;
    let sql = select(relation, &native, columns, order)?;
    let parameters: [&str; 0] = [];
    let rows = transaction.query_raw(&sql, parameters).await.map_err(|e| relation.fault(&e))?;
    let mut rows = Box::pin(rows);
    let mut batch = Batch::new(columns);
    while let Some(row) = rows.try_next().await.map_err(|e| relation.fault(&e))? {
        batch.push(&row).map_err(|e| relation.fault(&e))?;
        if batch.is_full() && !sink.send(batch.take(columns, relation)?).await {
            return Ok(());
        }
    }
    if batch.rows > 0 && !sink.send(batch.take(columns, relation)?).await {
        return Ok(());
    }
    drop(rows);
    end(transaction, relation).await
}

/// Rows under construction.
struct Batch {
    builders: Vec<Builder>,
    rows: usize,
    text_bytes: usize,
}

impl Batch {
    fn new(columns: &[ColumnDef]) -> Self {
        let builders = columns.iter().map(|c| Builder::new(c.kind)).collect();
        Self { builders, rows: 0, text_bytes: 0 }
    }

    fn push(&mut self, row: &Row) -> Result<(), Error> {
        for (i, builder) in self.builders.iter_mut().enumerate() {
            match builder {
                Builder::Int(b) => b.append_option(row.try_get::<_, Option<i64>>(i)?),
                Builder::Float(b) => b.append_option(row.try_get::<_, Option<f64>>(i)?),
                Builder::Text(b) => {
                    let text = row.try_get::<_, Option<&str>>(i)?;
                    self.text_bytes += text.map_or(0, str::len);
                    b.append_option(text);
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.text_bytes >= BATCH_TEXT_BYTES
    }

    fn take(&mut self, columns: &[ColumnDef], relation: Relation<'_>) -> Result<RecordBatch, Fault> {
        let full = std::mem::replace(self, Batch::new(columns));
        let place = relation.to_string();
        let arrays = full
            .builders
            .into_iter()
            .zip(columns)
            // why: a table's rows have no number of their own, so the fault names the column alone.
            .map(|(builder, column)| normalise(&builder.finish(), column, &place, None))
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(full.rows));
        RecordBatch::try_new_with_options(schema_of(columns), arrays, &options)
            .map_err(|e| Fault::new(Code::Internal, e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_leave_their_quotes() {
        let name = Name::new("ehr").unwrap();
        let relation = Relation { name: &name, schema: "s", table: "t\"; DROP TABLE x; --" };
        let column = ColumnDef::new("a\", (SELECT 1)) --", Kind::Int);
        let native = [Found { name: column.name.clone(), kind: Some(Kind::Int), native: "int4".into() }];
        let sql = select(relation, &native, &[column], Order::Canonical).unwrap();
        assert_eq!(sql, "SELECT \"a\"\", (SELECT 1)) --\"::int8 FROM \"s\".\"t\"\"; DROP TABLE x; --\" ORDER BY 1");
        let gone = ColumnDef::new("b", Kind::Int);
        assert_eq!(select(relation, &native, &[gone], Order::Any).unwrap_err().code, Code::DataChanged);
    }
}
