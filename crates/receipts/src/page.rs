//! One self-contained page that verifies single receipts in a browser, without network: WebCrypto, no framework, no
//! script of others.
//!
//! The page does what [`verify_bundle`](crate::verify_bundle) does for a bundle of single leaves and gives the same
//! codes, which it takes from the one catalogue. Its content policy names the hashes of its script and its style and
//! allows nothing else: no connection, no other script, even if a text of the evidence became markup.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tacit_crypto::sha256;
use tacit_types::{Code, Lang};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("page/bytes.js"),
    include_str!("page/links.js"),
    include_str!("page/verify.js"),
    include_str!("page/keys.js"),
    include_str!("page/view.js"),
];

/// The page, as one file.
pub fn page() -> String {
    let script = script();
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(sha256(text.as_bytes()).0));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(&script),
        hash(STYLE)
    );
    PAGE.replacen("@POLICY@", &policy, 1).replacen("@STYLE@", STYLE, 1).replacen("@SCRIPT@", &script, 1)
}

fn script() -> String {
    let codes: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let words = [code.title(Lang::En), code.title(Lang::Zh), code.hint(Lang::En), code.hint(Lang::Zh)];
            format!("  {}: [{}],\n", literal(code.text()), words.map(literal).join(", "))
        })
        .collect();
    format!(
        "\n'use strict';\n(() => {{\n// Code: title and hint, in English and Chinese.\nconst CODES = Object.assign(Object.create(null), {{\n{}}});\n{}}})();\n",
        codes.concat(),
        SCRIPTS.concat()
    )
}

/// A literal of the script's language that ends neither the literal nor the element it stands in.
fn literal(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_whose_policy_names_its_script_and_style_alone() {
        let page = page();
        assert!(
            !page.contains('@') || page.matches('@').count() == page.matches("@media").count(),
            "a part is missing"
        );
        for other in ["src=", "href=", "http:", "https:", "import(", "innerHTML", "eval(", "fetch(", "XMLHttpRequest"] {
            assert!(!page.contains(other), "{other}");
        }
        assert_eq!(page.matches("<script>").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
        let inner = page.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
        assert!(page.contains(&format!("script-src 'sha256-{}'", STANDARD.encode(sha256(inner.as_bytes()).0))));
        assert!(page.contains("default-src 'none'") && !page.contains("unsafe"));
        for code in Code::ALL {
            assert!(inner.contains(&format!("  {}: [", literal(code.text()))), "{code}");
        }
    }

    #[test]
    fn a_literal_ends_nothing_that_it_stands_in() {
        assert_eq!(literal("a\"b\\c</script>\n\u{2028}"), "\"a\\\"b\\\\c\\u003c/script\\u003e\\u000a\\u2028\"");
    }
}
