//! `doctor`: this installation and the paths to the others, check by check: of a party's folder, or a coordinator's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::json;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::{Address, Closed, Config as NetConfig, Endpoint, Identity, Purpose, keyfile};
use tacit_node::config::Certificate;
use tacit_node::daemon::DATABASE_FILE;
use tacit_node::{Client, Config, Keys, Store, align, memos, site};
use tacit_receipts::KeyRole;
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::cli::Cli;
use crate::commands::enrol::local;
use crate::commands::key;
use crate::commands::money::when;
use crate::home::{Party, folder, unexpected};
use crate::output::{Out, bytes};
use crate::progress::Progress;

/// Free bytes below which the disk is reported.
const DISK_FREE_MIN: u64 = 256 << 20;

/// What shows that a folder is a coordinator's.
const COORDINATOR_FILE: &str = "coordinator.toml";

struct Finding {
    name: String,
    ok: bool,
    code: Option<Code>,
    detail: String,
    hint: String,
}

impl Finding {
    fn new(name: &str, result: Result<String, Fault>, out: &Out) -> Self {
        match result {
            Ok(detail) => Self { name: name.into(), ok: true, code: None, detail, hint: String::new() },
            Err(fault) => Self {
                name: name.into(),
                ok: false,
                code: Some(fault.code),
                detail: format!("[{}] {}: {}", fault.code, fault.code.title(out.lang()), fault.what),
                hint: fault.code.hint(out.lang()).into(),
            },
        }
    }
}

/// Runs every check and gives 0 only when all pass.
pub async fn doctor(cli: &Cli, out: &Out) -> Result<u8, Fault> {
    let home = folder(cli);
    let mut findings = vec![cpu(out), disk(&home, out)];
    let progress = Progress::new(out.json(), out.say("looking", "正在检查"));
    if home.join(COORDINATOR_FILE).exists() {
        findings.extend(of_coordinator(&home, out).await);
    } else {
        findings.extend(of_party(&home, out).await);
    }
    drop(progress);
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|f| {
            let mark = if f.ok { out.say("ok", "正常") } else { out.say("FAILED", "失败") };
            let detail = if f.hint.is_empty() { f.detail.clone() } else { format!("{}\n→ {}", f.detail, f.hint) };
            vec![f.name.clone(), mark.to_owned(), detail]
        })
        .collect();
    out.table(&[out.say("check", "检查项"), "", out.say("found", "结果")], &rows);
    let ok = findings.iter().all(|f| f.ok);
    let list: Vec<_> = findings
        .iter()
        .map(|f| json!({"check": f.name, "ok": f.ok, "code": f.code, "detail": f.detail, "hint": f.hint}))
        .collect();
    out.value(&json!({"ok": ok, "checks": list}));
    Ok(u8::from(!ok))
}

/// How long before its end a certificate is warned of.
const CERTIFICATE_WARN_MS: u64 = 30 * 86_400_000;

/// A certificate, until it ends: an alert when that is near, or past.
fn certificate(held: &Certificate, now: UnixMillis, out: &Out) -> Finding {
    let name = format!("certificate {}", held.scope);
    let until = match when::parse(&held.until) {
        Ok(until) => until,
        Err(fault) => return Finding::new(&name, Err(Fault::new(Code::ConfigMalformed, fault.what)), out),
    };
    let detail = format!("{}, {}", held.issuer, held.until);
    if now.plus(CERTIFICATE_WARN_MS) < until {
        return Finding::new(&name, Ok(detail), out);
    }
    let ended = now >= until;
    let (en, zh) =
        if ended { ("it has ended", "已到期") } else { ("it ends within 30 days", "将在 30 日内到期") };
    Finding {
        name,
        ok: false,
        code: None,
        detail: format!("{detail}: {}", out.say(en, zh)),
        hint: out
            .say("renew it, then state its new end in node.toml", "请续期，并在 node.toml 中载明新的到期日")
            .into(),
    }
}

