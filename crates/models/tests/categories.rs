//! Categories of the kinds that the libraries write: named, numbered, true or false, codes alone. A file whose
//! categories nobody can name with certainty is refused, or read with those that are declared.

mod common;

use common::{expected, import, rows, text};
use tacit_models::import::{lightgbm, xgboost};
use tacit_models::{FeatureKind, Frame, Import, Model};
use tacit_types::{Code, Column, Columns, Fault, Values};

fn column(name: &str, values: Values, valid: Vec<bool>) -> Column {
    Column { name: name.into(), values, valid: Some(valid) }
}

/// The rows of the fixtures with the columns that `make.py` adds from the first.
fn more(grades: impl Fn(Vec<f64>) -> Values) -> Columns {
    let mut batch = rows();
    let Some(Column { values: Values::Float(radius), valid: Some(there), .. }) = batch.get("mean_radius") else {
        panic!()
    };
    let radius: Vec<f64> = radius.iter().map(|r| r.abs()).collect();
    let valid: Vec<bool> = there.iter().zip(&radius).map(|(there, r)| *there && *r < 100.0).collect();
    let grade = |(r, valid): (&f64, &bool)| match *r {
        _ if !valid => 0.0,
        r if r > 20.0 => 9.0,
        r => 1.0 + (r * 3.0).floor() % 5.0,
    };
    let grade = radius.iter().zip(&valid).map(grade).collect();
    let flag = radius.iter().map(|r| i64::from((r * 7.0).floor() % 2.0 == 0.0)).collect();
    let count = batch.rows;
    batch.columns.push(column("grade", grades(grade), valid.clone()));
    batch.columns.push(column("flag", Values::Int(flag), valid));
    batch.columns.push(column("site", Values::Text(vec!["north".into(); count]), vec![true; count]));
    batch
}

fn whole(values: Vec<f64>) -> Values {
    Values::Int(values.iter().map(|v| *v as i64).collect())
}

