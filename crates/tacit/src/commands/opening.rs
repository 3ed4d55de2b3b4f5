//! `receipt opening`, `open` and `forget`: the figures behind the commitments of receipts, for a regulator, and for nobody
//! once they are forgotten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tacit_governance::{PartyCard, PartyRole};
use tacit_node::openings;
use tacit_receipts::opening::{self, Opened, SEALED_OPENING_BYTES_MAX};
use tacit_receipts::{Figure, JointReceipt, KeyHistory, KeyRole, Leaf, Opening, SealedOpening, Trust};
use tacit_types::{Code, Fault, Hash, Name, NodeId, StatementId};

use crate::cli::Cli;
use crate::home::{Party, folder};
use crate::output::Out;

/// What `receipt opening` is asked.
#[derive(Args)]
pub struct OpeningArgs {
    /// A commitment, or a job's id, or its beginning.
    pub commitment: Option<String>,
    /// Which figure of the job, where it has several.
    #[arg(long, value_enum, requires = "commitment")]
    pub figure: Option<FigureWord>,
    /// The regulator that may open it, by name.
    #[arg(long, value_name = "REGULATOR", requires_all = ["commitment", "out"])]
    pub to: Option<Name>,
    /// The file to write.
    #[arg(long, requires = "to")]
    pub out: Option<PathBuf>,
}

/// The figures that an attestation may commit to, as they are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum FigureWord {
    /// Rows of the dataset version.
    Rows,
    /// Rows that the local query read.
    RowsScanned,
    /// Processor time.
    Cpu,
    /// Memory of the local query.
    Memory,
}

impl FigureWord {
    fn number(self) -> u8 {
        match self {
            FigureWord::Rows => opening::DATASET_ROWS,
            FigureWord::RowsScanned => opening::ROWS_SCANNED,
            FigureWord::Cpu => opening::CPU_MILLIS,
            FigureWord::Memory => opening::MEMORY_BYTES,
        }
    }
}

/// What `receipt open` is asked.
#[derive(Args)]
pub struct OpenArgs {
    /// A file made by `receipt opening`.
    pub opening: PathBuf,
    /// A bundle made by `receipt export`.
    pub bundle: PathBuf,
    /// The trust file to verify with.
    #[arg(long)]
    pub trust: Option<PathBuf>,
}

/// A figure that a receipt commits to, with whose it is.
pub struct Shown {
    /// The party's name.
    pub party: String,
    /// What the party committed to.
    pub figure: Figure,
}

impl Shown {
    /// What it is, its commitment, and its class where it is a count of use.
    pub fn cells(&self, out: &Out) -> Vec<String> {
        let (en, zh) = opening::word(self.figure.what);
        vec![out.say(en, zh).to_owned(), self.party.clone(), self.figure.commitment.short(), class(self.figure.what)]
    }

    /// The same for programs.
    pub fn value(&self) -> Value {
        let what = self.figure.what;
        json!({
            "what": what, "unit": opening::unit_of(what).map(|unit| unit.word()), "party": self.party,
            "commitment": self.figure.commitment.to_string(), "class": Some(class(what)).filter(|class| !class.is_empty()),
        })
    }
}

/// The class of a figure; nothing for what is no count of use.
fn class(what: u8) -> String {
    opening::class_of(what).map(|class| format!("{class:?}")).unwrap_or_default()
}

/// The figures that a receipt of a log commits to. `leaves` say which keys its parties have had, `beside` are the attestations
/// that receipts carry by hash.
pub fn figures(receipt: &JointReceipt, leaves: &[Vec<u8>], beside: &BTreeMap<StatementId, Vec<u8>>) -> Vec<Shown> {
    let record = &receipt.record;
    let mut keys = KeyHistory::new(&record.origin);
    for (index, leaf) in (0u64..).zip(leaves) {
        if let Ok(Leaf::PartyRotation(change)) = Leaf::read(leaf) {
            // why: a change that does not follow is a fault of the log, which a verifier names.
            let _ = keys.follow_any(&change, Some(index));
        }
    }
    let committed = opening::committed(receipt, &|id| beside.get(id).cloned(), &|key| keys.id_of(KeyRole::Node, key));
    let name = |party: &NodeId| record.party(party).map(|entry| entry.name.to_string()).unwrap_or_default();
    committed.into_iter().map(|found| Shown { party: name(&found.party), figure: found.figure }).collect()
}

/// An opening that this node keeps, or what is left of it.
struct Row {
    commitment: Hash,
    /// None once it is forgotten.
    opening: Option<Opening>,
}

