//! `data add`, `data show`, `data check`, `data regrade`, `data forgotten`, `data keys`, `data subject`.

use serde_json::json;
use tacit_data::{Source, View};
use tacit_governance::{DatasetDescriptor, Level};
use tacit_node::anonymity::Measured;
use tacit_node::datasets::{self, AddOptions};
use tacit_node::store::DatasetRow;
use tacit_node::subject::Subject;
use tacit_types::{Code, Fault, Lang, Name};

use super::{data_terms, forgotten, regrade, subject};
use crate::cli::{Cli, DataAddArgs, DataCommand};
use crate::home::Party;
use crate::output::Out;
use crate::progress::Progress;

/// Runs a `data` command.
pub async fn run(cli: &Cli, out: &Out, command: &DataCommand) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let done = match command {
        DataCommand::Add(args) => add(&party, out, args).await,
        DataCommand::Show { name } => show(&party, out, name.as_deref()).await,
        DataCommand::Check { name } => check(&party, out, name).await,
        DataCommand::Regrade(args) => regrade::regrade(&party, out, args).await,
        DataCommand::Forgotten { name, accept, reason } => {
            let accept = reason.as_deref().filter(|_| *accept);
            forgotten::run(&party, out, name.as_deref(), accept).await
        }
        DataCommand::Keys { name, version, rows } => keys(&party, out, name, *version, *rows).await,
        DataCommand::Subject { dataset, key, column } => {
            let subject = Subject { dataset, column: column.as_deref(), key };
            subject::run(&party, out, &subject).await
        }
    };
    party.store.close().await;
    done
}

/// The keys that an alignment found, in its order.
async fn keys(party: &Party, out: &Out, name: &str, version: Option<u32>, rows: Option<usize>) -> Result<(), Fault> {
    let progress = Progress::new(out.json(), out.say("looking for the keys among the rows", "正在数据行中查找键"));
    let keys = tacit_node::align::found::keys(&party.store, &party.home, &party.config.sources, name, version).await?;
    drop(progress);
    let room = rows.unwrap_or(keys.len());
    if keys.len() > room {
        let what = format!("--rows {room}: the alignment found {} keys", keys.len());
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    if out.json() {
        out.value(&json!({"keys": keys, "rows": room}));
        return Ok(());
    }
    let known = keys.into_iter().chain(core::iter::repeat(None)).take(room);
    for (i, key) in known.enumerate() {
        out.text(key.unwrap_or_else(|| format!("-{i}")));
    }
    Ok(())
}

async fn add(party: &Party, out: &Out, args: &DataAddArgs) -> Result<(), Fault> {
    let name = Name::new(&args.name)?;
    let source = absolute(Source::parse(&args.source)?)?;
    let mut options = AddOptions { text_columns: args.text.clone(), ..AddOptions::default() };
    for level in &args.level {
        let (column, levels) = split(level, "--level COLUMN=LEVELS")?;
        options.levels.push((column.to_owned(), parse_levels(levels)?));
    }
    for view in &args.view {
        let (name, sql) = split(view, "--view NAME=SQL")?;
        options.views.push(View { name: Name::new(name)?, sql: sql.to_owned() });
    }
    options.consent = args.consent.as_deref().map(tacit_jobs::filter::parse).transpose()?;
    if let Some(file) = &args.terms {
        let cards: Vec<_> = party.store.parties().await?.into_iter().map(|(_, card, _)| card).collect();
        let (terms, rules) = data_terms::read(file, &cards)?;
        (options.terms, options.purposes) = (Some(terms), rules);
    }
    let progress = Progress::new(out.json(), out.say("reading every row once", "正在逐行检查"));
    if let Some(all) = &args.all {
        let levels = parse_levels(all)?;
        options.all = Some(levels);
    }
    let (row, inspection) =
        datasets::add(&party.store, &party.keys, &name, source, &party.config.sources, options).await?;
    drop(progress);
    let descriptor = datasets::descriptor(&row)?;
    out.text(format!(
        "{} {} v{}  {}: {}  {}: {}",
        out.say("registered", "已登记"),
        row.name,
        row.version,
        out.say("rows", "行数"),
        inspection.rows,
        out.say("published as at most", "对外公布上限"),
        descriptor.row_bucket
    ));
    out.text(format!("id {}", row.id));
    if let Some(line) = data_terms::line(out, &descriptor) {
        out.text(line);
    }
    columns(out, &descriptor);
    out.value(&json!({
        "name": row.name, "version": row.version, "id": row.id.to_string(), "rows": row.rows,
        "row_bucket": descriptor.row_bucket, "columns": columns_json(&descriptor), "terms": data_terms::view(&descriptor),
    }));
    Ok(())
}

/// A file is registered under its absolute path: the daemon may run elsewhere.
fn absolute(source: Source) -> Result<Source, Fault> {
    let full = |path: std::path::PathBuf| {
        std::fs::canonicalize(&path).map_err(|e| Fault::new(Code::DataFileAbsent, format!("{}: {e}", path.display())))
    };
    Ok(match source {
        Source::Csv { path } => Source::Csv { path: full(path)? },
        Source::Parquet { path } => Source::Parquet { path: full(path)? },
        other => other,
    })
}

fn split<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), Fault> {
    text.split_once('=').ok_or_else(|| Fault::new(Code::ArgsInvalid, format!("`{text}` is not {form}")))
}

fn parse_levels(text: &str) -> Result<Vec<Level>, Fault> {
    text.split(',').map(|word| Level::parse(word.trim())).collect()
}

