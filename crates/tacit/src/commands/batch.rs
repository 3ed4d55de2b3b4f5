//! `job batch`: a list of any length, scored by jobs of a part of it each, one after the other.
//!
//! What nodes and recipient hold is bounded by one part, however long the list is, and each part has a receipt of its
//! own. What is done stands in a book beside the output, so the same command goes on after any end, also after a
//! crash: a part whose job was handed in is followed, never handed in twice.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tacit_crypto::sha256;
use tacit_engine::{FromCoordinator, JobView, Terminal, ToCoordinator};
use tacit_governance::JobSpec;
use tacit_jobs::score::keys::{KEY_BYTES_MAX, KEYS_MAX};
use tacit_node::Client;
use tacit_types::{Code, Fault, JobId};

use super::job::{bring, describe, ended, follow, open, prepare};
use super::job_file;
use super::scores;
use crate::home::{Party, unexpected};
use crate::output::Out;

/// Jobs of one batch.
pub const PARTS_MAX: u64 = 1024;
/// Bytes of a line of a list, the space around the key included.
const LINE_BYTES_MAX: usize = 4096;

fn invalid(what: String) -> Fault {
    Fault::new(Code::ArgsInvalid, what)
}

fn failed(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Code::IoFailed, format!("{}: {error}", path.display()))
}

/// The keys of a list, read as they are needed.
struct List<R> {
    path: PathBuf,
    reader: R,
    line: u64,
}

impl List<BufReader<File>> {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|e| failed(path, &e))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), line: 0 })
    }
}

impl<R: BufRead> List<R> {
    /// The next key: a line without the space around it; empty lines are none.
    fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            let mut bytes = Vec::new();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut bytes).map_err(|e| failed(&self.path, &e))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let place = || format!("{}:{}", self.path.display(), self.line);
            let text = std::str::from_utf8(&bytes).map_err(|_| invalid(format!("{}: not UTF-8", place())))?.trim();
            if read > LINE_BYTES_MAX || text.len() > KEY_BYTES_MAX {
                return Err(invalid(format!("{}: a key of more than {KEY_BYTES_MAX} bytes", place())));
            }
            if !text.is_empty() {
                return Ok(Some(text.to_owned()));
            }
        }
    }

    /// The next keys, so many or what is left.
    fn part(&mut self, keys: u64) -> Result<Vec<String>, Fault> {
        let mut part = Vec::new();
        while (part.len() as u64) < keys {
            match self.next()? {
                Some(key) => part.push(key),
                None => break,
            }
        }
        Ok(part)
    }

    /// Reads to the end: how many parts there are. Nothing is kept.
    fn parts(mut self, keys: u64) -> Result<u64, Fault> {
        let mut all = 0u64;
        while self.next()?.is_some() {
            all += 1;
            if all.div_ceil(keys) > PARTS_MAX {
                return Err(invalid(format!("{}: more than {PARTS_MAX} parts of {keys} keys", self.path.display())));
            }
        }
        if all == 0 { Err(invalid(format!("{}: no key at all", self.path.display()))) } else { Ok(all.div_ceil(keys)) }
    }
}

/// What a book begins with: a batch goes on only where these are the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Head {
    /// The hash of the job file.
    file: String,
    /// Keys of a part.
    part: u64,
}

/// A line of a book: a part whose job is about to be handed in, and again when its scores are written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry {
    /// From 1.
    part: u64,
    /// The hash of the part's keys.
    keys: String,
    /// The job.
    job: String,
    /// Once it is done.
    done: Option<Done>,
}

/// A part that is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Done {
    /// Rows of the part.
    rows: u64,
    /// Rows without a score.
    unknown: u64,
    /// Bytes of the output up to here.
    bytes: u64,
    /// The leaf of its receipt.
    receipt: u64,
}

