//! Scores for people and programs, each with the key that it belongs to.

use serde_json::{Value, json};
use tacit_types::{Code, Fault};

use crate::output::Out;

/// Rows of the table for people; programs get all of them.
const SHOWN_MAX: usize = 20;

/// What a result may hold of each row: the list's name, and that of one entry.
const LISTS: [(&str, &str); 3] = [("scores", "score"), ("bands", "band"), ("decisions", "decision")];

/// Puts the key beside each score, band or decision of a result, in the order of the list that the job was made with.
///
/// # Errors
/// `args.invalid` when the result has nothing of rows, or the list has another number of keys.
pub fn name(result: &mut Value, keys: &[String]) -> Result<(), Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let (rows, one) = rows(result).ok_or_else(|| invalid("--keys: the job has no scores".into()))?;
    if rows.len() != keys.len() {
        return Err(invalid(format!("--keys: {} keys in the list, {} rows in the job", keys.len(), rows.len())));
    }
    for (row, key) in rows.iter_mut().zip(keys) {
        *row = json!({"key": key, one: row.take()});
    }
    Ok(())
}

/// What a result holds of each row, and the name of one; nothing of a result without rows.
pub fn rows(result: &mut Value) -> Option<(&mut [Value], &'static str)> {
    let found = LISTS.into_iter().find(|(list, _)| result.get(list).is_some_and(Value::is_array));
    let (list, one) = found?;
    Some((result.get_mut(list)?.as_array_mut()?.as_mut_slice(), one))
}

/// Shows what a result holds of each row; `false` when that is nothing.
pub fn print(out: &Out, result: &Value) -> bool {
    let list = |(list, one)| Some((result.get(list)?.as_array()?, one));
    let Some((rows, one)) = LISTS.into_iter().find_map(list) else { return false };
    let named = rows.first().is_some_and(Value::is_object);
    let shown = |value: &Value| match value {
        Value::Bool(true) => out.say("yes", "是").to_owned(),
        Value::Bool(false) => out.say("no", "否").to_owned(),
        Value::Number(band) if one == "band" => band.to_string(),
        Value::Number(score) => format!("{:.9}", score.as_f64().unwrap_or(f64::NAN)),
        _ => out.say("unknown", "未知").to_owned(),
    };
    let row = |(i, value): (usize, &Value)| match named {
        true => vec![crate::output::plain(value["key"].as_str().unwrap_or_default()), shown(&value[one])],
        false => vec![(i + 1).to_string(), shown(value)],
    };
    let lines: Vec<Vec<String>> = rows.iter().enumerate().take(SHOWN_MAX).map(row).collect();
    out.text(format!(
        "\n{} {}, {} {}",
        rows.len(),
        out.say("rows", "行"),
        result["unknown"],
        out.say("of them without a score", "行无分数")
    ));
    let first = if named { out.say("key", "键") } else { out.say("row", "行号") };
    let second = match one {
        "band" => out.say("band", "分段"),
        "decision" => out.say("decision", "决定"),
        _ => out.say("score", "分数"),
    };
    out.table(&[first, second], &lines);
    if rows.len() > SHOWN_MAX {
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
        let mut bands = json!({"bands": [0]});
        name(&mut bands, &keys(1)).unwrap();
        assert_eq!(bands, json!({"bands": [{"key": "k0", "band": 0}]}));
        let mut decisions = json!({"decisions": [true, null]});
        name(&mut decisions, &keys(2)).unwrap();
        assert_eq!(decisions["decisions"][0], json!({"key": "k0", "decision": true}));
        assert!(name(&mut opened.clone(), &keys(1)).unwrap_err().what.contains("1 keys in the list, 2 rows"));
        assert_eq!(name(&mut opened.clone(), &keys(3)).unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(name(&mut json!({"rows": 2}), &keys(2)).unwrap_err().code, Code::ArgsInvalid);
    }
}