fn columns(out: &Out, descriptor: &tacit_governance::DatasetDescriptor) {
    let rows: Vec<Vec<String>> = descriptor
        .columns
        .iter()
        .map(|c| {
            let levels: Vec<&str> = c.levels.iter().map(|l| l.word()).collect();
            let levels = if levels.is_empty() { out.say("none", "无").to_owned() } else { levels.join(", ") };
            vec![c.name.clone(), format!("{:?}", c.kind).to_lowercase(), levels]
        })
        .collect();
    out.table(&[out.say("column", "列"), out.say("kind", "类型"), out.say("may leave", "可披露级别")], &rows);
}

fn columns_json(descriptor: &tacit_governance::DatasetDescriptor) -> serde_json::Value {
    descriptor.columns.iter().map(|c| json!({"name": c.name, "kind": c.kind, "levels": c.levels})).collect()
}

async fn show(party: &Party, out: &Out, name: Option<&str>) -> Result<(), Fault> {
    let rows = party.store.datasets().await?;
    if let Some(name) = name {
        let row = rows.iter().find(|r| r.name == name).ok_or_else(|| Fault::new(Code::DataUnknown, name))?;
        let descriptor = datasets::descriptor(row)?;
        let kept = datasets::kept(row)?;
        out.text(format!("{} v{}  id {}", row.name, row.version, row.id));
        out.text(format!("{}: {}", out.say("views", "视图"), descriptor.views.join(", ")));
        if let Some(line) = aligned_line(out, &descriptor) {
            out.text(line);
        }
        if let Some(line) = data_terms::line(out, &descriptor) {
            out.text(line);
        }
        let graded = regrade::Known::of(party, row).await?;
        graded.lines(out).into_iter().for_each(|line| out.text(line));
        columns(out, &descriptor);
        out.value(&json!({
            "regradings": graded.view(),
            "name": row.name, "version": row.version, "id": row.id.to_string(), "rows": row.rows,
            "row_bucket": descriptor.row_bucket, "views": descriptor.views, "columns": columns_json(&descriptor),
            "terms": data_terms::view(&descriptor),
            "source": kept.registration.source, "aligned": aligned_json(&descriptor),
            "anonymity": kept.anonymity.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()),
        }));
        return Ok(());
    }
    let listed: Vec<(&DatasetRow, DatasetDescriptor)> =
        rows.iter().map(|row| Ok((row, datasets::descriptor(row)?))).collect::<Result<_, Fault>>()?;
    let lines: Vec<Vec<String>> = listed
        .iter()
        .map(|(r, d)| {
            let aligned = d.aligned.as_ref().map_or(String::new(), |a| {
                format!("{} {}, {} {}", a.level.word(), a.job.short(), out.say("until", "至"), a.expires)
            });
            vec![
                r.name.clone(),
                r.version.to_string(),
                r.rows.to_string(),
                r.id.short(),
                r.added_at.to_string(),
                aligned,
            ]
        })
        .collect();
    let head = [
        out.say("dataset", "数据集"),
        out.say("version", "版本"),
        out.say("rows", "行数"),
        "id",
        out.say("registered", "登记时间"),
        out.say("aligned", "对齐"),
    ];
    out.table(&head, &lines);
    let list: Vec<_> = listed
        .iter()
        .map(|(r, d)| {
            json!({"name": r.name, "version": r.version, "rows": r.rows, "id": r.id.to_string(),
                "aligned": aligned_json(d)})
        })
        .collect();
    out.value(&list);
    Ok(())
}

/// Where an aligned version comes from.
fn aligned_json(descriptor: &DatasetDescriptor) -> Option<serde_json::Value> {
    descriptor.aligned.as_ref().map(|a| {
        json!({"job": a.job.to_string(), "level": a.level.word(), "base": a.base.to_string(), "expires": a.expires.0,
            "parties": a.parties.iter().map(ToString::to_string).collect::<Vec<_>>()})
    })
}

fn aligned_line(out: &Out, descriptor: &DatasetDescriptor) -> Option<String> {
    let a = descriptor.aligned.as_ref()?;
    let parties: Vec<String> = a.parties.iter().map(|p| p.short()).collect();
    Some(format!(
        "{} {} ({}), {} {}, {} {}, {} {}",
        out.say("aligned by job", "由作业对齐："),
        a.job.short(),
        a.level.word(),
        out.say("of version", "来源版本"),
        a.base.short(),
        out.say("with", "参与方"),
        parties.join(", "),
        out.say("good until", "有效至"),
        a.expires
    ))
}

/// What was measured of a dataset's anonymity.
fn anonymity_line(out: &Out, found: &Measured) -> String {
    let (columns, k, groups, rows) = (found.quasi_identifiers.join(", "), found.k, found.groups, found.rows);
    match out.lang() {
        Lang::En => format!("k measured over {columns}: {k}, of {groups} groups with {rows} rows"),
        Lang::Zh => format!("按 {columns} 实测 k = {k}，共 {groups} 组、{rows} 行"),
    }
}

async fn check(party: &Party, out: &Out, name: &str) -> Result<(), Fault> {
    let rows = party.store.datasets().await?;
    let row = rows.iter().find(|r| r.name == name).ok_or_else(|| Fault::new(Code::DataUnknown, name))?;
    let progress = Progress::new(out.json(), out.say("checking the rows", "正在检查数据行"));
    let dataset = tacit_data::Dataset::open(datasets::kept(row)?.registration, &party.config.sources).await?;
    dataset.check().await?;
    let anonymity = datasets::measure_again(row, &party.config.sources).await?;
    drop(progress);
    out.text(format!("{name}: {}", out.say("readable, with the registered columns", "可读取，列与登记一致")));
    if let Some(found) = &anonymity {
        out.text(anonymity_line(out, found));
    }
    out.value(&json!({"name": name, "ok": true, "anonymity": anonymity}));
    Ok(())
}