/// The book of a batch: what was handed in, and what is done.
struct Book {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

impl Book {
    /// Opens the book of an output, or begins one. A last line that was cut off by a crash counts for nothing.
    fn open(path: PathBuf, head: &Head) -> Result<Self, Fault> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.as_mut().map_err(|e| failed(&path, e))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| failed(&path, &e))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text.get(..whole).unwrap_or_default().lines();
        let broken = || invalid(format!("{}: not the book of a batch", path.display()));
        let mut entries: Vec<Entry> = Vec::new();
        let begun = lines.next();
        match begun.map(serde_json::from_str::<Head>) {
            Some(Ok(found)) if found == *head => {}
            Some(Ok(_)) => {
                let what = "another job file, or parts of another size: name another output";
                return Err(invalid(format!("{}: {what}", path.display())));
            }
            Some(Err(_)) => return Err(broken()),
            None => {}
        }
        for line in lines {
            let entry: Entry = serde_json::from_str(line).map_err(|_| broken())?;
            // A part that was handed in again, or is done, takes the place of what was written of it before.
            let place = entries.len() as u64 + 1;
            if entry.part > 0 && entry.part + 1 == place {
                entries.pop();
            } else if entry.part != place {
                return Err(broken());
            }
            entries.push(entry);
        }
        let file = file.try_clone().map_err(|e| failed(&path, &e))?;
        let mut book = Self { path, file, entries };
        book.file.set_len(whole as u64).map_err(|e| failed(&book.path, &e))?;
        book.file.seek(SeekFrom::End(0)).map_err(|e| failed(&book.path, &e))?;
        if begun.is_none() {
            book.write(head)?;
        }
        Ok(book)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), Fault> {
        let mut text = serde_json::to_string(line).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|e| failed(&self.path, &e))
    }

    /// Puts an entry on disk, in place of the last where it is of the same part.
    fn put(&mut self, entry: Entry) -> Result<(), Fault> {
        self.write(&entry)?;
        self.entries.truncate(entry.part.saturating_sub(1) as usize);
        self.entries.push(entry);
        Ok(())
    }

    fn of(&self, part: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.part == part)
    }

    /// Bytes of the output that are whole.
    fn bytes(&self) -> u64 {
        self.entries.iter().rev().find_map(|entry| entry.done.as_ref()).map_or(0, |done| done.bytes)
    }
}

/// Writes what a result holds of each row, a line each with its key.
///
/// # Errors
/// `args.invalid` when the result has nothing of rows, or another number of them; `io.failed`.
fn write_rows(to: &mut impl Write, path: &Path, result: &mut Value, keys: &[String]) -> Result<(), Fault> {
    let (rows, one) = scores::rows(result).ok_or_else(|| invalid("the job has no scores".into()))?;
    if rows.len() != keys.len() {
        return Err(invalid(format!("{} keys in the part, {} rows in the job", keys.len(), rows.len())));
    }
    for (row, key) in rows.iter_mut().zip(keys) {
        writeln!(to, "{}", json!({"key": key, one: row.take()})).map_err(|e| failed(path, &e))?;
    }
    to.flush().map_err(|e| failed(path, &e))
}

/// A batch that runs.
struct Batch<'a> {
    party: &'a Party,
    client: &'a Client,
    out: &'a Out,
    file: &'a Path,
    to: &'a Path,
    book: Book,
    output: File,
    parts: u64,
}

/// Scores the list of a job file part by part, and writes a line for each key.
///
/// # Errors
/// `args.invalid` for a file without a list, a part over its limit or too many parts, or an output of another batch;
/// those of submitting and opening a job.
pub async fn run(
    party: &Party,
    client: &Client,
    out: &Out,
    file: &Path,
    to: &Path,
    part: Option<u64>,
) -> Result<u8, Fault> {
    let size = part.unwrap_or(KEYS_MAX);
    if !(1..=KEYS_MAX).contains(&size) {
        return Err(invalid(format!("--part: {size} keys of 1 to {KEYS_MAX}")));
    }
    let path = job_file::list_of(file)?;
    let parts = List::open(&path)?.parts(size)?;
    let text = std::fs::read(file).map_err(|e| failed(file, &e))?;
    let head = Head { file: sha256(&text).to_string(), part: size };
    let mut beside = to.as_os_str().to_owned();
    beside.push(".parts");
    let book = Book::open(beside.into(), &head)?;
    let mut options = OpenOptions::new();
    let mut output = options.write(true).create(true).truncate(false).open(to).map_err(|e| failed(to, &e))?;
    let whole = output.set_len(book.bytes()).and_then(|()| output.seek(SeekFrom::End(0)));
    whole.map_err(|e| failed(to, &e))?;
    let mut batch = Batch { party, client, out, file, to, book, output, parts };
    let mut list = List::open(&path)?;
    for number in 1..=parts {
        let keys = list.part(size)?;
        if let Some(view) = batch.part(number, keys).await? {
            let (place, over) = (format!("{number}/{parts}"), out.say("part", "部分"));
            let on = out.say("the same command goes on from here", "再次执行同一命令即可从此处继续");
            out.text(format!("{over} {place}: {on}"));
            describe(out, &view);
            out.value(&json!({"part": number, "parts": parts, "job": super::job::view_json(&view, out.lang())}));
            return Ok(ended(&view).max(1));
        }
    }
    batch.report();
    Ok(0)
}