/// What a party's folder can be asked, and who it can reach.
async fn of_party(home: &Path, out: &Out) -> Vec<Finding> {
    let config = Config::read(home);
    let keys = Keys::read(home);
    let shown = config.as_ref().map(|c| format!("{} as {}", c.name, c.role)).map_err(Clone::clone);
    let mut findings = vec![
        Finding::new("configuration", shown, out),
        Finding::new("keys", keys.as_ref().map(|k| k.root.id().to_string()).map_err(Clone::clone), out),
    ];
    let (Ok(config), Ok(keys)) = (config, keys) else { return findings };
    let store = Store::open(&home.join(DATABASE_FILE)).await;
    let shown = store.as_ref().map(|_| DATABASE_FILE.to_owned()).map_err(Clone::clone);
    findings.push(Finding::new("database", shown, out));
    if let Ok(store) = &store {
        findings.extend(restored(store, out).await);
    }
    let serves = config.role().is_ok_and(|r| r == PartyRole::Partner);
    if serves {
        if let Some(file) = &config.policy {
            let policy =
                site::read(&home.join(file)).map(|policy| format!("{} ({} policies)", file, policy.lines().len()));
            findings.push(Finding::new("site policy", policy, out));
        }
        findings.extend(config.certificates.iter().map(|c| certificate(c, tacit_node::now(), out)));
        if let Ok(store) = &store {
            findings.extend(told(store, out).await);
            if let Err(fault) = align::nothing_overdue(store, home, tacit_node::now()).await {
                findings.push(Finding::new("expired alignments", Err(fault), out));
            }
        }
        let listen = config.listen.parse();
        let listen = listen.map_err(|_| Fault::new(Code::ConfigMalformed, format!("listen: {}", config.listen)));
        findings.push(Finding::new("node and witness key", key::since(home, out), out));
        findings.push(port(listen, &key::shown_by(home, &keys), out).await);
    }
    let reached = match coordinator(&config, &keys, out).await {
        Ok(found) => found,
        Err(fault) => vec![Finding::new("coordinator", Err(fault), out)],
    };
    let reachable = reached.iter().all(|f| f.ok);
    findings.extend(reached);
    if let (true, Ok(store)) = (reachable && serves, store) {
        let party = Party { config, keys, store, home: home.to_owned() };
        findings.extend(to_bring(&party, out).await);
        match nodes(&party, out).await {
            Ok(found) => findings.extend(found),
            Err(fault) => findings.push(Finding::new("other nodes", Err(fault), out)),
        }
        party.store.close().await;
    }
    findings
}

/// Whether the database was found to be from before what this party's node has signed.
async fn restored(store: &Store, out: &Out) -> Option<Finding> {
    let shown = match store.was_behind().await {
        Ok(None) => return None,
        Ok(Some((at, jobs))) => Ok(format!(
            "{} {at}; {}: {jobs}",
            out.say("was older than what this node has signed, noticed", "早于本节点已签署的内容，发现于"),
            out.say("jobs counted from the log", "根据日志补记的作业数")
        )),
        Err(fault) => Err(fault),
    };
    Some(Finding::new("ledger", shown, out))
}

/// Whether the log has what this party's node was told, and the node what the log shows that it was told.
async fn told(store: &Store, out: &Out) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lacking = memos::nothing_lacks(store).await;
    if lacking.is_err() {
        findings.push(Finding::new("told before", lacking.map(|()| String::new()), out));
    }
    if let Err(fault) = memos::nothing_withheld(store, tacit_node::now()).await {
        findings.push(Finding::new("memos in the log", Err(fault), out));
    }
    let shown = match store.memos_waiting().await {
        Ok(0) => return findings,
        Ok(n) => Ok(format!(
            "{}: {n}",
            out.say(
                "revocations, lists and other words of which the log has no memo yet",
                "日志中尚无备忘的撤销、清单及其他声明"
            )
        )),
        Err(fault) => Err(fault),
    };
    findings.push(Finding::new("memos", shown, out));
    findings
}

/// What no log shows of a database that was restored: the owner brings it again, or says that it need not be known.
async fn to_bring(party: &Party, out: &Out) -> Option<Finding> {
    party.store.was_behind().await.ok().flatten()?;
    let shown = super::forgotten::all(party).await.map(|all| {
        let again = out.say(
            "what was signed or registered since the backup is to be brought again, and what was taken in with `tacit list add` or revoked in the last moments before the loss",
            "备份之后签署或登记的内容，以及丢失前片刻以 `tacit list add` 录入或撤销的内容，须重新录入",
        );
        let waiting: Vec<String> = all.into_iter().filter(|(_, f)| f.waits()).map(|(name, _)| name).collect();
        if waiting.is_empty() {
            return again.to_owned();
        }
        let asked = out.say(
            "which rows exact questions asked about is forgotten (`tacit data forgotten`) of",
            "已不记得精确提问所涉的数据行（见 `tacit data forgotten`）：",
        );
        format!("{again}; {asked} {}", waiting.join(", "))
    });
    Some(Finding::new("restored", shown, out))
}

