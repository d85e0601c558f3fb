//! Metric math of `CloudWatch`, as far as the alarms of the template use it: numbers, metrics,
//! arithmetic, comparisons, `AND`, `OR`, `IF`, `FILL` and `MAX` of a list.
//!
//! See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>.

/// Parsed expression.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Number(f64),
    Metric(String),
    Operation(Box<Self>, String, Box<Self>),
    Call(String, Vec<Self>),
}

/// Operators by precedence, lowest first.
const OPERATORS: [&[&str]; 5] =
    [&["OR"], &["AND"], &["<", ">", "<=", ">="], &["+", "-"], &["*", "/"]];

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// When a token is unexpected; the message names it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = tokens(text).into_iter().peekable();
        let parsed = binary(&mut tokens, 0)?;
        match tokens.next() {
            None => Ok(parsed),
            Some(token) => Err(format!("{text}: unexpected {token}")),
        }
    }

    /// Returns the value with these metrics; `None` where a value is missing.
    pub(super) fn value(
        &self,
        metric: &dyn Fn(&str) -> Result<Option<f64>, String>,
    ) -> Result<Option<f64>, String> {
        let of = |it: &Self| it.value(metric);
        Ok(match self {
            Self::Number(number) => Some(*number),
            Self::Metric(id) => metric(id)?,
            Self::Operation(left, operator, right) => {
                let both = of(left)?.zip(of(right)?);
                let truth = |it| Some(f64::from(u8::from(it)));
                let Some((left, right)) = both else { return Ok(None) };
                match operator.as_str() {
                    "+" => Some(left + right),
                    "-" => Some(left - right),
                    "*" => Some(left * right),
                    "/" => Some(left / right),
                    "<" => truth(left < right),
                    ">" => truth(left > right),
                    "<=" => truth(left <= right),
                    ">=" => truth(left >= right),
                    "AND" => truth(left != 0.0 && right != 0.0),
                    _ => truth(left != 0.0 || right != 0.0),
                }
            }
            Self::Call(name, arguments) => match (name.as_str(), arguments.as_slice()) {
                ("FILL", [of_metric, filler]) => match of(of_metric)? {
                    None => of(filler)?,
                    value => value,
                },
                ("IF", [condition, yes, no]) => match of(condition)? {
                    None => None,
                    Some(truth) => of(if truth == 0.0 { no } else { yes })?,
                },
                ("MAX", all) => {
                    let values = all.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                    values.into_iter().flatten().reduce(f64::max)
                }
                _ => return Err(format!("no function {name} of {} arguments", arguments.len())),
            },
        })
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<String>>;

fn binary(tokens: &mut Tokens, level: usize) -> Result<Expression, String> {
    let Some(operators) = OPERATORS.get(level) else { return single(tokens) };
    let mut left = binary(tokens, level + 1)?;
    while let Some(operator) = tokens.next_if(|it| operators.contains(&it.as_str())) {
        let right = binary(tokens, level + 1)?;
        left = Expression::Operation(Box::new(left), operator, Box::new(right));
    }
    Ok(left)
}

fn single(tokens: &mut Tokens) -> Result<Expression, String> {
    let token = tokens.next().ok_or("the expression ends early")?;
    if token == "(" {
        let inner = binary(tokens, 0)?;
        return expect(tokens, ")").map(|()| inner);
    }
    if let Ok(number) = token.parse() {
        return Ok(Expression::Number(number));
    }
    if tokens.next_if(|it| it == "(").is_none() {
        return Ok(Expression::Metric(token));
    }
    let is_list = tokens.next_if(|it| it == "[").is_some();
    let mut arguments = vec![binary(tokens, 0)?];
    while tokens.next_if(|it| it == ",").is_some() {
        arguments.push(binary(tokens, 0)?);
    }
    if is_list {
        expect(tokens, "]")?;
    }
    expect(tokens, ")").map(|()| Expression::Call(token, arguments))
}

fn expect(tokens: &mut Tokens, expected: &str) -> Result<(), String> {
    match tokens.next() {
        Some(token) if token == expected => Ok(()),
        token => Err(format!("{token:?}: expected {expected}")),
    }
}

/// Splits an expression into words, numbers, operators and brackets.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut is_word = false;
    for char in text.chars() {
        let continues = char.is_alphanumeric() || char == '_' || char == '.';
        match tokens.last_mut() {
            Some(last) if (is_word && continues) || (char == '=' && !is_word) => last.push(char),
            _ if char.is_whitespace() => {}
            _ => tokens.push(char.to_string()),
        }
        is_word = continues;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, metrics: &[(&str, f64)]) -> Option<f64> {
        let of =
            |id: &str| Ok(metrics.iter().find(|(name, _)| *name == id).map(|(_, value)| *value));
        Expression::parse(text).unwrap().value(&of).unwrap()
    }

    #[test]
    fn expressions_have_the_values_of_cloudwatch() {
        let stalled = "IF(FILL(received, 0) > 0 AND FILL(polled, 0) < 1, 1, 0)";
        assert_eq!(value(stalled, &[("received", 3.0)]), Some(1.0));
        assert_eq!(value(stalled, &[("received", 3.0), ("polled", 3.0)]), Some(0.0));
        assert_eq!(value(stalled, &[]), Some(0.0));
        assert_eq!(value("100 * age / (24 * 3600000)", &[("age", 864_000.0)]), Some(1.0));
        assert_eq!(value("100 * age / 24", &[]), None, "arithmetic on missing data is missing");
        assert_eq!(value("MAX([a, b]) / 1000", &[("b", 2_000.0)]), Some(2.0));
        assert_eq!(value("FILL(parked, 0) + FILL(dropped, 0)", &[("dropped", 2.0)]), Some(2.0));
    }

    #[test]
    fn unknown_syntax_is_an_error() {
        for text in ["", "a b", "MAX([a)", "(a", "RATE(a)"] {
            let parsed = Expression::parse(text);
            assert!(parsed.and_then(|it| it.value(&|_| Ok(Some(1.0)))).is_err(), "{text}");
        }
    }
}
