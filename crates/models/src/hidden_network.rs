//! A network of one owner on features of others: what is public are the widths of its layers and one bound, from which
//! the formats follow; weights, biases and what comes of them are not.

use tacit_types::{Code, Fault};

use crate::fixed::{Reach, Scale, encode, exp2, scaled_layers};
use crate::hidden::slope;
use crate::limits::{LAYER_WIDTH_MAX, LAYERS_MAX, NETWORK_WEIGHTS_MAX};
use crate::model::{Kind, Model};
use crate::network::{Activation, Layer, Network};

/// Fewest and most fraction bits of an input, a weight, and what leaves a hidden layer.
const BITS: core::ops::RangeInclusive<u32> = 12..=24;
/// Bits of what comes before an activation, with its sign.
const WIDTH_MAX: u32 = 61;

fn refuse<T>(what: String) -> Result<T, Fault> {
    Err(Fault::new(Code::ModelPrecision, what))
}

/// Public formats of a network that is itself a secret.
///
/// A feature x within its range is brought to a magnitude of at most one, as in a linear model. Before any activation,
/// and of any weight, the greatest magnitude that there can be for such features is within the bound: its owner answers
/// for that, and for the error.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkShape {
    /// Fraction bits of an input, a weight, and what leaves a hidden layer; what comes before an activation has twice
    /// as many.
    pub bits: u32,
    /// The greatest magnitude of a weight and before an activation.
    pub bound: f64,
    /// Inputs, and outputs of each layer; one at the end.
    widths: Vec<usize>,
    scales: Vec<Scale>,
    ranges: Vec<(f64, f64)>,
}

/// One layer of a network in a [`NetworkShape`].
pub struct HiddenLayer {
    /// Inputs by outputs, row by row.
    pub weights: Vec<i64>,
    /// One an output, with twice the fraction bits.
    pub bias: Vec<i64>,
}

impl NetworkShape {
    /// The shape with the most fraction bits that hold the bound, for features of these ranges and hidden layers of up
    /// to these widths.
    ///
    /// # Errors
    /// `model.too_large` for more or wider layers than a network may have; `model.precision` for a range that is none,
    /// or a bound beyond what fits.
    pub fn new(ranges: &[(f64, f64)], hidden: &[usize], bound: f64) -> Result<Self, Fault> {
        let widths: Vec<usize> = [ranges.len()].into_iter().chain(hidden.iter().copied()).chain([1]).collect();
        let weights: usize = widths.windows(2).map(|w| w.iter().fold(1, |n: usize, w| n.saturating_mul(*w))).sum();
        let wide = widths.iter().any(|w| *w == 0 || *w > LAYER_WIDTH_MAX);
        if hidden.is_empty() || hidden.len() >= LAYERS_MAX || wide || weights > NETWORK_WEIGHTS_MAX {
            let what = format!("{} hidden layers of {hidden:?} outputs, {weights} weights", hidden.len());
            return Err(Fault::new(Code::ModelTooLarge, what));
        }
        if !(bound.is_finite() && bound > 0.0) {
            return refuse(format!("a bound of {bound}"));
        }
        let scales =
            ranges.iter().map(|(least, most)| Scale::of_range(*least, *most)).collect::<Result<Vec<_>, _>>()?;
        let bits = BITS.rev().find(|bits| 2 * bits + Self::bits_above(bound) <= WIDTH_MAX);
        let Some(bits) = bits else { return refuse(format!("values up to {bound:e} do not fit")) };
        Ok(Self { bits, bound, widths, scales, ranges: ranges.to_vec() })
    }

    /// Inputs, and outputs of each layer; one at the end.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Bits before the point of numbers up to the bound, with the sign.
    fn bits_above(bound: f64) -> u32 {
        // why: a finite logarithm is within 1100, and what is too many bits is refused.
        (bound.log2().floor() + 2.0).max(1.0) as u32
    }

    /// Bits of an input with its sign.
    pub fn input_width(&self) -> u32 {
        self.bits + 2
    }

    /// Bits of a weight with its sign.
    pub fn weight_width(&self) -> u32 {
        self.bits + Self::bits_above(self.bound)
    }

    /// Bits of what comes before an activation, with its sign.
    pub fn sum_width(&self) -> u32 {
        2 * self.bits + Self::bits_above(self.bound)
    }

