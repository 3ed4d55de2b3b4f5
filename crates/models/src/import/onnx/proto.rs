//! The part of the protobuf wire format that ONNX files use, and the messages of them that are read
//! (`onnx.proto`, IR versions 3 to 13). Borrowed, bounded, without groups.

use tacit_types::{Code, Fault};

use crate::limits::{JSON_STRING_BYTES_MAX, ONNX_OPERATORS_MAX, ONNX_RANK_MAX, ONNX_TENSORS_MAX, ONNX_VALUES_MAX};

type Read<T> = Result<T, Fault>;

fn malformed(what: &str) -> Fault {
    Fault::new(Code::ModelMalformed, what)
}

fn too_many(what: &str, max: usize) -> Fault {
    Fault::new(Code::ModelTooLarge, format!("more than {max} {what}"))
}

/// One field's value.
#[derive(Clone, Copy)]
enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or_else(|| malformed("the file ends within a number"))?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than 64 bits"))
    }

    fn take(&mut self, count: u64) -> Read<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|n| *n <= self.bytes.len());
        let count = count.ok_or_else(|| malformed("a part is longer than what holds it"))?;
        let (part, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(part)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (part, rest) = self.bytes.split_first_chunk().ok_or_else(|| malformed("the file ends within a number"))?;
        self.bytes = rest;
        Ok(*part)
    }

    /// The next field: its number and value.
    fn next(&mut self) -> Read<Option<(u64, Field<'a>)>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed()?),
            2 => {
                let count = self.varint()?;
                Field::Bytes(self.take(count)?)
            }
            5 => Field::Fixed32(self.fixed()?),
            _ => return Err(malformed("a field of an unknown wire type: not ONNX")),
        };
        Ok(Some((key >> 3, value)))
    }
}

/// Reads a message: `each` takes its fields and leaves out those that it does not know.
fn message<'a>(bytes: &'a [u8], mut each: impl FnMut(u64, Field<'a>) -> Read<()>) -> Read<()> {
    let mut fields = Fields { bytes };
    while let Some((number, field)) = fields.next()? {
        each(number, field)?;
    }
    Ok(())
}

impl<'a> Field<'a> {
    fn bytes(self) -> Read<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(malformed("a number where a part is expected")),
        }
    }

    fn text(self) -> Read<&'a str> {
        let text = core::str::from_utf8(self.bytes()?).map_err(|_| malformed("a name that is not UTF-8"))?;
        if text.len() > JSON_STRING_BYTES_MAX {
            Err(too_many("bytes in a name", JSON_STRING_BYTES_MAX))
        } else {
            Ok(text)
        }
    }

    fn int(self) -> Read<i64> {
        match self {
            Field::Varint(v) => Ok(v.cast_signed()),
            _ => Err(malformed("a part where a whole number is expected")),
        }
    }

    /// One whole number, or packed ones.
    fn ints(self, list: &mut Vec<i64>) -> Read<()> {
        match self {
            Field::Varint(v) => list.push(v.cast_signed()),
            Field::Bytes(bytes) => {
                let mut packed = Fields { bytes };
                while !packed.bytes.is_empty() {
                    bounded(list.len())?;
                    list.push(packed.varint()?.cast_signed());
                }
            }
            _ => return Err(malformed("a list of whole numbers")),
        }
        bounded(list.len())
    }

    /// One single, or packed ones.
    fn singles(self, list: &mut Vec<f32>) -> Read<()> {
        match self {
            Field::Fixed32(bytes) => list.push(f32::from_le_bytes(bytes)),
            Field::Bytes(bytes) => list.extend(chunks::<4>(bytes)?.iter().map(|c| f32::from_le_bytes(*c))),
            _ => return Err(malformed("a list of singles")),
        }
        bounded(list.len())
    }

    /// One double, or packed ones.
    fn doubles(self, list: &mut Vec<f64>) -> Read<()> {
        match self {
            Field::Fixed64(bytes) => list.push(f64::from_le_bytes(bytes)),
            Field::Bytes(bytes) => list.extend(chunks::<8>(bytes)?.iter().map(|c| f64::from_le_bytes(*c))),
            _ => return Err(malformed("a list of doubles")),
        }
        bounded(list.len())
    }
}

fn bounded(count: usize) -> Read<()> {
    if count > ONNX_VALUES_MAX { Err(too_many("values in a list", ONNX_VALUES_MAX)) } else { Ok(()) }
}

