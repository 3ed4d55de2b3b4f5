//! The report of a quarter: made again byte by byte by whoever has the log, refused when anything in it was changed, and
//! printed to PDF by a real browser with its text in it.

mod browser;
#[path = "../../receipts/tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use browser::Browser;
use common::shop::Shop;
use common::{ORIGIN, START};
use serde_json::{Value, json};
use tacit_receipts::cases::{CASE_VERSION, Complaint, Opening};
use tacit_receipts::money::{LeafRef, Period};
use tacit_receipts::*;
use tacit_types::*;

const DAY: u64 = 86_400_000;

/// A period that was used, charged, settled, and complained about.
fn shop() -> Shop {
    let (mut shop, plan) = Shop::with(3, |_| {});
    (1..=3).for_each(|job| _ = shop.job(job));
    let mut refused = shop.world.record(4);
    refused.status = Status::Refused { code: Code::RefusedQuota, seat: None };
    (refused.attempt, refused.result) = (Attempt(0), None);
    shop.world.close(refused);
    shop.follow().unwrap();
    let period = Period { first: 4, ..shop.period(4, START) };
    let (leaf, charge) = shop.charge(plan, period);
    assert!(charge.total > 0);
    shop.settle(&[leaf]);
    let complaint = Opening {
        version: CASE_VERSION,
        origin: ORIGIN.into(),
        about: Some(shop.id(1)),
        decider: shop.id(2),
        leaves: vec![LeafRef { ..shop.at(leaf) }],
        topic: Name::new("overuse").unwrap(),
        text: "x".into(),
        evidence: Vec::new(),
        answer_by: shop.world.now.plus(DAY),
        decide_by: shop.world.now.plus(DAY),
        until: None,
    };
    let leaf = shop.sign(&shop.world.party(0), Complaint(complaint));
    shop.world.append(leaf);
    shop
}

fn report(shop: &Shop, from: UnixMillis, until: UnixMillis) -> Result<String, Fault> {
    printed::report(&shop.world.bundle(), &shop.world.trust(), from, until)
}

#[test]
fn a_report_says_what_the_log_has_of_its_time_and_proves_each_leaf() {
    let shop = shop();
    let (from, until) = (UnixMillis(START.0 - DAY), shop.world.now.plus(DAY));
    let text = report(&shop, from, until).unwrap();
    // Three jobs of 5.00 and 3006 cells at 0.001234; two payees.
    for part in [
        "18.71 CNY",
        "9.36 CNY",
        "9.35 CNY",
        "refused.quota",
        "complaint",
        "overuse",
        "有效 / VALID",
        "bank-0",
        ">3006<",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains("<script") && !text.contains("http:") && !text.contains("src="));
    let proofs: Vec<&str> = text.lines().filter(|l| l.starts_with("<tr class=\"proof\">")).collect();
    // Four receipts, a charge, a settlement, a complaint.
    assert_eq!(proofs.len(), 7);
    let root = shop.world.tree.root();
    for row in proofs {
        let cells: Vec<&str> = row.split("<td>").skip(1).map(|c| c.split("</td>").next().unwrap()).collect();
        let index: u64 = cells[0].parse().unwrap();
        let hash = Hash::from_hex(cells[1]).unwrap();
        assert_eq!(hash, merkle::leaf_hash(&shop.world.leaves[index as usize]));
        let path: Vec<Hash> = cells[2].split_whitespace().map(|h| Hash::from_hex(h).unwrap()).collect();
        merkle::verify_inclusion(&hash, index, shop.world.tree.size(), &path, &root).unwrap();
    }
    assert!(text.contains(&root.to_string()) && text.contains("w.example/0 "), "the checkpoint");

    // Another time has nothing of it.
    let before = report(&shop, UnixMillis(1), START).unwrap();
    assert!(!before.contains("CNY") && !before.contains("class=\"proof\"><td>"));
    assert_eq!(report(&shop, until, until).unwrap_err().code, Code::ReceiptPeriod);
    let single = shop.world.single(&[5]);
    assert_eq!(printed::report(&single, &shop.world.trust(), from, until).unwrap_err().code, Code::ReceiptBundle);
}

