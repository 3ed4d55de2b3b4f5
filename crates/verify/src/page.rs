//! The one page that a verification prints, and its JSON.

use std::fmt::Write as _;

use serde::Serialize;
use tacit_receipts::link::{Flow, ShownLink};
use tacit_receipts::money::export::Table;
use tacit_receipts::money::lines::Checked;
use tacit_receipts::{
    CallProof, Checkpoint, LinkProof, LinkSeal, LinkState, ReadLink, Report, Scope, ShardChange, TrustSource,
};
use tacit_types::{Code, Fault, Lang, UnixMillis};

/// Faults, and notices, that the page lists; the JSON has more.
pub const SHOWN_MAX: usize = 40;

/// The report as a page.
pub fn text(report: &Report, lang: Lang) -> String {
    let zh = lang == Lang::Zh;
    let mut out = String::new();
    let mut line = |text: String| {
        // why: writing into a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    let verdict = match (report.is_valid(), zh) {
        (true, false) => "VALID",
        (false, false) => "NOT VALID",
        (true, true) => "有效",
        (false, true) => "无效",
    };
    if zh {
        line(format!("{verdict}：{} 份凭证，{} 份有效，{} 处错误", report.receipts, report.valid, faults(report)));
    } else {
        line(format!("{verdict}: {} receipts, {} valid, {} faults", report.receipts, report.valid, faults(report)));
    }
    for notice in report.notices.iter().take(SHOWN_MAX) {
        line(format!("! {}", notice.sentence(lang)));
    }
    line_more(&mut line, (report.notices.len() as u64).saturating_add(report.notices_omitted), zh);
    for told in &report.uses {
        line(String::new());
        let shown = match (told.authority_shown, zh) {
            (true, false) => "AUTHORITY SHOWN",
            (false, false) => "AUTHORITY NOT SHOWN IN FULL",
            (true, true) => "依据完整",
            (false, true) => "依据不完整",
        };
        line(if zh { format!("条目 {}，{shown}：", told.leaf) } else { format!("Leaf {}, {shown}:", told.leaf) });
        told.sentences.iter().for_each(|sentence| line(format!("  {}", sentence.text(lang))));
    }
    line(String::new());
    let label = |en: &'static str, zh_text: &'static str| if zh { zh_text } else { en };
    let scope = match report.scope {
        Scope::WholeLog => label("whole log", "完整日志"),
        Scope::SingleLeaves => label("single leaves", "单个条目"),
    };
    line(format!("{} {}", label("log      ", "日志  "), report.origin));
    line(format!("{} {scope}: {}", label("read     ", "读取  "), report.leaves));
    line(format!("{} {}", label("size     ", "大小  "), report.size));
    line(format!("{} {}", label("root     ", "根    "), report.root));
    for before in &report.after {
        line(format!("{} {before}", label("after    ", "之前  ")));
    }
    let none = label("no trusted witness", "无受信任的见证方").to_owned();
    line(format!(
        "{} {}",
        label("cosigned ", "联署  "),
        if report.cosigned.is_empty() { none } else { report.cosigned.join(", ") }
    ));
    for held in report.log_keys.iter().filter(|_| report.log_keys.len() > 1) {
        let at = |millis: Option<u64>| millis.map_or_else(String::new, |millis| UnixMillis(millis).to_string());
        let leaf = held.leaf.map_or_else(String::new, |leaf| format!(" ({} {leaf})", label("leaf", "条目")));
        line(format!("{} {}{leaf}: {} - {}", label("log key  ", "密钥  "), held.key, at(held.from), at(held.until)));
    }
    let source = match report.trust {
        TrustSource::Pinned => label("pinned", "已固定"),
        TrustSource::FromBundle => label("FROM BUNDLE, UNPINNED", "来自证据包，未固定"),
    };
    line(format!("{} {source}, sha256 {}", label("trust    ", "信任  "), report.trust_fingerprint));
    if !report.faults.is_empty() {
        line(String::new());
    }
    for finding in report.faults.iter().take(SHOWN_MAX) {
        line(format!("- {}", finding.sentence(lang)));
        line(format!("  > {}", finding.code.hint(lang)));
    }
    let more = faults(report).saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        line(if zh {
            format!("……另有 {more} 处，见 --json")
        } else {
            format!("... and {more} more, see --json")
        });
    }
    line(String::new());
    line(Report::limit(lang).to_owned());
    out
}

/// Says how many of a list the page leaves out.
fn line_more(line: &mut dyn FnMut(String), listed: u64, zh: bool) {
    let more = listed.saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        line(if zh {
            format!("……另有 {more} 项，见 --json")
        } else {
            format!("... and {more} more, see --json")
        });
    }
}

fn faults(report: &Report) -> u64 {
    (report.faults.len() as u64).saturating_add(report.omitted)
}

#[derive(Serialize)]
struct Output<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a Report,
    sentences: Vec<String>,
    limit: &'static str,
}

#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    error: &'a Fault,
    title: &'static str,
    hint: &'static str,
}

