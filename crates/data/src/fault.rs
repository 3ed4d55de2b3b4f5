//! Errors of the layers below, each turned into one fault that holds no value of the data.

use std::error::Error;

use datafusion::error::DataFusionError;
use tacit_types::{Code, Fault};

/// Carries a fault through DataFusion.
pub(crate) fn carry(fault: Fault) -> DataFusionError {
    DataFusionError::External(Box::new(fault))
}

/// The fault that a DataFusion error carries, or one of the given code. An error of planning speaks of
/// names alone and is quoted; an error of execution may quote a value, so only its family is told.
pub(crate) fn from_datafusion(error: &DataFusionError, code: Code, place: &str) -> Fault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    // why: a chain of causes is as long as the plan is deep; the bound only guards against a cycle.
    for _ in 0..64 {
        let Some(current) = cause else { break };
        if let Some(fault) = current.downcast_ref::<Fault>() {
            return fault.clone();
        }
        cause = current.source();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            Fault::new(Code::DataTooLarge, format!("{place}: the query needs more memory than it is allowed"))
        }
        root @ (DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::SQL(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Diagnostic(..)) => Fault::new(code, format!("{place}: {}", one_line(&root.to_string()))),
        DataFusionError::ArrowError(inner, _) => Fault::new(code, format!("{place}: {}", arrow_family(inner))),
        _ => Fault::new(code, format!("{place}: execution failed")),
    }
}

/// What kind of trouble an Arrow error is, without its text.
fn arrow_family(error: &arrow::error::ArrowError) -> &'static str {
    use arrow::error::ArrowError::*;
    match error {
        CastError(_) | ParseError(_) => "a value cannot be cast to the type that the view asks for",
        DivideByZero => "division by zero",
        ArithmeticOverflow(_) => "a whole number overflows",
        MemoryError(_) | OffsetOverflowError(_) => "a batch is too large",
        _ => "a column could not be computed",
    }
}

/// The text on one line and of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_fault_comes_back_and_values_do_not() {
        let fault = Fault::new(Code::DataRowRagged, "row 3");
        let wrapped = DataFusionError::Context("outer".into(), Box::new(carry(fault.clone())));
        assert_eq!(from_datafusion(&wrapped, Code::DataQueryFailed, "t"), fault);
        let shared = DataFusionError::Shared(std::sync::Arc::new(carry(fault.clone())));
        assert_eq!(from_datafusion(&shared, Code::DataQueryFailed, "t"), fault);
        let cast = arrow::error::ArrowError::CastError("Cannot cast string 'SECRET'".into());
        let fault = from_datafusion(&DataFusionError::ArrowError(Box::new(cast), None), Code::DataQueryFailed, "t");
        assert_eq!(fault.code, Code::DataQueryFailed);
        assert!(!fault.what.contains("SECRET"));
    }
}