fn rows(home: &Path, wanted: Option<&str>) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    for (commitment, known) in openings::list(home)? {
        let opening = if known { Some(openings::open(home, &commitment)?) } else { None };
        let job = opening.as_ref().map(|o| o.job.to_string());
        let begins = |text: &str| {
            text.len() >= 4
                && (commitment.to_string().starts_with(text) || job.as_ref().is_some_and(|j| j.starts_with(text)))
        };
        if wanted.is_none_or(begins) {
            rows.push(Row { commitment, opening });
        }
    }
    Ok(rows)
}

/// The openings that fit, of one figure where that is named.
fn fitting(home: &Path, wanted: &str, figure: Option<FigureWord>) -> Result<Vec<Row>, Fault> {
    let of = |row: &Row| {
        figure.is_none_or(|figure| row.opening.as_ref().is_some_and(|opening| opening.what == figure.number()))
    };
    Ok(rows(home, Some(wanted))?.into_iter().filter(of).collect())
}

fn ambiguous(found: &[Row], wanted: &str) -> Fault {
    let name = |row: &Row| match &row.opening {
        Some(opening) => format!("{} ({})", row.commitment.short(), opening::word(opening.what).0),
        None => row.commitment.short(),
    };
    let named = found.iter().map(name).collect::<Vec<_>>().join(", ");
    let what = match found {
        [] => format!("no opening fits `{wanted}`"),
        _ => format!("{} openings fit `{wanted}`; name one by its commitment or with --figure: {named}", found.len()),
    };
    Fault::new(Code::ReceiptUnknown, what)
}

fn one(home: &Path, wanted: &str, figure: Option<FigureWord>) -> Result<Row, Fault> {
    let mut found = fitting(home, wanted, figure)?;
    match (found.len(), found.pop()) {
        (1, Some(row)) => Ok(row),
        (_, last) => {
            found.extend(last);
            Err(ambiguous(&found, wanted))
        }
    }
}

fn line(row: &Row) -> Value {
    let opening = row.opening.as_ref();
    json!({
        "commitment": row.commitment.to_string(), "forgotten": opening.is_none(),
        "job": opening.map(|o| o.job.to_string()), "attempt": opening.map(|o| o.attempt.0),
        "what": opening.map(|o| o.what), "value": opening.map(Opening::value),
        "class": opening.map(|o| class(o.what)).filter(|class| !class.is_empty()),
    })
}

/// Lists what this node can open, or seals one opening to a regulator.
pub async fn kept(cli: &Cli, out: &Out, args: &OpeningArgs) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let done = match (args.commitment.as_deref(), &args.to, args.out.as_deref()) {
        (Some(wanted), Some(to), Some(file)) => {
            hand_out(&party, &folder(cli), out, (wanted, args.figure), (to, file)).await
        }
        (wanted, ..) => list(&folder(cli), out, wanted, args.figure),
    };
    party.store.close().await;
    done
}

fn list(home: &Path, out: &Out, wanted: Option<&str>, figure: Option<FigureWord>) -> Result<(), Fault> {
    let rows = match wanted {
        Some(wanted) => fitting(home, wanted, figure)?,
        None => rows(home, None)?,
    };
    let shown = |row: &Row| match &row.opening {
        None => vec![row.commitment.short(), String::new(), out.say("forgotten", "已销毁").to_owned(), String::new()],
        Some(opening) => {
            let (en, zh) = opening::word(opening.what);
            vec![row.commitment.short(), opening.job.short(), out.say(en, zh).to_owned(), opening.value().to_string()]
        }
    };
    let head =
        [out.say("commitment", "承诺"), out.say("job", "作业"), out.say("what", "内容"), out.say("value", "数值")];
    out.table(&head, &rows.iter().map(shown).collect::<Vec<_>>());
    out.value(&rows.iter().map(line).collect::<Vec<_>>());
    Ok(())
}

