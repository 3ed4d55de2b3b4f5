//! `log fsck`, `repair`, `rotate`, `mirror`, `evidence`: what keeps the log, and what shows that it was not kept.

use std::path::{Path, PathBuf};

use serde_json::json;
use tacit_archive::{Folder, examine};
use tacit_node::daemon::DATABASE_FILE;
use tacit_node::mirror::MIRROR_FOLDER;
use tacit_node::witness::{ForkEvidence, fork_evidence};
use tacit_node::{Store, log_keys};
use tacit_receipts::fork::{Prefix, prove_fork};
use tacit_receipts::note::NOTE_BYTES_MAX;
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH};
use tacit_receipts::{LogChain, TileRead, TileReader};
use tacit_types::{Code, Fault};

use super::receipt::write;
use super::warn;
use crate::cli::{Cli, LogCommand, LogKeyArg};
use crate::home::folder;
use crate::output::Out;
use crate::progress::Progress;

/// Runs a `log` command and gives the exit status.
pub async fn run(cli: &Cli, out: &Out, command: &LogCommand) -> Result<u8, Fault> {
    match command {
        LogCommand::Fsck => fsck(cli, out),
        LogCommand::Warn(args) => warn::run(cli, out, args).await,
        LogCommand::Repair { from } => repair(cli, out, from),
        LogCommand::Mirror => mirror(cli, out).await,
        LogCommand::Rotate { overlap_hours, key: LogKeyArg::Log } => rotate(cli, out, *overlap_hours),
        LogCommand::Rotate { overlap_hours, key: LogKeyArg::Receipts } => rotate_signer(cli, out, *overlap_hours),
        LogCommand::Evidence { out: to, note } => evidence(cli, out, to, note.as_deref()).await,
    }
}

/// Reads every tile and leaf of the coordinator's log.
fn fsck(cli: &Cli, out: &Out) -> Result<u8, Fault> {
    let progress = Progress::new(out.json(), out.say("reading the log", "正在检查日志"));
    let report = tacit_coordinator::fsck(&folder(cli))?;
    drop(progress);
    out.text(format!("{}: {report:?}", out.say("clean", "完好")));
    out.value(&json!({"ok": true, "report": format!("{report:?}")}));
    Ok(0)
}

/// Restores the coordinator's log.
fn repair(cli: &Cli, out: &Out, from: &[PathBuf]) -> Result<u8, Fault> {
    let progress = Progress::new(out.json(), out.say("restoring the log", "正在恢复日志"));
    let done = tacit_coordinator::repair(&folder(cli), from)?;
    drop(progress);
    let written = done.written.len();
    out.text(format!("{}: {}", out.say("leaves of the log", "日志叶数"), done.size));
    out.text(format!("{}: {written}", out.say("files written anew", "重写的文件")));
    done.written.iter().for_each(|path| out.text(format!("  {path}")));
    out.value(&json!({"ok": true, "size": done.size, "from_copies": done.from_copies, "written": done.written}));
    Ok(0)
}

/// Gives the coordinator's log its next key.
fn rotate(cli: &Cli, out: &Out, overlap_hours: u64) -> Result<u8, Fault> {
    let done = tacit_coordinator::rotate_log_key(&folder(cli), overlap_hours.saturating_mul(3_600_000))?;
    out.text(format!("{}: {}", out.say("the log's key of now on", "日志今后的密钥"), done.new));
    out.text(format!("{}: {}", out.say("the key of before", "此前的密钥"), done.old));
    out.text(format!("{}: {}", out.say("both sign until", "两者同时签名至"), done.until));
    out.text(out.say(
        "Start the coordinator: it puts the change into the log, and nodes follow by themselves.",
        "请启动协调方：更换将写入日志，各节点自动跟随。",
    ));
    out.text(out.say(
        "Logs of others that a [witness] follows, and trust files of regulators, name keys: hand them the new one.",
        "其他节点 [witness] 中列出的密钥及监管方的信任文件须另行更新：请交付新密钥。",
    ));
    out.value(&json!({"ok": true, "old": done.old.to_string(), "new": done.new.to_string(),
        "from_ms": done.from.0, "until_ms": done.until.0}));
    Ok(0)
}

/// Gives the coordinator the next key for receipts.
fn rotate_signer(cli: &Cli, out: &Out, overlap_hours: u64) -> Result<u8, Fault> {
    let done = tacit_coordinator::rotate_sign_key(&folder(cli), overlap_hours.saturating_mul(3_600_000))?;
    out.text(format!("{}: {}", out.say("the key of receipts from now on", "凭证今后的签名密钥"), done.new));
    out.text(format!("{}: {}", out.say("the key of before", "此前的密钥"), done.old));
    out.text(out.say(
        "Start the coordinator: it puts the change into the log, and nodes follow by themselves.",
        "请启动协调方：更换将写入日志，各节点自动跟随。",
    ));
    out.value(&json!({"ok": true, "old": done.old.to_string(), "new": done.new.to_string(),
        "from_ms": done.from.0, "until_ms": done.until.0}));
    Ok(0)
}

