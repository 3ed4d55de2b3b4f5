//! `log warn`: the rules of early warning over the log, or over a bundle of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tacit_receipts::bundle::{BUNDLE_BYTES_MAX, TRUST_BYTES_MAX};
use tacit_receipts::warn::{Alert, Alerts, Known, Level, Terms, Thresholds, Watch};
use tacit_receipts::{Bundle, Trust, verify_bundle_watched};
use tacit_types::{Code, ContractId, Fault, Name, UnixMillis};

use super::contract::contracts;
use super::fetch::Fetched;
use super::money::parse_time;
use super::receipt::trust;
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;
use crate::progress::Progress;

/// Exit status when there are warnings and no alarm.
const WARNED: u8 = 7;
/// Bytes of a file of thresholds.
const CONFIG_BYTES_MAX: usize = 1 << 20;
/// Bytes of a promise.
const PROMISE_BYTES_MAX: usize = 64 << 10;

#[derive(Args)]
pub struct WarnArgs {
    /// Thresholds, regions, budgets and revocations, in TOML; see docs/WARNING.md.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read this bundle of a whole log instead of asking the coordinator. Needs --trust.
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub bundle: Option<PathBuf>,
    /// The keys to trust, with --bundle.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub trust: Option<PathBuf>,
    /// A promise of the coordinator that someone kept.
    #[arg(long, value_name = "FILE")]
    pub promise: Vec<PathBuf>,
}

/// What a file says.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Config {
    thresholds: Thresholds,
    /// Regions by party.
    regions: BTreeMap<Name, String>,
    /// Privacy budgets in millionths of epsilon, by dataset version.
    budgets: BTreeMap<String, u64>,
    /// Contracts that were revoked.
    revoked: Vec<Revoked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    contract: String,
    at: String,
}

/// What is watched, and with which keys.
struct Log {
    bundle: Bundle,
    trust: Trust,
    contracts: Vec<Terms>,
    /// What the coordinator promised to this party's own node.
    promises: Vec<Vec<u8>>,
}

/// Runs the command: 0 without an alert, [`WARNED`] with warnings, 6 with an alarm.
pub async fn run(cli: &Cli, out: &Out, args: &WarnArgs) -> Result<u8, Fault> {
    let config = config(args.config.as_deref())?;
    let mut log = match (&args.bundle, &args.trust) {
        (Some(bundle), Some(trust)) => from_files(bundle, trust)?,
        _ => from_coordinator(cli, out).await?,
    };
    for revoked in &config.revoked {
        revoke(&mut log.contracts, id(&revoked.contract)?, parse_time(&revoked.at)?);
    }
    let mut promises = args.promise.iter().map(|path| read(path, PROMISE_BYTES_MAX)).collect::<Result<Vec<_>, _>>()?;
    promises.append(&mut log.promises);
    log.bundle.promises = promises.iter().map(|p| p.clone().into()).collect();
    let progress = Progress::new(out.json(), out.say("verifying the log", "正在验证日志"));
    let report =
        verify_bundle_watched(&log.bundle.to_bytes(), Some(&log.trust), &mut |done, size| progress.at(done, size))?;
    let known = Known {
        now: tacit_node::now(),
        thresholds: config.thresholds,
        contracts: log.contracts,
        budgets: config.budgets,
        regions: config.regions,
    };
    let mut watch = Watch::new(&log.trust, &known);
    log.bundle.leaves.iter().for_each(|leaf| watch.leaf(leaf));
    let alerts = watch.finish(&report, &log.bundle.checkpoint, &promises);
    drop(progress);
    say(out, &alerts);
    let status = if alerts.alarming() { Code::ReceiptInvalid.exit_status() } else { WARNED };
    Ok(if alerts.alerts.is_empty() { 0 } else { status })
}

fn say(out: &Out, alerts: &Alerts) {
    let count = |level: Level| alerts.alerts.iter().filter(|a| a.level == level).count();
    let (alarms, warnings) = (count(Level::Alarm), count(Level::Warning));
    out.text(format!("{}: {alarms}  {}: {warnings}", out.say("alarms", "警报"), out.say("warnings", "预警")));
    for alert in &alerts.alerts {
        out.text(format!("- {}", crate::output::plain(&alert.sentence(out.lang()))));
        let places: Vec<String> = alert.leaves.iter().map(|l| format!("{} {}", l.index, l.hash.short())).collect();
        if !places.is_empty() {
            out.text(format!("  {} {}", out.say("leaves", "条目"), places.join(", ")));
        }
    }
    if alerts.omitted > 0 {
        out.text(format!("{} {}", alerts.omitted, out.say("more are not listed", "项未列出")));
    }
    let view = |alert: &Alert| -> Value {
        let leaves: Vec<Value> =
            alert.leaves.iter().map(|l| json!({"index": l.index, "hash": l.hash.to_string()})).collect();
        json!({
            "rule": alert.rule, "level": alert.level, "about": alert.about, "what": alert.what,
            "sentence": alert.sentence(out.lang()), "leaves": leaves,
        })
    };
    out.value(&json!({
        "alarms": alarms, "warnings": warnings, "omitted": alerts.omitted,
        "alerts": alerts.alerts.iter().map(view).collect::<Vec<_>>(),
    }));
}

