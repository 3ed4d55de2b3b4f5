//! Fixed-point numbers for the secret-shared computation in Z_2^64: plans with public bounds, encodings, and reference
//! evaluators in plain integers that say what the shared computation must give.
//!
//! A plan is made from the model's declared ranges and a wanted error. It takes the fewest fraction bits with which the
//! worst case of all roundings stays below that error, and is refused when a value could then reach 2^62: no input
//! within the ranges can overflow. Inputs are clipped to their ranges where they are encoded.

use tacit_types::{Code, Fault};

use crate::division::{Division, LeafBits, Part, Rest};
use crate::frame::Frame;
use crate::limits::FIXED_BITS_MAX;
use crate::model::{Feature, Kind, Model};
use crate::network::{Activation, Layer, Network};
use crate::part::Leaves;

/// Fewest fraction bits of any encoding.
pub const FRACTION_BITS_MIN: u32 = 16;
/// Most fraction bits of a number in a network, whose products are truncated after each layer.
pub const NETWORK_FRACTION_BITS_MAX: u32 = 20;

fn refuse<T>(what: String) -> Result<T, Fault> {
    Err(Fault::new(Code::ModelPrecision, what))
}

/// `round_ties_even(value 2^bits)`; the caller has bounded the value.
pub(crate) fn encode(value: f64, bits: u32) -> i64 {
    // why: saturates, and plans keep the magnitude below 2^62. The product with a power of two is exact.
    (value * exp2(bits)).round_ties_even() as i64
}

pub(crate) fn exp2(bits: u32) -> f64 {
    2f64.powi(bits.cast_signed())
}

/// The fewest fraction bits with which `count` roundings of weight one in all stay within `error`.
fn bits_for(count: f64, error: f64) -> u32 {
    let needed = (count / (2.0 * error)).log2().ceil();
    // why: saturates; more than the cap is refused by the bound that follows.
    (needed.max(0.0) as u32).max(FRACTION_BITS_MIN)
}

/// Whether numbers up to `bound` with `bits` fraction bits stay below 2^62.
fn check_bound(bound: f64, bits: u32, what: &str) -> Result<(), Fault> {
    if bound.is_finite() && bits < 1000 && bound * exp2(bits) < exp2(FIXED_BITS_MAX) {
        return Ok(());
    }
    refuse(format!("{what}: values up to {bound:e} with {bits} fraction bits do not fit {FIXED_BITS_MAX} bits"))
}

/// What an error is: a positive finite number.
fn check_error(error: f64) -> Result<(), Fault> {
    if error.is_finite() && error > 0.0 { Ok(()) } else { refuse(format!("an error of {error} cannot be kept")) }
}

/// The declared range of a numeric feature.
fn range(feature: &Feature) -> Result<(f64, f64), Fault> {
    match feature.range {
        Some(range) => Ok(range),
        None => refuse(format!("feature {:?} has no declared range", feature.name)),
    }
}

/// How a feature is brought to magnitudes up to one: public, it follows from the declared range.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scale {
    /// The middle of the range, which is subtracted.
    pub centre: f64,
    /// The power of two by which the rest is divided.
    pub exponent: i32,
}

impl Scale {
    fn new(feature: &Feature) -> Result<Self, Fault> {
        let (least, most) = range(feature)?;
        Self::of_range(least, most).map_err(|f| Fault::new(f.code, format!("feature {:?}: {}", feature.name, f.what)))
    }

    /// That of a range.
    ///
    /// # Errors
    /// `model.precision` for what is no range, or one too wide or narrow.
    pub fn of_range(least: f64, most: f64) -> Result<Self, Fault> {
        let (centre, half) = (least / 2.0 + most / 2.0, most / 2.0 - least / 2.0);
        // why: the exponent of a finite double is within an i32.
        let exponent = if half > 0.0 { half.log2().ceil() as i32 } else { 0 };
        if !(-1000..=1000).contains(&exponent) || !centre.is_finite() || least > most {
            return refuse(format!("a range of {least:e} to {most:e}"));
        }
        Ok(Self { centre, exponent })
    }