#[test]
fn any_change_of_a_report_shows() {
    let shop = shop();
    let (bundle, trust) = (shop.world.bundle(), shop.world.trust());
    let text = report(&shop, UnixMillis(START.0 - DAY), shop.world.now.plus(DAY)).unwrap();
    assert_eq!(printed::check(&text, &bundle, &trust).unwrap(), 7);
    for (from, to) in [
        ("18.71", "18.72"),
        (">3006<", ">3007<"),
        ("bank-0", "bank-9"),
        ("有效", "有敌"),
        ("</body>", "<p>x</p></body>"),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        assert_eq!(printed::check(&altered, &bundle, &trust).unwrap_err().code, Code::LogProof, "{from}");
    }
    let cut = &text[..text.len() - 8];
    assert_eq!(printed::check(cut, &bundle, &trust).unwrap_err().code, Code::LogProof);
    assert_eq!(printed::check("junk", &bundle, &trust).unwrap_err().code, Code::LogProof);
    let later = text.replacen("data-from=\"", "data-from=\"9", 1);
    assert!(printed::check(&later, &bundle, &trust).is_err());
}

#[test]
fn a_log_that_is_wrong_says_so_in_the_report() {
    let mut shop = shop();
    shop.world.append(b"no statement <b>".to_vec());
    let text = report(&shop, UnixMillis(START.0 - DAY), shop.world.now.plus(DAY)).unwrap();
    assert!(text.contains("无效 / NOT VALID") && text.contains("receipt.malformed"));
}

fn verify(arguments: &[&str]) -> (i32, Value) {
    let output =
        assert_cmd::Command::cargo_bin("tacit-verify").unwrap().args(arguments).arg("--json").output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_program_holds_a_report_and_a_browser_prints_it() {
    let shop = shop();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let text = report(&shop, UnixMillis(START.0 - DAY), shop.world.now.plus(DAY)).unwrap();
    let (page, bundle) = (file("q4.html", text.as_bytes()), file("b", &shop.world.bundle().to_bytes()));
    let trust = file("t", &shop.world.trust().to_bytes());
    let held = verify(&[str(&bundle), "--trust", str(&trust), "--report", str(&page)]);
    assert_eq!(held, (0, json!({"ok": true, "proofs": 7})));
    let other = file("other.html", text.replacen("18.71", "81.71", 1).as_bytes());
    let (status, wrong) = verify(&[str(&bundle), "--trust", str(&trust), "--report", str(&other)]);
    assert_eq!((status, &wrong["error"]["code"]), (6, &json!("log.proof")));
    if !browser::at_hand() {
        return;
    }
    let mut browser = Browser::open(&page);
    let shown = browser.eval("document.body.innerText").as_str().unwrap().to_owned();
    assert!(shown.contains("数据使用报告 / Report of data use") && shown.contains("18.71 CNY"), "{shown}");
    assert_eq!(browser.eval("document.scripts.length"), json!(0));
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    let pdf = browser.pdf();
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 10_000, "{} bytes", pdf.len());
    let pdf = file("q4.pdf", &pdf);
    // The text of the PDF itself, where there is a program to read it.
    match Command::new("pdftotext").args(["-layout", str(&pdf), "-"]).output() {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            for part in ["Report of data use", "18.71 CNY", "log.example/usage/2026", "RFC 6962"] {
                assert!(printed.contains(part), "{part} in {printed}");
            }
        }
        Err(_) => {
            assert!(browser::may_lack(), "pdftotext (poppler-utils) is not installed");
            eprintln!("*** pdftotext is not installed: the text of the PDF was not read ***");
        }
    }
}