impl Batch<'_> {
    /// Scores a part, unless it is done. Gives its job when that did not succeed.
    async fn part(&mut self, number: u64, keys: Vec<String>) -> Result<Option<JobView>, Fault> {
        let hash = sha256(keys.join("\n").as_bytes()).to_string();
        let known = self.book.of(number).cloned();
        if known.as_ref().is_some_and(|entry| entry.keys != hash) {
            let what = format!("{}: part {number} had other keys: name another output", self.book.path.display());
            return Err(invalid(what));
        }
        if known.as_ref().is_some_and(|entry| entry.done.is_some()) {
            return Ok(None);
        }
        let id = match self.begun(known.as_ref()).await? {
            Some(id) => id,
            None => self.hand_in(number, &hash, &keys).await?,
        };
        self.out.text(format!("{} {number}/{}: {}", self.out.say("part", "部分"), self.parts, id.short()));
        let view = follow(self.client, self.out, id).await?;
        if view.terminal != Some(Terminal::Succeeded) {
            return Ok(Some(view));
        }
        let (mut opened, receipt) = open(self.party, self.client, id).await?;
        let unknown = opened.json["unknown"].as_u64().unwrap_or(0);
        write_rows(&mut BufWriter::new(&self.output), self.to, &mut opened.json, &keys)?;
        let bytes = self.output.sync_all().and_then(|()| self.output.stream_position());
        let bytes = bytes.map_err(|e| failed(self.to, &e))?;
        let done = Some(Done { rows: keys.len() as u64, unknown, bytes, receipt });
        self.book.put(Entry { part: number, keys: hash, job: id.to_string(), done })?;
        Ok(None)
    }

    /// The job of a part that was handed in before and has not failed.
    async fn begun(&self, known: Option<&Entry>) -> Result<Option<JobId>, Fault> {
        let Some(entry) = known else { return Ok(None) };
        let id = JobId::from_hex(&entry.job)?;
        match self.client.ask(&ToCoordinator::Job(id)).await {
            Ok(FromCoordinator::Job(view)) => {
                let lost = view.terminal.as_ref().is_some_and(|end| *end != Terminal::Succeeded);
                Ok((!lost).then_some(id))
            }
            Ok(_) => Err(unexpected()),
            // It was written down and never arrived.
            Err(fault) if fault.code == Code::JobUnknown => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Writes a part's job down, then hands it in.
    async fn hand_in(&mut self, number: u64, hash: &str, keys: &[String]) -> Result<JobId, Fault> {
        let ready = prepare(self.party, self.client, self.file, Some(keys.to_vec())).await?;
        let id = JobSpec::id(&ready.job);
        self.book.put(Entry { part: number, keys: hash.to_owned(), job: id.to_string(), done: None })?;
        bring(self.client, self.out, &ready).await
    }

    fn report(&self) {
        let done = || self.book.entries.iter().filter_map(|entry| Some((entry, entry.done.as_ref()?)));
        let (rows, unknown) = done().fold((0, 0), |(rows, unknown), (_, d)| (rows + d.rows, unknown + d.unknown));
        self.out.text(format!(
            "{rows} {}, {unknown} {}; {} {}; {}",
            self.out.say("rows", "行"),
            self.out.say("of them without a score", "行无分数"),
            self.parts,
            self.out.say("jobs, each with its receipt", "个作业，各有凭证"),
            self.to.display()
        ));
        let jobs: Vec<Value> = done()
            .map(|(e, d)| json!({"part": e.part, "id": e.job, "rows": d.rows, "unknown": d.unknown, "receipt": d.receipt}))
            .collect();
        self.out.value(&json!({"rows": rows, "unknown": unknown, "out": self.to.display().to_string(), "jobs": jobs}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> List<&[u8]> {
        List { path: "keys.txt".into(), reader: text.as_bytes(), line: 0 }
    }

    fn entry(part: u64, done: Option<u64>) -> Entry {
        let done = done.map(|bytes| Done { rows: 1, unknown: 0, bytes, receipt: part });
        Entry { part, keys: "k".into(), job: "j".into(), done }
    }

    #[test]
    fn a_list_is_read_in_parts_and_checked_before_any_is_handed_in() {
        let mut three = list(" a \n\nb\nc");
        assert_eq!(three.part(2).unwrap(), ["a", "b"]);
        assert_eq!((three.part(2).unwrap(), three.part(2).unwrap()), (vec!["c".to_owned()], vec![]));
        assert_eq!((list("a\nb\nc\n").parts(2).unwrap(), list("a\nb\n").parts(2).unwrap()), (2, 1));
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        assert!(list(&long[1..]).parts(1).is_ok());
        assert!(list(&format!("a\n{long}")).parts(1).unwrap_err().what.contains("keys.txt:2"));
        assert!(list(&" ".repeat(LINE_BYTES_MAX + 1)).parts(1).is_err());
        assert!(list("\n \n").parts(1).unwrap_err().what.contains("no key at all"));
    }

    #[test]
    fn as_many_parts_as_the_limit_and_not_one_more() {
        let most = "k\n".repeat(PARTS_MAX as usize * 3);
        assert_eq!(list(&most).parts(3).unwrap(), PARTS_MAX);
        let refused = list(&(most + "k")).parts(3).unwrap_err();
        assert_eq!(refused.code, Code::ArgsInvalid);
        assert!(refused.what.contains("more than 1024 parts of 3 keys"), "{refused}");
        // Ten million keys are ten parts, and the most are a billion.
        assert_eq!((10_000_000u64.div_ceil(KEYS_MAX), PARTS_MAX * KEYS_MAX), (10, 1 << 30));
    }

    #[test]
    fn a_book_goes_on_where_it_ended_and_only_with_the_same_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parts");
        let head = Head { file: "f".into(), part: 2 };
        let mut book = Book::open(path.clone(), &head).unwrap();
        assert_eq!(book.bytes(), 0);
        for line in [entry(1, None), entry(1, Some(70)), entry(2, None)] {
            book.put(line).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.clone() + "{\"part\":2,\"ke").unwrap();
        let mut book = Book::open(path.clone(), &head).unwrap();
        assert_eq!(book.entries, [entry(1, Some(70)), entry(2, None)]);
        assert_eq!((book.bytes(), std::fs::read_to_string(&path).unwrap()), (70, text));
        book.put(entry(2, Some(90))).unwrap();
        assert_eq!(Book::open(path.clone(), &head).unwrap().bytes(), 90);
        for other in [Head { part: 3, ..head.clone() }, Head { file: "g".into(), ..head.clone() }] {
            assert_eq!(Book::open(path.clone(), &other).err().unwrap().code, Code::ArgsInvalid);
        }
        std::fs::write(&path, "no book\n").unwrap();
        assert!(Book::open(path, &head).err().unwrap().what.contains("not the book of a batch"));
    }

    #[test]
    fn each_row_is_a_line_with_its_key() {
        let keys = ["a".to_owned(), "b".to_owned()];
        let mut result = json!({"unknown": 1, "decisions": [true, null]});
        let mut text = Vec::new();
        write_rows(&mut text, Path::new("x"), &mut result, &keys).unwrap();
        let lines: Vec<Value> =
            text.split_inclusive(|b| *b == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(lines, [json!({"key": "a", "decision": true}), json!({"key": "b", "decision": null})]);
        assert!(text.ends_with(b"}\n"));
        assert!(write_rows(&mut text, Path::new("x"), &mut json!({"scores": [1]}), &keys).is_err());
        assert!(write_rows(&mut text, Path::new("x"), &mut json!({"count": 1}), &keys).is_err());
    }
}
