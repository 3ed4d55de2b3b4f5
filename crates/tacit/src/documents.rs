//! What the pages of the repository tell people to type and to write is what this program reads.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::commands::{contract, data_terms, job_file};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Files with this ending, below a folder or in it.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(files(&root().join("examples"), "md"));
    pages.extend(files(&root().join("deploy"), "md"));
    pages.push(root().join("README.md"));
    pages.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The words of a line, as a shell has them: quotes hold together, and a pipe, a redirection or a comment ends it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, ' ') if word.is_empty() && !begun => {}
            (None, ' ') => {
                words.push(core::mem::take(&mut word));
                begun = false;
            }
            (None, '|' | '>' | '&' | '#') if word.is_empty() => return words,
            (None, ';') => break,
            _ => word.push(c),
        }
    }
    if !word.is_empty() || begun {
        words.push(word);
    }
    words
}

/// Lines of code that call this program: in fences or set in by four blanks, after a prompt or none.
fn commands(text: &str) -> Vec<String> {
    let (mut found, mut fenced) = (Vec::new(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            continue;
        }
        let line = line.trim();
        let line = line.split_once("$ ").map_or(line, |(_, command)| command);
        if !line.starts_with("tacit ") {
            continue;
        }
        let mut whole = line.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().unwrap_or_default().trim());
        }
        found.push(whole);
    }
    found
}

/// Code within a sentence that names a command of this program.
fn mentions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if !fenced && !line.starts_with("    ") {
            found.extend(
                line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("tacit ")).map(str::to_owned),
            );
        }
    }
    found
}

#[test]
fn commands_on_pages_are_commands_of_this_program() {
    let (mut lines, mut named) = (0, 0);
    for (path, text) in pages() {
        for line in commands(&text) {
            if let Err(error) = Cli::try_parse_from(words(&line)) {
                assert!(!error.use_stderr(), "{}: `{line}`: {error}", path.display());
            }
            lines += 1;
        }
        for code in mentions(&text) {
            // What is named may lack what belongs to it, but nothing in it may be unknown.
            if let Err(error) = Cli::try_parse_from(words(&code)) {
                let known = matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::NoEquals
                        | ErrorKind::TooFewValues
                        | ErrorKind::MissingSubcommand
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                );
                let bare = error.kind() == ErrorKind::InvalidValue && error.to_string().contains("none was supplied");
                assert!(known || bare, "{}: `{code}`: {error}", path.display());
            }
            named += 1;
        }
    }
    assert!(lines > 60 && named > 60, "only {lines} commands and {named} names of commands were found");
}

#[test]
fn examples_in_the_help_are_commands_of_this_program() {
    fn look(command: &clap::Command, found: &mut usize) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in after.lines().filter_map(|line| line.trim().strip_prefix("Example: ")) {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("the help of `{}`: `{line}`: {error}", command.get_name());
            }
            *found += 1;
        }
        command.get_subcommands().for_each(|below| look(below, found));
    }
    let mut found = 0;
    look(&Cli::command(), &mut found);
    assert!(found > 20, "only {found} examples were found");
}

#[test]
fn samples_on_pages_are_files_that_this_program_reads() {
    let mut samples: Vec<(PathBuf, String)> = Vec::new();
    for (path, text) in pages() {
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        samples.extend(blocks.map(|block| (path.clone(), block.to_owned())));
    }
    for folder in ["examples", "deploy"] {
        let files = files(&root().join(folder), "toml");
        samples.extend(files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())));
    }
    let mut read = [0; 3];
    for (path, text) in samples {
        let first = text.lines().next().unwrap_or_default();
        let of = first.strip_prefix("# ").and_then(|l| l.split([':', ' ', ',']).next()).unwrap_or_default();
        let result = match of {
            "contract.toml" => (0, contract::parses(&text)),
            "job.toml" | "online.toml" => (1, job_file::parses(&text)),
            "terms.toml" => (2, data_terms::parses(&text)),
            _ => continue,
        };
        read[result.0] += 1;
        result.1.unwrap_or_else(|fault| panic!("{}, `{first}`: {fault}", path.display()));
    }
    assert!(read.iter().all(|n| *n > 0), "{read:?} samples of contracts, jobs and terms were found");
}

#[test]
fn a_line_is_cut_into_words_as_a_shell_does() {
    assert_eq!(words("tacit join 'a b#c' --listen x > file"), ["tacit", "join", "a b#c", "--listen", "x"]);
    assert_eq!(words("tacit  job submit \"it's\" '' # why"), ["tacit", "job", "submit", "it's", ""]);
}
