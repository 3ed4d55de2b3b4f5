//! How far a long verification is: one line on a terminal, nothing elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tacit_types::Lang;

/// Between two changes of the line.
const EVERY: Duration = Duration::from_millis(100);
/// Before the line is shown: what is done sooner needs none.
const QUIET: Duration = Duration::from_millis(500);

/// The line, which is wiped when this is dropped.
pub struct Progress {
    shown: bool,
    next: Option<Instant>,
    lang: Lang,
}

impl Progress {
    /// Begins; a run that prints JSON, or has no terminal, shows nothing.
    pub fn new(json: bool, lang: Lang) -> Self {
        let on = !json && std::io::stderr().is_terminal();
        Self { shown: false, next: on.then(|| Instant::now() + QUIET), lang }
    }

    /// So many leaves are read, of so many.
    pub fn at(&mut self, done: u64, size: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        (self.next, self.shown) = (Some(now + EVERY), true);
        // why: a terminal that cannot be written to shows nothing; the verdict is not lost by it.
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(done, size, self.lang));
    }
}

fn line(done: u64, size: u64, lang: Lang) -> String {
    let percent = u128::from(done) * 100 / u128::from(size.max(1));
    let word = match lang {
        Lang::En => "leaves verified",
        Lang::Zh => "个叶已验证",
    };
    format!("{percent:>3}%  {done} / {size} {word}")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // why: as above.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        assert_eq!(line(1, 3, Lang::En), " 33%  1 / 3 leaves verified");
        assert_eq!(line(u64::MAX, u64::MAX, Lang::Zh), format!("100%  {0} / {0} 个叶已验证", u64::MAX));
        assert_eq!(line(0, 0, Lang::En), "  0%  0 / 0 leaves verified");
    }
}
