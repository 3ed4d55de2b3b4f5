//! `receipt link`: what went over the links of a job, as their ends have signed it, out of the node that keeps it.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tacit_node::store::{LinkRow, Links};
use tacit_receipts::UsageRecord;
use tacit_receipts::link::{Flow, LinkLeaf, LinkProof, LinkSeal, LinkState, ReadLink};
use tacit_types::{Code, Fault, JobId, Name, NodeId, Seat};

use super::receipt::write;
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

#[derive(Args)]
pub struct LinkArgs {
    /// A job's id, or its beginning.
    pub job: String,
    /// The party at the other end, by name or by the beginning of its node's key.
    #[arg(long, value_name = "PARTY")]
    pub peer: Option<String>,
    /// Write that link to a file that `tacit-verify --link` checks beside the receipt.
    #[arg(long, value_name = "FILE", requires = "peer")]
    pub out: Option<PathBuf>,
}

/// A link with the name of its other end.
struct Shown {
    place: u64,
    row: LinkRow,
    name: Option<Name>,
    link: ReadLink,
}

/// Lists the links of a job's last attempt, or writes one to a file.
pub async fn run(cli: &Cli, out: &Out, args: &LinkArgs) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let done = on(&party, out, args).await;
    party.store.close().await;
    done
}

async fn on(party: &Party, out: &Out, args: &LinkArgs) -> Result<(), Fault> {
    let fits = |job: &JobId| args.job.len() >= 4 && job.to_string().starts_with(&args.job);
    let jobs: Vec<JobId> = party.store.job_ids().await?.into_iter().filter(fits).collect();
    let [job] = jobs.as_slice() else {
        return Err(Fault::new(
            Code::JobUnknown,
            format!("{} jobs of this node begin with `{}`", jobs.len(), args.job),
        ));
    };
    let unknown = || Fault::new(Code::ReceiptUnknown, format!("job {} has no links here", job.short()));
    let links = party.store.links(job).await?.ok_or_else(unknown)?;
    let shown = shown(party, job, &links).await?;
    let wanted = |one: &&Shown| {
        let named = |peer: &String| {
            one.name.as_ref().is_some_and(|name| name.as_str() == peer)
                || (peer.len() >= 4 && one.row.peer.to_string().starts_with(peer))
        };
        args.peer.as_ref().is_none_or(named)
    };
    let chosen: Vec<&Shown> = shown.iter().filter(wanted).collect();
    if let Some(file) = &args.out {
        let [one] = chosen.as_slice() else {
            return Err(Fault::new(Code::ReceiptUnknown, format!("{} links fit; name one by its party", chosen.len())));
        };
        let leaves: Vec<Vec<u8>> = links.rows.iter().map(|row| row.leaf.clone()).collect();
        let ends = (party.keys.node_id, one.row.peer);
        let proof = LinkProof::new((*job, links.attempt), ends, one.place, &leaves)?;
        write(file, &proof.to_bytes())?;
        out.text(format!("{}: {} {}", file.display(), peer(one), one.row.state.word()));
        out.value(&line(one));
        return Ok(());
    }
    let head = [
        out.say("other end", "对端"),
        out.say("state", "状态"),
        out.say("frames sent", "发送帧数"),
        out.say("bytes sent", "发送字节"),
        out.say("frames received", "接收帧数"),
        out.say("bytes received", "接收字节"),
    ];
    let cells = |one: &&Shown| {
        let own = one.link.here.map_or([0; 4], |s| [s.sent.frames, s.sent.bytes, s.received.frames, s.received.bytes]);
        let state = match one.row.state {
            LinkState::Sealed => out.say("sealed by both", "双方已签署"),
            LinkState::Differs => out.say("the other end signed otherwise", "对端签署不一致"),
            LinkState::Unsealed => out.say("not sealed by the other end", "对端未签署"),
        };
        [vec![peer(one), state.to_owned()], own.map(|n| n.to_string()).to_vec()].concat()
    };
    out.table(&head, &chosen.iter().map(cells).collect::<Vec<_>>());
    out.value(&json!({
        "job": job.to_string(), "attempt": links.attempt.0, "root": links.root().map(|root| root.to_string()),
        "links": chosen.into_iter().map(line).collect::<Vec<_>>(),
    }));
    Ok(())
}

async fn shown(party: &Party, job: &JobId, links: &Links) -> Result<Vec<Shown>, Fault> {
    let known = party.store.parties().await?;
    let own = party.keys.node_id;
    let read = |(place, row): (u64, &LinkRow)| {
        // why: the seals were checked when they came, and the node keeps what it has.
        let link = LinkLeaf::parse(&row.leaf)?.read((*job, links.attempt), (&own, &row.peer), &|_, _| true)?;
        let name = known.iter().find(|(_, card, _)| card.node == row.peer).map(|(_, card, _)| card.name.clone());
        Ok(Shown { place, row: row.clone(), name, link })
    };
    (0..).zip(&links.rows).map(read).collect()
}

fn peer(one: &Shown) -> String {
    one.name.as_ref().map_or_else(|| one.row.peer.short(), ToString::to_string)
}

fn flow(flow: &Flow) -> Value {
    json!({"frames": flow.frames, "bytes": flow.bytes, "chain": flow.chain.to_string()})
}

fn line(one: &Shown) -> Value {
    let seal = |seal: &Option<LinkSeal>| {
        seal.as_ref().map(|seal| json!({"sent": flow(&seal.sent), "received": flow(&seal.received)}))
    };
    let key: &NodeId = &one.row.peer;
    json!({
        "peer": one.name, "key": key.to_string(), "state": one.row.state.word(),
        "own": seal(&one.link.here), "other": seal(&one.link.there),
    })
}

fn name_at(record: &UsageRecord, seat: Seat) -> String {
    record.parties.get(seat.index()).map(|p| p.name.to_string()).unwrap_or_default()
}

/// The links of a record whose ends have signed different things, one sentence each.
pub fn disputed<'a>(out: &'a Out, record: &'a UsageRecord) -> impl Iterator<Item = String> + use<'a> {
    record.disputed_links().into_iter().map(move |(one, other)| {
        let (one, other) = (name_at(record, one), name_at(record, other));
        let what = out.say("signed different things of what went over their link", "对双方链路上的传输内容签署不一致");
        format!("{one}{}{other} {what}", out.say(" and ", " 与 "))
    })
}

/// What a record has of its parties' links, for programs.
pub fn of_record(record: &UsageRecord) -> Value {
    let links = record.links.iter().map(|links| {
        let differing: Vec<String> = links.differing.iter().map(|seat| name_at(record, *seat)).collect();
        let (party, root) = (name_at(record, links.seat), links.root.to_string());
        json!({"party": party, "root": root, "differing": differing, "unsealed": links.unsealed})
    });
    links.collect()
}