/// What a coordinator's folder can be asked, and whether its daemon serves.
async fn of_coordinator(home: &Path, out: &Out) -> Vec<Finding> {
    let config = tacit_coordinator::Config::read(&home.join(COORDINATOR_FILE));
    let key = keyfile::read_signing(&home.join("root.key"));
    let log_key = keyfile::read_signing(&home.join("log.key"));
    let shown = config.as_ref().map(|c| c.origin.clone()).map_err(Clone::clone);
    let mut findings = vec![
        Finding::new("configuration", shown, out),
        Finding::new("keys", key.as_ref().map(|k| k.id().to_string()).map_err(Clone::clone), out),
        Finding::new("log key", log_key.map(|k| k.id().to_string()), out),
    ];
    let (Ok(config), Ok(key)) = (config, key) else { return findings };
    findings.push(port(Ok(config.listen), &[key.id()], out).await);
    let folder = home.to_owned();
    let looked = tokio::task::spawn_blocking(move || tacit_coordinator::fsck(&folder)).await;
    match looked.unwrap_or_else(|e| Err(Fault::new(Code::Internal, e.to_string()))) {
        // The daemon has the folder: it looked at its start, and can be asked.
        Err(fault) if fault.code == Code::StoreLocked => {
            let parties = parties(&config, &key, out).await;
            findings.push(Finding::new("daemon", parties, out));
        }
        looked => {
            let report = match home.join("coordinator.db").exists() {
                true => looked.map(|report| format!("{} leaves", report.leaves)),
                false => Ok(out.say("none yet: it was never started", "尚无：从未启动").to_owned()),
            };
            findings.push(Finding::new("log and database", report, out));
            let what = out.say("not running", "未运行").to_owned();
            findings.push(Finding::new("daemon", Ok(what), out));
        }
    }
    findings
}

/// Who is connected to the coordinator that runs.
async fn parties(
    config: &tacit_coordinator::Config,
    key: &tacit_crypto::SigningKey,
    out: &Out,
) -> Result<String, Fault> {
    let client = Client::connect(key, &local(config.listen), &key.id(), Purpose::Member).await?;
    let answer = client.ask(&ToCoordinator::Roster).await;
    client.close().await;
    let FromCoordinator::Roster(entries) = answer? else { return Err(unexpected()) };
    let mut named = Vec::new();
    for entry in entries {
        let card = PartyCard::verify(&entry.card)?.into_body();
        if card.role == PartyRole::Partner {
            let state = if entry.online { out.say("connected", "已连接") } else { out.say("away", "未连接") };
            named.push(format!("{} {state}", card.name));
        }
    }
    Ok(format!("{}{}", out.say("serves; nodes: ", "正在服务；节点："), named.join(", ")))
}

fn cpu(out: &Out) -> Finding {
    let kernel = tacit_crypto::Backend::detect();
    Finding::new("cpu", Ok(format!("{}: {kernel:?}", out.say("mask kernel", "掩码内核"))), out)
}

fn disk(home: &std::path::Path, out: &Out) -> Finding {
    let place = home.ancestors().find(|p| p.exists()).unwrap_or(std::path::Path::new("/"));
    let free = rustix::fs::statvfs(place).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
    let result = if free >= DISK_FREE_MIN {
        Ok(format!("{} {}", bytes(free), out.say("free", "可用")))
    } else {
        Err(Fault::new(Code::StoreFull, format!("{}: {} free", place.display(), bytes(free))))
    };
    Finding::new("disk", result, out)
}

/// The daemon's own port: free, or held by a program that has this folder's key.
async fn port(listen: Result<SocketAddr, Fault>, own: &[NodeId], out: &Out) -> Finding {
    let look = async {
        let listen = listen?;
        let stranger = stranger(listen)?;
        // What listens on every address holds the port on each of them.
        let probe = Endpoint::bind(listen, Identity::from_signing_key(&fresh_key()?)?, closed());
        match probe {
            Ok(endpoint) => {
                endpoint.close().await;
                Ok(format!("{listen} {}", out.say("is free: the daemon does not run", "未被占用：守护进程未运行")))
            }
            Err(fault) if fault.code == Code::NetPortTaken => {
                let found = reach(&stranger, &local(listen), own).await;
                stranger.close().await;
                let what = || format!("{listen}: {}", out.say("by another program", "被其他程序占用"));
                let (_, key) = found.map_err(|_| Fault::new(Code::NetPortTaken, what()))?;
                let old = own.first().is_some_and(|newest| *newest != key);
                let again = out.say("; with the key of before: restart it", "；仍使用此前的密钥：请重启");
                let again = if old { again } else { "" };
                Ok(format!("{listen} {}{again}", out.say("is this daemon's, which runs", "由本守护进程占用，正在运行")))
            }
            Err(fault) => Err(fault),
        }
    };
    Finding::new("port", look.await, out)
}

