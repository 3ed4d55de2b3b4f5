//! Filters as a person writes them: `age >= 18 and (region in ('north', 'south') or not vip is null)`.
//!
//! The operator's own tool parses this text; what is signed and sent is the tree.

use tacit_types::query::Compare;
use tacit_types::{Code, Fault, Literal, Predicate};

use crate::decimal::Decimal;

/// Bytes of a written filter.
pub const FILTER_BYTES_MAX: usize = 8192;

/// Parses a filter.
///
/// # Errors
/// `refused.parameters` with the place where it stops making sense.
pub fn parse(text: &str) -> Result<Predicate, Fault> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(Fault::new(Code::RefusedParameters, format!("filter: over {FILTER_BYTES_MAX} bytes")));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let predicate = parser.any()?;
    match parser.peek() {
        None if predicate.within_limits() => Ok(predicate),
        None => Err(Fault::new(Code::RefusedParameters, "filter: too large or too deep")),
        Some(token) => Err(wrong(token.at, "`and`, `or` or the end")),
    }
}

fn wrong(at: usize, expected: &str) -> Fault {
    Fault::new(Code::RefusedParameters, format!("filter, character {}: {expected} is expected", at + 1))
}

#[derive(Clone, PartialEq, Debug)]
enum Word {
    Name(String),
    Text(String),
    Number(Decimal),
    Sign(&'static str),
}

struct Token {
    at: usize,
    word: Word,
}

const SIGNS: [&str; 9] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")"];

fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        if c.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        let (word, used) = if let Some(sign) = SIGNS.into_iter().chain([","]).find(|s| rest.starts_with(s)) {
            (Word::Sign(sign), sign.len())
        } else if c == '\'' || c == '"' {
            let (text, used) = quoted(rest, c).ok_or_else(|| wrong(at, "a closing quote"))?;
            (if c == '\'' { Word::Text(text) } else { Word::Name(text) }, used)
        } else if c.is_ascii_digit() || c == '-' {
            let used = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
            let number = Decimal::parse(rest.split_at(used).0).map_err(|_| wrong(at, "a number"))?;
            (Word::Number(number), used)
        } else {
            let used = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if used == 0 {
                return Err(wrong(at, "a column, a value or an operator"));
            }
            (Word::Name(rest.split_at(used).0.to_owned()), used)
        };
        out.push(Token { at, word });
        rest = rest.split_at(used).1;
    }
    Ok(out)
}

