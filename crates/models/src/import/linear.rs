//! Coefficients of linear models and scorecards, in two small JSON layouts of our own; docs/MODELS.md has both, and
//! the Python that writes the first from scikit-learn.

use tacit_types::{Code, Fault};

use super::features::{self, Known};
use super::{Import, bounded};
use crate::additive::{Additive, Shape, Term};
use crate::json::Json;
use crate::limits::{
    BINS_MAX, CATEGORIES_MAX, CATEGORY_BYTES_MAX, FEATURE_NAME_BYTES_MAX, FEATURES_MAX, JSON_STRING_BYTES_MAX,
    POINTS_TOTAL_MAX, TERMS_MAX,
};
use crate::model::{Feature, FeatureKind, Kind, Link, Model};

/// What a file of coefficients says of itself.
pub const LINEAR_FORMAT: &str = "tacit-linear/1";
/// What a scorecard says of itself.
pub const SCORECARD_FORMAT: &str = "tacit-scorecard/1";

type Read<T> = Result<T, Fault>;

/// Checks the `format` of a file.
fn format(json: &mut Json<'_>, wanted: &str) -> Read<()> {
    let found = json.string(64)?;
    if found == wanted {
        return Ok(());
    }
    Err(json.fault(Code::ModelVersion, format_args!("format {found:?}; {wanted:?} can be read")))
}

fn link(json: &mut Json<'_>) -> Read<Link> {
    match json.string(64)?.as_str() {
        "identity" => Ok(Link::Identity),
        "logistic" => Ok(Link::Logistic { slope: 1.0 }),
        "exp" => Ok(Link::Exp),
        other => {
            Err(json
                .fault(Code::ModelUnsupported, format_args!("link {other:?}; identity, logistic and exp can be used")))
        }
    }
}

fn unknown(json: &Json<'_>, key: &str) -> Fault {
    json.fault(Code::ModelMalformed, format_args!("{key:?} is not a name of this layout"))
}

fn absent(what: &str) -> Fault {
    Fault::new(Code::ModelMalformed, format!("there is no {what:?}"))
}

/// A number, or `null`.
fn optional(json: &mut Json<'_>) -> Read<Option<f64>> {
    if json.peek() == Some(b'n') {
        json.word("null")?;
        return Ok(None);
    }
    json.f64().map(Some)
}

/// Reads coefficients, [`LINEAR_FORMAT`].
///
/// # Errors
/// `model.malformed` for an unknown or missing name, `model.structure` for lists of different lengths, and the codes
/// of [`crate::model`].
pub fn read(import: Import, bytes: &[u8]) -> Read<Model> {
    bounded(bytes)?;
    let mut json = Json::new(bytes);
    let (mut seen, mut intercept, mut way) = (false, 0.0, None);
    let (mut names, mut weights, mut mean, mut scale, mut missing) = (None, None, None, None, None);
    let numbers = |json: &mut Json<'_>| json.list(FEATURES_MAX, "features", Json::f64);
    json.object(|json, key| {
        match key {
            "format" => {
                format(json, LINEAR_FORMAT)?;
                seen = true;
            }
            "library" => drop(json.string(JSON_STRING_BYTES_MAX)?),
            "link" => way = Some(link(json)?),
            "features" => {
                names = Some(json.list(FEATURES_MAX, "features", |json| json.string(FEATURE_NAME_BYTES_MAX))?);
            }
            "coefficients" => weights = Some(numbers(json)?),
            "intercept" => intercept = json.f64()?,
            "mean" => mean = Some(numbers(json)?),
            "scale" => scale = Some(numbers(json)?),
            "missing" => missing = Some(json.list(FEATURES_MAX, "features", optional)?),
            other => return Err(unknown(json, other)),
        }
        Ok(())
    })?;
    json.finish()?;
    if !seen {
        return Err(absent("format"));
    }
    let way = way.ok_or_else(|| absent("link"))?;
    let (names, weights) = (names.ok_or_else(|| absent("features"))?, weights.ok_or_else(|| absent("coefficients"))?);
    let count = names.len();
    let mean = mean.unwrap_or_else(|| vec![0.0; count]);
    let scale = scale.unwrap_or_else(|| vec![1.0; count]);
    let missing = missing.unwrap_or_else(|| vec![None; count]);
    for (found, what) in [
        (weights.len(), "coefficients"),
        (mean.len(), "means"),
        (scale.len(), "scales"),
        (missing.len(), "rules for missing values"),
    ] {
        if found != count {
            return Err(Fault::new(Code::ModelStructure, format!("{count} features and {found} {what}")));
        }
    }
    let mut terms = Vec::with_capacity(count);
    for (feature, (((weight, mean), scale), missing)) in (0u32..).zip(weights.iter().zip(mean).zip(scale).zip(missing))
    {
        // What the scaler before the model does is folded into the weight. A scale of zero leaves no finite weight.
        let weight = weight / scale;
        intercept -= weight * mean;
        // Without a value the scaler has nothing to shift: a gap adds its number and no more.
        let missing = missing.map(|points| points + weight * mean);
        terms.push(Term { feature, shape: Shape::Linear { weight, missing } });
    }
    let features = features::resolve(names.into_iter().map(Known::named).collect(), &import)?;
    Model::new(import.meta, features, way, Kind::Additive(Additive { intercept, terms }))
}