    /// A feature's value as an input, clipped to its range; `None` where there is none, or no such feature.
    pub fn input(&self, feature: usize, value: f64) -> Option<i32> {
        let ((least, most), scale) = (self.ranges.get(feature)?, self.scales.get(feature)?);
        if value.is_nan() {
            return None;
        }
        let scaled = (value.clamp(*least, *most) - scale.centre) / scale.factor();
        // why: of magnitude at most one, and with at most 24 bits.
        Some((scaled.clamp(-1.0, 1.0) * exp2(self.bits)).round_ties_even() as i32)
    }

    /// The layers of a model, its features in the order of these names, filled up with zeroes to the widths. The margin
    /// is multiplied by `units`, and by the slope of a logistic link.
    ///
    /// # Errors
    /// `model.unsupported` for another kind than a network, other hidden activations than ReLU, or another number of
    /// layers; `model.features` when the model names other features; `model.too_large` for a wider layer;
    /// `model.precision` when it reaches beyond the bound or cannot keep the error.
    pub fn weights(&self, model: &Model, names: &[&str], units: f64, error: f64) -> Result<Vec<HiddenLayer>, Fault> {
        let unsupported = |what: &str| Err(Fault::new(Code::ModelUnsupported, what));
        let Kind::Network(network) = model.kind() else { return unsupported("another kind than a network") };
        if network.layers.len() + 1 != self.widths.len() {
            return unsupported("another number of layers than the job names");
        }
        let hidden = network.layers.iter().take(network.layers.len().saturating_sub(1));
        if hidden.into_iter().any(|l| l.activation != Activation::Relu) {
            return unsupported("a hidden activation other than ReLU on shares");
        }
        let mut layers = scaled_layers(&in_order(network, model, names)?, &self.scales);
        if let Some(last) = layers.last_mut() {
            let factor = units * slope(model);
            last.weights.iter_mut().chain(&mut last.bias).for_each(|w| *w *= factor);
        }
        let reach = Reach::of(&layers, names.len(), self.bits)?;
        if reach.greatest.is_nan() || reach.greatest > self.bound {
            return refuse(format!(
                "the network reaches {:e}, beyond the job's bound of {:e}",
                reach.greatest, self.bound
            ));
        }
        if reach.error > error {
            return refuse(format!("the network keeps an error of {:e}, the job wants {error:e}", reach.error));
        }
        let pairs = layers.iter().zip(self.widths.windows(2)).enumerate();
        pairs.map(|(i, (layer, widths))| self.filled(i, layer, widths)).collect()
    }

    /// A layer in fixed point, filled up with zeroes.
    fn filled(&self, place: usize, layer: &Layer, widths: &[usize]) -> Result<HiddenLayer, Fault> {
        let &[inputs, outputs] = widths else { return refuse("a layer without widths".into()) };
        if layer.inputs() > inputs || layer.outputs() > outputs {
            let what = format!("layer {place}: {} outputs, the job's most is {outputs}", layer.outputs());
            return Err(Fault::new(Code::ModelTooLarge, what));
        }
        let (mut weights, mut bias) = (vec![0; inputs * outputs], vec![0; outputs]);
        for (to, from) in weights.chunks_exact_mut(outputs).zip(layer.weights.chunks_exact(layer.outputs().max(1))) {
            to.iter_mut().zip(from).for_each(|(to, w)| *to = encode(*w, self.bits));
        }
        bias.iter_mut().zip(&layer.bias).for_each(|(to, b)| *to = encode(*b, 2 * self.bits));
        Ok(HiddenLayer { weights, bias })
    }
}

/// The same network for features in another order.
fn in_order(network: &Network, model: &Model, names: &[&str]) -> Result<Network, Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ModelFeatures, what));
    if names.len() != model.features().len() {
        return wrong(format!("{} features, {} in the job", model.features().len(), names.len()));
    }
    let mut ordered = network.clone();
    let Some(first) = ordered.layers.first_mut() else { return Ok(ordered) };
    let outputs = first.outputs().max(1);
    let rows: Vec<Vec<f64>> = first.weights.chunks_exact(outputs).map(<[f64]>::to_vec).collect();
    for (to, name) in first.weights.chunks_exact_mut(outputs).zip(names) {
        let place = model.features().iter().position(|f| f.name == *name);
        match place.and_then(|place| rows.get(place)) {
            Some(row) => to.copy_from_slice(row),
            None => return wrong(format!("the model has no feature {name:?}")),
        }
    }
    Ok(ordered)
}
