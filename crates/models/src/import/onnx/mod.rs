//! ONNX files: linear models, tree ensembles and dense networks of one score.
//!
//! A graph is walked once, in the order of its operators, with what each value is as a function of the features. A
//! value that no such function stands for (a label, an index) is opaque; only an output that is needed must not be. The
//! score is the first output that is one number, or the probability of the second of two classes.

mod ensemble;
mod grow;
mod proto;

use std::collections::BTreeMap;
use std::rc::Rc;

use tacit_types::{Code, Fault};

use self::grow::{Column, Step, Steps};
use self::proto::{Graph, Node, Tensor};
use super::features::{self, Known};
use super::{Import, bounded};
use crate::additive::{Additive, Shape, Term};
use crate::limits::{LAYER_WIDTH_MAX, NETWORK_WEIGHTS_MAX};
use crate::model::{Kind, Link, Model};
use crate::network::{Activation, Layer, Network};
use crate::normed::{Norm, Normed, NormedColumn};

type Read<T> = Result<T, Fault>;

/// Reads a model.
///
/// # Errors
/// `model.unsupported` names the operator in the way; the codes of [`crate::model`] for the rest.
pub fn read(import: Import, bytes: &[u8]) -> Result<Model, Fault> {
    bounded(bytes)?;
    let graph = proto::model(bytes)?;
    let mut walk = Walk { width: 0, wires: BTreeMap::new(), weights: 0 };
    let known = walk.begin(&graph, import.features.len())?;
    for (i, node) in graph.nodes.iter().enumerate() {
        walk.step(node).map_err(|f| {
            let what = format!("operator {i}, {:?}: {}", node.operator.chars().take(60).collect::<String>(), f.what);
            Fault::new(f.code, what)
        })?;
    }
    let (kind, link) = walk.score(&graph)?;
    let features = features::resolve(known, &import)?;
    Model::new(import.meta, features, link, kind)
}

/// One column that a model takes: `(feature - offset) * scale`.
#[derive(Clone, Copy)]
struct Input {
    feature: u32,
    offset: f64,
    scale: f64,
    /// The same as the runtime does it.
    steps: Steps,
}

/// A layer that shares its weights with the other values that it is part of.
#[derive(Clone)]
struct Dense {
    weights: Rc<[f64]>,
    bias: Vec<f64>,
    activation: Activation,
}

/// A score as a function of the features.
#[derive(Clone)]
struct Head {
    kind: Rc<Kind>,
    link: Link,
}

/// What a value of the graph is.
#[derive(Clone)]
enum Wire {
    Inputs(Rc<[Input]>),
    Constant(Rc<Tensor>),
    Dense(Vec<Dense>),
    Head(Head),
    /// Features of which each row is divided by its norm.
    Normed(Norm, Rc<[Input]>),
    /// One less the score of that name.
    Complement(String),
    /// Both classes' scores; the head is that of the second. Whether each is from 0 to 1 and both sum to one.
    Pair(Head, bool),
    /// No function that can be held; the operator that made it.
    Opaque(String),
}

struct Walk {
    /// Number of features.
    width: usize,
    wires: BTreeMap<String, Wire>,
    /// Weights of all layers that were made.
    weights: usize,
}

fn unsupported<T>(what: impl Into<String>) -> Read<T> {
    Err(Fault::new(Code::ModelUnsupported, what))
}

fn structure<T>(what: impl Into<String>) -> Read<T> {
    Err(Fault::new(Code::ModelStructure, what))
}