    fn of(model: &Model) -> Result<Vec<Self>, Fault> {
        model.features().iter().map(Self::new).collect()
    }

    /// Two to the exponent.
    pub fn factor(self) -> f64 {
        2f64.powi(self.exponent)
    }
}

/// One number a row, summed in the ring: partial scores, or one leaf weight a tree.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SumPlan {
    /// Fraction bits of every summand and of the sum.
    pub bits: u32,
    /// The greatest magnitude that the sum can have.
    pub bound: f64,
    /// The greatest difference from the exact sum.
    pub error: f64,
}

impl SumPlan {
    /// A plan for `count` summands whose sum has at most the magnitude `bound`.
    ///
    /// # Errors
    /// `model.precision`.
    pub fn new(count: usize, bound: f64, error: f64) -> Result<Self, Fault> {
        check_error(error)?;
        let count = count as f64;
        let bits = bits_for(count, error);
        // Partial sums in any order are bounded by the sum of magnitudes, which the callers give.
        let bound = bound + error;
        check_bound(bound, bits, "a sum")?;
        Ok(Self { bits, bound, error: count / 2.0 / exp2(bits) })
    }

    /// A plan for a divided model whose parts add up: one summand a party and the intercept.
    ///
    /// # Errors
    /// `model.precision`, also for a linear feature without a declared range.
    pub fn of_parts(division: &Division, error: f64) -> Result<Self, Fault> {
        let Rest::Intercept(intercept) = division.rest else { return refuse("the parts are not sums".into()) };
        let mut bound = intercept.abs();
        for part in &division.parts {
            match part.bound() {
                Some(more) => bound += more,
                None => {
                    let names = part.features.iter().filter(|f| f.range.is_none() && f.categories() == 0);
                    let name = names.map(|f| f.name.as_str()).next().unwrap_or_default();
                    return refuse(format!("feature {name:?} has no declared range"));
                }
            }
        }
        Self::new(division.parts.len() + 1, bound, error)
    }

    /// A plan for the leaf weights of trees: one summand a tree and the base.
    ///
    /// # Errors
    /// `model.precision`.
    pub fn of_leaves(division: &Division, error: f64) -> Result<Self, Fault> {
        let Rest::Leaves(leaves) = &division.rest else { return refuse("there are no leaves".into()) };
        Self::new(leaves.trees.len() + 1, leaves.reach(), error)
    }

    /// A summand. What exceeds the bound is clipped to it.
    pub fn encode(&self, value: f64) -> i64 {
        encode(value.clamp(-self.bound, self.bound), self.bits)
    }

    /// The number that a sum stands for.
    pub fn decode(&self, sum: i64) -> f64 {
        sum as f64 / exp2(self.bits)
    }

    /// A party's summand of each row, its features clipped to their ranges.
    ///
    /// # Errors
    /// As [`Part::partial`]; `model.precision` when the part is not a sum.
    pub fn partials(&self, part: &Part, frame: &Frame) -> Result<Vec<i64>, Fault> {
        let values = part.partial(&frame.clipped(&part.features))?;
        let Some(values) = values else { return refuse("the part is not a sum".into()) };
        Ok(values.into_iter().map(|v| self.encode(v)).collect())
    }

    /// The weights of all leaves, trees one after the other, and the base.
    pub fn leaf_weights(&self, rest: &Rest) -> Option<(Vec<i64>, i64)> {
        let Rest::Leaves(Leaves { base, factor, trees }) = rest else { return None };
        Some((trees.iter().flatten().map(|v| self.encode(v * factor)).collect(), self.encode(*base)))
    }

    /// The values of leaves, each tree's in a list of its own, and the base, all multiplied by `units`.
    ///
    /// # Errors
    /// `model.precision` when there are more trees than the plan has summands, or their sum could be beyond its bound.
    pub fn leaves(&self, leaves: &Leaves, summands: usize, units: f64) -> Result<(Vec<Vec<i64>>, i64), Fault> {
        let reach = leaves.reach() * units.abs();
        if leaves.trees.len() >= summands || reach.is_nan() || reach > self.bound - self.error {
            let (trees, most) = (leaves.trees.len(), summands.saturating_sub(1));
            return refuse(format!(
                "{trees} trees that reach {:e}, beyond the job's bound or {most} trees",
                reach / units
            ));
        }
        let scaled = |v: f64| self.encode(v * units);
        let trees = leaves.trees.iter().map(|tree| tree.iter().map(|v| scaled(v * leaves.factor)).collect());
        Ok((trees.collect(), scaled(leaves.base)))
    }