fn chunks<const N: usize>(bytes: &[u8]) -> Read<&[[u8; N]]> {
    match bytes.as_chunks::<N>() {
        (chunks, []) if chunks.len() <= ONNX_VALUES_MAX => Ok(chunks),
        (_, []) => Err(too_many("values in a list", ONNX_VALUES_MAX)),
        _ => Err(malformed("a list that ends within a number")),
    }
}

/// `GraphProto`.
#[derive(Default)]
pub struct Graph<'a> {
    /// Operators, each after those whose outputs it takes.
    pub nodes: Vec<Node<'a>>,
    /// Constants.
    pub constants: Vec<(&'a str, Tensor)>,
    /// Inputs.
    pub inputs: Vec<Input<'a>>,
    /// Names of the outputs.
    pub outputs: Vec<&'a str>,
}

/// `NodeProto`.
#[derive(Default)]
pub struct Node<'a> {
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub operator: &'a str,
    attributes: Vec<&'a [u8]>,
}

/// `ValueInfoProto` of a tensor.
#[derive(Default)]
pub struct Input<'a> {
    pub name: &'a str,
    /// 1 single, 11 double.
    pub element: i64,
    /// `None` where it is not fixed.
    pub shape: Vec<Option<i64>>,
}

/// `TensorProto` of numbers. The shape and the number of values agree.
#[derive(Default)]
pub struct Tensor {
    /// 1 single, 2 byte, 6 and 7 whole numbers, 11 double.
    pub kind: i64,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// `AttributeProto`.
#[derive(Default)]
pub struct Attribute<'a> {
    pub float: Option<f32>,
    pub int: Option<i64>,
    pub text: Option<&'a [u8]>,
    pub floats: Vec<f32>,
    pub ints: Vec<i64>,
    pub texts: Vec<&'a [u8]>,
    pub tensor: Option<&'a [u8]>,
}