impl Walk {
    /// Sets the inputs and constants; gives what the file says of the features.
    fn begin(&mut self, graph: &Graph<'_>, declared: usize) -> Read<Vec<Known>> {
        let constants: Vec<&str> = graph.constants.iter().map(|(name, _)| *name).collect();
        let inputs: Vec<_> = graph.inputs.iter().filter(|i| !constants.contains(&i.name)).collect();
        let mut known = Vec::new();
        for input in &inputs {
            if !matches!(input.element, 1 | 11) {
                return unsupported(format!("input {:?} is not of floating point numbers", input.name));
            }
            let columns = match input.shape.as_slice() {
                [_, Some(columns)] => u64::try_from(*columns).unwrap_or(u64::MAX),
                [_, None] | [] if inputs.len() == 1 && declared > 0 => declared as u64,
                [_, None] | [] => {
                    let what =
                        format!("input {:?} does not say its number of columns: declare the features", input.name);
                    return Err(Fault::new(Code::ModelFeatures, what));
                }
                _ => return unsupported(format!("input {:?} is not a table of rows and columns", input.name)),
            };
            let columns = features::count(columns.saturating_add(known.len() as u64))? - known.len();
            let first = known.len();
            for i in 0..columns {
                let name = (columns == 1 && inputs.len() > 1).then(|| input.name.to_owned());
                known.push(Known {
                    name: name.or((inputs.len() > 1).then(|| format!("{}_{i}", input.name))),
                    ..Known::default()
                });
            }
            // why: the number of features is bounded.
            let steps = Steps::new(input.element == 11);
            let inputs = (first..first + columns).map(|f| Input { feature: f as u32, offset: 0.0, scale: 1.0, steps });
            self.define(input.name, Wire::Inputs(inputs.collect()))?;
        }
        self.width = known.len();
        for (name, tensor) in &graph.constants {
            let tensor = Tensor { kind: tensor.kind, shape: tensor.shape.clone(), values: tensor.values.clone() };
            self.define(name, Wire::Constant(Rc::new(tensor)))?;
        }
        Ok(known)
    }

    /// A name is given once.
    fn define(&mut self, name: &str, wire: Wire) -> Read<()> {
        match self.wires.insert(name.to_owned(), wire) {
            None => Ok(()),
            Some(_) => structure(format!("{name:?} is made twice")),
        }
    }

    fn input(&self, node: &Node<'_>, place: usize) -> Read<&Wire> {
        let name = node.inputs.get(place).copied().unwrap_or_default();
        match self.wires.get(name) {
            Some(wire) => Ok(wire),
            None => structure(format!("takes {name:?}, which nothing before it makes")),
        }
    }

    fn step(&mut self, node: &Node<'_>) -> Read<()> {
        // Whatever comes of a value that cannot be held cannot be held either.
        for name in &node.inputs {
            if let Some(Wire::Opaque(why)) = self.wires.get(*name) {
                let why = why.clone();
                return node.outputs.iter().try_for_each(|o| self.define(o, Wire::Opaque(why.clone())));
            }
        }
        match node.operator {
            "TreeEnsembleClassifier" | "LinearClassifier" => {
                let (head, whole) = self.classical(node)?;
                let [label, scores] = node.outputs.as_slice() else { return structure("has two outputs") };
                self.define(label, Wire::Opaque(format!("{} (label)", node.operator)))?;
                self.define(scores, Wire::Pair(head, whole))
            }
            _ => {
                let wire = self.value(node)?;
                let [output] = node.outputs.as_slice() else {
                    return node
                        .outputs
                        .iter()
                        .try_for_each(|o| self.define(o, Wire::Opaque(node.operator.to_owned())));
                };
                self.define(output, wire)
            }
        }
    }

