//! A linear model of one owner on features of others, where nothing that decides shapes may come from the model: the
//! fixed-point formats follow from public ranges, a public bound on the margin and the number of features alone.

use tacit_types::{Code, Fault};

use crate::fixed::Scale;
use crate::limits::FIXED_BITS_MAX;
use crate::model::{Feature, Kind, Model};

/// Fewest fraction bits of an input and of a weight.
const BITS_MIN: u32 = 4;
/// Most fraction bits of an input, so that one fits 32 bits.
pub const INPUT_BITS_MAX: u32 = 29;

fn refuse<T>(what: String) -> Result<T, Fault> {
    Err(Fault::new(Code::ModelPrecision, what))
}

fn exp2(bits: u32) -> f64 {
    2f64.powi(bits.cast_signed())
}

/// Public formats of a linear model that is itself a secret.
///
/// A feature x within its range is brought to x' = (x - c) / 2^e of magnitude at most one, a weight to w' = w 2^e. The
/// sum of w' x' and the intercept, with c moved into it, is the margin; the magnitudes of all w' and of that intercept
/// together are the model's *reach*, which its owner keeps within the bound.
#[derive(Clone, PartialEq, Debug)]
pub struct LinearShape {
    /// Fraction bits of an input.
    pub input_bits: u32,
    /// Fraction bits of a weight.
    pub weight_bits: u32,
    /// The greatest magnitude of a margin, and of a model's reach.
    pub bound: f64,
    /// The greatest difference from the exact margin, for inputs within their ranges.
    pub error: f64,
    scales: Vec<Scale>,
    ranges: Vec<(f64, f64)>,
}

/// The weights of a model in a [`LinearShape`].
pub struct LinearWeights {
    /// One a feature, with the fraction bits of a weight.
    pub weights: Vec<i64>,
    /// The intercept, with the bits of the margin.
    pub intercept: i64,
}