/// Checks this node's mirror, file by file.
async fn mirror(cli: &Cli, out: &Out) -> Result<u8, Fault> {
    let home = folder(cli);
    let config = tacit_node::Config::read(&home)?;
    let at = home.join(MIRROR_FOLDER);
    let store = Store::open(&home.join(DATABASE_FILE)).await?;
    let keys = log_keys::followed(&config, &store).await;
    store.close().await;
    let keys = keys?;
    let none = || Fault::new(Code::LogUnknown, format!("{}: nothing is mirrored", at.display()));
    let files = Folder::new(at.clone());
    let note = files.read(CHECKPOINT_PATH).ok_or_else(none)?;
    let (signed, _) = keys.open(&note)?;
    let head = signed.checkpoint();
    let damages: Vec<String> = (0..head.size.div_ceil(TILE_WIDTH))
        .flat_map(|index| examine(&files, (head.size, head.root), index))
        .map(|damage| damage.to_string())
        .collect();
    if let Some(first) = damages.first() {
        return Err(Fault::new(Code::LogCorrupt, format!("{}: {first}", at.display())));
    }
    out.text(format!("{}: {} {}", at.display(), head.size, out.say("leaves, each file whole", "个叶，各文件完好")));
    out.value(
        &json!({"ok": true, "folder": at.display().to_string(), "size": head.size, "root": head.root.to_string()}),
    );
    Ok(0)
}

/// What shows that a checkpoint is of another history than this node's mirror of the log.
fn mirrored(home: &Path, keys: LogChain, note: &Path) -> Result<ForkEvidence, Fault> {
    let at = home.join(MIRROR_FOLDER);
    let none = || Fault::new(Code::LogUnknown, format!("{}: nothing is mirrored", at.display()));
    let files = Folder::new(at.clone());
    let held = files.read(CHECKPOINT_PATH).ok_or_else(none)?;
    let offered = warn::read(note, NOTE_BYTES_MAX)?;
    let [own, other] = [&held, &offered].map(|note| keys.open(note).map(|(signed, _)| signed.checkpoint().size));
    let (own, other) = (own?, other?);
    let prefix = match other < own {
        true => Some(Prefix::of(&TileReader::new(&files, own), other, own)?),
        false => None,
    };
    Ok(ForkEvidence { keys, notes: [held, offered], prefix })
}

/// Writes what shows two histories: the two notes of a fork that this node was offered; or its mirror's, and one of a smaller or
/// equal size that somebody was shown.
async fn evidence(cli: &Cli, out: &Out, to: &Path, note: Option<&Path>) -> Result<u8, Fault> {
    let home = folder(cli);
    let config = tacit_node::Config::read(&home)?;
    let store = Store::open(&home.join(DATABASE_FILE)).await?;
    let found = match note {
        None => fork_evidence(&config, &store).await,
        Some(note) => match log_keys::followed(&config, &store).await {
            Ok(keys) => mirrored(&home, keys, note).map(Some),
            Err(fault) => Err(fault),
        },
    };
    store.close().await;
    let Some(ForkEvidence { keys, notes: [held, offered], prefix }) = found? else {
        return Err(Fault::new(Code::LogUnknown, "this node was never offered a fork"));
    };
    let [one, other] = prove_fork(&held, &offered, prefix.as_ref(), keys.newest().name(), &keys)?;
    std::fs::create_dir_all(to).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
    let mut files = vec![to.join("held.checkpoint"), to.join("offered.checkpoint")];
    write(&files[0], &held)?;
    write(&files[1], &offered)?;
    if let Some(prefix) = &prefix {
        let file = to.join("prefix");
        write(&file, prefix.to_text().as_bytes())?;
        files.push(file);
    }
    out.text(out.say("the log has two histories, both signed by it:", "该日志有两段历史，均由其签名："));
    out.text(format!("  {} {}  {}", one.origin, one.size, files[0].display()));
    out.text(format!("  {} {}  {}", other.origin, other.size, files[1].display()));
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    out.text(format!("  tacit-verify --fork {} --trust group.trust", files.join(" ")));
    out.value(&json!({"ok": true, "origin": one.origin, "size": one.size, "sizes": [one.size, other.size],
        "roots": [one.root.to_string(), other.root.to_string()], "files": files}));
    Ok(0)
}