    /// The value of an operator of one output.
    fn value(&mut self, node: &Node<'_>) -> Read<Wire> {
        let opaque = || Ok(Wire::Opaque(node.operator.to_owned()));
        match node.operator {
            "Identity" | "ZipMap" => self.input(node, 0).cloned(),
            "Cast" => match (self.input(node, 0)?, node.attribute("to")?.and_then(|a| a.int)) {
                (Wire::Inputs(inputs), Some(kind @ (1 | 11))) => {
                    Ok(Wire::Inputs(inputs.iter().map(|i| Input { steps: i.steps.cast(kind == 11), ..*i }).collect()))
                }
                (wire, Some(1 | 11)) => Ok(wire.clone()),
                _ => opaque(),
            },
            "Flatten" | "Reshape" | "Squeeze" => match self.input(node, 0)? {
                Wire::Inputs(inputs) if node.operator == "Flatten" => Ok(Wire::Inputs(inputs.clone())),
                Wire::Dense(layers) if layers.last().is_some_and(|l| l.bias.len() == 1) => {
                    Ok(Wire::Dense(layers.clone()))
                }
                Wire::Head(head) => Ok(Wire::Head(head.clone())),
                _ => opaque(),
            },
            "Scaler" => self.scaler(node),
            "Normalizer" => {
                let norm = node.attribute("norm")?.and_then(|a| a.text).unwrap_or(b"MAX").to_vec();
                match self.input(node, 0)? {
                    Wire::Inputs(inputs) => Ok(Wire::Normed(ensemble::norm(&norm)?, inputs.clone())),
                    // Two probabilities sum to one already.
                    Wire::Pair(head, true) if norm == b"L1" => Ok(Wire::Pair(head.clone(), true)),
                    Wire::Pair(..) if norm == b"L1" => unsupported("norms two scores that may not sum to one"),
                    _ => opaque(),
                }
            }
            "Concat" => self.concat(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.product(node, false, 1.0),
            "Add" => self.add(node),
            "Sub" => self.sub(node),
            "Mul" | "Div" => self.scale(node),
            "Relu" => self.activate(node, Activation::Relu),
            "Sigmoid" => self.activate(node, Activation::Logistic),
            "Tanh" => self.activate(node, Activation::Tanh),
            "Softmax" => self.softmax(node),
            "TreeEnsemble" | "TreeEnsembleRegressor" | "LinearRegressor" => {
                self.classical(node).map(|(head, _)| Wire::Head(head))
            }
            _ => opaque(),
        }
    }

    /// `ai.onnx.ml` linear models and trees, and of a classifier whether its two scores are probabilities.
    fn classical(&self, node: &Node<'_>) -> Read<(Head, bool)> {
        let (inputs, norm) = match self.input(node, 0)? {
            Wire::Inputs(inputs) => (inputs, None),
            Wire::Normed(norm, inputs) => (inputs, Some(*norm)),
            _ => return unsupported("takes something else than features"),
        };
        if node.operator.starts_with("Linear") {
            let (weights, mut intercept, link) = ensemble::linear(node)?;
            if weights.len() != inputs.len() {
                return structure(format!("{} coefficients for {} columns", weights.len(), inputs.len()));
            }
            if let Some(norm) = norm {
                let columns = weights.iter().zip(inputs.iter());
                let columns = columns.map(|(weight, input)| NormedColumn {
                    feature: input.feature,
                    offset: input.offset,
                    scale: input.scale,
                    weight: *weight,
                });
                let kind = Kind::Normed(Normed { norm, intercept, columns: columns.collect() });
                return Ok((Head { kind: Rc::new(kind), link }, true));
            }
            let mut terms = Vec::with_capacity(weights.len());
            for (weight, input) in weights.iter().zip(inputs.iter()) {
                let weight = weight * input.scale;
                intercept -= weight * input.offset;
                terms.push(Term { feature: input.feature, shape: Shape::Linear { weight, missing: None } });
            }
            // Two classes are read where the logistic function or the softmax makes their scores.
            return Ok((Head { kind: Rc::new(Kind::Additive(Additive { intercept, terms })), link }, true));
        }
        if norm.is_some() {
            return unsupported("trees on features under a norm, which no threshold is exact for");
        }
        let columns: Vec<Column> = inputs.iter().map(|i| Column { feature: i.feature, steps: i.steps }).collect();
        let ((trees, link), whole) = match node.operator {
            "TreeEnsemble" => (ensemble::ensemble(node, &columns)?, false),
            "TreeEnsembleRegressor" => (ensemble::regressor(node, &columns)?, false),
            _ => ensemble::classifier(node, &columns)?,
        };
        Ok((Head { kind: Rc::new(Kind::Trees(trees)), link }, whole))
    }

    fn scaler(&self, node: &Node<'_>) -> Read<Wire> {
        let Wire::Inputs(inputs) = self.input(node, 0)? else {
            return unsupported("takes something else than features");
        };
        let list = |name: &str, default: f32| -> Read<Vec<f32>> {
            let list = node.attribute(name)?.map(|a| a.floats).unwrap_or_default();
            match list.as_slice() {
                [] => Ok(vec![default; inputs.len()]),
                [one] => Ok(vec![*one; inputs.len()]),
                _ if list.len() == inputs.len() => Ok(list),
                _ => structure(format!("{} of {name} for {} columns", list.len(), inputs.len())),
            }
        };
        let (offset, scale) = (list("offset", 0.0)?, list("scale", 1.0)?);
        let scaled = inputs.iter().zip(offset).zip(scale).map(|((i, o), s)| i.less(f64::from(o)).times(f64::from(s)));
        Ok(Wire::Inputs(scaled.collect()))
    }

    fn concat(&self, node: &Node<'_>) -> Read<Wire> {
        if let [first, second] = node.inputs.as_slice()
            && let Some(Wire::Complement(of)) = self.wires.get(*first)
            && of == second
        {
            let wire = self.input(node, 1)?;
            return Ok(self.head(wire)?.map_or_else(|| Wire::Opaque("Concat".into()), pair));
        }
        let mut all = Vec::new();
        for place in 0..node.inputs.len() {
            let Wire::Inputs(inputs) = self.input(node, place)? else { return Ok(Wire::Opaque("Concat".into())) };
            features::count((all.len() + inputs.len()) as u64)?;
            all.extend_from_slice(inputs);
        }
        Ok(Wire::Inputs(all.into()))
    }

    fn gemm(&mut self, node: &Node<'_>) -> Read<Wire> {
        let number =
            |name: &str| -> Read<f64> { Ok(node.attribute(name)?.and_then(|a| a.float).map_or(1.0, f64::from)) };
        let flag = |name: &str| -> Read<bool> { Ok(node.attribute(name)?.and_then(|a| a.int).unwrap_or(0) != 0) };
        if flag("transA")? {
            return unsupported("transA");
        }
        let (alpha, beta) = (number("alpha")?, number("beta")?);
        let Wire::Dense(mut layers) = self.product(node, flag("transB")?, alpha)? else {
            return Ok(Wire::Opaque("Gemm".into()));
        };
        if node.inputs.get(2).is_some_and(|n| !n.is_empty()) {
            let Wire::Constant(bias) = self.input(node, 2)? else { return unsupported("a bias that is not constant") };
            shift(&mut layers, bias, beta)?;
        }
        Ok(Wire::Dense(layers))
    }

    /// The first input times the constant second, times `alpha`.
    fn product(&mut self, node: &Node<'_>, transposed: bool, alpha: f64) -> Read<Wire> {
        let Wire::Constant(matrix) = self.input(node, 1)? else { return Ok(Wire::Opaque(node.operator.to_owned())) };
        let matrix = matrix.clone();
        let (mut layers, inputs) = match self.input(node, 0)? {
            Wire::Inputs(inputs) => (Vec::new(), Some(inputs.clone())),
            Wire::Dense(layers) => (layers.clone(), None),
            _ => return Ok(Wire::Opaque(node.operator.to_owned())),
        };
        let (rows, columns) = match (matrix.shape.as_slice(), transposed) {
            ([rows, columns], false) | ([columns, rows], true) => (*rows, *columns),
            ([rows], false) => (*rows, 1),
            _ => return structure(format!("a matrix of the shape {:?}", matrix.shape)),
        };
        let wanted = inputs.as_ref().map_or_else(|| layers.last().map_or(0, |l| l.bias.len()), |i| i.len());
        if rows != wanted || columns == 0 {
            return structure(format!("a matrix of {rows} by {columns} for {wanted} columns"));
        }
        if columns > LAYER_WIDTH_MAX {
            return Err(Fault::new(Code::ModelTooLarge, format!("{columns} outputs; at most {LAYER_WIDTH_MAX}")));
        }
        let height = if inputs.is_some() { self.width } else { rows };
        self.weights = self.weights.saturating_add(height.saturating_mul(columns));
        if self.weights > NETWORK_WEIGHTS_MAX {
            return Err(Fault::new(Code::ModelTooLarge, format!("more than {NETWORK_WEIGHTS_MAX} weights")));
        }
        let weight = |row: usize, column: usize| {
            let at = if transposed { column * rows + row } else { row * columns + column };
            alpha * matrix.values.get(at).copied().unwrap_or_default()
        };
        let (mut weights, mut bias) = (vec![0.0; height * columns], vec![0.0; columns]);
        for row in 0..rows {
            let input = inputs.as_ref().and_then(|i| i.get(row)).copied();
            // why: a row of the first layer belongs to the feature of its column.
            let (place, offset, scale) = input.map_or((row, 0.0, 1.0), |i| (i.feature as usize, i.offset, i.scale));
            let target = weights.get_mut(place * columns..(place + 1) * columns).unwrap_or_default();
            for (column, (slot, bias)) in target.iter_mut().zip(&mut bias).enumerate() {
                let scaled = weight(row, column) * scale;
                *slot += scaled;
                *bias -= scaled * offset;
            }
        }
        layers.push(Dense { weights: weights.into(), bias, activation: Activation::Identity });
        Ok(Wire::Dense(layers))
    }

    fn add(&self, node: &Node<'_>) -> Read<Wire> {
        match (self.input(node, 0)?, self.input(node, 1)?) {
            (Wire::Dense(layers), Wire::Constant(c)) | (Wire::Constant(c), Wire::Dense(layers)) => {
                let mut layers = layers.clone();
                shift(&mut layers, c, 1.0)?;
                Ok(Wire::Dense(layers))
            }
            (Wire::Inputs(inputs), Wire::Constant(c)) | (Wire::Constant(c), Wire::Inputs(inputs)) => {
                Ok(Wire::Inputs(each(inputs, c, |i, v| i.less(-v))?))
            }
            _ => Ok(Wire::Opaque("Add".into())),
        }
    }

    fn sub(&self, node: &Node<'_>) -> Read<Wire> {
        match (self.input(node, 0)?, self.input(node, 1)?) {
            (Wire::Constant(c), Wire::Dense(_) | Wire::Head(_)) if matches!(c.values.as_slice(), [v] if is_one(*v)) => {
                Ok(Wire::Complement(node.inputs.get(1).copied().unwrap_or_default().to_owned()))
            }
            (Wire::Dense(layers), Wire::Constant(c)) => {
                let mut layers = layers.clone();
                shift(&mut layers, c, -1.0)?;
                Ok(Wire::Dense(layers))
            }
            (Wire::Inputs(inputs), Wire::Constant(c)) => Ok(Wire::Inputs(each(inputs, c, |i, v| i.less(v))?)),
            _ => Ok(Wire::Opaque("Sub".into())),
        }
    }

    fn scale(&self, node: &Node<'_>) -> Read<Wire> {
        let divides = node.operator == "Div";
        match (self.input(node, 0)?, self.input(node, 1)?) {
            (Wire::Inputs(inputs), Wire::Constant(c)) => {
                Ok(Wire::Inputs(each(inputs, c, |i, v| if divides { i.over(v) } else { i.times(v) })?))
            }
            // As converters of LightGBM end a classifier without dictionaries.
            (wire @ (Wire::Head(_) | Wire::Pair(..)), Wire::Constant(c)) if matches!(c.values.as_slice(), [v] if is_one(*v)) => {
                Ok(wire.clone())
            }
            _ => Ok(Wire::Opaque(node.operator.to_owned())),
        }
    }

    fn activate(&self, node: &Node<'_>, activation: Activation) -> Read<Wire> {
        match self.input(node, 0)? {
            Wire::Dense(layers) => {
                let mut layers = layers.clone();
                match layers.last_mut() {
                    Some(last) if last.activation == Activation::Identity => last.activation = activation,
                    _ => return unsupported("an activation on an activation"),
                }
                Ok(Wire::Dense(layers))
            }
            Wire::Head(head) if activation == Activation::Logistic && head.link == Link::Identity => {
                Ok(Wire::Head(Head { kind: head.kind.clone(), link: Link::Logistic { slope: 1.0 } }))
            }
            _ => Ok(Wire::Opaque(node.operator.to_owned())),
        }
    }

    /// The second of two softmaxes is the logistic of the difference.
    fn softmax(&self, node: &Node<'_>) -> Read<Wire> {
        let Wire::Dense(layers) = self.input(node, 0)? else { return Ok(Wire::Opaque("Softmax".into())) };
        let mut layers = layers.clone();
        let Some(last) = layers.pop_if(|l| l.activation == Activation::Identity && l.bias.len() == 2) else {
            return unsupported("a softmax over other than two numbers");
        };
        let (pairs, _) = last.weights.as_chunks::<2>();
        let weights = pairs.iter().map(|[a, b]| b - a).collect();
        let bias = last.bias.windows(2).map(|w| w.iter().rev().copied().reduce(|b, a| b - a).unwrap_or(0.0)).collect();
        layers.push(Dense { weights, bias, activation: Activation::Logistic });
        Ok(self.head(&Wire::Dense(layers))?.map_or_else(|| Wire::Opaque("Softmax".into()), pair))
    }

    /// The score that a value is; `None` when it is none.
    fn head(&self, wire: &Wire) -> Read<Option<Head>> {
        match wire {
            Wire::Head(head) | Wire::Pair(head, _) => Ok(Some(head.clone())),
            Wire::Dense(layers) if layers.last().is_some_and(|l| l.bias.len() == 1) => {
                let mut layers: Vec<Layer> = layers
                    .iter()
                    .map(|l| Layer { weights: l.weights.to_vec(), bias: l.bias.clone(), activation: l.activation })
                    .collect();
                let link = match layers.last_mut().map(|l| core::mem::replace(&mut l.activation, Activation::Identity))
                {
                    Some(Activation::Logistic) => Link::Logistic { slope: 1.0 },
                    Some(Activation::Identity) => Link::Identity,
                    _ => return unsupported("a last activation other than the sigmoid"),
                };
                Ok(Some(Head { kind: Rc::new(Kind::Network(Network { layers })), link }))
            }
            _ => Ok(None),
        }
    }

    /// The first output that is a score.
    fn score(&self, graph: &Graph<'_>) -> Read<(Kind, Link)> {
        let mut why = "there is no output".to_owned();
        for name in &graph.outputs {
            let Some(wire) = self.wires.get(*name) else {
                return structure(format!("nothing makes the output {name:?}"));
            };
            if let Some(head) = self.head(wire)? {
                return Ok((Kind::clone(&head.kind), head.link));
            }
            why = match wire {
                Wire::Opaque(operator) => format!(
                    "output {name:?} comes from the operator {:?}",
                    operator.chars().take(60).collect::<String>()
                ),
                _ => format!("output {name:?} is not one number a row"),
            };
        }
        unsupported(why)
    }
}

/// A score and one less it.
fn pair(head: Head) -> Wire {
    let whole = matches!(head.link, Link::Logistic { .. });
    Wire::Pair(head, whole)
}

/// Exactly one.
fn is_one(value: f64) -> bool {
    value.to_bits() == 1f64.to_bits()
}

impl Input {
    /// Less a number.
    fn less(self, by: f64) -> Self {
        // (x - o) s - by, as one offset and scale of x.
        Self { offset: self.offset + by / self.scale, steps: self.steps.then(Step::Less, by), ..self }
    }