fn same_bits(name: &str, model: &Model, batch: &Columns, single: bool) {
    let margins = model.margins(&Frame::new(model.features(), batch).unwrap()).unwrap();
    let expected = expected(name).margins.unwrap();
    assert_eq!(margins.len(), expected.len());
    for (row, (a, b)) in margins.iter().zip(expected).enumerate() {
        let b = b.unwrap();
        let same = if single { (*a as f32).to_bits() == (b as f32).to_bits() } else { a.to_bits() == b.to_bits() };
        assert!(same, "{name}, row {row}: {a} and {b}");
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

fn wards() -> Vec<String> {
    (0..40).map(|i| format!("w{i}")).collect()
}

fn told(categories: &[(&str, Vec<String>)]) -> Import {
    let categories = categories.iter().map(|(name, list)| ((*name).to_owned(), list.clone())).collect();
    Import { categories, ..import("m") }
}

fn lists(model: &Model) -> Vec<Vec<String>> {
    let list = |kind: &FeatureKind| match kind {
        FeatureKind::Categorical(list) => Some(list.clone()),
        FeatureKind::Numeric => None,
    };
    model.features().iter().filter_map(|f| list(&f.kind)).collect()
}

fn refused(result: Result<Model, Fault>, reason: &str) {
    let fault = result.expect_err(reason);
    assert_eq!(fault.code, Code::ModelFeatures, "{}", fault.what);
    assert!(fault.what.contains(reason), "{}", fault.what);
}

#[test]
fn a_file_of_codes_alone_is_read_with_declared_categories() {
    let file = text("xgb-ward-1.7.json");
    let read = |import: Import| xgboost::read(import, file.as_bytes());
    refused(read(import("m")), "\"ward\"");
    let model = read(told(&[("ward", wards())])).unwrap();
    same_bits("xgb-ward-1.7", &model, &rows(), true);
    // The whole list of features may have them as well, and must not say something else.
    let whole = Import { features: model.features().to_vec(), ..import("m") };
    assert_eq!(read(whole.clone()).unwrap(), model);
    refused(read(Import { features: whole.features, ..told(&[("ward", numbered(40))]) }), "two lists");
    refused(read(told(&[("ward", wards()[..3].to_vec())])), "is used");
    refused(read(told(&[("ward", wards()), ("place", wards())])), "\"place\"");
    refused(read(told(&[("ward", wards()), ("ward", wards())])), "twice");
    refused(read(told(&[("ward", wards()), ("mean_area", wards())])), "number in the file");
    // Files since 3.1 that were trained on codes hold no categories either.
    let newer = text("xgb-logistic.json");
    let from = newer.find("\"cats\":").unwrap();
    let to = from + newer[from..].find("\"gbtree_model_param\"").unwrap();
    let bare =
        format!("{}\"cats\":{{\"enc\":[],\"feature_segments\":[],\"sorted_idx\":[]}},{}", &newer[..from], &newer[to..]);
    refused(xgboost::read(import("m"), bare.as_bytes()), "\"ward\"");
    let model = xgboost::read(told(&[("ward", wards())]), bare.as_bytes()).unwrap();
    assert_eq!(model, xgboost::read(import("m"), newer.as_bytes()).unwrap());
    refused(xgboost::read(told(&[("ward", numbered(40))]), newer.as_bytes()), "other categories");
}

#[test]
fn categories_reach_their_columns_past_one_that_is_constant() {
    let model = lightgbm::read(import("m"), text("lgb-columns.txt").as_bytes()).unwrap();
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let wanted = [names(&["north"]), names(&["1", "2", "3", "4", "5"]), names(&["0", "1"]), wards()];
    assert_eq!(lists(&model), wanted);
    // A number may stand in a column of whole numbers, of fractions, or of texts.
    same_bits("lgb-columns", &model, &more(whole), false);
    same_bits("lgb-columns", &model, &more(Values::Float), false);
    let texts = |values: Vec<f64>| Values::Text(values.iter().map(f64::to_string).collect());
    same_bits("lgb-columns", &model, &more(texts), false);
}

#[test]
fn categories_that_may_be_of_several_columns_are_declared() {
    let file = text("lgb-said.txt");
    let read = |import: Import| lightgbm::read(import, file.as_bytes());
    refused(read(import("m")), "\"site\"");
    let all = |ward: Vec<String>, grade: Vec<String>| {
        told(&[("site", vec!["north".into()]), ("flag", numbered(2)), ("ward", ward), ("grade", grade)])
    };
    let model = read(all(wards(), numbered(10))).unwrap();
    let mut batch = more(whole);
    // In that frame a gap was zero.
    batch.columns.iter_mut().filter(|c| c.name == "grade").for_each(|c| c.valid = None);
    same_bits("lgb-said", &model, &batch, false);
    let mut other = wards();
    other.swap(0, 1);
    refused(read(all(other, numbered(10))), "no such list");
    refused(read(all(wards(), wards())), "no such list");
    // Ordered categories are numbers to the model, their codes, and have a list all the same.
    let file = text("lgb-ordered.txt");
    refused(lightgbm::read(import("m"), file.as_bytes()), "\"site\"");
    let declared = told(&[("site", vec!["north".into()]), ("flag", numbered(2)), ("ward", wards())]);
    let model = lightgbm::read(declared, file.as_bytes()).unwrap();
    assert_eq!(lists(&model).len(), 3);
    let fault = lightgbm::read(all(wards(), numbered(5)), file.as_bytes()).unwrap_err();
    assert!(fault.what.contains("\"grade\"") && fault.what.contains("number"), "{}", fault.what);
    // As many lists as columns, and a code that the list does not reach.
    let file = text("lgb-columns.txt").replacen("-1:4:3:0:1:2", "-1:7:3:0:1:2", 1);
    refused(lightgbm::read(import("m"), file.as_bytes()), "\"site\"");
}

#[test]
fn codes_are_their_own_names_where_the_file_says_so() {
    let file = text("lgb-codes.txt");
    let model = lightgbm::read(import("m"), file.as_bytes()).unwrap();
    let rows = rows();
    let [radius, ward] = ["mean_radius", "ward"].map(|name| rows.get(name).unwrap().clone());
    let Values::Text(wards) = &ward.values else { panic!() };
    let codes = wards.iter().map(|w| w.trim_start_matches('w').parse().unwrap_or(0)).collect();
    let columns = vec![
        Column { name: "Column_0".into(), ..radius },
        Column { name: "Column_1".into(), values: Values::Int(codes), ..ward },
    ];
    let batch = Columns { rows: rows.rows, columns };
    same_bits("lgb-codes", &model, &batch, false);
    // A model of another package says nothing of names: they are declared.
    let (bare, _) = file.split_once("pandas_categorical:").unwrap();
    refused(lightgbm::read(import("m"), bare.as_bytes()), "\"Column_1\"");
    let declared = told(&[("Column_1", lists(&model).remove(0))]);
    assert_eq!(lightgbm::read(declared, bare.as_bytes()).unwrap(), model);
}
