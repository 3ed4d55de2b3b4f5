//! Scores for people and programs, each with the key that it belongs to.

use serde_json::{Value, json};
use tacit_types::{Code, Fault};

use crate::output::Out;

/// Rows of the table for people; programs get all of them.
const SHOWN_MAX: usize = 20;

/// Puts the key beside each score of a result, in the order of the list that the job was made with.
///
/// # Errors
/// `args.invalid` when the result has no scores, or the list has another number of keys.
pub fn name(result: &mut Value, keys: &[String]) -> Result<(), Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let scores = result.get_mut("scores").and_then(Value::as_array_mut);
    let scores = scores.ok_or_else(|| invalid("--keys: the job has no scores".into()))?;
    if scores.len() != keys.len() {
        return Err(invalid(format!("--keys: {} keys in the list, {} rows in the job", keys.len(), scores.len())));
    }
    for (score, key) in scores.iter_mut().zip(keys) {
        *score = json!({"key": key, "score": score.take()});
    }
    Ok(())
}

/// Shows the scores of a result; `false` when it has none.
pub fn print(out: &Out, result: &Value) -> bool {
    let Some(scores) = result.get("scores").and_then(Value::as_array) else { return false };
    let named = scores.first().is_some_and(Value::is_object);
    let shown = |score: &Value| match score.as_f64() {
        Some(score) => format!("{score:.9}"),
        None => out.say("unknown", "未知").to_owned(),
    };
    let row = |(i, score): (usize, &Value)| match named {
        true => vec![crate::output::plain(score["key"].as_str().unwrap_or_default()), shown(&score["score"])],
        false => vec![(i + 1).to_string(), shown(score)],
    };
    let rows: Vec<Vec<String>> = scores.iter().enumerate().take(SHOWN_MAX).map(row).collect();
    out.text(format!(
        "\n{} {}, {} {}",
        scores.len(),
        out.say("rows", "行"),
        result["unknown"],
        out.say("of them without a score", "行无分数")
    ));
    let first = if named { out.say("key", "键") } else { out.say("row", "行号") };
    out.table(&[first, out.say("score", "分数")], &rows);
    if scores.len() > SHOWN_MAX {
        out.text(out.say("The first rows; --json gives all of them.", "仅显示前若干行；--json 输出全部。"));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_beside_their_scores_and_a_list_of_another_length_is_refused() {
        let keys = |n: usize| (0..n).map(|i| format!("k{i}")).collect::<Vec<_>>();
        let opened = json!({"rows": 2, "scores": [0.5, null]});
        let mut result = opened.clone();
        name(&mut result, &keys(2)).unwrap();
        assert_eq!(result["scores"], json!([{"key": "k0", "score": 0.5}, {"key": "k1", "score": null}]));
        assert!(name(&mut opened.clone(), &keys(1)).unwrap_err().what.contains("1 keys in the list, 2 rows"));
        assert_eq!(name(&mut opened.clone(), &keys(3)).unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(name(&mut json!({"rows": 2}), &keys(2)).unwrap_err().code, Code::ArgsInvalid);
    }
}
