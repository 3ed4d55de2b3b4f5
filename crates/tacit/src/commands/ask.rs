//! `contract draft --ask`: asks for the terms of a contract, one after the other, and writes the file that `contract draft`
//! reads. What is written is what is drafted: nothing is in the contract that is not in the file.

use std::io::{BufRead, Write};
use std::path::Path;

use tacit_governance::{DatasetDescriptor, ExactTerms};
use tacit_types::{Code, Fault, Name};
use toml::{Table, Value};

use crate::output::{Out, plain};

/// Kinds whose terms are asked for. Others want terms of their own: whoever needs them writes the file.
const KINDS: [&str; 2] = ["stats/v1", "count/v1"];
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 4096;

/// What is known before anything is asked.
pub struct Known<'a> {
    /// Who drafts.
    pub own: &'a Name,
    /// Who is enrolled.
    pub parties: &'a [Name],
    /// The newest version of each dataset, with its owner's name.
    pub offered: &'a [(Name, &'a DatasetDescriptor)],
}

struct Asking<'a> {
    out: &'a Out,
    input: &'a mut dyn BufRead,
}

impl Asking<'_> {
    /// Asks until the answer can be used. Nothing but Return takes what stands in brackets.
    fn about<T>(
        &mut self,
        (en, zh): (&str, &str),
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Fault> {
        let what = self.out.say(en, zh);
        loop {
            let mut shown = std::io::stderr();
            let _ = match default {
                "" => write!(shown, "{what}: "),
                _ => write!(shown, "{what} [{default}]: "),
            };
            let _ = shown.flush();
            let mut line = Vec::new();
            let most = ANSWER_BYTES_MAX as u64 + 1;
            std::io::Read::take(&mut *self.input, most)
                .read_until(b'\n', &mut line)
                .map_err(|e| Fault::new(Code::IoFailed, format!("standard input: {e}")))?;
            if line.is_empty() || line.len() > ANSWER_BYTES_MAX {
                let why = if line.is_empty() { "there is none" } else { "it is too long" };
                return Err(Fault::new(Code::ArgsInvalid, format!("the answer to `{what}`: {why}")));
            }
            let text = String::from_utf8_lossy(&line);
            let text = if text.trim().is_empty() { default } else { text.trim() };
            match read(text) {
                Ok(answer) => return Ok(answer),
                Err(why) => eprintln!("  {why}"),
            }
        }
    }

    fn number(&mut self, what: (&str, &str), default: u64, least: u64) -> Result<i64, Fault> {
        let wrong = format!("{} {least}", self.out.say("a whole number, at least", "整数，至少为"));
        self.about(what, &default.to_string(), |text| {
            text.parse::<i64>()
                .ok()
                .filter(|n| u64::try_from(*n).is_ok_and(|n| n >= least))
                .ok_or_else(|| wrong.clone())
        })
    }

    /// Some of a list, by their names or places from 1.
    fn some(&mut self, what: (&str, &str), all: &[String], default: &str) -> Result<Vec<usize>, Fault> {
        let wrong = self.out.say("none such is offered", "没有该项").to_owned();
        self.about(what, default, |text| {
            if text == "all" {
                return Ok((0..all.len()).collect());
            }
            let place = |word: &str| {
                let named = all.iter().position(|name| name == word);
                let numbered = || word.parse::<usize>().ok()?.checked_sub(1).filter(|place| *place < all.len());
                named.or_else(numbered).ok_or_else(|| format!("`{}`: {wrong}", plain(word)))
            };
            let mut places =
                text.split([',', ' ']).filter(|w| !w.is_empty()).map(place).collect::<Result<Vec<_>, _>>()?;
            places.sort_unstable();
            places.dedup();
            if places.is_empty() { Err(wrong.clone()) } else { Ok(places) }
        })
    }
}

fn texts(all: impl IntoIterator<Item = impl AsRef<str>>) -> Value {
    Value::Array(all.into_iter().map(|text| Value::String(text.as_ref().to_owned())).collect())
}

