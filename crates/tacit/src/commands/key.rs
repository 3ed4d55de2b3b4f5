//! `node rotate`, `node keys`: the keys of this party's node and witness, and those of the others.

use serde_json::json;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::PartyCard;
use tacit_net::Purpose;
use tacit_node::Client;
use tacit_node::key_change::{self, Prepared};
use tacit_receipts::{KeyHistory, KeyRole, PartyRotation};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::cli::{Cli, KeyArg, RotateArgs};
use crate::home::{Party, unexpected};
use crate::output::Out;
use crate::progress::Progress;

/// How often a change that waits for witnesses is handed in.
const TRIES: u32 = 3;

/// Has the node's or the witness's key give way to the next.
pub async fn rotate(cli: &Cli, out: &Out, args: &RotateArgs) -> Result<(), Fault> {
    let role = match args.key {
        KeyArg::Node => KeyRole::Node,
        KeyArg::Witness => KeyRole::Witness,
    };
    let party = Party::open(cli).await?;
    let done = change(&party, out, role, args.overlap_hours.saturating_mul(3_600_000)).await;
    party.store.close().await;
    let (change, leaf) = done?;
    let of = out.say("its id stays", "其标识不变");
    let what = match args.key {
        KeyArg::Node => out.say("the node's key of now on", "节点今后的密钥"),
        KeyArg::Witness => out.say("the witness's key of now on", "见证方今后的密钥"),
    };
    out.text(format!("{what}: {}", change.new));
    out.text(format!("{}: {}", out.say("the key of before", "此前的密钥"), change.old));
    out.text(format!("{of}: {}", change.id));
    out.text(format!("{}: {}", out.say("both hold until", "两者同时有效至"), change.until));
    out.text(format!("{}: {leaf}", out.say("leaf of the log", "日志叶")));
    out.text(out.say(
        "Restart the node before then: until it is, it goes on with the key of before.",
        "请在此之前重启节点：重启前节点仍使用此前的密钥。",
    ));
    out.value(&json!({"ok": true, "key": role.word(), "id": change.id.to_string(), "old": change.old.to_string(),
        "new": change.new.to_string(), "from_ms": change.from.0, "until_ms": change.until.0, "leaf": leaf}));
    Ok(())
}

async fn change(party: &Party, out: &Out, role: KeyRole, overlap_ms: u64) -> Result<(PartyRotation, u64), Fault> {
    let prepare = || {
        let origin = &party.config.coordinator.origin;
        key_change::prepare(&party.home, role, origin, overlap_ms, tacit_node::now())
    };
    let mut prepared = prepare()?;
    let progress = Progress::new(out.json(), out.say("waiting for the log's witnesses", "正在等待日志见证方"));
    let leaf = match hand_in(party, &prepared).await {
        // Signed long ago, and never put into the log.
        Err(fault) if fault.code == Code::ReceiptTime => {
            prepared.withdraw()?;
            prepared = prepare()?;
            hand_in(party, &prepared).await?
        }
        handed_in => handed_in?,
    };
    drop(progress);
    let change = prepared.statement.body().clone();
    prepared.done()?;
    Ok((change, leaf))
}

/// Hands the change to the coordinator, and gives its leaf.
async fn hand_in(party: &Party, prepared: &Prepared) -> Result<u64, Fault> {
    let connect = async |key| -> Result<Client, Fault> {
        let (address, coordinator) = (&party.config.coordinator.address, party.config.coordinator_id()?);
        Ok(Client::connect(key, address, &coordinator, Purpose::Member).await?.counted_in(&party.store))
    };
    let client = match connect(&party.keys.node).await {
        // The log may have it, and the key of before be over: who was cut off then has the next one.
        Err(fault)
            if matches!(fault.code, Code::NetRefused | Code::ReceiptKeyRetired)
                && prepared.statement.body().role == KeyRole::Node =>
        {
            connect(&prepared.new).await.map_err(|_| fault)?
        }
        connected => connected?,
    };
    let request = ToCoordinator::Rotate(Blob(prepared.statement.bytes().to_vec()));
    let mut answer = client.ask(&request).await;
    for _ in 1..TRIES {
        if answer.as_ref().err().is_none_or(|fault| fault.code != Code::ReceiptPending) {
            break;
        }
        answer = client.ask(&request).await;
    }
    client.close().await;
    match answer? {
        FromCoordinator::Said(leaf) => Ok(leaf),
        _ => Err(unexpected()),
    }
}

impl Party {
    /// The keys that parties and witnesses have had, as the coordinator shows the log's changes, and the changes.
    ///
    /// # Errors
    /// Those of the connection; `receipt.key_rotation` for changes that do not follow.
    pub async fn party_keys(&self, client: &Client) -> Result<(KeyHistory, Vec<Vec<u8>>), Fault> {
        let (mut keys, mut changes) = (KeyHistory::new(&self.config.coordinator.origin), Vec::new());
        loop {
            let request = ToCoordinator::PartyKeys { from: u32::try_from(changes.len()).unwrap_or(u32::MAX) };
            let FromCoordinator::PartyKeys(page) = client.ask(&request).await? else { return Err(unexpected()) };
            if page.is_empty() {
                return Ok((keys, changes));
            }
            for Blob(bytes) in page {
                let change = tacit_crypto::Statement::verify(&bytes)
                    .map_err(|e| Fault::new(Code::ReceiptMalformed, format!("a change of a key: {e}")))?;
                keys.follow_any(&change, None)?;
                changes.push(bytes);
            }
        }
    }
}