    fn times(self, by: f64) -> Self {
        Self { scale: self.scale * by, steps: self.steps.then(Step::Times, by), ..self }
    }

    fn over(self, by: f64) -> Self {
        Self { scale: self.scale * (1.0 / by), steps: self.steps.then(Step::Over, by), ..self }
    }
}

/// Applies a constant of one value, or of one a column, to each column.
fn each(inputs: &[Input], constant: &Tensor, change: impl Fn(&Input, f64) -> Input) -> Read<Rc<[Input]>> {
    let values = &constant.values;
    if values.len() != 1 && values.len() != inputs.len() {
        return structure(format!("a constant of {} values for {} columns", values.len(), inputs.len()));
    }
    Ok(inputs.iter().zip(values.iter().cycle()).map(|(i, v)| change(i, *v)).collect())
}

/// Adds a constant times `factor` to the last layer.
fn shift(layers: &mut [Dense], constant: &Tensor, factor: f64) -> Read<()> {
    let values = &constant.values;
    match layers.last_mut() {
        Some(last) if last.activation != Activation::Identity => unsupported("a sum after an activation"),
        Some(last) if values.len() == 1 || values.len() == last.bias.len() => {
            last.bias.iter_mut().zip(values.iter().cycle()).for_each(|(b, v)| *b += factor * v);
            Ok(())
        }
        last => {
            structure(format!("a bias of {} values for {} outputs", values.len(), last.map_or(0, |l| l.bias.len())))
        }
    }
}