fn closed() -> NetConfig {
    NetConfig { gate: std::sync::Arc::new(Closed), ..NetConfig::default() }
}

fn fresh_key() -> Result<tacit_crypto::SigningKey, Fault> {
    Ok(tacit_crypto::SigningKey::generate(&mut tacit_node::os_rng()?))
}

/// An end that has a key of nobody: it is refused, and so does not take the place of a connection that the daemon
/// holds with its own key.
fn stranger(towards: SocketAddr) -> Result<Endpoint, Fault> {
    let any: IpAddr = if towards.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Endpoint::bind(SocketAddr::new(any, 0), Identity::from_signing_key(&fresh_key()?)?, closed())
}

/// Whether who has one of these keys answers there, and which. That it refuses a stranger is an answer, and proves the key.
async fn reach(stranger: &Endpoint, address: &str, keys: &[NodeId]) -> Result<(u64, NodeId), Fault> {
    let (begun, mut last) = (std::time::Instant::now(), Fault::new(Code::NetFingerprint, "no key is known"));
    for key in keys {
        match stranger.connect(&address.parse()?, key, Purpose::Member).await {
            Ok(connection) => connection.close(tacit_net::CloseReason::Done),
            Err(error) if matches!(error.code(), Code::NetRefused | Code::NetVersion | Code::ClockSkew) => {}
            Err(error) => {
                last = error.into();
                continue;
            }
        }
        return Ok((begun.elapsed().as_millis() as u64, *key));
    }
    Err(last)
}

/// Whether the nodes that are connected to the coordinator can be reached from here, as every job needs.
async fn nodes(party: &Party, out: &Out) -> Result<Vec<Finding>, Fault> {
    let client = party.connect().await?;
    let (roster, keys) = (party.roster(&client).await, party.party_keys(&client).await);
    client.close().await;
    let keys = keys?.0;
    let mut findings = Vec::new();
    for (card, entry) in roster? {
        if card.role != PartyRole::Partner || card.node == party.keys.node_id {
            continue;
        }
        let name = format!("node {}", card.name);
        if !entry.online {
            let what = out.say("is not connected to the coordinator", "未连接到协调方").to_owned();
            findings.push(Finding::new(&name, Ok(what), out));
            continue;
        }
        let found = match entry.address.parse::<Address>() {
            Ok(address) => match address.resolve().await.map_err(Fault::from)?.first() {
                Some(first) => {
                    let stranger = stranger(*first)?;
                    let mut newest_first = keys.holding(KeyRole::Node, &card.node, tacit_node::now());
                    newest_first.reverse();
                    let found = reach(&stranger, &entry.address, &newest_first).await;
                    stranger.close().await;
                    found.map(|(ms, _)| format!("{} ({ms} ms)", entry.address))
                }
                None => Err(Fault::new(Code::NetUnreachable, entry.address.clone())),
            },
            Err(fault) => Err(fault),
        };
        findings.push(Finding::new(&name, found, out));
    }
    Ok(findings)
}

async fn coordinator(config: &Config, keys: &Keys, out: &Out) -> Result<Vec<Finding>, Fault> {
    let address = config.coordinator.address.parse()?;
    let any = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let endpoint = Endpoint::bind(any, Identity::from_signing_key(&keys.node)?, closed())?;
    let checks = tacit_net::doctor::probe(&endpoint, &address, &config.coordinator_id()?, Purpose::Member).await;
    endpoint.close().await;
    Ok(checks
        .into_iter()
        .map(|check| Finding {
            name: format!("coordinator {}", check.name),
            ok: check.ok,
            detail: format!("{} ({} ms)", check.detail, check.took_ms),
            hint: check.code.map_or(String::new(), |code| code.hint(out.lang()).to_owned()),
            code: check.code,
        })
        .collect())
}
