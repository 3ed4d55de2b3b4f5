//! Dense networks with one output.

use tacit_types::{Code, Fault};

use crate::limits::{LAYER_WIDTH_MAX, LAYERS_MAX, NETWORK_WEIGHTS_MAX};
use crate::model::{Feature, finite};

/// Dense layers, one after the other; the last has one output and no activation.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// The layers. The first takes the features in their order.
    pub layers: Vec<Layer>,
}

/// `activation(x W + b)`.
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    /// Inputs by outputs, row by row: the weights of one input stand together.
    pub weights: Vec<f64>,
    /// One an output.
    pub bias: Vec<f64>,
    /// What each output goes through.
    pub activation: Activation,
}

/// What a layer's outputs go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Logistic,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// The function.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::Identity => x,
            Activation::Relu => x.max(0.0),
            Activation::Logistic => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        }
    }
}

impl Layer {
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.weights.len() / self.bias.len().max(1)
    }

    /// The outputs before the activation.
    fn linear(&self, inputs: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut out = self.bias.clone();
        for (x, row) in inputs.zip(self.weights.chunks_exact(self.outputs().max(1))) {
            for (sum, w) in out.iter_mut().zip(row) {
                *sum += x * w;
            }
        }
        out
    }
}

impl Network {
    /// The margin of a row, in double precision; `value` gives the value of a feature.
    ///
    /// # Errors
    /// The place of a feature that has no value.
    pub fn margin(&self, features: usize, value: impl Fn(u32) -> f64) -> Result<f64, u32> {
        // why: a model has at most FEATURES_MAX features.
        let count = features as u32;
        if let Some(missing) = (0..count).find(|f| value(*f).is_nan()) {
            return Err(missing);
        }
        let mut now: Vec<f64> = (0..count).map(&value).collect();
        for layer in &self.layers {
            let out = layer.linear(now.into_iter());
            now = out.into_iter().map(|x| layer.activation.apply(x)).collect();
        }
        Ok(now.first().copied().unwrap_or(0.0))
    }

    pub(crate) fn check(&self, features: &[Feature]) -> Result<(), Fault> {
        let too_large = |what: String| Err(Fault::new(Code::ModelTooLarge, what));
        let wrong = |what: String| Err(Fault::new(Code::ModelStructure, what));
        if self.layers.len() > LAYERS_MAX {
            return too_large(format!("{} layers; at most {LAYERS_MAX}", self.layers.len()));
        }
        if let Some(feature) = features.iter().find(|f| f.categories() > 0) {
            return wrong(format!("a network takes numbers, and {:?} has categories", feature.name));
        }
        let (mut inputs, mut total) = (features.len(), 0);
        for (i, layer) in self.layers.iter().enumerate() {
            let outputs = layer.outputs();
            if outputs == 0 || outputs > LAYER_WIDTH_MAX {
                return too_large(format!("layer {i}: {outputs} outputs; 1 to {LAYER_WIDTH_MAX} can be held"));
            }
            total += outputs + layer.weights.len();
            if total > NETWORK_WEIGHTS_MAX {
                return too_large(format!("layer {i}: more than {NETWORK_WEIGHTS_MAX} weights"));
            }
            if layer.weights.len() != inputs * outputs {
                let there = layer.weights.len();
                return wrong(format!("layer {i}: {there} weights for {inputs} inputs and {outputs} outputs"));
            }
            for number in layer.weights.iter().chain(&layer.bias) {
                finite(*number, || format!("layer {i}"))?;
            }
            inputs = outputs;
        }
        match self.layers.last() {
            Some(last) if last.outputs() == 1 && last.activation == Activation::Identity => Ok(()),
            _ => wrong("the last layer has one output and no activation: the link stands apart".into()),
        }
    }
}
