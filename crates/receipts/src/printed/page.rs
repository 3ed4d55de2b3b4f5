//! The page of a report.

use core::fmt::Write as _;

use tacit_types::{Lang, NodeId, UnixMillis};

use super::{Found, name};
use crate::bundle::Trust;
use crate::money::amount::decimal;
use crate::money::lines::escaped;
use crate::money::{Item, LeafRef};
use crate::report::Report;

/// What a row with a proof begins with.
pub const PROOF_ROW: &str = "<tr class=\"proof\">";
const BEGIN: &str = "<!doctype html>\n<html lang=\"zh-CN\" data-from=\"";
const MIDDLE: &str = "\" data-until=\"";
const STYLE: &str = "@page{size:A4;margin:16mm}\
    body{font:12px/1.4 'Noto Sans CJK SC','Source Han Sans SC',sans-serif;max-width:60rem;margin:1rem auto;color:#111}\
    h1{font-size:1.5em}h2{font-size:1.15em;break-after:avoid;border-bottom:1px solid #999}\
    table{border-collapse:collapse;width:100%;margin:.4rem 0}thead{display:table-header-group}\
    tr{break-inside:avoid}th,td{border:1px solid #999;padding:2px 5px;text-align:left;overflow-wrap:anywhere;\
    vertical-align:top}th{background:#eee}td.n{text-align:right;white-space:nowrap}\
    pre,.proof td{font:9px/1.3 monospace;white-space:pre-wrap;overflow-wrap:anywhere}";

/// The two times that a report is of.
pub(super) fn times(text: &str) -> Option<(UnixMillis, UnixMillis)> {
    let (from, rest) = text.strip_prefix(BEGIN)?.split_once(MIDDLE)?;
    let (until, _) = rest.split_once('"')?;
    Some((UnixMillis(from.parse().ok()?), UnixMillis(until.parse().ok()?)))
}

/// A page that is being written.
struct Page<'a> {
    out: String,
    trust: &'a Trust,
}

/// A cell: text, or a number that stands to the right.
enum Cell {
    Text(String),
    Number(String),
}

fn text(value: impl ToString) -> Cell {
    Cell::Text(value.to_string())
}

fn number(value: impl ToString) -> Cell {
    Cell::Number(value.to_string())
}

fn place(at: &LeafRef) -> [Cell; 2] {
    [number(at.index), text(at.hash.short())]
}

impl Page<'_> {
    fn put(&mut self, part: impl AsRef<str>) {
        self.out.push_str(part.as_ref());
    }

    fn title(&mut self, en: &str, zh: &str) {
        self.put(format!("<h2>{} / {}</h2>\n", escaped(zh), escaped(en)));
    }

    fn line(&mut self, label: &str, value: &str) {
        self.put(format!("<p>{}: {}</p>\n", escaped(label), escaped(value)));
    }

    fn name(&self, key: &NodeId) -> String {
        name(self.trust, key)
    }

    /// A table, or a sentence that there is nothing.
    fn table(&mut self, heads: &[&str], rows: Vec<Vec<Cell>>) {
        if rows.is_empty() {
            return self.put("<p>无 / none</p>\n");
        }
        self.put("<table>\n<thead><tr>");
        heads.iter().for_each(|head| self.put(format!("<th>{}</th>", escaped(head))));
        self.put("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.put("<tr>");
            for cell in row {
                match cell {
                    Cell::Text(value) => self.put(format!("<td>{}</td>", escaped(&value))),
                    Cell::Number(value) => self.put(format!("<td class=\"n\">{}</td>", escaped(&value))),
                }
            }
            self.put("</tr>\n");
        }
        self.put("</tbody>\n</table>\n");
    }
}

/// Writes the page.
pub(super) fn write(trust: &Trust, found: &Found, from: UnixMillis, until: UnixMillis) -> String {
    let mut page = Page { out: String::new(), trust };
    page.put(format!(
        "{BEGIN}{}{MIDDLE}{}\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>Tacit {} {}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<h1>数据使用报告 / Report of data use</h1>\n",
        from.0,
        until.0,
        escaped(&trust.origin),
        escaped(&until.to_string())
    ));
    summary(&mut page, found, from, until);
    usage(&mut page, found);
    money(&mut page, found);
    disputes(&mut page, found);
    faults(&mut page, &found.report);
    proofs(&mut page, found);
    page.put("</body>\n</html>\n");
    page.out
}

