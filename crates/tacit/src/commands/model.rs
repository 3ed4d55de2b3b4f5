//! `model import`, `model list`; what is divided, and what is published.

use std::path::Path;

use serde_json::json;
use tacit_models::import::Format;
use tacit_models::{Feature, Import, Meta, Model};
use tacit_node::models;
use tacit_types::{Code, Fault, Name};

use super::{divide, online};
use crate::cli::{Cli, ModelCommand, ModelImportArgs};
use crate::home::Party;
use crate::output::Out;

/// Runs a `model` command.
pub async fn run(cli: &Cli, out: &Out, command: &ModelCommand) -> Result<(), Fault> {
    if let ModelCommand::Score(args) = command {
        return online::score(out, args);
    }
    if let ModelCommand::Divide(args) = command {
        return divide::divide(cli, out, args);
    }
    let party = Party::open(cli).await?;
    let done = match command {
        ModelCommand::Import(args) => import(&party, out, args).await,
        ModelCommand::List => list(&party, out).await,
        ModelCommand::Publish(args) => online::publish(&party, out, args).await,
        ModelCommand::Unpublish { name } => online::unpublish(&party, out, name).await,
        ModelCommand::Caller(command) => online::caller(&party, out, command).await,
        ModelCommand::Call(command) => online::call(&party, out, command).await,
        ModelCommand::Divide(_) | ModelCommand::Score(_) => Ok(()),
    };
    party.store.close().await;
    done
}

async fn import(party: &Party, out: &Out, args: &ModelImportArgs) -> Result<(), Fault> {
    let name = Name::new(&args.name)?;
    let ranges = args.range.iter().map(|text| range(text)).collect::<Result<Vec<_>, _>>()?;
    let ranges: Vec<(&str, f64, f64)> = ranges.iter().map(|(n, a, b)| (n.as_str(), *a, *b)).collect();
    let (row, model) = models::add(&party.store, &party.keys, &name, |meta| {
        read(&args.file, &args.format, &args.features, &args.categories, meta)?.with_ranges(&ranges)
    })
    .await?;
    let family = models::family(&model);
    out.text(format!(
        "{} {} v{}  {}  {} {}",
        out.say("imported", "已导入"),
        row.name,
        row.version,
        family.word(),
        model.features().len(),
        out.say("features", "个特征")
    ));
    out.text(format!("id {}", row.id));
    out.text(out.say(
        "The model stays here. Others see its name, version and features.",
        "模型保留在本地；其他方仅能看到其名称、版本和特征名。",
    ));
    out.value(&json!({"name": row.name, "version": row.version, "id": row.id.to_string(), "family": family.word(),
        "features": model.features().iter().map(|f| &f.name).collect::<Vec<_>>()}));
    Ok(())
}

/// Reads a model file of a format that people name, with the names of its features and categories where it has none.
///
/// # Errors
/// `args.invalid` for a format that is not known and for categories without a feature; those of the file and of its
/// reader.
pub fn read(path: &Path, format: &str, features: &[String], categories: &[String], meta: Meta) -> Result<Model, Fault> {
    let categories = categories.iter().map(|text| listed(text)).collect::<Result<Vec<_>, _>>()?;
    let format = Format::named(format).ok_or_else(|| {
        let known: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
        Fault::new(Code::ArgsInvalid, format!("--format `{format}`: one of {}", known.join(", ")))
    })?;
    let shown = path.display();
    let file = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{shown}: {e}"));
    // Before it is read: a file over the cap is not taken into memory.
    let size = std::fs::metadata(path).map_err(file)?.len();
    if size > tacit_models::limits::MODEL_FILE_BYTES_MAX as u64 {
        let what = format!("{shown}: {size} bytes; at most {}", tacit_models::limits::MODEL_FILE_BYTES_MAX);
        return Err(Fault::new(Code::ModelTooLarge, what));
    }
    let bytes = std::fs::read(path).map_err(file)?;
    let features = features.iter().map(Feature::numeric).collect();
    let read = format.read(Import { meta: meta.clone(), features, categories }, &bytes);
    Ok(read.map_err(|f| Fault::new(f.code, format!("{shown}: {}", f.what)))?.named(meta))
}