#[derive(Serialize)]
struct Counted {
    ok: bool,
    window: String,
    number: u64,
    leaf: u64,
    at_ms: u64,
    keys: u32,
    request: String,
}

#[derive(Serialize)]
struct Inclusion<'a> {
    ok: bool,
    origin: &'a str,
    size: u64,
    leaf: u64,
    witnesses: Option<usize>,
}

#[derive(Serialize)]
struct Exported {
    ok: bool,
    table: &'static str,
    rows: u64,
    left_out: u64,
}

#[derive(Serialize)]
struct Carried {
    frames: u64,
    bytes: u64,
    chain: String,
}

#[derive(Serialize)]
struct Signed {
    sent: Carried,
    received: Carried,
}

/// Parties by name and key.
#[derive(Serialize)]
struct Linked {
    ok: bool,
    job: String,
    attempt: u32,
    leaf: u64,
    party: (String, String),
    peer: (String, String),
    state: &'static str,
    own: Option<Signed>,
    other: Option<Signed>,
}

#[derive(Serialize)]
struct Reported {
    ok: bool,
    proofs: u64,
}

#[derive(Serialize)]
struct Successors<'a> {
    ok: bool,
    code: Code,
    origin: &'a str,
    next: [&'a str; 2],
    firsts: [u64; 2],
    keys: [String; 2],
}

#[derive(Serialize)]
struct Fork<'a> {
    ok: bool,
    code: Code,
    origin: &'a str,
    size: u64,
    sizes: [u64; 2],
    roots: [String; 2],
}

/// The report as JSON: its fields, `ok`, and a sentence for each notice and fault.
pub fn json(report: &Report, lang: Lang) -> String {
    let notices = report.notices.iter().map(|notice| notice.sentence(lang));
    let sentences = notices.chain(report.faults.iter().map(|finding| finding.sentence(lang))).collect();
    to_json(&Output { ok: report.is_valid(), report, sentences, limit: Report::limit(lang) })
}

/// The verdict on two checkpoints that prove a fork.
pub fn fork([one, other]: &[Checkpoint; 2], json: bool, lang: Lang) -> String {
    if json {
        let roots = [one.root.to_string(), other.root.to_string()];
        let sizes = [one.size, other.size];
        return to_json(&Fork { ok: true, code: Code::LogFork, origin: &one.origin, size: one.size, sizes, roots });
    }
    let title = Code::LogFork.title(lang);
    let hint = Code::LogFork.hint(lang);
    let (verdict, colon) = if lang == Lang::Zh { ("分叉已证实", "：") } else { ("FORK PROVEN", ": ") };
    let Checkpoint { origin, size, root } = one;
    let second = if other.size == *size { String::new() } else { format!("{origin}, {}\n", other.size) };
    format!("{verdict}{colon}{title} [{}]\n> {hint}\n{origin}, {size}\n{root}\n{second}{}\n", Code::LogFork, other.root)
}

/// Two logs that one log named as its next.
pub fn successors([one, other]: &[ShardChange; 2], json: bool, lang: Lang) -> String {
    if json {
        let next = [one.next_origin.as_str(), other.next_origin.as_str()];
        let (firsts, keys) = ([one.first, other.first], [one.next.to_string(), other.next.to_string()]);
        return to_json(&Successors { ok: true, code: Code::LogShard, origin: &one.origin, next, firsts, keys });
    }
    let (title, hint) = (Code::LogShard.title(lang), Code::LogShard.hint(lang));
    let (verdict, colon) = if lang == Lang::Zh { ("分叉已证实", "：") } else { ("FORK PROVEN", ": ") };
    let next = |change: &ShardChange| format!("{} {} {}\n", change.next_origin, change.first, change.next);
    let origin = &one.origin;
    format!("{verdict}{colon}{title} [{}]\n> {hint}\n{origin}\n{}{}", Code::LogShard, next(one), next(other))
}

/// A call that its window's receipt counts.
pub fn call(proof: &CallProof, leaf: u64, json: bool, lang: Lang) -> String {
    let CallProof { job, number, call, window, .. } = proof;
    if json {
        let window = job.to_string();
        let (at_ms, keys, request) = (call.at_ms, call.keys, call.request.to_string());
        return to_json(&Counted { ok: true, window, number: *number, leaf, at_ms, keys, request });
    }
    let calls = window.calls;
    if lang == Lang::Zh {
        return format!(
            "调用已计入：窗口 {job} 第 {number} 次（共 {calls} 次），{} 个键，凭证位于叶 {leaf}\n",
            call.keys
        );
    }
    format!("CALL COUNTED: number {number} of {calls} in window {job}, {} keys, receipt at leaf {leaf}\n", call.keys)
}