impl LinearShape {
    /// The shape with the fewest bits that keeps the error for every model whose reach is within the bound.
    ///
    /// # Errors
    /// `model.precision` when a range is not one, or no number of bits keeps the error and holds the values.
    pub fn new(ranges: &[(f64, f64)], bound: f64, error: f64) -> Result<Self, Fault> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(bound) || !positive(error) || ranges.is_empty() {
            return refuse(format!("{} features, a bound of {bound} and an error of {error}", ranges.len()));
        }
        let scales =
            ranges.iter().map(|(least, most)| Scale::of_range(*least, *most)).collect::<Result<Vec<_>, _>>()?;
        let kept = |input: u32, weight: u32| {
            let (input_half, weight_half) = (0.5 / exp2(input), 0.5 / exp2(weight));
            bound * input_half + ranges.len() as f64 * weight_half * (1.0 + input_half) + 0.5 / exp2(input + weight)
        };
        let all = (BITS_MIN..=INPUT_BITS_MAX).flat_map(|i| (BITS_MIN..FIXED_BITS_MAX).map(move |w| (i, w)));
        let Some((input_bits, weight_bits)) = all.filter(|(i, w)| kept(*i, *w) <= error).min_by_key(|(i, w)| i + w)
        else {
            return refuse(format!("{} features up to {bound:e} with an error of {error:e}", ranges.len()));
        };
        let error = kept(input_bits, weight_bits);
        let it = Self { input_bits, weight_bits, bound, error, scales, ranges: ranges.to_vec() };
        let most = FIXED_BITS_MAX - 1;
        if it.margin_bits() > most {
            let needs = it.margin_bits();
            return refuse(format!("margins up to {bound:e} to {error:e} need {needs} bits; {most} fit"));
        }
        Ok(it)
    }

    /// Features.
    pub fn features(&self) -> usize {
        self.ranges.len()
    }

    /// Fraction bits of the margin.
    pub fn fraction_bits(&self) -> u32 {
        self.input_bits + self.weight_bits
    }

    /// Bits of an input with its sign.
    pub fn input_width(&self) -> u32 {
        self.input_bits + 2
    }

    /// Bits of a weight with its sign.
    pub fn weight_width(&self) -> u32 {
        self.weight_bits + Self::bits_above(self.bound + self.error)
    }

    /// Bits of the margin with its sign.
    pub fn margin_bits(&self) -> u32 {
        self.fraction_bits() + Self::bits_above(self.bound + self.error)
    }

    /// Bits before the point of numbers up to `bound`, with the sign.
    fn bits_above(bound: f64) -> u32 {
        // why: a finite logarithm is within 1100, and what is too many bits is refused.
        (bound.log2().floor() + 2.0).max(1.0) as u32
    }

    /// A feature's value as an input, clipped to its range; `None` where there is none, or no such feature.
    pub fn input(&self, feature: usize, value: f64) -> Option<i32> {
        let ((least, most), scale) = (self.ranges.get(feature)?, self.scales.get(feature)?);
        if value.is_nan() {
            return None;
        }
        let scaled = (value.clamp(*least, *most) - scale.centre) / scale.factor();
        // why: of magnitude at most one, and with at most 29 bits.
        Some((scaled.clamp(-1.0, 1.0) * exp2(self.input_bits)).round_ties_even() as i32)
    }

    /// A model's weights, one for each feature of the shape in its order, each multiplied by `units`.
    ///
    /// # Errors
    /// `model.unsupported` for another kind than a sum of linear terms; `model.features` when the model names other
    /// features; `model.precision` when its reach is beyond the bound.
    pub fn weights(&self, model: &Model, names: &[&str], units: f64) -> Result<LinearWeights, Fault> {
        let unsupported = |what: &str| Err(Fault::new(Code::ModelUnsupported, what));
        let additive = match model.kind() {
            Kind::Additive(additive) => additive,
            Kind::Normed(_) => return unsupported("a norm over all features of a row, which no single owner has"),
            _ => return unsupported("another kind than a linear model"),
        };
        let place = |feature: &Feature| names.iter().position(|n| *n == feature.name);
        let places: Vec<Option<usize>> = model.features().iter().map(place).collect();
        if let Some((feature, _)) = model.features().iter().zip(&places).find(|(_, place)| place.is_none()) {
            return Err(Fault::new(Code::ModelFeatures, format!("there is no feature {:?} in the job", feature.name)));
        }
        if names.len() != self.features() || places.len() != names.len() {
            let what = format!("{} features, {} in the job", places.len(), names.len());
            return Err(Fault::new(Code::ModelFeatures, what));
        }
        let mut sums = vec![0.0; names.len()];
        for term in &additive.terms {
            let crate::Shape::Linear { weight, .. } = &term.shape else {
                return unsupported("points by bins or categories on features of another party: divide the model");
            };
            let place = places.get(term.feature as usize).copied().flatten();
            if let Some(sum) = place.and_then(|i| sums.get_mut(i)) {
                *sum += weight * units;
            }
        }
        let centred = sums.iter().zip(&self.scales).map(|(w, s)| w * s.centre).sum::<f64>();
        let intercept = additive.intercept * units + centred;
        let scaled: Vec<f64> = sums.iter().zip(&self.scales).map(|(w, s)| w * s.factor()).collect();
        let reach = intercept.abs() + scaled.iter().map(|w| w.abs()).sum::<f64>();
        if reach.is_nan() || reach > self.bound {
            return refuse(format!("the model reaches {:e}, beyond the job's bound", reach / units));
        }
        // why: below the bound, which with these bits is below 2^61.
        let encode = |x: f64, bits: u32| (x * exp2(bits)).round_ties_even() as i64;
        let weights = scaled.iter().map(|w| encode(*w, self.weight_bits)).collect();
        Ok(LinearWeights { weights, intercept: encode(intercept, self.fraction_bits()) })
    }

    /// The number that a margin stands for.
    pub fn decode(&self, margin: i64) -> f64 {
        margin as f64 / exp2(self.fraction_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Additive, Link, Meta, Shape, Term};
    use tacit_types::{Name, NodeId};

    fn model(weights: &[f64], intercept: f64) -> Model {
        let linear =
            |(i, w): (usize, &f64)| Term { feature: i as u32, shape: Shape::Linear { weight: *w, missing: None } };
        let meta = Meta { owner: NodeId([1; 32]), name: Name::new("m").unwrap(), version: 1 };
        let features = (0..weights.len()).map(|i| Feature::numeric(format!("f{i}"))).collect();
        let terms = weights.iter().enumerate().map(linear).collect();
        Model::new(meta, features, Link::Identity, Kind::Additive(Additive { intercept, terms })).unwrap()
    }

    #[test]
    fn margins_keep_the_error_up_to_the_bound_and_a_model_beyond_it_is_refused() {
        let ranges = [(-3.0, 5.0), (1000.0, 1001.0), (0.0, 0.0), (-1e-3, 1e-3)];
        let shape = LinearShape::new(&ranges, 64.0, 1e-6).unwrap();
        assert!(shape.error <= 1e-6 && shape.margin_bits() < FIXED_BITS_MAX);
        let (weights, intercept) = ([7.7, -2.5, 3.0, 1e4], 2490.0);
        let model = model(&weights, intercept);
        let names = ["f0", "f1", "f2", "f3"];
        let fixed = shape.weights(&model, &names, 1.0).unwrap();
        for at in 0..=64u32 {
            let part = f64::from(at) / 64.0;
            let row: Vec<f64> = ranges.iter().map(|(a, b)| a + (b - a) * part * part).collect();
            let plain: f64 = row.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() + intercept;
            let sum = row
                .iter()
                .zip(&fixed.weights)
                .enumerate()
                .fold(fixed.intercept, |sum, (i, (x, w))| sum + i64::from(shape.input(i, *x).unwrap()) * w);
            assert!((shape.decode(sum) - plain).abs() <= shape.error + 1e-12, "{part}");
            assert!(sum.unsigned_abs() >> (shape.margin_bits() - 1) == 0);
        }
        assert_eq!(shape.input(0, 9.0), shape.input(0, 5.0));
        assert_eq!((shape.input(0, f64::NAN), shape.input(4, 0.0)), (None, None));
        let reach = 7.7 * 4.0 + 2.5 * 0.5 + 3.0 + 1e4 * 2f64.powi(-9) + (2490.0f64 + 7.7 - 2.5 * 1000.5).abs();
        assert!(reach < 64.0);
        let tight = |bound| LinearShape::new(&ranges, bound, 1e-6).unwrap().weights(&model, &names, 1.0);
        assert!(tight(reach * 1.0001).is_ok());
        assert_eq!(tight(reach * 0.9999).err().unwrap().code, Code::ModelPrecision);
        assert_eq!(shape.weights(&model, &names[..3], 1.0).err().unwrap().code, Code::ModelFeatures);
        assert_eq!(shape.weights(&model, &["f0", "f1", "f2", "g"], 1.0).err().unwrap().code, Code::ModelFeatures);
    }

    #[test]
    fn the_shape_holds_a_bound_up_to_its_bits_and_is_refused_beyond() {
        let ranges = vec![(0.0, 1.0); 100];
        for bound in [0.1, 1.0, 1.5, 2.0, 63.9] {
            let shape = LinearShape::new(&ranges, bound, 1e-6).unwrap();
            let most = ((bound + shape.error) * exp2(shape.fraction_bits())).ceil() as u64;
            assert!(most >> (shape.margin_bits() - 1) == 0, "{bound}");
        }
        assert!(LinearShape::new(&ranges, 1e4, 1e-6).is_err() && LinearShape::new(&ranges, 1e4, 1e-3).is_ok());
        let nan = f64::NAN;
        for (bound, error) in [(0.0, 1e-6), (nan, 1e-6), (1.0, 0.0), (1.0, nan), (1.0, 1e-30)] {
            assert!(LinearShape::new(&ranges, bound, error).is_err(), "{bound} {error}");
        }
        assert!(LinearShape::new(&[], 1.0, 1e-6).is_err() && LinearShape::new(&[(1.0, nan)], 1.0, 1e-6).is_err());
    }
}