async fn hand_out(
    party: &Party,
    home: &Path,
    out: &Out,
    (wanted, figure): (&str, Option<FigureWord>),
    (to, file): (&Name, &Path),
) -> Result<(), Fault> {
    let row = one(home, wanted, figure)?;
    let opening = openings::open(home, &row.commitment)?;
    let known = |cards: Vec<PartyCard>| cards.into_iter().find(|c| c.name == *to);
    let mut card = known(party.store.parties().await?.into_iter().map(|(_, card, _)| card).collect());
    if card.is_none() {
        // One that has joined since is looked up where everyone is.
        let client = party.connect().await?;
        let roster = party.roster(&client).await;
        client.close().await;
        card = known(roster?.into_iter().map(|(card, _)| card).collect());
    }
    let card = card
        .filter(|card| card.role == PartyRole::Regulator)
        .ok_or_else(|| Fault::new(Code::ArgsInvalid, format!("`{to}` is not enrolled as a regulator")))?;
    let sealed = opening.seal(&mut tacit_node::os_rng()?, &card.seal)?;
    super::receipt::write(file, &sealed)?;
    out.text(format!("{}: {} {to} ({})", file.display(), out.say("for", "收件方："), card.root));
    out.value(&json!({
        "file": file.display().to_string(), "commitment": row.commitment.to_string(), "job": opening.job.to_string(),
        "to": to, "root": card.root.to_string(),
    }));
    Ok(())
}

/// Opens what was sealed to this party, and checks it against the receipt in a bundle. Nothing is asked of anyone.
pub async fn open(cli: &Cli, out: &Out, file: &Path, bundle: &Path, trust: Option<&Path>) -> Result<(), Fault> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())));
    let size = std::fs::metadata(file).map(|m| m.len()).unwrap_or_default();
    if size > SEALED_OPENING_BYTES_MAX as u64 {
        return Err(Fault::new(Code::ReceiptOpening, format!("{}: {size} bytes", file.display())));
    }
    let trust = trust.map(|path| read(path).and_then(|bytes| Trust::parse(&bytes))).transpose()?;
    let party = Party::open(cli).await?;
    let opened = SealedOpening::parse(&read(file)?).and_then(|sealed| sealed.open(&party.keys.seal));
    party.store.close().await;
    let opening = opened?;
    let Opened { leaf, record } = opening::find(&opening, &read(bundle)?, trust.as_ref())?;
    let (en, zh) = opening::word(opening.what);
    let who = record.party(&opening.party).map(|entry| entry.name.to_string()).unwrap_or_default();
    out.text(format!("{} {leaf}: {who}, {}: {}", out.say("leaf", "叶"), out.say(en, zh), opening.value()));
    if opening::class_of(opening.what).is_some() {
        out.text(out.say(
            "This is the party's own word (class C): it informs, nobody else has counted it, and it is never billed.",
            "此数值为该方单方自述（C 类）：仅供参考，无他方计数，不计费。",
        ));
    }
    if trust.is_none() {
        out.text(out.say(
            "The keys came with the bundle: without --trust anyone could have made it.",
            "密钥来自该证据包本身：未指定 --trust 时，任何人都可能伪造它。",
        ));
    }
    out.value(&json!({
        "leaf": leaf, "job": record.job.to_string(), "attempt": record.attempt.0, "party": who,
        "key": opening.party.to_string(), "what": opening.what, "value": opening.value(),
        "class": Some(class(opening.what)).filter(|class| !class.is_empty()),
        "billable": opening::class_of(opening.what).map(|_| false),
        "commitment": opening.commitment().to_string(), "pinned": trust.is_some(),
    }));
    Ok(())
}

/// Forgets what opens a commitment, or every figure of a job, for good.
pub async fn forget(cli: &Cli, out: &Out, wanted: &str, figure: Option<FigureWord>) -> Result<(), Fault> {
    // What is no party's folder has nothing to forget.
    let party = Party::open(cli).await?;
    party.store.close().await;
    let found = fitting(&folder(cli), wanted, figure)?;
    let job = |row: &Row| row.opening.as_ref().map(|opening| opening.job);
    let first = found.first().and_then(job);
    let of_one_job =
        first.is_some_and(|job| job.to_string().starts_with(wanted)) && found.iter().all(|row| job(row) == first);
    if found.is_empty() || (found.len() > 1 && !of_one_job) {
        return Err(ambiguous(&found, wanted));
    }
    let mut before = true;
    for row in &found {
        let known = openings::forget(&folder(cli), &row.commitment)?;
        before &= !known;
        out.text(format!(
            "{}: {}",
            row.commitment.short(),
            match known {
                true => out.say("forgotten; the receipt stays valid", "已销毁；凭证仍然有效"),
                false => out.say("was forgotten before", "此前已销毁"),
            }
        ));
    }
    let commitments: Vec<String> = found.iter().map(|row| row.commitment.to_string()).collect();
    out.value(&json!({
        "commitment": commitments.first(), "commitments": commitments, "forgotten": true, "before": before,
    }));
    Ok(())
}
