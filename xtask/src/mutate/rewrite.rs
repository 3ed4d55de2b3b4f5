//! Puts every mutant of a source file into it at once, each behind a number: `if crate::mutant(7) { a || b } else { a && b }`.
//! One build then holds them all, and the environment says which of them is on.

use proc_macro2::Span;
use quote::{ToTokens, quote};
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Block, Expr, File, ImplItemFn, ItemConst, ItemFn, ItemMod, ItemStatic, Lit, LitInt, Pat, Stmt, Type};
use syn::{ReturnType, UnOp, parse_quote, spanned::Spanned};

/// One change that a test should notice.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Where: `admission/steps.rs:88`.
    pub at: String,
    /// What it is known by, whatever line it is in: file, function, what became what, and which of several.
    pub key: String,
}

/// The source with its mutants, and what they are; the first has the number `first`.
///
/// # Errors
/// Source that does not parse.
pub fn rewrite(name: &str, source: &str, first: usize) -> syn::Result<(String, Vec<Mutant>)> {
    let mut file: File = syn::parse_file(source)?;
    let mut sites = Sites { file: name, function: String::new(), first, found: Vec::new() };
    sites.visit_file_mut(&mut file);
    Ok((file.into_token_stream().to_string(), sites.found))
}

/// Methods whose answer is yes or no.
const ANSWERS: [&str; 13] = [
    "contains",
    "any",
    "all",
    "is_empty",
    "is_some",
    "is_none",
    "is_some_and",
    "is_none_or",
    "signed_by",
    "within",
    "is_sound",
    "allows",
    "is_ok",
];
/// Methods that take a condition.
const CONDITIONS: [&str; 11] = [
    "filter",
    "any",
    "all",
    "find",
    "position",
    "is_some_and",
    "is_none_or",
    "take_while",
    "skip_while",
    "retain",
    "max_by_key",
];
/// Methods that have an opposite.
const OPPOSITES: [(&str, &str); 6] = [
    ("saturating_sub", "saturating_add"),
    ("saturating_add", "saturating_sub"),
    ("min", "max"),
    ("max", "min"),
    ("any", "all"),
    ("all", "any"),
];

struct Sites<'a> {
    file: &'a str,
    function: String,
    first: usize,
    found: Vec<Mutant>,
}

fn text(tokens: &impl ToTokens) -> String {
    let words = tokens.to_token_stream().to_string();
    let mut short: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = short.char_indices().nth(70) {
        short.truncate(cut);
    }
    short
}