    /// The reference: what the shared computation gives for the conjunction of all parties' bits of a row.
    pub fn select(&self, weights: &[i64], base: i64, bits: &LeafBits, row: usize) -> i64 {
        let chosen = weights.iter().enumerate().filter(|(leaf, _)| bits.bit(row, *leaf));
        chosen.fold(base, |sum, (_, weight)| sum.wrapping_add(*weight))
    }
}

/// A linear model of one party on features of others: one product in the ring, no truncation.
#[derive(Clone, PartialEq, Debug)]
pub struct LinearPlan {
    /// Fraction bits of an input, after its division by its power of two.
    pub input_bits: u32,
    /// Fraction bits of a weight, after its multiplication by the same.
    pub weight_bits: u32,
    /// How each feature is scaled.
    pub scales: Vec<Scale>,
    /// The greatest magnitude that the margin can have.
    pub bound: f64,
    /// The greatest difference from the exact margin, for inputs within their ranges.
    pub error: f64,
    weights: Vec<i64>,
    intercept: i64,
}

impl LinearPlan {
    /// A plan for an additive model of linear terms.
    ///
    /// # Errors
    /// `model.precision` when a feature has no declared range or the error cannot be kept; `model.unsupported` for
    /// other kinds and for points by bins or categories.
    pub fn new(model: &Model, error: f64) -> Result<Self, Fault> {
        check_error(error)?;
        let unsupported = |what: &str| Err(Fault::new(Code::ModelUnsupported, what));
        let Kind::Additive(additive) = model.kind() else {
            return unsupported("a linear plan for another kind of model");
        };
        let mut sums = vec![0.0; model.features().len()];
        for term in &additive.terms {
            let crate::Shape::Linear { weight, .. } = &term.shape else {
                return unsupported(
                    "points by bins or categories on features of another party: divide the model instead",
                );
            };
            if let Some(sum) = sums.get_mut(term.feature as usize) {
                *sum += weight;
            }
        }
        let scales = Scale::of(model)?;
        let scaled: Vec<f64> = sums.iter().zip(&scales).map(|(w, s)| w * s.factor()).collect();
        let intercept = additive.intercept + sums.iter().zip(&scales).map(|(w, s)| w * s.centre).sum::<f64>();
        let total: f64 = scaled.iter().map(|w| w.abs()).sum();
        let count = scaled.len() as f64;
        // A third of the error each for inputs, weights, and the intercept with the products of both errors.
        let (input_bits, weight_bits) = (bits_for(total, error / 3.0), bits_for(count, error / 3.0));
        let bits = input_bits.saturating_add(weight_bits);
        let (half_input, half_weight) = (0.5 / exp2(input_bits), 0.5 / exp2(weight_bits));
        let kept = total * half_input + count * half_weight * (1.0 + half_input) + 0.5 / exp2(bits);
        let bound = intercept.abs() + total + error;
        check_bound(bound, bits, "the margin")?;
        if kept > error {
            return refuse(format!("an error of {error:e}; {kept:e} can be kept"));
        }
        let weights = scaled.iter().map(|w| encode(*w, weight_bits)).collect();
        let intercept = encode(intercept, bits);
        Ok(Self { input_bits, weight_bits, scales, bound, error: kept, weights, intercept })
    }

    /// The weights, one a feature.
    pub fn weights(&self) -> &[i64] {
        &self.weights
    }

    /// The intercept, with the bits of the margin.
    pub fn intercept(&self) -> i64 {
        self.intercept
    }

    /// The inputs of a row, clipped to their ranges.
    ///
    /// # Errors
    /// `model.value_missing`: a linear model of another party has no rule that the owner of a feature could apply.
    pub fn inputs(&self, model: &Model, frame: &Frame, row: usize) -> Result<Vec<i64>, Fault> {
        scaled_inputs(model, frame, row, &self.scales, self.input_bits)
    }