/// Asks, and gives the text of the file.
///
/// # Errors
/// `args.invalid` when there are no datasets to ask about, or no answer.
pub fn ask(out: &Out, input: &mut dyn BufRead, file: &Path, known: &Known<'_>) -> Result<String, Fault> {
    if known.offered.is_empty() {
        return Err(Fault::new(Code::ArgsInvalid, "no party offers a dataset"));
    }
    let mut asking = Asking { out, input };
    let name = |text: &str| Name::new(text).map_err(|fault| fault.what);
    let stem = file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| Name::new(stem).is_ok()).unwrap_or("");
    let mut written = Table::new();
    let called = asking.about(("name of the contract", "合同名称"), stem, name)?;
    written.insert("name".into(), called.to_string().into());
    let said = out.say("say what the results are for; there is no wildcard", "请写明结果的用途；不接受通配").to_owned();
    let purpose = |text: &str| {
        if text.is_empty() || text.contains('*') { Err(said.clone()) } else { Ok(text.to_owned()) }
    };
    written.insert("purpose".into(), asking.about(("purpose", "用途"), "", purpose)?.into());
    let kinds = KINDS.map(str::to_owned);
    let chosen = asking.some(("kinds of jobs", "作业类型"), &kinds, &KINDS.join(","))?;
    written.insert("kinds".into(), texts(chosen.into_iter().filter_map(|at| kinds.get(at))));
    let stranger = out.say("not enrolled", "尚未登记").to_owned();
    let party = |text: &str| match known.parties.iter().find(|p| p.as_str() == text) {
        Some(party) => Ok(party.to_string()),
        None => Err(format!("`{}`: {stranger}", plain(text))),
    };
    written
        .insert("demander".into(), asking.about(("who uses the results", "需求方"), known.own.as_str(), party)?.into());

    let offered: Vec<String> = known.offered.iter().map(|(owner, d)| format!("{owner}/{}", d.name)).collect();
    for (at, (label, (_, dataset))) in offered.iter().zip(known.offered).enumerate() {
        let columns: Vec<&str> = usable(dataset).map(|(name, _)| name).collect();
        eprintln!("  {}. {label}: {}", at.saturating_add(1), plain(&columns.join(", ")));
    }
    let chosen = asking.some(("datasets, by name or number", "数据集（名称或序号）"), &offered, "all")?;
    let mut datasets = Vec::new();
    for (label, (owner, dataset)) in chosen.iter().filter_map(|at| Some((offered.get(*at)?, known.offered.get(*at)?))) {
        let mut grant = Table::new();
        grant.insert("owner".into(), owner.to_string().into());
        grant.insert("dataset".into(), dataset.name.to_string().into());
        let columns: Vec<String> = usable(dataset).map(|(name, _)| name.to_owned()).collect();
        let (en, zh) = (format!("columns of {label}"), format!("{label} 的列"));
        let granted = asking.some((&en, &zh), &columns, "all")?;
        let levels = usable(dataset).enumerate().filter(|(at, _)| granted.contains(at));
        let levels: Table = levels.map(|(_, (name, levels))| (name.to_owned(), texts(levels))).collect();
        grant.insert("columns".into(), levels.into());
        datasets.push(Value::Table(grant));
    }
    let owners = datasets.len() as u64;
    written.insert("quota_jobs".into(), asking.number(("jobs in all", "作业总数"), 20, 1)?.into());
    written.insert("valid_days".into(), asking.number(("days", "有效天数"), 90, 1)?.into());
    let rows = asking.number(("fewest rows of which anything is said", "公布结果所需的最少行数"), 10, 1)?;
    let contributors = ("fewest parties of which anything is said", "公布结果所需的最少参与方数");
    let contributors = asking.number(contributors, owners.clamp(2, 3), 2)?;
    let change = ("rows by which two questions differ, 0 for any", "两次查询至少相差的行数，0 为不限");
    let change = asking.about(change, &rows.clamp(2, 10).to_string(), |text| match text.parse::<u32>() {
        Ok(0) => Ok(0),
        Ok(n) => ExactTerms::new(n.into()).map(|_| i64::from(n)).map_err(|fault| fault.what),
        Err(error) => Err(error.to_string()),
    })?;
    written
        .insert("cohort".into(), Table::from_iter([("rows", rows), ("contributors", contributors)].map(pair)).into());
    if change > 0 {
        written.insert("exact".into(), Table::from_iter([("change_min", change)].map(pair)).into());
    }
    written.insert("datasets".into(), datasets.into());
    toml::to_string(&written).map_err(|e| Fault::new(Code::Internal, e.to_string()))
}

fn pair((name, number): (&str, i64)) -> (String, Value) {
    (name.to_owned(), number.into())
}

/// Columns of which something may leave, with the words of what.
fn usable(dataset: &DatasetDescriptor) -> impl Iterator<Item = (&str, Vec<&'static str>)> {
    let offered = dataset.columns.iter().filter(|column| !column.levels.is_empty());
    offered.map(|column| (column.name.as_str(), column.levels.iter().map(|level| level.word()).collect()))
}
