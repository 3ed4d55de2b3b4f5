//! What people and programs see: tables that fit the terminal, one JSON value, faults with a hint.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, TableComponent, presets};
use serde::Serialize;
use tacit_types::{Fault, Lang};

use crate::cli::{Cli, LangArg};

/// Where a command's output goes.
pub struct Out {
    json: bool,
    lang: Lang,
    colour: bool,
}

impl Out {
    /// As the arguments say. Colour only on a terminal.
    pub fn new(cli: &Cli) -> Self {
        let lang = match cli.lang {
            LangArg::En => Lang::En,
            LangArg::Zh => Lang::Zh,
        };
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json: cli.json, lang, colour }
    }

    /// For a command line that could not be read, but asks for JSON.
    pub fn of_programs() -> Self {
        let chinese = std::env::var("TACIT_LANG").is_ok_and(|lang| lang == "zh");
        Self { json: true, lang: if chinese { Lang::Zh } else { Lang::En }, colour: false }
    }

    /// Whether a JSON value is wanted.
    pub fn json(&self) -> bool {
        self.json
    }

    /// The language.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// One of two sentences.
    pub fn say<'a>(&self, en: &'a str, zh: &'a str) -> &'a str {
        match self.lang {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// Prints text for people; nothing with `--json`.
    pub fn text(&self, text: impl AsRef<str>) {
        if !self.json {
            print(text.as_ref());
        }
    }

    /// Prints the one JSON value; nothing without `--json`.
    pub fn value(&self, value: &impl Serialize) {
        if self.json {
            print(&serde_json::to_string_pretty(value).unwrap_or_else(|_| "null".into()));
        }
    }

    /// Prints a table for people.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─')
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !std::io::stdout().is_terminal() {
            table.set_width(100);
        }
        table.set_header(head);
        for row in rows {
            table.add_row(row.iter().map(|cell| plain(cell)));
        }
        print(&table.to_string());
    }

    /// Prints a fault: what, where, what to do.
    pub fn fault(&self, fault: &Fault) {
        let (title, hint) = (fault.code.title(self.lang), fault.code.hint(self.lang));
        if self.json {
            let value = serde_json::json!({
                "error": {"code": fault.code.text(), "title": title, "what": fault.what, "hint": hint},
            });
            print(&value.to_string());
        }
        let (red, end) = if self.colour { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let error = self.say("error", "错误");
        let what = plain(&fault.what);
        let hint_word = self.say("hint", "提示");
        let text = format!("{red}{error}{end} [{}] {title}\n  {what}\n  {hint_word}: {hint}\n", fault.code);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Text of others without control characters, so that it cannot play with the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Writes a line; a reader that has gone away is no fault.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}
