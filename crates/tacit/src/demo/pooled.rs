//! What pooling all rows in one place would give, computed here in plain floating point, for
//! comparison. It shares no code with the protocols.

use serde_json::{Value, json};

/// All rows of several CSV files.
pub struct Pool {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Pool {
    /// Reads texts without quoted fields.
    pub fn new(texts: &[&str]) -> Self {
        let mut pool = Self { names: Vec::new(), rows: Vec::new() };
        for text in texts {
            let mut lines = text.lines();
            pool.names = lines.next().unwrap_or_default().split(',').map(str::to_owned).collect();
            pool.rows.extend(lines.map(|l| l.split(',').map(str::to_owned).collect()));
        }
        pool
    }

    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or(usize::MAX)
    }

    fn numbers(&self, name: &str, group: Option<(&str, &str)>) -> Vec<f64> {
        let place = self.place(name);
        self.rows
            .iter()
            .filter(|r| group.is_none_or(|(column, value)| r.get(self.place(column)).is_some_and(|v| v == value)))
            .filter_map(|r| r.get(place).and_then(|v| v.parse().ok()))
            .collect()
    }

    fn count(&self, group: Option<(&str, &str)>) -> usize {
        self.rows
            .iter()
            .filter(|r| group.is_none_or(|(column, value)| r.get(self.place(column)).is_some_and(|v| v == value)))
            .count()
    }

    /// The statistics that are asked for of columns, in all and by group.
    pub fn measures(&self, columns: &[&str], asked: &[&str], group: Option<(&str, &[&str])>) -> Value {
        let mut groups: Vec<(String, Option<(&str, &str)>)> = vec![("all".into(), None)];
        if let Some((column, values)) = group {
            groups.extend(values.iter().map(|v| ((*v).to_owned(), Some((column, *v)))));
        }
        let rows: Vec<Value> =
            groups.iter().map(|(label, g)| json!({"group": label, "rows": self.count(*g)})).collect();
        let measures: Vec<Value> = columns
            .iter()
            .map(|column| {
                let list: Vec<Value> =
                    groups.iter().map(|(label, g)| moments(label, asked, &self.numbers(column, *g))).collect();
                json!({"column": column, "groups": list})
            })
            .collect();
        json!({"rows": rows, "measures": measures})
    }

    /// Order statistics: the least value with a share of at least p at or below it.
    pub fn quantiles(&self, column: &str, shares: &[f64]) -> Value {
        let mut values = self.numbers(column, None);
        values.sort_by(f64::total_cmp);
        let list: Vec<Value> = shares
            .iter()
            .map(|p| {
                let rank = (p * values.len() as f64).ceil().max(1.0) as usize;
                json!({"column": column, "probability": p, "value": values.get(rank - 1)})
            })
            .collect();
        Value::Array(list)
    }

    /// Counts between edges. One below the floor is not to be released.
    pub fn histogram(&self, column: &str, edges: &[f64], floor: u64) -> Value {
        let values = self.numbers(column, None);
        let last = edges.len() - 1;
        let mut bins = vec![0u64; edges.len() + 1];
        for v in values {
            let below = edges.iter().filter(|e| **e <= v).count();
            bins[if v.total_cmp(&edges[last]).is_eq() { last } else { below }] += 1;
        }
        json!([{"column": column, "bins": bins.iter().map(|n| json!({"count": (*n >= floor).then_some(n)})).collect::<Vec<_>>()}])
    }

    /// Sample covariances and correlations.
    pub fn matrix(&self, columns: &[&str]) -> Value {
        let data: Vec<Vec<f64>> = columns.iter().map(|c| self.numbers(c, None)).collect();
        let n = data.first().map_or(0, Vec::len);
        let all = |of: fn(&[f64], &[f64]) -> f64| -> Vec<Vec<f64>> {
            data.iter().map(|x| data.iter().map(|y| of(x, y)).collect()).collect()
        };
        let (covariance, correlation) = (all(covariance), all(correlation));
        json!({"rows": n, "covariance": covariance, "correlation": correlation})
    }
}

/// The sample covariance of two columns.
pub fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (a, b) = (mean(x), mean(y));
    x.iter().zip(y).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (x.len() as f64 - 1.0)
}