fn summary(page: &mut Page<'_>, found: &Found, from: UnixMillis, until: UnixMillis) {
    let report = &found.report;
    let verdict = if report.is_valid() { "有效 / VALID" } else { "无效 / NOT VALID" };
    page.line("周期 / period", &format!("{from} .. {until}"));
    page.line("日志 / log", &report.origin);
    page.line("检查点 / checkpoint", &format!("{} {}", report.size, report.root));
    page.line("联署 / cosigned", &report.cosigned.join(", "));
    page.line("信任文件 SHA-256 / trust file SHA-256", &report.trust_fingerprint);
    page.line(
        "验证 / verification",
        &format!("{verdict}; {} / {} ({} faults)", report.valid, report.receipts, report.faults.len()),
    );
    page.title("Jobs", "作业");
    let ended = found.ended.map(number);
    page.table(&["有结果 / with a result", "中止 / aborted", "拒绝 / refused"], vec![ended.into()]);
    if !found.refusals.is_empty() {
        let rows = found.refusals.iter().map(|(code, count)| vec![text(code), number(count)]).collect();
        page.table(&["拒绝原因 / reason", "次数 / count"], rows);
    }
}

fn usage(page: &mut Page<'_>, found: &Found) {
    page.title("What was used (with a result and without a fault)", "用量（有结果且无错误）");
    let row = |((contract, party, unit), quantity): (&(_, String, tacit_types::Unit), &u64)| {
        let contract: &tacit_types::ContractId = contract;
        vec![text(contract.short()), text(party), text(unit.word()), text(unit.ucum()), number(quantity)]
    };
    let heads = ["合同 / contract", "参与方 / party", "单位 / unit", "UCUM", "数量 / quantity"];
    page.table(&heads, found.usage.iter().map(row).collect());
}

fn item(item: Item) -> &'static str {
    match item {
        Item::Use => "用量 / use",
        Item::Subscription => "订阅 / subscription",
        Item::Minimum => "补至最低 / up to the minimum",
        Item::Maximum => "降至最高 / down to the maximum",
        Item::Permitted => "降至准许收入 / down to the permitted revenue",
    }
}

fn money(page: &mut Page<'_>, found: &Found) {
    page.title("Charges", "费用");
    let (mut lines, mut shares) = (Vec::new(), Vec::new());
    for (at, charge) in &found.charges {
        let plan = found.ledger.plan_in_force(&charge.plan);
        let currency = plan.map(|p| p.currency.clone()).unwrap_or_default();
        let payer = plan.map(|p| page.name(&p.payer)).unwrap_or_default();
        for line in &charge.lines {
            let unit = line.unit.map(|u| u.word()).unwrap_or_default();
            let row = [text(&payer), text(item(line.item)), text(unit), number(line.quantity)];
            let fen = number(format!("{} {currency}", decimal(line.fen)));
            lines.push(place(at).into_iter().chain(row).chain([fen]).collect());
        }
        if let Some(disputed) = charge.disputed {
            let row =
                [text(&payer), text("计数不一，未计 / counts differ, left out"), text(""), number(disputed), text("")];
            lines.push(place(at).into_iter().chain(row).collect());
        }
        let due = number(format!("{} {currency}", decimal(charge.due)));
        let row = [text(&payer), text("应付 / due"), text(""), text("")];
        lines.push(place(at).into_iter().chain(row).chain([due]).collect());
        for share in &charge.shares {
            let fen = number(format!("{} {currency}", decimal(share.fen)));
            shares.push(place(at).into_iter().chain([text(page.name(&share.party)), fen]).collect());
        }
    }
    let heads = [
        "条目 / leaf",
        "哈希 / hash",
        "付款方 / payer",
        "项目 / item",
        "单位 / unit",
        "数量 / quantity",
        "金额 / amount",
    ];
    page.table(&heads, lines);
    page.title("Who gets it", "收入分配");
    page.table(&["条目 / leaf", "哈希 / hash", "收款方 / payee", "金额 / amount"], shares);
    page.title("Settlements", "结算");
    let mut rows = Vec::new();
    for (at, settlement) in &found.settlements {
        for transfer in &settlement.transfers {
            let fen = i64::try_from(transfer.fen).unwrap_or(i64::MAX);
            let fen = number(format!("{} {}", decimal(fen), settlement.currency));
            let who = [text(page.name(&transfer.from)), text(page.name(&transfer.to))];
            rows.push(place(at).into_iter().chain(who).chain([fen]).collect());
        }
    }
    page.table(&["条目 / leaf", "哈希 / hash", "付款方 / pays", "收款方 / gets", "金额 / amount"], rows);
}