impl Sites<'_> {
    /// Notes a mutant and gives the question whether it is on.
    fn note(&mut self, span: Span, what: String) -> Expr {
        let stem = format!("{} {}: {what}", self.file, self.function);
        let same = self.found.iter().filter(|m| m.key == stem || m.key.starts_with(&format!("{stem} #"))).count();
        let key = if same == 0 { stem } else { format!("{stem} #{}", same + 1) };
        let number = self.first + self.found.len();
        self.found.push(Mutant { at: format!("{}:{}", self.file, span.start().line), key });
        parse_quote!(crate::mutant(#number))
    }

    /// `other` in the place of an expression when its mutant is on.
    fn choose(&mut self, at: Span, expression: &mut Expr, other: &Expr, what: String) {
        let on = self.note(at, what);
        let own = expression.clone();
        *expression = parse_quote!((if #on { #other } else { #own }));
    }

    fn replace(&mut self, expression: &mut Expr, raw: &Expr, other: &Expr) {
        let (before, after) = (text(raw), text(other));
        if before != after {
            self.choose(raw.span(), expression, other, format!("`{before}` -> `{after}`"));
        }
    }

    /// A condition that always holds, and one that never does.
    fn condition(&mut self, expression: &mut Expr, raw: &Expr) {
        if !matches!(raw, Expr::Let(_) | Expr::Lit(_)) && !has_let(raw) {
            self.replace(expression, raw, &parse_quote!(true));
            self.replace(expression, raw, &parse_quote!(false));
        }
    }

    fn function(
        &mut self,
        name: String,
        output: &ReturnType,
        block: &mut Block,
        visit: impl FnOnce(&mut Self, &mut Block),
    ) -> bool {
        let before = self.found.len();
        let outer = std::mem::replace(&mut self.function, name);
        visit(self, block);
        for value in constants(output) {
            let on = self.note(block.span(), format!("body -> `{}`", text(&value)));
            block.stmts.insert(0, parse_quote!(if #on { return #value; }));
        }
        self.function = outer;
        self.found.len() > before
    }
}

/// What a function of this type could always give.
fn constants(output: &ReturnType) -> Vec<Expr> {
    let ReturnType::Type(_, output) = output else { return Vec::new() };
    match text(output).as_str() {
        "bool" => vec![parse_quote!(true), parse_quote!(false)],
        "u64" | "usize" => vec![parse_quote!(0)],
        "Result < () , Fault >" => vec![parse_quote!(Ok(()))],
        "Result < u64 , Fault >" => vec![parse_quote!(Ok(0))],
        other if other.starts_with("Option <") => vec![parse_quote!(None)],
        other if other.starts_with("Result < Option <") => vec![parse_quote!(Ok(None))],
        other if other.starts_with("Vec <") => vec![parse_quote!(Vec::new())],
        _ => Vec::new(),
    }
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(b) => has_let(&b.left) || has_let(&b.right),
        Expr::Paren(p) => has_let(&p.expr),
        _ => false,
    }
}

/// What an operator is taken for.
fn others(op: &BinOp) -> Vec<BinOp> {
    match op {
        BinOp::And(_) => vec![parse_quote!(||)],
        BinOp::Or(_) => vec![parse_quote!(&&)],
        BinOp::Eq(_) => vec![parse_quote!(!=)],
        BinOp::Ne(_) => vec![parse_quote!(==)],
        BinOp::Lt(_) => vec![parse_quote!(<=), parse_quote!(>)],
        BinOp::Le(_) => vec![parse_quote!(<), parse_quote!(>)],
        BinOp::Gt(_) => vec![parse_quote!(>=), parse_quote!(<)],
        BinOp::Ge(_) => vec![parse_quote!(>), parse_quote!(<)],
        BinOp::Add(_) => vec![parse_quote!(-)],
        BinOp::Sub(_) => vec![parse_quote!(+)],
        BinOp::Mul(_) => vec![parse_quote!(/)],
        BinOp::Div(_) => vec![parse_quote!(*)],
        _ => Vec::new(),
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        let tokens = a.meta.to_token_stream().to_string();
        tokens == "test" || tokens.replace(' ', "") == "cfg(test)"
    })
}

impl VisitMut for Sites<'_> {
    fn visit_item_mod_mut(&mut self, item: &mut ItemMod) {
        if !is_test(&item.attrs) {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    // why: neither a pattern, a type nor a constant can ask at run time.
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_item_const_mut(&mut self, _: &mut ItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut ItemStatic) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}

    fn visit_item_fn_mut(&mut self, item: &mut ItemFn) {
        if is_test(&item.attrs) {
            return;
        }
        let (name, output) = (item.sig.ident.to_string(), item.sig.output.clone());
        if self.function(name, &output, &mut item.block, |s, block| s.visit_block_mut(block)) {
            item.sig.constness = None;
        }
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut ImplItemFn) {
        let (name, output) = (item.sig.ident.to_string(), item.sig.output.clone());
        if self.function(name, &output, &mut item.block, |s, block| s.visit_block_mut(block)) {
            item.sig.constness = None;
        }
    }

    /// A statement that may end the function is left out.
    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        let raw = statement.clone();
        visit_mut::visit_stmt_mut(self, statement);
        if let Stmt::Expr(Expr::Try(_), Some(_)) = raw {
            let on = self.note(raw.span(), format!("`{}` left out", text(&raw)));
            let own = statement.clone();
            *statement = parse_quote!(if !#on { #own });
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        let raw = arm.clone();
        visit_mut::visit_arm_mut(self, arm);
        if let (Some((_, guard)), Some((_, own))) = (&mut arm.guard, &raw.guard) {
            let mut inner = (**guard).clone();
            self.condition(&mut inner, own);
            **guard = inner;
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        let raw = expression.clone();
        if let Expr::Repeat(repeat) = expression {
            return self.visit_expr_mut(&mut repeat.expr);
        }
        visit_mut::visit_expr_mut(self, expression);
        match &raw {
            Expr::Binary(binary) if !has_let(&raw) => {
                for op in others(&binary.op) {
                    let mut other = binary.clone();
                    let what = format!("`{}`: `{}` -> `{}`", text(&raw), text(&binary.op), text(&op));
                    other.op = op;
                    self.choose(binary.op.span(), expression, &Expr::Binary(other), what);
                }
            }
            Expr::If(conditional) => {
                if let Expr::If(own) = expression {
                    let mut inner = (*own.cond).clone();
                    self.condition(&mut inner, &conditional.cond);
                    *own.cond = inner;
                }
            }
            Expr::Unary(unary)
                if matches!(unary.op, UnOp::Not(_)) && matches!(&*unary.expr, Expr::Path(_) | Expr::Field(_)) =>
            {
                self.replace(expression, &raw, &unary.expr);
            }
            Expr::Path(path) if path.path.segments.len() == 2 && path.path.segments[0].ident == "Code" => {
                self.replace(expression, &raw, &parse_quote!(Code::ArgsInvalid));
            }
            Expr::Lit(lit) => self.number(expression, &raw, &lit.lit),
            Expr::Macro(m) if m.mac.path.is_ident("matches") => {
                self.replace(expression, &raw, &parse_quote!(!#raw));
            }
            Expr::Match(whole) => self.arms(expression, whole),
            Expr::MethodCall(call) => self.call(expression, &raw, call),
            _ => {}
        }
    }
}

impl Sites<'_> {
    fn number(&mut self, expression: &mut Expr, raw: &Expr, lit: &Lit) {
        let Lit::Int(int) = lit else { return };
        let Ok(value) = int.base10_parse::<u128>() else { return };
        for other in [value.checked_add(1), value.checked_sub(1)].into_iter().flatten() {
            let other = LitInt::new(&format!("{other}{}", int.suffix()), int.span());
            self.replace(expression, raw, &parse_quote!(#other));
        }
    }

    /// Where one arm takes the rest, each of the others can be left out.
    fn arms(&mut self, expression: &mut Expr, raw: &syn::ExprMatch) {
        let Expr::Match(own) = expression else { return };
        let rest = |pat: &Pat| {
            matches!(pat, Pat::Wild(_)) || matches!(pat, Pat::Ident(i) if i.subpat.is_none() && i.ident != "None")
        };
        if !raw.arms.last().is_some_and(|arm| arm.guard.is_none() && rest(&arm.pat)) {
            return;
        }
        let count = own.arms.len();
        for arm in own.arms.iter_mut().take(count.saturating_sub(1)) {
            let on = self.note(arm.pat.span(), format!("arm `{}` left out", text(&arm.pat)));
            arm.guard = Some(match arm.guard.take() {
                Some((token, guard)) => (token, Box::new(parse_quote!(!#on && (#guard)))),
                None => (syn::token::If::default(), Box::new(parse_quote!(!#on))),
            });
        }
    }

    fn call(&mut self, expression: &mut Expr, raw: &Expr, call: &syn::ExprMethodCall) {
        let name = call.method.to_string();
        if CONDITIONS.contains(&name.as_str())
            && let Expr::MethodCall(own) = expression
        {
            for (argument, before) in own.args.iter_mut().zip(&call.args) {
                if let (Expr::Closure(closure), Expr::Closure(before)) = (argument, before) {
                    let mut body = (*closure.body).clone();
                    self.condition(&mut body, &before.body);
                    *closure.body = body;
                }
            }
        }
        if ANSWERS.contains(&name.as_str()) {
            let what = format!("`{}` -> not", text(raw));
            self.choose(call.method.span(), expression, &parse_quote!(!(#raw)), what);
        }
        if let Some((_, opposite)) = OPPOSITES.iter().find(|(one, _)| *one == name) {
            let mut other = call.clone();
            other.method = syn::Ident::new(opposite, call.method.span());
            let what = format!("`{}`: {name} -> {opposite}", text(raw));
            self.choose(call.method.span(), expression, &Expr::MethodCall(other), what);
        }
    }
}

/// What a crate needs so that its mutants can ask.
pub fn switch() -> String {
    quote! {
        /// Whether the mutant of this number is on.
        #[doc(hidden)]
        pub fn mutant(number: usize) -> bool {
            static ON: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
            *ON.get_or_init(|| std::env::var("TACIT_MUTANT").ok().and_then(|n| n.parse().ok())) == Some(number)
        }
    }
    .to_string()
}