    /// The reference: the margin of a row's inputs.
    pub fn margin(&self, inputs: &[i64]) -> i64 {
        let products = self.weights.iter().zip(inputs).map(|(w, x)| w.wrapping_mul(*x));
        products.fold(self.intercept, i64::wrapping_add)
    }

    /// The number that a margin stands for.
    pub fn decode(&self, margin: i64) -> f64 {
        margin as f64 / exp2(self.input_bits + self.weight_bits)
    }
}

/// Inputs divided by their powers of two, in fixed point.
fn scaled_inputs(model: &Model, frame: &Frame, row: usize, scales: &[Scale], bits: u32) -> Result<Vec<i64>, Fault> {
    let each = (0u32..).zip(model.features()).zip(scales).map(|((i, feature), scale)| {
        let (least, most) = range(feature)?;
        let value = frame.value(row, i);
        if value.is_nan() {
            return Err(model.missing(row, i));
        }
        Ok(encode((value.clamp(least, most) - scale.centre) / scale.factor(), bits))
    });
    each.collect()
}

/// A network on features of others: products with a truncation after each hidden layer.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkPlan {
    /// Fraction bits of inputs, weights and what leaves a layer.
    pub bits: u32,
    /// How each feature is scaled.
    pub scales: Vec<Scale>,
    /// The greatest magnitude that the margin can have.
    pub bound: f64,
    /// The greatest difference from the exact margin, for inputs within their ranges.
    pub error: f64,
    layers: Vec<FixedLayer>,
}

/// A layer in fixed point: biases have the bits of a product.
#[derive(Clone, PartialEq, Debug)]
pub struct FixedLayer {
    /// Inputs by outputs, row by row.
    pub weights: Vec<i64>,
    /// One an output, with twice the fraction bits.
    pub bias: Vec<i64>,
    /// Whether the outputs go through a ReLU.
    pub relu: bool,
}

impl NetworkPlan {
    /// A plan with the fewest bits, 16 to 20, that keep the error.
    ///
    /// # Errors
    /// `model.unsupported` for other kinds and for hidden activations other than ReLU; `model.precision` when a feature
    /// has no declared range, or no number of bits keeps the error or holds the values.
    pub fn new(model: &Model, error: f64) -> Result<Self, Fault> {
        check_error(error)?;
        let unsupported = |what: &str| Err(Fault::new(Code::ModelUnsupported, what));
        let Kind::Network(network) = model.kind() else {
            return unsupported("a network plan for another kind of model");
        };
        let held = |l: &Layer| matches!(l.activation, Activation::Identity | Activation::Relu);
        if !network.layers.iter().all(held) {
            return unsupported("a hidden activation other than ReLU on shares");
        }
        let scales = Scale::of(model)?;
        let layers = scaled_layers(network, &scales);
        let mut last = None;
        for bits in FRACTION_BITS_MIN..=NETWORK_FRACTION_BITS_MAX {
            let Reach { bound, error: kept, .. } = Reach::of(&layers, scales.len(), bits)?;
            last = Some(kept);
            if kept <= error {
                let layers = layers.iter().map(|l| FixedLayer::new(l, bits)).collect();
                return Ok(Self { bits, scales, bound, error: kept, layers });
            }
        }
        refuse(format!("an error of {error:e}; {:e} can be kept", last.unwrap_or(f64::INFINITY)))
    }

    /// The layers.
    pub fn layers(&self) -> &[FixedLayer] {
        &self.layers
    }

    /// The inputs of a row, clipped to their ranges.
    ///
    /// # Errors
    /// `model.value_missing`.
    pub fn inputs(&self, model: &Model, frame: &Frame, row: usize) -> Result<Vec<i64>, Fault> {
        scaled_inputs(model, frame, row, &self.scales, self.bits)
    }

