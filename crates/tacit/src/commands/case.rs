//! `case open`, `step`, `list`, `show`: complaints, incidents and conduct records.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tacit_node::Client;
use tacit_receipts::Leaf;
use tacit_receipts::cases::{
    Act, CASE_VERSION, CaseView, Complaint, ConductRecord, Incident, Kind, Opening, Said, State, Step,
};
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::LeafRef;
use tacit_types::{Code, Fault, Name, NodeId};

use super::money::{Books, evidence, parse_time, say};
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

#[derive(Subcommand)]
pub enum CaseCommand {
    /// Open a case: a signed statement in the log that says whom it is about, who decides, and by when.
    #[command(
        after_help = "Examples: tacit case open complaint --about bank-a --decider authority --topic overuse --leaf 17 --text 'more rows than agreed' --answer-by 2026-12-08 --decide-by 2027-01-08\n          tacit case open incident --decider authority --topic leak --text 'a backup was lost' --answer-by 2026-12-02 --decide-by 2027-01-08\n          tacit case open conduct --about bank-a --decider authority --topic late-payment --text 'settlement 42 unpaid' --leaf 42 --answer-by 2026-12-08 --decide-by 2027-01-08 --until 2027-12-01"
    )]
    Open(Box<OpenArgs>),
    /// Take a step in a case.
    #[command(
        after_help = "Example: tacit case step 21 answer --text 'see the enclosed count' --evidence ours.csv\nComplaints: answer, uphold, dismiss, withdraw. Incidents: contain, notify, close, dismiss. Conduct records: object, uphold, dismiss, repair, withdraw."
    )]
    Step {
        /// The case's place in the log.
        case: u64,
        /// What is done.
        #[arg(value_enum)]
        act: ActArg,
        /// In words.
        #[arg(long)]
        text: String,
        /// A document to exchange; its hash goes into the log, the file stays here.
        #[arg(long, value_name = "FILE")]
        evidence: Vec<PathBuf>,
    },
    /// Cases, where they stand and what is overdue.
    List {
        /// Only those in which somebody still has to do something.
        #[arg(long)]
        open: bool,
    },
    /// One case with all its steps.
    #[command(after_help = "Example: tacit case show 21")]
    Show {
        /// Its place in the log.
        case: u64,
    },
}

#[derive(Args)]
pub struct OpenArgs {
    /// Which kind.
    #[arg(value_enum)]
    kind: KindArg,
    /// Whom it is about, by name. An incident may be about nobody.
    #[arg(long)]
    about: Option<String>,
    /// Who decides, by name.
    #[arg(long)]
    decider: String,
    /// What it is about, in one word of the parties' own.
    #[arg(long)]
    topic: Name,
    /// What happened.
    #[arg(long)]
    text: String,
    /// A leaf that it rests on, by its place in the log.
    #[arg(long)]
    leaf: Vec<u64>,
    /// A document to exchange; its hash goes into the log, the file stays here.
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    /// By when it is answered; of an incident, by when those whom it concerns are told.
    #[arg(long, value_name = "TIME")]
    answer_by: String,
    /// By when it is decided.
    #[arg(long, value_name = "TIME")]
    decide_by: String,
    /// When a conduct record ends by itself.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindArg {
    /// A party says that another did wrong.
    Complaint,
    /// Something went wrong.
    Incident,
    /// What a party is known for until a time.
    Conduct,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ActArg {
    /// Say the other side of a complaint.
    Answer,
    /// An incident is contained.
    Contain,
    /// Those whom an incident concerns were told.
    Notify,
    /// Object to a conduct record: it has no effect until that is decided.
    Object,
    /// Decide: it is right.
    Uphold,
    /// Decide: it is not.
    Dismiss,
    /// Decide: an incident is over.
    Close,
    /// Decide: the cause of a conduct record was made good.
    Repair,
    /// Take it back.
    Withdraw,
}

impl From<ActArg> for Act {
    fn from(act: ActArg) -> Self {
        match act {
            ActArg::Answer => Act::Answer,
            ActArg::Contain => Act::Contain,
            ActArg::Notify => Act::Notify,
            ActArg::Object => Act::Object,
            ActArg::Uphold => Act::Uphold,
            ActArg::Dismiss => Act::Dismiss,
            ActArg::Close => Act::Close,
            ActArg::Repair => Act::Repair,
            ActArg::Withdraw => Act::Withdraw,
        }
    }
}

/// Runs a `case` command.
pub async fn run(cli: &Cli, out: &Out, command: &CaseCommand) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = async {
        let books = Books::open(&party, &client, out).await?;
        match command {
            CaseCommand::Open(args) => open(&party, &client, &books, out, args).await,
            CaseCommand::Step { case, act, text, evidence: files } => {
                let case = find(&books, *case)?.at;
                let (version, origin) = (CASE_VERSION, books.trust.origin.clone());
                let (act, text, evidence) = (Act::from(*act), text.clone(), evidence(files)?);
                let leaf = say(&party, &client, out, Step { version, origin, case, act, text, evidence }).await?;
                out.text(format!("{} {leaf}", out.say("signed, leaf", "已签署，叶")));
                out.value(&json!({"case": case.index, "leaf": leaf, "act": act.word()}));
                Ok(())
            }
            CaseCommand::List { open } => list(&books, out, *open),
            CaseCommand::Show { case } => show(&books, out, *case),
        }
    }
    .await;
    client.close().await;
    party.store.close().await;
    done
}