/// Reads a scorecard, [`SCORECARD_FORMAT`]. The features are the characteristics, in order.
///
/// # Errors
/// As [`read`].
pub fn read_scorecard(import: Import, bytes: &[u8]) -> Read<Model> {
    bounded(bytes)?;
    let mut json = Json::new(bytes);
    let (mut seen, mut way, mut base, mut total) = (false, Link::Identity, 0.0, 0);
    let mut parts: Vec<(Feature, Shape)> = Vec::new();
    json.object(|json, key| {
        match key {
            "format" => {
                format(json, SCORECARD_FORMAT)?;
                seen = true;
            }
            "link" => way = link(json)?,
            "base" => base = json.f64()?,
            "characteristics" => json.array(TERMS_MAX.min(FEATURES_MAX), "characteristics", |json| {
                let (feature, shape) = characteristic(json)?;
                total += match &shape {
                    Shape::Bins { points, .. } | Shape::Categories { points, .. } => points.len(),
                    Shape::Linear { .. } => 1,
                };
                if total > POINTS_TOTAL_MAX {
                    return Err(json.fault(Code::ModelTooLarge, format_args!("more than {POINTS_TOTAL_MAX} points")));
                }
                parts.push((feature, shape));
                Ok(())
            })?,
            other => return Err(unknown(json, other)),
        }
        Ok(())
    })?;
    json.finish()?;
    if !seen {
        return Err(absent("format"));
    }
    if !import.features.is_empty() {
        return Err(Fault::new(
            Code::ModelFeatures,
            "a scorecard names its own features; none can be declared beside it",
        ));
    }
    let (features, shapes): (Vec<Feature>, Vec<Shape>) = parts.into_iter().unzip();
    let terms = (0u32..).zip(shapes).map(|(feature, shape)| Term { feature, shape }).collect();
    Model::new(import.meta, features, way, Kind::Additive(Additive { intercept: base, terms }))
}

/// One characteristic: a `weight`, or `points` by `edges` or by `categories`.
fn characteristic(json: &mut Json<'_>) -> Read<(Feature, Shape)> {
    let (mut name, mut weight, mut edges, mut categories, mut range) = (None, None, None, None, None);
    let (mut points, mut missing, mut other) = (None, None, None);
    json.object(|json, key| {
        match key {
            "feature" => name = Some(json.string(FEATURE_NAME_BYTES_MAX)?),
            "weight" => weight = Some(json.f64()?),
            "edges" => edges = Some(json.list(BINS_MAX, "edges", Json::f64)?),
            "categories" => {
                categories = Some(json.list(CATEGORIES_MAX, "categories", |json| json.string(CATEGORY_BYTES_MAX))?);
            }
            "points" => points = Some(json.list(CATEGORIES_MAX.max(BINS_MAX), "points", Json::f64)?),
            "missing" => missing = optional(json)?,
            "other" => other = optional(json)?,
            "range" => range = Some(json.list(2, "the ends of a range", Json::f64)?),
            unknown_key => return Err(unknown(json, unknown_key)),
        }
        Ok(())
    })?;
    let wrong = |what: &str| json.fault(Code::ModelStructure, what);
    let name = name.ok_or_else(|| absent("feature"))?;
    let range = match range.as_deref() {
        None => None,
        Some([least, most]) => Some((*least, *most)),
        Some(_) => return Err(wrong("a range has two ends")),
    };
    let (kind, shape) = match (weight, edges, categories, points, other) {
        (Some(weight), None, None, None, None) => (FeatureKind::Numeric, Shape::Linear { weight, missing }),
        (None, Some(edges), None, Some(points), None) => (FeatureKind::Numeric, Shape::Bins { edges, points, missing }),
        (None, None, Some(list), Some(points), other) => {
            (FeatureKind::Categorical(list), Shape::Categories { points, other, missing })
        }
        _ => return Err(wrong("a characteristic has a weight, or points by edges, or points by categories")),
    };
    Ok((Feature { name, kind, range }, shape))
}
