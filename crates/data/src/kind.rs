//! The three kinds of a column, and how every type of a source becomes one of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use tacit_types::{Code, Fault};

pub(crate) use crate::plain::check_header;
pub use crate::plain::{ColumnDef, Kind};

impl Kind {
    /// The kind that values of an Arrow type become; `None` for lists, structures and the like.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        match data_type {
            Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(Kind::Int),
            Float16 | Float32 | Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
                Some(Kind::Float)
            }
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => Some(Kind::Text),
            Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) => Some(Kind::Text),
            Dictionary(_, value) => Kind::of(value),
            _ => None,
        }
    }

    /// The one Arrow type that stands for the kind inside this crate.
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
        }
    }
}

/// A column as a source has it now.
pub(crate) struct Found {
    pub(crate) name: String,
    /// `None` for a type that has no kind: such a column cannot be registered, and does no harm when it came later.
    pub(crate) kind: Option<Kind>,
    /// The source's own word for the type.
    pub(crate) native: String,
}

impl Found {
    /// Whether the column can still be read as that kind: as its own, or as text.
    pub(crate) fn serves(&self, registered: Kind) -> bool {
        self.kind.is_some_and(|kind| kind == registered || registered == Kind::Text)
    }
}

/// The columns as definitions, when each has a kind.
///
/// # Errors
/// `data.column_type`, naming the first that has none.
pub(crate) fn usable(found: &[Found], place: &str) -> Result<Vec<ColumnDef>, Fault> {
    let def = |column: &Found| match column.kind {
        Some(kind) => Ok(ColumnDef::new(&column.name, kind)),
        None => {
            let what = format!("{place}: column {:?} is of type {}", column.name, column.native);
            Err(Fault::new(Code::DataColumnType, what))
        }
    };
    found.iter().map(def).collect()
}

/// The schema of columns inside this crate: every column may hold NULL.
pub(crate) fn schema_of(columns: &[ColumnDef]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| Field::new(&c.name, c.kind.arrow(), true)).collect::<Vec<_>>()))
}

/// Casts an array to the type of a kind, exactly: a value that does not fit is an error, not a NULL.
pub(crate) fn cast_exactly(array: &ArrayRef, kind: Kind) -> Result<ArrayRef, ArrowError> {
    let target = kind.arrow();
    if array.data_type() == &target {
        return Ok(array.clone());
    }
    cast_with_options(array, &target, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Casts a column to its kind, refuses NaN and infinities, and turns negative zero into zero, which
/// Arrow's total order would otherwise tell apart.
///
/// # Errors
/// `data.value_type` and `data.value_not_finite`, naming the column and, counted from `first_row`, the row.
pub(crate) fn normalise(
    array: &ArrayRef,
    column: &ColumnDef,
    place: &str,
    first_row: Option<u64>,
) -> Result<ArrayRef, Fault> {
    let array = cast_exactly(array, column.kind).map_err(|_| {
        let what = format!("{place}: column {:?} has a value that does not fit {}", column.name, column.kind.word());
        Fault::new(Code::DataValueType, what)
    })?;
    if column.kind != Kind::Float {
        return Ok(array);
    }
    let floats: &Float64Array = array.as_primitive::<Float64Type>();
    let bad = (0..floats.len()).find(|&i| floats.is_valid(i) && !floats.value(i).is_finite());
    if let Some(i) = bad {
        let row = first_row.map(|first| format!("row {}, ", first + i as u64)).unwrap_or_default();
        let what = format!("{place}: {row}column {:?}", column.name);
        return Err(Fault::new(Code::DataValueNotFinite, what));
    }
    Ok(Arc::new(floats.unary::<_, Float64Type>(|v| v + 0.0)))
}

/// An array with NULL in place of NaN and infinities and zero in place of negative zero, if it is of floats, and how
/// many values became NULL. For what an owner's view computes: what a source holds is refused by [`normalise`].
pub(crate) fn finite(array: ArrayRef) -> (ArrayRef, u64) {
    let Some(floats) = array.as_primitive_opt::<Float64Type>() else { return (array, 0) };
    let clean: Float64Array = floats.iter().map(|v| v.filter(|v| v.is_finite()).map(|v| v + 0.0)).collect();
    let dropped = (clean.null_count() - floats.null_count()) as u64;
    (Arc::new(clean), dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Date32Array, Decimal128Array, Int32Array, StringArray, UInt64Array};

    #[test]
    fn every_type_becomes_its_kind() {
        let run = |array: ArrayRef, kind| normalise(&array, &ColumnDef::new("c", kind), "t", Some(1));
        let ints = run(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), Kind::Int).unwrap();
        assert_eq!(
            ints.as_primitive::<arrow::datatypes::Int64Type>().iter().collect::<Vec<_>>(),
            [Some(1), None, Some(0)]
        );
        let decimals = Decimal128Array::from(vec![12345]).with_precision_and_scale(10, 3).unwrap();
        let floats = run(Arc::new(decimals), Kind::Float).unwrap();
        assert_eq!(floats.as_primitive::<Float64Type>().value(0).to_bits(), 12.345f64.to_bits());
        let dates = run(Arc::new(Date32Array::from(vec![19_782])), Kind::Text).unwrap();
        assert_eq!(dates.as_string::<i32>().value(0), "2024-02-29");
        let dictionary: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> =
            ["x", "y", "x"].into_iter().collect();
        assert_eq!(run(Arc::new(dictionary), Kind::Text).unwrap().as_string::<i32>().value(2), "x");
        assert_eq!(run(Arc::new(Int32Array::from(vec![7])), Kind::Text).unwrap().as_string::<i32>().value(0), "7");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let run = |array: ArrayRef, kind| normalise(&array, &ColumnDef::new("c", kind), "t", Some(5)).unwrap_err();
        assert_eq!(run(Arc::new(UInt64Array::from(vec![u64::MAX])), Kind::Int).code, Code::DataValueType);
        assert_eq!(run(Arc::new(StringArray::from(vec!["x"])), Kind::Int).code, Code::DataValueType);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let fault = run(Arc::new(Float64Array::from(vec![0.0, bad])), Kind::Float);
            assert_eq!(fault.code, Code::DataValueNotFinite);
            assert!(fault.what.contains("row 6") && fault.what.contains("\"c\""), "{}", fault.what);
        }
    }

    #[test]
    fn negative_zero_is_zero_and_a_denormal_stays() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, f64::from_bits(1)]));
        let out = normalise(&array, &ColumnDef::new("c", Kind::Float), "t", None).unwrap();
        let out = out.as_primitive::<Float64Type>();
        assert_eq!([out.value(0).to_bits(), out.value(1).to_bits()], [0, 1]);
    }
}