fn disputes(page: &mut Page<'_>, found: &Found) {
    page.title("Disputes", "异议");
    let mut rows = Vec::new();
    for (at, opened) in &found.disputes {
        let mut row = |about: String, state: String| {
            rows.push(place(at).into_iter().chain([text(opened), number(about), text(state)]).collect());
        };
        let views = found.ledger.disputes_at(at.index);
        if views.is_empty() {
            let state = match found.ledger.receipt_at(at.index) {
                Some(_) => "计数不一，无价格方案 / counts differ, no price plan",
                None => "无效 / without effect",
            };
            row(String::new(), state.into());
        }
        for view in views {
            let about = match view.line.filter(|_| view.automatic) {
                Some(line) => format!("{}, 行 / line {line}", view.receipt),
                None => view.receipt.to_string(),
            };
            let state = match view.ruled {
                Some((leaf, outcome)) => format!("{outcome:?}, {leaf}"),
                None if view.automatic => "计数不一，未决 / counts differ, open".into(),
                None => "未决 / open".into(),
            };
            row(about, state);
        }
    }
    page.table(&["条目 / leaf", "哈希 / hash", "提出 / opened", "凭证 / receipt", "状态 / state"], rows);
    page.title("Complaints, incidents, conduct", "投诉、事件、行为记录");
    let mut rows = Vec::new();
    for case in &found.cases {
        let about = case.opening.about.map(|key| page.name(&key)).unwrap_or_default();
        let row = [
            text(case.kind.word()),
            text(&case.opening.topic),
            text(page.name(&case.by)),
            text(about),
            text(case.opening.decide_by),
            text(case.state.word()),
        ];
        rows.push(place(&case.at).into_iter().chain(row).collect());
    }
    let heads = [
        "条目 / leaf",
        "哈希 / hash",
        "类型 / kind",
        "事由 / topic",
        "提出方 / by",
        "相对方 / about",
        "裁定期限 / decide by",
        "状态 / state",
    ];
    page.table(&heads, rows);
}

fn faults(page: &mut Page<'_>, report: &Report) {
    page.title("What the verifier finds wrong in the whole log", "全日志验证发现的错误");
    let rows = report.faults.iter().map(|f| vec![text(f.sentence(Lang::Zh)), text(f.sentence(Lang::En))]).collect();
    page.table(&["中文", "English"], rows);
}

fn proofs(page: &mut Page<'_>, found: &Found) {
    page.title(
        "Proofs: leaf, hash, and the way to the root of the checkpoint below (RFC 6962)",
        "证明：条目、哈希及其至下列检查点根的路径",
    );
    page.put("<table>\n<tbody>\n");
    for (at, hashes) in &found.proofs {
        let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
        let mut row = String::new();
        // why: writing into a string cannot fail.
        let _ = writeln!(row, "{PROOF_ROW}<td>{}</td><td>{}</td><td>{}</td></tr>", at.index, at.hash, hashes.join(" "));
        page.put(row);
    }
    page.put("</tbody>\n</table>\n<pre>");
    let lines: Vec<String> = found.checkpoint.lines().map(escaped).collect();
    page.put(lines.join("\n"));
    page.put("\n</pre>\n");
    page.line("局限 / limit", &format!("{} {}", Report::limit(Lang::Zh), Report::limit(Lang::En)));
}