pub(super) fn read(path: &Path, cap: usize) -> Result<Vec<u8>, Fault> {
    use std::io::Read as _;
    let failed = |what: String| Fault::new(Code::IoFailed, format!("{}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(cap as u64 + 1).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
    if bytes.len() > cap { Err(failed(format!("over {cap} bytes"))) } else { Ok(bytes) }
}

fn config(path: Option<&Path>) -> Result<Config, Fault> {
    let Some(path) = path else { return Ok(Config::default()) };
    let malformed = |what: String| Fault::new(Code::ConfigMalformed, format!("{}: {what}", path.display()));
    let text = String::from_utf8(read(path, CONFIG_BYTES_MAX)?).map_err(|e| malformed(e.to_string()))?;
    toml::from_str(&text).map_err(|e| malformed(e.to_string()))
}

fn id(text: &str) -> Result<ContractId, Fault> {
    ContractId::from_hex(text)
}

/// Notes a revocation: the earliest counts. Of a contract that is not known otherwise, only that it ended is known.
fn revoke(contracts: &mut Vec<Terms>, contract: ContractId, at: UnixMillis) {
    match contracts.iter_mut().find(|t| t.contract == contract) {
        Some(terms) => terms.revoked = Some(terms.revoked.map_or(at, |before| before.min(at))),
        None => contracts.push(Terms {
            contract,
            name: contract.short(),
            jobs: None,
            valid_from: UnixMillis(0),
            valid_until: UnixMillis(u64::MAX),
            revoked: Some(at),
        }),
    }
}

fn from_files(bundle: &Path, trust: &Path) -> Result<Log, Fault> {
    let bundle = Bundle::parse(&read(bundle, BUNDLE_BYTES_MAX)?)?;
    if bundle.leaves.is_empty() {
        return Err(Fault::new(Code::ReceiptBundle, "single receipts: rules are for a whole log"));
    }
    Ok(Log {
        bundle,
        trust: Trust::parse(&read(trust, TRUST_BYTES_MAX)?)?,
        contracts: Vec::new(),
        promises: Vec::new(),
    })
}

async fn from_coordinator(cli: &Cli, out: &Out) -> Result<Log, Fault> {
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = async {
        let (log, trust) = (Fetched::all(&client, out).await?, trust(&party, &client).await?);
        // A regulator may not read contracts here: their terms are then not known.
        let signed = match contracts(&party, &client).await {
            Err(fault) if fault.code == Code::NetRefused => Vec::new(),
            known => known?,
        };
        let terms = |contract: &tacit_governance::SignedContract| Terms {
            contract: contract.id(),
            name: contract.body().name.to_string(),
            jobs: Some(contract.body().quota.jobs),
            valid_from: contract.body().valid_from,
            valid_until: contract.body().valid_until,
            revoked: None,
        };
        let mut contracts: Vec<Terms> = signed.iter().map(terms).collect();
        for (contract, at) in party.store.revocations().await? {
            revoke(&mut contracts, contract, at);
        }
        let promises = party.store.promises().await?.into_iter().map(|row| row.statement).collect();
        Ok(Log { bundle: log.bundle(trust.clone()), trust, contracts, promises })
    }
    .await;
    client.close().await;
    party.store.close().await;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_the_page_parses_and_names_every_threshold_with_its_default() {
        let page = include_str!("../../../../docs/WARNING.md");
        let sample = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let config: Config = toml::from_str(sample).unwrap();
        assert_eq!(config.thresholds, Thresholds::default());
        assert_eq!((config.regions.len(), config.budgets.len(), config.revoked.len()), (2, 1, 1));
        for rule in tacit_receipts::warn::Rule::ALL {
            assert!(page.contains(&format!("| `{}` |", rule.word())), "{}", rule.word());
        }
        let named = sample
            .lines()
            .filter(|l| {
                l.contains("minutes") || l.contains("percent") || l.contains("refusals") || l.contains("rate_uses")
            })
            .count();
        assert_eq!(named, 8);
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("warn.toml");
        std::fs::write(&path, vec![b'#'; CONFIG_BYTES_MAX]).unwrap();
        assert!(config(Some(&path)).is_ok());
        std::fs::write(&path, vec![b'#'; CONFIG_BYTES_MAX + 1]).unwrap();
        assert_eq!(config(Some(&path)).err().unwrap().code, Code::IoFailed);
        std::fs::write(&path, vec![b'#'; PROMISE_BYTES_MAX + 1]).unwrap();
        assert!(read(&path, PROMISE_BYTES_MAX).is_err() && read(&path, PROMISE_BYTES_MAX + 1).is_ok());
    }
}