fn find(books: &Books, leaf: u64) -> Result<&CaseView, Fault> {
    books.cases.get(leaf).ok_or_else(|| Fault::new(Code::ReceiptCase, format!("leaf {leaf} is no case")))
}

async fn open(party: &Party, client: &Client, books: &Books, out: &Out, args: &OpenArgs) -> Result<(), Fault> {
    let key = |name: &String| -> Result<NodeId, Fault> {
        let known = books.trust.parties.iter().find(|p| p.name.as_str() == name);
        known.map(|p| p.key).ok_or_else(|| Fault::new(Code::ReceiptPartyUnknown, name.clone()))
    };
    let mut places = args.leaf.clone();
    places.sort_unstable();
    places.dedup();
    let leaf = |index: u64| -> Result<LeafRef, Fault> {
        let bytes = usize::try_from(index).ok().and_then(|i| books.leaves.get(i));
        let bytes = bytes.ok_or_else(|| Fault::new(Code::ReceiptUnknown, format!("leaf {index}")))?;
        Ok(LeafRef { index, hash: leaf_hash(bytes) })
    };
    let opening = Opening {
        version: CASE_VERSION,
        origin: books.trust.origin.clone(),
        about: args.about.as_ref().map(key).transpose()?,
        decider: key(&args.decider)?,
        leaves: places.into_iter().map(leaf).collect::<Result<_, _>>()?,
        topic: args.topic.clone(),
        text: args.text.clone(),
        evidence: evidence(&args.evidence)?,
        answer_by: parse_time(&args.answer_by)?,
        decide_by: parse_time(&args.decide_by)?,
        until: args.until.as_deref().map(parse_time).transpose()?,
    };
    let (kind, leaf) = match args.kind {
        KindArg::Complaint => (Kind::Complaint, say(party, client, out, Complaint(opening)).await?),
        KindArg::Incident => (Kind::Incident, say(party, client, out, Incident(opening)).await?),
        KindArg::Conduct => (Kind::Conduct, say(party, client, out, ConductRecord(opening)).await?),
    };
    out.text(format!("{} {leaf}", out.say("opened, the case of leaf", "已立案，案件所在叶")));
    out.value(&json!({"case": leaf, "kind": kind.word()}));
    Ok(())
}

fn kind_word(out: &Out, kind: Kind) -> &'static str {
    match kind {
        Kind::Complaint => out.say("complaint", "投诉"),
        Kind::Incident => out.say("incident", "事件"),
        Kind::Conduct => out.say("conduct record", "行为记录"),
    }
}

fn state_word(out: &Out, case: &CaseView) -> String {
    let state = match case.state {
        State::Open if case.kind == Kind::Conduct => out.say("in force", "生效"),
        State::Open => out.say("open", "待处理"),
        State::Answered => out.say("answered", "已答复"),
        State::Contained => out.say("contained", "已控制"),
        State::Notified => out.say("parties told", "已通知"),
        State::Frozen => out.say("frozen by an objection", "因异议冻结"),
        State::Upheld => out.say("upheld", "成立"),
        State::Dismissed => out.say("dismissed", "驳回"),
        State::Closed => out.say("closed", "已结束"),
        State::Repaired => out.say("made good", "已修复"),
        State::Withdrawn => out.say("withdrawn", "已撤回"),
    };
    match case.overdue(tacit_node::now()) {
        Some(due) => format!("{state}, {} {due}", out.say("OVERDUE since", "逾期自")),
        None => state.to_owned(),
    }
}