/// What both ends of a link have signed, as far as they have, with the exit status: a link on which they differ does not hold.
pub fn link(proof: &LinkProof, shown: &ShownLink, json: bool, lang: Lang) -> (String, u8) {
    let (ReadLink { here, there, state }, leaf) = (shown.link, shown.leaf);
    let status = if state == LinkState::Differs { Code::ReceiptLink.exit_status() } else { 0 };
    let [party, peer] = [&proof.party, &proof.peer].map(|id| (shown.name(id), id.to_string()));
    if json {
        let flow = |flow: Flow| Carried { frames: flow.frames, bytes: flow.bytes, chain: flow.chain.to_string() };
        let [own, other] =
            [here, there].map(|seal| seal.map(|seal| Signed { sent: flow(seal.sent), received: flow(seal.received) }));
        let (job, attempt, ok, state) = (proof.job.to_string(), proof.attempt.0, status == 0, state.word());
        return (to_json(&Linked { ok, job, attempt, leaf, party, peer, state, own, other }), status);
    }
    let (party, peer, job, attempt) = (party.0, peer.0, proof.job, proof.attempt.0);
    let verdict = match (state, lang) {
        (LinkState::Sealed, Lang::En) => "LINK SEALED: both ends signed the same",
        (LinkState::Differs, Lang::En) => "LINK DISPUTED: its ends signed different things",
        (LinkState::Unsealed, Lang::En) => "ONE END ALONE: the other end's seal is not here",
        (LinkState::Sealed, Lang::Zh) => "链路已由双方签署：内容一致",
        (LinkState::Differs, Lang::Zh) => "链路有异议：两端签署的内容不一致",
        (LinkState::Unsealed, Lang::Zh) => "仅一端签署：没有对端的签署",
    };
    let mut text = match lang {
        Lang::En => format!("{verdict}. {party} and {peer}, job {job}, attempt {attempt}, receipt at leaf {leaf}\n"),
        Lang::Zh => format!("{verdict}。{party} 与 {peer}，作业 {job}，第 {attempt} 次尝试，凭证位于叶 {leaf}\n"),
    };
    for (name, seal) in [(party, here), (peer, there)] {
        let Some(LinkSeal { sent, received, .. }) = seal else { continue };
        let (frames, bytes, got, in_all) = (sent.frames, sent.bytes, received.frames, received.bytes);
        text.push_str(&match lang {
            Lang::En => {
                format!("> {name} signed: sent {frames} frames, {bytes} bytes; received {got} frames, {in_all} bytes\n")
            }
            Lang::Zh => format!("> {name} 签署：发送 {frames} 帧 {bytes} 字节；接收 {got} 帧 {in_all} 字节\n"),
        });
    }
    (text, status)
}

/// Rows that the leaves give.
pub fn rows(found: Checked, json: bool, lang: Lang) -> String {
    let Checked { table, rows, left_out } = found;
    let table = table.map_or("", Table::word);
    if json {
        return to_json(&Exported { ok: true, table, rows, left_out });
    }
    if lang == Lang::Zh {
        return format!("各行属实：{rows} 行 {table} 均可由日志条目重新得出；日志中另有 {left_out} 行未在此文件中\n");
    }
    format!(
        "ROWS HOLD: {rows} rows of {table}, each as its leaf gives it; {left_out} more are in the log and not here\n"
    )
}

/// A report that the log gives.
pub fn report(proofs: u64, json: bool, lang: Lang) -> String {
    match (json, lang) {
        (true, _) => to_json(&Reported { ok: true, proofs }),
        (false, Lang::En) => {
            format!("REPORT HOLDS: the log gives it to the byte, with the proofs of {proofs} leaves\n")
        }
        (false, Lang::Zh) => format!("报告属实：与日志逐字节一致，附 {proofs} 个条目的证明\n"),
    }
}

/// One receipt that is in the log. Without witnesses, the log's key alone stands behind it.
pub fn included(origin: &str, (size, index): (u64, u64), witnesses: Option<usize>, json: bool, lang: Lang) -> String {
    if json {
        return to_json(&Inclusion { ok: true, origin, size, leaf: index, witnesses });
    }
    let by = match (witnesses, lang) {
        (Some(n), Lang::Zh) => format!("{n} 个见证方联署"),
        (None, Lang::Zh) => "仅由日志签名，无见证方".to_owned(),
        (Some(n), _) => format!("cosigned by {n} witnesses"),
        (None, _) => "signed by the log alone, no witness".to_owned(),
    };
    if lang == Lang::Zh {
        return format!("已收录：{origin} 第 {index} 叶（共 {size} 叶），{by}；未核对参与方的签章\n");
    }
    format!("INCLUDED: leaf {index} of {size} in {origin}, {by}; the parties' attestations were not checked\n")
}

/// What kept the evidence from being read.
pub fn fault(fault: &Fault, lang: Lang) -> String {
    format!("{}: {} [{}]\n> {}\n", fault.code.title(lang), fault.what, fault.code, fault.code.hint(lang))
}

/// The same as JSON.
pub fn fault_json(fault: &Fault, lang: Lang) -> String {
    to_json(&Failure { ok: false, error: fault, title: fault.code.title(lang), hint: fault.code.hint(lang) })
}

fn to_json<T: Serialize>(value: &T) -> String {
    // why: these types have no map with keys that are not text, which is all that JSON could refuse.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
