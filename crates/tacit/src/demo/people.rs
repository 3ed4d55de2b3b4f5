//! The customers of the demonstration's companies: names and birth dates that are made up, and how each company writes them.

/// A given name for each place.
const GIVEN: [&str; 24] = [
    "Anna",
    "Björn",
    "Chloé",
    "Dmitri",
    "Elif",
    "Fátima",
    "Giorgio",
    "Hồng",
    "Ines",
    "José",
    "Kateřina",
    "Léa",
    "Małgorzata",
    "Noor",
    "Óscar",
    "Petra",
    "Quentin",
    "Renée",
    "Søren",
    "Tomás",
    "Ulrike",
    "Víctor",
    "Wei",
    "Zoë",
];
/// And a family name.
const FAMILY: [&str; 21] = [
    "Strauß",
    "O'Connor",
    "García Márquez",
    "Müller",
    "Nguyễn",
    "van den Berg",
    "D'Angelo",
    "Öztürk",
    "Ivanova",
    "Fernández",
    "Weiß",
    "Kowalska",
    "Larsson",
    "Moreau",
    "Papadopoulos",
    "Šimková",
    "Tanaka",
    "Große",
    "Lindqvist",
    "Hughes-Jones",
    "Okafor",
];
/// Letters with marks, and the same as a letter and a mark, as some systems keep them.
const MARKED: [(char, &str); 8] = [
    ('é', "e\u{301}"),
    ('ö', "o\u{308}"),
    ('ü', "u\u{308}"),
    ('á', "a\u{301}"),
    ('ë', "e\u{308}"),
    ('ó', "o\u{301}"),
    ('í', "i\u{301}"),
    ('ř', "r\u{30c}"),
];

/// A customer, by the number that the public table has for each. No two are the same.
pub struct Person {
    name: String,
    year: usize,
    month: usize,
    day: usize,
}

impl Person {
    /// The one with this number in the table, such as `C-0332`.
    pub fn of(id: &str) -> Self {
        let i: usize = id.trim_start_matches("C-").parse().unwrap_or(0);
        let (given, family) = (GIVEN[i % GIVEN.len()], FAMILY[i / GIVEN.len() % FAMILY.len()]);
        Self { name: format!("{given} {family}"), year: 1940 + i * 7 % 60, month: 1 + i * 5 % 12, day: 1 + i * 11 % 28 }
    }

    fn date(&self, between: &str) -> String {
        format!("{:04}{between}{:02}{between}{:02}", self.year, self.month, self.day)
    }

    /// Name and birth date as a company writes them in a row: the first as they are, the others as they came.
    pub fn written(&self, company: usize, row: usize) -> (String, String) {
        match (company, row % 4) {
            (0, _) => (self.name.clone(), self.date("-")),
            (1, 0) => (format!("  {}", self.name.to_lowercase()), self.date("/")),
            (1, 1) => (full_width(&self.name), full_width(&self.date("-"))),
            (1, 2) => (self.name.to_uppercase(), self.date("")),
            (1, _) => (apart(&self.name), format!(" {} ", self.date("."))),
            (_, 0) => (self.name.to_uppercase(), self.date("/")),
            (_, 1) => (apart(&self.name.to_lowercase()), self.date("")),
            (_, _) => (format!("{} ", self.name), full_width(&self.date("/"))),
        }
    }
}

/// Letters and digits as wide as Chinese characters.
fn full_width(text: &str) -> String {
    let wide = |c: char| match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(wide).collect()
}

/// Marks apart from their letters.
fn apart(text: &str) -> String {
    MARKED.iter().fold(text.to_owned(), |text, (one, two)| text.replace(*one, two))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_customers_are_the_same_and_few_are_written_alike() {
        let ids: Vec<String> = (0..1000).map(|i| format!("C-{i:04}")).collect();
        let as_is: BTreeSet<_> = ids.iter().map(|id| Person::of(id).written(0, 0)).collect();
        assert_eq!(as_is.len(), ids.len());
        let other: BTreeSet<_> = ids.iter().enumerate().map(|(row, id)| Person::of(id).written(1, row)).collect();
        assert_eq!(as_is.intersection(&other).count(), 0);
    }
}