/// Reads `ModelProto`.
pub fn model(bytes: &[u8]) -> Read<Graph<'_>> {
    let mut graph = None;
    message(bytes, |number, field| {
        if number == 7 {
            graph = Some(field.bytes()?);
        }
        Ok(())
    })?;
    let graph = graph.ok_or_else(|| malformed("there is no graph: not an ONNX model"))?;
    let (mut it, mut values) = (Graph::default(), 0);
    message(graph, |number, field| {
        match number {
            1 if it.nodes.len() == ONNX_OPERATORS_MAX => return Err(too_many("operators", ONNX_OPERATORS_MAX)),
            1 => it.nodes.push(Node::read(field.bytes()?)?),
            5 if it.constants.len() == ONNX_TENSORS_MAX => return Err(too_many("constants", ONNX_TENSORS_MAX)),
            5 => {
                let constant = Tensor::read(field.bytes()?)?;
                values += constant.1.values.len();
                bounded(values)?;
                it.constants.push(constant);
            }
            11 if it.inputs.len() == crate::limits::FEATURES_MAX => return Err(too_many("inputs", it.inputs.len())),
            11 => it.inputs.push(Input::read(field.bytes()?)?),
            12 if it.outputs.len() == ONNX_OPERATORS_MAX => return Err(too_many("outputs", ONNX_OPERATORS_MAX)),
            12 => it.outputs.push(Input::read(field.bytes()?)?.name),
            15 => return Err(Fault::new(Code::ModelUnsupported, "sparse constants")),
            _ => {}
        }
        Ok(())
    })?;
    Ok(it)
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Read<Self> {
        let mut it = Self::default();
        message(bytes, |number, field| {
            if it.inputs.len() + it.outputs.len() + it.attributes.len() > ONNX_TENSORS_MAX {
                return Err(too_many("inputs, outputs and attributes of an operator", ONNX_TENSORS_MAX));
            }
            match number {
                1 => it.inputs.push(field.text()?),
                2 => it.outputs.push(field.text()?),
                4 => it.operator = field.text()?,
                5 => it.attributes.push(field.bytes()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(it)
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Read<Option<Attribute<'a>>> {
        for bytes in &self.attributes {
            let mut found = false;
            message(bytes, |number, field| {
                found |= number == 1 && field.text()? == name;
                Ok(())
            })?;
            if found {
                return Attribute::read(bytes).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Attribute<'a> {
    fn read(bytes: &'a [u8]) -> Read<Self> {
        let mut it = Self::default();
        message(bytes, |number, field| {
            match number {
                2 => {
                    if let Field::Fixed32(bytes) = field {
                        it.float = Some(f32::from_le_bytes(bytes));
                    }
                }
                3 => it.int = Some(field.int()?),
                4 => it.text = Some(field.bytes()?),
                5 => it.tensor = Some(field.bytes()?),
                7 => field.singles(&mut it.floats)?,
                8 => field.ints(&mut it.ints)?,
                9 => {
                    it.texts.push(field.bytes()?);
                    bounded(it.texts.len())?;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(it)
    }
}

impl<'a> Input<'a> {
    fn read(bytes: &'a [u8]) -> Read<Self> {
        let mut it = Self::default();
        let mut kind: &[u8] = &[];
        message(bytes, |number, field| {
            match number {
                1 => it.name = field.text()?,
                2 => kind = field.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        let mut tensor: &[u8] = &[];
        message(kind, |number, field| {
            if number == 1 {
                tensor = field.bytes()?;
            }
            Ok(())
        })?;
        let mut shape: &[u8] = &[];
        message(tensor, |number, field| {
            match number {
                1 => it.element = field.int()?,
                2 => shape = field.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        message(shape, |number, field| {
            if number == 1 {
                if it.shape.len() == ONNX_RANK_MAX {
                    return Err(too_many("dimensions", ONNX_RANK_MAX));
                }
                let mut size = None;
                message(field.bytes()?, |number, field| {
                    if number == 1 {
                        size = Some(field.int()?);
                    }
                    Ok(())
                })?;
                it.shape.push(size);
            }
            Ok(())
        })?;
        Ok(it)
    }
}

impl Tensor {
    /// Reads a constant and its name.
    pub fn read(bytes: &[u8]) -> Read<(&str, Self)> {
        let (mut name, mut kind, mut raw, mut dims) = ("", 0, None, Vec::new());
        let (mut singles, mut doubles, mut ints) = (Vec::new(), Vec::new(), Vec::new());
        message(bytes, |number, field| {
            match number {
                1 => field.ints(&mut dims)?,
                2 => kind = field.int()?,
                4 => field.singles(&mut singles)?,
                5 | 7 => field.ints(&mut ints)?,
                8 => name = field.text()?,
                9 => raw = Some(field.bytes()?),
                10 => field.doubles(&mut doubles)?,
                13 => return Err(Fault::new(Code::ModelUnsupported, "constants in another file")),
                _ => {}
            }
            Ok(())
        })?;
        let values: Vec<f64> = match (kind, raw) {
            (1, Some(raw)) => chunks::<4>(raw)?.iter().map(|c| f64::from(f32::from_le_bytes(*c))).collect(),
            (11, Some(raw)) => chunks::<8>(raw)?.iter().map(|c| f64::from_le_bytes(*c)).collect(),
            // why: shapes and indices; no weight is a whole number beyond 2^53.
            (7, Some(raw)) => chunks::<8>(raw)?.iter().map(|c| i64::from_le_bytes(*c) as f64).collect(),
            (6, Some(raw)) => chunks::<4>(raw)?.iter().map(|c| f64::from(i32::from_le_bytes(*c))).collect(),
            (2, Some(raw)) if raw.len() <= ONNX_VALUES_MAX => raw.iter().map(|b| f64::from(*b)).collect(),
            (2, Some(_)) => return Err(too_many("values in a list", ONNX_VALUES_MAX)),
            (1, None) => singles.iter().map(|v| f64::from(*v)).collect(),
            (11, None) => doubles,
            (2 | 6 | 7, None) => ints.iter().map(|v| *v as f64).collect(),
            // Texts, truth values and halves: whatever needs them is refused when it is met.
            _ => return Ok((name, Self::default())),
        };
        if dims.len() > ONNX_RANK_MAX {
            return Err(too_many("dimensions", ONNX_RANK_MAX));
        }
        let shape: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
        let size = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |size, d| size.checked_mul(*d)));
        match shape {
            Some(shape) if size == Some(values.len()) => Ok((name, Self { kind, shape, values })),
            _ => {
                let what = format!("constant {name:?}: {} values for the shape {dims:?}", values.len());
                Err(Fault::new(Code::ModelStructure, what))
            }
        }
    }
}