fn list(books: &Books, out: &Out, open: bool) -> Result<(), Fault> {
    let cases: Vec<&CaseView> = books.cases.iter().filter(|c| !open || c.state.waits(c.kind)).collect();
    let row = |case: &&CaseView| {
        vec![
            case.at.index.to_string(),
            kind_word(out, case.kind).into(),
            case.opening.topic.to_string(),
            books.name(&case.by),
            case.opening.about.map(|key| books.name(&key)).unwrap_or_default(),
            books.name(&case.opening.decider),
            state_word(out, case),
        ]
    };
    let head = [
        out.say("leaf", "叶"),
        out.say("kind", "类型"),
        out.say("topic", "事由"),
        out.say("by", "提出方"),
        out.say("about", "相对方"),
        out.say("decides", "裁定方"),
        out.say("state", "状态"),
    ];
    out.table(&head, &cases.iter().map(row).collect::<Vec<_>>());
    out.value(&cases.iter().map(|case| view(books, case)).collect::<Vec<_>>());
    Ok(())
}

/// What a step of a leaf says in words.
fn words(books: &Books, leaf: u64) -> Option<Step> {
    let bytes = usize::try_from(leaf).ok().and_then(|i| books.leaves.get(i))?;
    match Leaf::read(bytes) {
        Ok(Leaf::Case(_, said)) => match *said {
            Said::Goes(step) => Some(step),
            Said::Opens(..) => None,
        },
        _ => None,
    }
}

fn view(books: &Books, case: &CaseView) -> Value {
    let (opening, now) = (&case.opening, tacit_node::now());
    let steps: Vec<Value> = case
        .steps
        .iter()
        .map(|(leaf, by, at, act)| {
            let said = words(books, *leaf);
            let evidence = said.iter().flat_map(|s| &s.evidence).map(ToString::to_string).collect::<Vec<_>>();
            json!({
                "leaf": leaf, "by": books.name(by), "at": at.to_string(), "act": act.word(),
                "text": said.as_ref().map(|s| s.text.clone()), "evidence": evidence,
            })
        })
        .collect();
    json!({
        "case": case.at.index, "hash": case.at.hash.to_string(), "kind": case.kind.word(), "topic": opening.topic.as_str(),
        "by": books.name(&case.by), "about": opening.about.map(|key| books.name(&key)),
        "decider": books.name(&opening.decider), "state": case.state.word(), "opened": case.opened.to_string(),
        "answer_by": opening.answer_by.to_string(), "decide_by": opening.decide_by.to_string(),
        "until": opening.until.map(|at| at.to_string()), "overdue": case.overdue(now).map(|at| at.to_string()),
        "effective": case.effective(now), "text": opening.text,
        "evidence": opening.evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "leaves": opening.leaves.iter().map(|l| json!({"index": l.index, "hash": l.hash.to_string()})).collect::<Vec<_>>(),
        "steps": steps,
    })
}

fn show(books: &Books, out: &Out, leaf: u64) -> Result<(), Fault> {
    let case = find(books, leaf)?;
    let opening = &case.opening;
    out.text(format!("{} {leaf}: {} ({})", out.say("leaf", "叶"), kind_word(out, case.kind), opening.topic));
    out.text(format!("{}: {}", out.say("state", "状态"), state_word(out, case)));
    let about = opening.about.map(|key| books.name(&key)).unwrap_or_else(|| "-".into());
    out.text(format!(
        "{}: {}  {}: {about}  {}: {}",
        out.say("by", "提出方"),
        books.name(&case.by),
        out.say("about", "相对方"),
        out.say("decides", "裁定方"),
        books.name(&opening.decider)
    ));
    out.text(format!(
        "{} {}  {} {}",
        out.say("to be answered by", "答复期限"),
        opening.answer_by,
        out.say("to be decided by", "裁定期限"),
        opening.decide_by
    ));
    let places: Vec<String> = opening.leaves.iter().map(|l| format!("{} {}", l.index, l.hash.short())).collect();
    out.text(format!("{}: {}", out.say("rests on leaves", "依据条目"), places.join(", ")));
    out.text(crate::output::plain(&opening.text));
    let row = |(leaf, by, at, act): &(u64, NodeId, tacit_types::UnixMillis, Act)| {
        let text = words(books, *leaf).map(|s| s.text).unwrap_or_default();
        vec![leaf.to_string(), at.to_string(), books.name(by), act.word().into(), text]
    };
    let head = [
        out.say("leaf", "叶"),
        out.say("at", "时间"),
        out.say("party", "参与方"),
        out.say("step", "步骤"),
        out.say("text", "说明"),
    ];
    out.table(&head, &case.steps.iter().map(row).collect::<Vec<_>>());
    out.value(&view(books, case));
    Ok(())
}