/// A key of somebody, for a listing.
struct Row {
    name: String,
    role: KeyRole,
    id: NodeId,
    key: NodeId,
    from: Option<UnixMillis>,
    until: Option<UnixMillis>,
}

/// Which key speaks for whom, and since when.
pub async fn keys(cli: &Cli, out: &Out) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let shown = async {
        let client = party.connect().await?;
        let cards: Result<Vec<PartyCard>, Fault> =
            party.roster(&client).await.map(|all| all.into_iter().map(|(card, _)| card).collect());
        let keys = party.party_keys(&client).await;
        client.close().await;
        Ok::<_, Fault>((cards?, keys?.0))
    };
    let shown = shown.await;
    party.store.close().await;
    let (cards, keys) = shown?;
    let mut rows = Vec::new();
    let own = |card: &PartyCard| {
        [(KeyRole::Node, card.node), (KeyRole::Witness, card.witness)]
            .map(|(role, id)| (card.name.to_string(), role, id))
    };
    let coordinator = (party.config.coordinator.origin.clone(), KeyRole::Coordinator, party.config.coordinator_id()?);
    for (name, role, id) in cards.iter().flat_map(own).chain([coordinator]) {
        let row = |key, from, until| Row { name: name.clone(), role, id, key, from, until };
        match keys.keys_of(role, &id) {
            [] => rows.push(row(id, None, None)),
            spans => rows.extend(spans.iter().map(|span| row(span.key, span.from, span.until))),
        }
    }
    let time = |at: Option<UnixMillis>| at.map(|at| at.to_string()).unwrap_or_default();
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r.name.clone(), role_of(out, r.role).into(), r.key.to_string(), time(r.from), time(r.until)])
        .collect();
    let head = [
        out.say("party", "参与方"),
        out.say("of its", "所属"),
        out.say("key", "密钥"),
        out.say("since", "生效"),
        out.say("until", "截止"),
    ];
    out.table(&head, &lines);
    for role in under_way(&party.home)? {
        let what = out
            .say("a change is under way, run again: node rotate --key", "更换尚未完成，请再次运行：node rotate --key");
        out.text(format!("{what} {}", role.word()));
    }
    let list: Vec<_> = rows
        .iter()
        .map(|r| {
            json!({"party": r.name, "role": r.role.word(), "id": r.id.to_string(), "key": r.key.to_string(),
                "from_ms": r.from.map(|at| at.0), "until_ms": r.until.map(|at| at.0)})
        })
        .collect();
    out.value(&list);
    Ok(())
}

fn role_of(out: &Out, role: KeyRole) -> &str {
    match role {
        KeyRole::Node => out.say("node", "节点"),
        KeyRole::Witness => out.say("witness", "见证方"),
        KeyRole::Coordinator => out.say("coordinator's receipts", "协调方凭证"),
    }
}

fn under_way(home: &std::path::Path) -> Result<Vec<KeyRole>, Fault> {
    let mut roles = Vec::new();
    for role in [KeyRole::Node, KeyRole::Witness] {
        if key_change::is_under_way(home, role)? {
            roles.push(role);
        }
    }
    Ok(roles)
}

/// Since when the keys of a folder hold, for `doctor`.
///
/// # Errors
/// Those of key files; `receipt.key_rotation` while a change is under way.
pub fn since(home: &std::path::Path, out: &Out) -> Result<String, Fault> {
    let changes = key_change::Changes::read(home)?;
    if let Some(role) = under_way(home)?.first() {
        let what = format!("a change is under way; run again: node rotate --key {}", role.word());
        return Err(Fault::new(Code::ReceiptKeyRotation, what));
    }
    let keys = tacit_node::Keys::read(home)?;
    let one = |role, key: NodeId| {
        let word = role_of(out, role);
        match changes.newest(role) {
            Some((from, until)) if tacit_node::now() <= until => {
                let (since, both) = (out.say("since", "自"), out.say("the one before until", "前一密钥有效至"));
                format!("{word} {} {since} {from}, {both} {until}", key.short())
            }
            Some((from, _)) => format!("{word} {} {} {from}", key.short(), out.say("since", "自")),
            None => format!("{word} {} {}", key.short(), out.say("the first", "首个密钥")),
        }
    };
    Ok(format!("{}; {}", one(KeyRole::Node, keys.node.id()), one(KeyRole::Witness, keys.witness.id())))
}

/// The keys that a daemon of this folder may show: the one of now, and while an overlap lasts the one of before.
pub fn shown_by(home: &std::path::Path, keys: &tacit_node::Keys) -> Vec<NodeId> {
    let before = tacit_net::keyfile::read_signing(&home.join("node.key.before"));
    [keys.node.id()].into_iter().chain(before.ok().map(|key| key.id())).collect()
}