/// The correlation of two columns.
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    covariance(x, y) / (covariance(x, x) * covariance(y, y)).sqrt()
}

fn moments(label: &str, asked: &[&str], values: &[f64]) -> Value {
    let n = values.len();
    let sum: f64 = values.iter().sum();
    let mean = sum / n as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0);
    let all = [
        ("count", json!(n)),
        ("sum", json!(sum)),
        ("mean", json!(mean)),
        ("variance", json!(variance)),
        ("stddev", json!(variance.sqrt())),
    ];
    let wanted = all.into_iter().filter(|(name, _)| asked.contains(name)).map(|(name, value)| (name.to_owned(), value));
    [("group".to_owned(), json!(label))].into_iter().chain(wanted).collect::<serde_json::Map<_, _>>().into()
}

/// The largest relative difference between every number of `pooled` and the number at the same place
/// of `joint`, and how many numbers were compared. A number that `joint` lacks counts as infinitely wrong, and so does one
/// where `pooled` says that none may be, and another name at its place.
pub fn compare(pooled: &Value, joint: &Value) -> (f64, usize) {
    let same = |same: bool| (if same { 0.0 } else { f64::INFINITY }, 0);
    match pooled {
        Value::Number(expected) => match (expected.as_f64(), joint.as_f64()) {
            (Some(e), Some(j)) => ((e - j).abs() / e.abs().max(1e-12), 1),
            _ => (f64::INFINITY, 1),
        },
        Value::Array(list) => worst(list.iter().enumerate().map(|(i, p)| (p, joint.get(i).unwrap_or(&Value::Null)))),
        Value::Object(map) => worst(map.iter().map(|(k, p)| (p, joint.get(k).unwrap_or(&Value::Null)))),
        Value::Null | Value::String(_) | Value::Bool(_) => same(pooled == joint),
    }
}

fn worst<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> (f64, usize) {
    pairs.map(|(p, j)| compare(p, j)).fold((0.0, 0), |(w, n), (e, m)| (w.max(e), n + m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_at_any_depth() {
        let pooled = json!({"a": [{"x": 100.0}, {"x": 2}], "text": "t"});
        assert_eq!(compare(&pooled, &pooled), (0.0, 2));
        let (worst, n) = compare(&pooled, &json!({"a": [{"x": 100.0}, {"x": 3}], "text": "t"}));
        assert!((worst - 0.5).abs() < 1e-12 && n == 2);
        for wrong in [
            json!({}),
            json!({"a": [], "text": "t"}),
            json!({"a": [{"x": 100.0}], "text": "t"}),
            json!({"a": [{"x": 100.0}, {"x": null, "suppressed": true}], "text": "t"}),
            json!({"a": [{"x": 100.0}, {"x": 2}], "text": "u"}),
        ] {
            assert!(compare(&pooled, &wrong).0.is_infinite(), "{wrong}");
        }
        // What may not be released is not there.
        assert_eq!(compare(&json!([null, 1]), &json!([null, 1])), (0.0, 1));
        assert!(compare(&json!([null]), &json!([0])).0.is_infinite());
    }

    #[test]
    fn pooled_statistics_of_a_small_table() {
        let pool = Pool::new(&["g,x\na,1\nb,3\n", "g,x\na,5\n"]);
        let all = pool.measures(&["x"], &["mean", "variance"], Some(("g", &["a"])));
        assert_eq!(all["measures"][0]["groups"][0]["mean"], json!(3.0));
        assert_eq!(all["measures"][0]["groups"][1]["variance"], json!(8.0));
        assert_eq!(pool.quantiles("x", &[0.5])[0]["value"], json!(3.0));
        assert_eq!(
            all["measures"][0]["groups"][0].as_object().map(serde_json::Map::len),
            Some(3),
            "what was asked for"
        );
        let bins = |floor| pool.histogram("x", &[0.0, 3.0, 5.0], floor)[0]["bins"].clone();
        assert_eq!(bins(0), json!([{"count": 0}, {"count": 1}, {"count": 2}, {"count": 0}]));
        assert_eq!(bins(2)[1]["count"], Value::Null);
    }
}