/// `FEATURE=LEAST..GREATEST`
fn range(text: &str) -> Result<(String, f64, f64), Fault> {
    let wrong = || Fault::new(Code::ArgsInvalid, format!("--range `{text}`: FEATURE=LEAST..GREATEST is expected"));
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (least, greatest) = rest.split_once("..").ok_or_else(wrong)?;
    Ok((name.to_owned(), least.parse().map_err(|_| wrong())?, greatest.parse().map_err(|_| wrong())?))
}

/// `FEATURE=CATEGORY,CATEGORY`
fn listed(text: &str) -> Result<(String, Vec<String>), Fault> {
    let wrong =
        || Fault::new(Code::ArgsInvalid, format!("--categories `{text}`: FEATURE=CATEGORY,CATEGORY is expected"));
    let (name, rest) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    Ok((name.to_owned(), rest.split(',').map(str::to_owned).collect()))
}

async fn list(party: &Party, out: &Out) -> Result<(), Fault> {
    let rows = party.store.models().await?;
    let mut table = Vec::new();
    let mut values = Vec::new();
    for row in &rows {
        let descriptor = models::descriptor(row)?;
        table.push(vec![
            row.name.clone(),
            format!("v{}", row.version),
            descriptor.family.word().to_owned(),
            descriptor.features.len().to_string(),
            row.id.short(),
            row.added_at.to_string(),
        ]);
        values.push(json!({"name": row.name, "version": row.version, "id": row.id.to_string(),
            "family": descriptor.family.word(), "features": descriptor.features}));
    }
    let head = [
        out.say("model", "模型"),
        out.say("version", "版本"),
        out.say("family", "类别"),
        out.say("features", "特征数"),
        out.say("id", "编号"),
        out.say("imported", "导入时间"),
    ];
    out.table(&head, &table);
    values.extend(online::published(party, out).await?.into_iter().map(|p| json!({"published": p})));
    out.value(&values);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_name_and_two_numbers() {
        assert_eq!(range("x=-1.5..2e3").unwrap(), ("x".to_owned(), -1.5, 2000.0));
        for wrong in ["x", "x=1", "x=1..", "x=..2", "x=a..b"] {
            assert_eq!(range(wrong).unwrap_err().code, Code::ArgsInvalid, "{wrong}");
        }
    }
    #[test]
    fn categories_stand_in_the_order_of_their_codes() {
        let (name, list) = listed("plan=prepaid,contract, both").unwrap();
        assert_eq!((name.as_str(), list), ("plan", ["prepaid", "contract", " both"].map(String::from).to_vec()));
        for wrong in ["plan", "=a,b", ""] {
            assert_eq!(listed(wrong).unwrap_err().code, Code::ArgsInvalid, "{wrong}");
        }
    }

    /// A file of XGBoost before 3.1 has the codes of its categories alone.
    #[test]
    fn a_file_of_codes_is_read_with_its_categories() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/fixtures/models/xgb-ward-1.7.json");
        let meta = || Meta { owner: tacit_types::NodeId([7; 32]), name: Name::new("m").unwrap(), version: 1 };
        let fault = read(&place, "xgboost", &[], &[], meta()).unwrap_err();
        assert_eq!(fault.code, Code::ModelFeatures);
        assert!(fault.what.contains("\"ward\"") && fault.what.contains("--categories"), "{}", fault.what);
        let wards = (0..40).map(|i| format!("w{i}")).collect::<Vec<_>>().join(",");
        let model = read(&place, "xgboost", &[], &[format!("ward={wards}")], meta()).unwrap();
        assert_eq!(model.features().last().unwrap().categories(), 40);
        let other = read(&place, "xgboost", &[], &[format!("place={wards}")], meta()).unwrap_err();
        assert_eq!(other.code, Code::ModelFeatures);
        let number = read(&place, "xgboost", &[], &[format!("ward={wards}"), "mean_area=a,b".into()], meta());
        assert_eq!(number.unwrap_err().code, Code::ModelFeatures);
    }
}