/// The text between quotes, doubled quotes taken as one, and the bytes used.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c != quote {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            out.push(quote);
            chars.next();
        } else {
            return Some((out, i + c.len_utf8()));
        }
    }
    None
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn place(&self) -> usize {
        self.peek().or(self.tokens.last()).map_or(0, |t| t.at)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|t| t.word == Word::Sign(SIGNS.into_iter().chain([","]).find(|s| *s == sign).unwrap_or("")));
        self.at += usize::from(found);
        found
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token { word: Word::Name(n), .. }) if n.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Predicate, Fault> {
        self.depth += 1;
        if self.depth > 64 {
            return Err(wrong(self.place(), "less nesting"));
        }
        let mut list = vec![self.all()?];
        while self.take_keyword("or") {
            list.push(self.all()?);
        }
        self.depth -= 1;
        Ok(one_or(list, Predicate::Or))
    }

    fn all(&mut self) -> Result<Predicate, Fault> {
        let mut list = vec![self.unit()?];
        while self.take_keyword("and") {
            list.push(self.unit()?);
        }
        Ok(one_or(list, Predicate::And))
    }

    fn unit(&mut self) -> Result<Predicate, Fault> {
        if self.take_keyword("not") {
            self.depth += 1;
            if self.depth > 64 {
                return Err(wrong(self.place(), "less nesting"));
            }
            let inner = self.unit()?;
            self.depth -= 1;
            return Ok(Predicate::Not(Box::new(inner)));
        }
        if self.take_sign("(") {
            let inner = self.any()?;
            return if self.take_sign(")") { Ok(inner) } else { Err(wrong(self.place(), "`)`")) };
        }
        let place = self.place();
        let Some(Token { word: Word::Name(column), .. }) = self.peek() else { return Err(wrong(place, "a column")) };
        self.at += 1;
        self.condition(column.clone())
    }

    fn condition(&mut self, column: String) -> Result<Predicate, Fault> {
        if self.take_keyword("is") {
            let not = self.take_keyword("not");
            if !self.take_keyword("null") {
                return Err(wrong(self.place(), "`null`"));
            }
            let is_null = Predicate::IsNull { column };
            return Ok(if not { Predicate::Not(Box::new(is_null)) } else { is_null });
        }
        let not = self.take_keyword("not");
        if self.take_keyword("in") {
            let values = self.list()?;
            let within = Predicate::In { column, values };
            return Ok(if not { Predicate::Not(Box::new(within)) } else { within });
        }
        const OPERATORS: [(&str, Compare); 7] = [
            ("<=", Compare::Le),
            (">=", Compare::Ge),
            ("<>", Compare::Ne),
            ("!=", Compare::Ne),
            ("=", Compare::Eq),
            ("<", Compare::Lt),
            (">", Compare::Gt),
        ];
        let found = OPERATORS.into_iter().find(|(sign, _)| !not && self.take_sign(sign));
        let Some((_, op)) = found else { return Err(wrong(self.place(), "a comparison, `in` or `is null`")) };
        Ok(Predicate::Compare { column, op, value: self.value()? })
    }

    fn list(&mut self) -> Result<Vec<Literal>, Fault> {
        if !self.take_sign("(") {
            return Err(wrong(self.place(), "`(`"));
        }
        let mut values = vec![self.value()?];
        while self.take_sign(",") {
            values.push(self.value()?);
        }
        if self.take_sign(")") { Ok(values) } else { Err(wrong(self.place(), "`,` or `)`")) }
    }

    fn value(&mut self) -> Result<Literal, Fault> {
        let place = self.place();
        let literal = match self.peek().map(|t| &t.word) {
            Some(Word::Text(text)) => Literal::Text(text.clone()),
            Some(Word::Number(number)) => number.to_literal(),
            _ => return Err(wrong(place, "a number, or text in single quotes")),
        };
        self.at += 1;
        Ok(literal)
    }
}

fn one_or(mut list: Vec<Predicate>, many: impl FnOnce(Vec<Predicate>) -> Predicate) -> Predicate {
    match list.pop() {
        Some(only) if list.is_empty() => only,
        Some(last) => {
            list.push(last);
            many(list)
        }
        None => many(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_quotes_and_keywords() {
        let p = parse("age >= 18 and (region IN ('north', 'it''s') or not \"odd name\" is null) or x < -2.50").unwrap();
        let Predicate::Or(list) = &p else { panic!("{p:?}") };
        assert_eq!(list.len(), 2);
        assert_eq!(
            list[1],
            Predicate::Compare {
                column: "x".into(),
                op: Compare::Lt,
                value: Literal::Decimal { units: -250, scale: 2 }
            }
        );
        let Predicate::And(list) = &list[0] else { panic!("{p:?}") };
        assert_eq!(list[0], Predicate::Compare { column: "age".into(), op: Compare::Ge, value: Literal::Int(18) });
        let Predicate::Or(list) = &list[1] else { panic!("{p:?}") };
        assert_eq!(
            list[0],
            Predicate::In {
                column: "region".into(),
                values: vec![Literal::Text("north".into()), Literal::Text("it's".into())]
            }
        );
        assert_eq!(list[1], Predicate::Not(Box::new(Predicate::IsNull { column: "odd name".into() })));
        assert_eq!(parse("a not in (1)").unwrap(), Predicate::Not(Box::new(parse("a in (1)").unwrap())));
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for (text, place) in [
            ("", "character 1"),
            ("age", "character 1"),
            ("age > ", "character 5"),
            ("age > 'x", "character 7"),
            ("age > 1 age", "character 9"),
            ("age > 1; drop table data", "character 8"),
            ("(age > 1", "character 8"),
            ("age > 1 and or", "character 13"),
            ("age in ()", "character 9"),
            ("age > 1.2.3", "character 7"),
            ("1 = 1", "character 1"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.what.contains(place), "{text}: {}", fault.what);
        }
        assert!(parse(&"not ".repeat(1000)).is_err());
        assert!(parse(&"(".repeat(FILTER_BYTES_MAX)).is_err());
        assert!(parse(&" ".repeat(FILTER_BYTES_MAX + 1)).is_err());
    }
}
