//! ONNX graphs of strangers: caps, cycles, and trees that are taken apart.

mod common;

use common::{import, numeric_features};
use tacit_models::limits::*;
use tacit_models::{Format, Frame, Import};
use tacit_types::{Code, Fault};

fn told() -> Import {
    Import { features: numeric_features(), ..import("m") }
}

fn code<T>(result: Result<T, Fault>) -> Result<(), Code> {
    result.map(drop).map_err(|f| f.code)
}

/// A field of bytes in protobuf.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = bytes.len();
    while n >= 128 {
        out.push((n % 128) as u8 | 128);
        n /= 128;
    }
    out.push(n as u8);
    out.extend_from_slice(bytes);
    out
}

fn onnx(graph: &[u8]) -> Result<(), Code> {
    code(Format::Onnx.read(told(), &part(7, graph)))
}

#[test]
fn onnx_graphs_have_caps_and_are_no_cycles() {
    let node = part(1, &part(4, b"Identity"));
    let input = |element: u8, columns: u8| {
        let dims = [part(1, &[]), part(1, &[8, columns])].concat();
        part(11, &[part(1, b"x"), part(2, &part(1, &[vec![8, element], part(2, &dims)].concat()))].concat())
    };
    let step =
        |operator: &[u8], from: &[u8], to: &[u8]| part(1, &[part(1, from), part(2, to), part(4, operator)].concat());
    let output = |name: &[u8]| part(12, &part(1, name));
    assert_eq!(onnx(&node.repeat(ONNX_OPERATORS_MAX + 1)), Err(Code::ModelTooLarge));
    let constant = part(5, &part(8, b"c"));
    assert_eq!(onnx(&constant.repeat(ONNX_TENSORS_MAX + 1)), Err(Code::ModelTooLarge));
    // A shape bomb: 2^62 by 2^62 values; and a shape that is not that of its values.
    let huge = [8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let tensor = |dims: &[u8], values: &[u8]| part(5, &[dims, &[16, 1], &part(9, values)].concat());
    assert_eq!(onnx(&tensor(&[huge, huge].concat(), &[0; 8])), Err(Code::ModelStructure));
    assert_eq!(onnx(&tensor(&[8, 3], &[0; 8])), Err(Code::ModelStructure));
    assert_eq!(onnx(&tensor(&[8, 1].repeat(ONNX_RANK_MAX + 1), &[0; 4])), Err(Code::ModelTooLarge));
    assert_eq!(onnx(&tensor(&[8, 3], &[0; 7])), Err(Code::ModelMalformed));
    let many = vec![0u8; 4 * (ONNX_VALUES_MAX + 1)];
    assert_eq!(onnx(&tensor(&[8, 1], &many)), Err(Code::ModelTooLarge));
    // A cycle: the first operator takes what the second makes.
    let cycle = [input(1, 10), step(b"Relu", b"b", b"a"), step(b"Relu", b"a", b"b"), output(b"b")].concat();
    assert_eq!(onnx(&cycle), Err(Code::ModelStructure));
    let twice = [input(1, 10), step(b"Identity", b"x", b"a"), step(b"Identity", b"x", b"a"), output(b"a")].concat();
    assert_eq!(onnx(&twice), Err(Code::ModelStructure));
    let unknown = [input(1, 10), step(b"Conv", b"x", b"a"), output(b"a")].concat();
    assert_eq!(onnx(&unknown), Err(Code::ModelUnsupported));
    assert_eq!(onnx(&[input(8, 10), output(b"x")].concat()), Err(Code::ModelUnsupported), "an input of texts");
    assert_eq!(onnx(&[input(1, 9), output(b"x")].concat()), Err(Code::ModelUnsupported), "an output of nine numbers");
    assert_eq!(onnx(&output(b"nowhere")), Err(Code::ModelStructure));
    let fault = Format::Onnx.read(told(), &part(7, &unknown)).unwrap_err();
    assert!(fault.what.contains("Conv"), "{}", fault.what);
    for junk in [&b""[..], b"not a protobuf", &[0xff; 40], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert_eq!(code(Format::Onnx.read(told(), junk)), Err(Code::ModelMalformed));
    }
}

/// Equality is two comparisons, which a hostile file must not make endless or large, and what is done to a feature before
/// trees is known step by step.
#[test]
fn onnx_trees_are_taken_apart_within_caps() {
    // Nodes: feature, comparison, threshold, branches.
    let graph = |nodes: &[(u8, &str, f32, u16, u16)], doublings: usize, element: u8| {
        let named = |name: &str, rest: Vec<u8>| part(5, &[part(1, name.as_bytes()), rest].concat());
        let ints = |list: &mut dyn Iterator<Item = u16>| -> Vec<u8> {
            let wide = |v: u16| if v < 128 { vec![64, v as u8] } else { vec![64, v as u8 | 128, (v >> 7) as u8] };
            list.flat_map(wide).collect()
        };
        let floats = |list: &mut dyn Iterator<Item = f32>| -> Vec<u8> {
            list.flat_map(|v| [&[61][..], &v.to_le_bytes()].concat()).collect()
        };
        let leaves: Vec<u16> = (0..nodes.len() as u16).filter(|i| nodes[usize::from(*i)].1 == "LEAF").collect();
        let all = || 0..nodes.len() as u16;
        // What is done to the features before.
        let mut before = part(5, &[&[8, 1, 16, 1][..], &part(8, b"two"), &part(9, &2f32.to_le_bytes())].concat());
        let mut from = "x".to_owned();
        for i in 0..doublings {
            let to = format!("x{i}");
            let names = [part(1, from.as_bytes()), part(1, b"two"), part(2, to.as_bytes()), part(4, b"Mul")];
            before.extend(part(1, &names.concat()));
            from = to;
        }
        let operator = [
            part(1, from.as_bytes()),
            part(2, b"y"),
            part(4, b"TreeEnsembleRegressor"),
            named("nodes_treeids", ints(&mut all().map(|_| 0))),
            named("nodes_nodeids", ints(&mut all())),
            named("nodes_featureids", ints(&mut nodes.iter().map(|n| n.0.into()))),
            named("nodes_modes", nodes.iter().flat_map(|n| part(9, n.1.as_bytes())).collect()),
            named("nodes_values", floats(&mut nodes.iter().map(|n| n.2))),
            named("nodes_truenodeids", ints(&mut nodes.iter().map(|n| n.3))),
            named("nodes_falsenodeids", ints(&mut nodes.iter().map(|n| n.4))),
            named("target_treeids", ints(&mut leaves.iter().map(|_| 0))),
            named("target_nodeids", ints(&mut leaves.iter().copied())),
            named("target_ids", ints(&mut leaves.iter().map(|_| 0))),
            named("target_weights", floats(&mut leaves.iter().map(|i| f32::from(*i)))),
        ]
        .concat();
        let dims = [part(1, &[]), part(1, &[8, 10])].concat();
        let input = [part(1, b"x"), part(2, &part(1, &[vec![8, element], part(2, &dims)].concat()))].concat();
        let graph = [part(11, &input), before, part(1, &operator), part(12, &part(1, b"y"))].concat();
        Format::Onnx.read(told(), &part(7, &graph))
    };
    let read = |nodes: &[_]| graph(nodes, 0, 1);
    let (equal, other, leaf) = ("BRANCH_EQ", "BRANCH_NEQ", |weight| (0, "LEAF", weight, 0, 0));
    let model = read(&[(3, equal, 2.0, 1, 2), leaf(0.0), (3, other, -1.0, 3, 4), leaf(0.0), leaf(0.0)]).unwrap();
    let mut values = [0.0; 10];
    for (value, score) in [(2.0, 1.0), (-1.0, 4.0), (0.0, 3.0), (7.0, 3.0), (f64::NAN, 3.0), (f64::INFINITY, 3.0)] {
        values[3] = value;
        assert_eq!(model.scores(&Frame::row(model.features(), &values).unwrap()).unwrap(), [score], "{value}");
    }
    // A branch that leads back to its own split.
    assert_eq!(code(read(&[(0, equal, 0.0, 1, 2), leaf(0.0), (1, equal, 2.0, 1, 2)])), Err(Code::ModelTooLarge));
    // Every equality of another feature has its other branch twice: chains grow, and one that is too long is refused.
    let chain = |count: u16| {
        let split =
            |i: u16| ((i % 10) as u8, equal, f32::from(i), count + i, if i + 1 < count { i + 1 } else { 2 * count });
        let nodes: Vec<_> = (0..count).map(split).chain((0..=count).map(|_| leaf(0.0))).collect();
        code(read(&nodes))
    };
    assert_eq!((chain(8), chain(50)), (Ok(()), Err(Code::ModelTooLarge)));
    assert_eq!(code(read(&[(0, equal, f32::NAN, 1, 2), leaf(0.0), leaf(0.0)])), Err(Code::ModelNotFinite));
    assert_eq!(code(read(&[(10, equal, 0.0, 1, 2), leaf(0.0), leaf(0.0)])), Err(Code::ModelStructure));
    let scaled = |mode: &'static str, steps: usize, element: u8| {
        code(graph(&[(0, mode, 1.0, 1, 2), leaf(0.0), leaf(0.0)], steps, element))
    };
    let (order, refused) = ("BRANCH_LEQ", Err(Code::ModelUnsupported));
    assert_eq!((scaled(order, 4, 1), scaled(order, 5, 1)), (Ok(()), refused), "four operations on a feature, five");
    assert_eq!((scaled(order, 0, 11), scaled(equal, 0, 1), scaled(equal, 1, 1)), (refused, Ok(()), refused));
    assert_eq!(code(read(&[(0, "BRANCH_MEMBER", 0.0, 1, 2), leaf(0.0), leaf(0.0)])), Err(Code::ModelUnsupported));
}