    /// The reference: the margin of a row's inputs, with twice the fraction bits. A truncation is exact to one unit.
    pub fn margin(&self, inputs: &[i64]) -> i64 {
        let mut now = inputs.to_vec();
        for (i, layer) in self.layers.iter().enumerate() {
            let mut sums = layer.bias.clone();
            for (x, row) in now.iter().zip(layer.weights.chunks_exact(sums.len().max(1))) {
                sums.iter_mut().zip(row).for_each(|(sum, w)| *sum = sum.wrapping_add(x.wrapping_mul(*w)));
            }
            if i + 1 < self.layers.len() {
                let truncated = sums.iter().map(|s| s >> self.bits);
                sums = truncated.map(|s| if layer.relu { s.max(0) } else { s }).collect();
            }
            now = sums;
        }
        now.first().copied().unwrap_or(0)
    }

    /// The number that a margin stands for.
    pub fn decode(&self, margin: i64) -> f64 {
        margin as f64 / exp2(2 * self.bits)
    }
}

impl FixedLayer {
    fn new(layer: &Layer, bits: u32) -> Self {
        Self {
            weights: layer.weights.iter().map(|w| encode(*w, bits)).collect(),
            bias: layer.bias.iter().map(|b| encode(*b, 2 * bits)).collect(),
            relu: layer.activation == Activation::Relu,
        }
    }
}

/// The layers of a network for features that are scaled: the first takes them so.
pub(crate) fn scaled_layers(network: &Network, scales: &[Scale]) -> Vec<Layer> {
    let mut layers = network.layers.clone();
    if let Some(first) = layers.first_mut() {
        let outputs = first.outputs().max(1);
        for (row, scale) in first.weights.chunks_exact_mut(outputs).zip(scales) {
            for (w, bias) in row.iter_mut().zip(&mut first.bias) {
                *bias += *w * scale.centre;
                *w *= scale.factor();
            }
        }
    }
    layers
}

/// How far the values of a network reach.
pub(crate) struct Reach {
    /// The greatest magnitude of the margin.
    pub bound: f64,
    /// How far it may be from the exact one.
    pub error: f64,
    /// The greatest magnitude before any activation, with its error, and of any weight.
    pub greatest: f64,
}

impl Reach {
    /// Interval arithmetic over the layers with so many bits, for inputs of magnitude up to one.
    ///
    /// # Errors
    /// `model.precision` when a value does not fit.
    pub fn of(layers: &[Layer], inputs: usize, bits: u32) -> Result<Self, Fault> {
        let half = 0.5 / exp2(bits);
        let (mut bound, mut error, mut greatest) = (vec![1.0; inputs], vec![half; inputs], 0.0f64);
        for (i, layer) in layers.iter().enumerate() {
            let hidden = i + 1 < layers.len();
            let mut bounds: Vec<f64> = layer.bias.iter().map(|b| b.abs()).collect();
            let mut errors = vec![half * half * 2.0 + if hidden { 2.0 * half } else { 0.0 }; layer.outputs()];
            let rows = layer.weights.chunks_exact(layer.outputs().max(1));
            for ((bound, error), row) in bound.iter().zip(&error).zip(rows) {
                for ((sum, sum_error), w) in bounds.iter_mut().zip(&mut errors).zip(row) {
                    *sum += bound * w.abs();
                    *sum_error += error * w.abs() + (bound + error) * half;
                }
            }
            for (place, (sum, error)) in bounds.iter().zip(&errors).enumerate() {
                check_bound(sum + error, 2 * bits, &format!("layer {i}, output {place}"))?;
                greatest = greatest.max(sum + error);
            }
            greatest = layer.weights.iter().fold(greatest, |most, w| most.max(w.abs()));
            (bound, error) = (bounds, errors);
        }
        let first = |list: &[f64]| list.first().copied().unwrap_or(0.0);
        Ok(Self { bound: first(&bound), error: first(&error), greatest })
    }
}

/// A single as a whole number of the same order: `a < b` exactly when `ordered(a) < ordered(b)`, and both zeroes are 0.
/// So thresholds of trees are compared on shares without a rounding. NaN has no place in an order.
pub fn ordered(value: f32) -> Option<i64> {
    let magnitude = i64::from(value.to_bits() & 0x7fff_ffff);
    (!value.is_nan()).then_some(if value.is_sign_negative() { -magnitude } else { magnitude })
}
