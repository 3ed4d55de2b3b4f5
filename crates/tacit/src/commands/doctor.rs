//! `doctor`: this installation and the path to the coordinator, check by check.

use serde_json::json;
use tacit_governance::PartyRole;
use tacit_net::{Closed, Config as NetConfig, Endpoint, Identity, Purpose};
use tacit_node::daemon::DATABASE_FILE;
use tacit_node::{Config, Keys, Store};
use tacit_types::{Code, Fault};

use crate::cli::Cli;
use crate::home::folder;
use crate::output::{Out, bytes};
use crate::progress::Progress;

/// Free bytes below which the disk is reported.
const DISK_FREE_MIN: u64 = 256 << 20;

struct Finding {
    name: String,
    ok: bool,
    detail: String,
    hint: String,
}

impl Finding {
    fn new(name: &str, result: Result<String, Fault>, out: &Out) -> Self {
        match result {
            Ok(detail) => Self { name: name.into(), ok: true, detail, hint: String::new() },
            Err(fault) => Self {
                name: name.into(),
                ok: false,
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
    let config = Config::read(&home);
    findings.push(Finding::new(
        "configuration",
        config.as_ref().map(|c| format!("{} as {}", c.name, c.role)).map_err(Clone::clone),
        out,
    ));
    let keys = Keys::read(&home);
    findings.push(Finding::new("keys", keys.as_ref().map(|k| k.root.id().to_string()).map_err(Clone::clone), out));
    if let (Ok(config), Ok(keys)) = (config, keys) {
        findings.push(database(&home, out).await);
        if config.role().is_ok_and(|r| r == PartyRole::Partner) {
            findings.push(port(&config, &keys, out));
        }
        let progress = Progress::new(out.json(), out.say("looking for the coordinator", "正在连接协调方"));
        findings.extend(coordinator(&config, &keys, out).await?);
        drop(progress);
    }
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
    let list: Vec<_> =
        findings.iter().map(|f| json!({"check": f.name, "ok": f.ok, "detail": f.detail, "hint": f.hint})).collect();
    out.value(&json!({"ok": ok, "checks": list}));
    Ok(u8::from(!ok))
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

async fn database(home: &std::path::Path, out: &Out) -> Finding {
    let result = match Store::open(&home.join(DATABASE_FILE)).await {
        Ok(store) => {
            store.close().await;
            Ok(DATABASE_FILE.to_owned())
        }
        Err(fault) => Err(fault),
    };
    Finding::new("database", result, out)
}

/// The node's own port: free, or held by the node that runs.
fn port(config: &Config, keys: &Keys, out: &Out) -> Finding {
    let result = (|| {
        let address = config.listen.parse().map_err(|_| Fault::new(Code::ConfigMalformed, config.listen.clone()))?;
        match Endpoint::bind(address, Identity::from_signing_key(&keys.node)?, NetConfig::default()) {
            Ok(_) => Ok(format!("{} {}", config.listen, out.say("is free", "未被占用"))),
            Err(fault) if fault.code == Code::NetPortTaken => Ok(format!(
                "{} {}",
                config.listen,
                out.say("is in use, by this node if it runs", "已被占用（若本节点在运行则正常）")
            )),
            Err(fault) => Err(fault),
        }
    })();
    Finding::new("port", result, out)
}

async fn coordinator(config: &Config, keys: &Keys, out: &Out) -> Result<Vec<Finding>, Fault> {
    let address = config.coordinator.address.parse()?;
    let any = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let net = NetConfig { gate: std::sync::Arc::new(Closed), ..NetConfig::default() };
    let endpoint = Endpoint::bind(any, Identity::from_signing_key(&keys.node)?, net)?;
    let checks = tacit_net::doctor::probe(&endpoint, &address, &config.coordinator_id()?, Purpose::Member).await;
    endpoint.close().await;
    Ok(checks
        .into_iter()
        .map(|check| Finding {
            name: format!("coordinator {}", check.name),
            ok: check.ok,
            detail: format!("{} ({} ms)", check.detail, check.took_ms),
            hint: check.code.map_or(String::new(), |code| code.hint(out.lang()).to_owned()),
        })
        .collect())
}
